#!/usr/bin/env bash
# The main job on the built-in audio: Table 2, row 1 of the paper. Makes .venv, installs, prepares the data, trains SRN, LSTM and
# CW-RNN with 1000 parameters (100 runs x 5 sequences x 2000 epochs each, RUNS=2 for fewer), evaluates, and
# writes sound and pictures below runs/reproduce, and all of it as one page to open. Killed and called again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh "[standin]"
cwrnn=.venv/bin/cwrnn
runs=${RUNS:-100}
out=runs/reproduce-$runs

$cwrnn prepare audio --out data/built-in.h5
$cwrnn compare --task audio --sizes 1000 --runs "$runs" --data data/built-in.h5 --out "$out" --resume
for model in srn lstm cw; do
    echo
    $cwrnn eval "$out/cells/$model-1000"
done
echo
$cwrnn generate audio "$out/cells/cw-1000" --out "$out-cw.wav"
$cwrnn report "$out" --out "$out.html"
echo "the paper's Figure 5, ours: $out/figure5.png; Table 2, row 1: $out/table.txt"
echo "all of it on one page, to open in a browser: $PWD/$out.html"
