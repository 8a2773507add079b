#!/usr/bin/env bash
# On a machine with a GPU, in under 8 minutes: is everything right there, and how fast? The marked
# tests (every kernel against its reference), the benchmarks against cuDNN, FlashRNN if it is
# installed, Figure 3's wall time. A table and its JSON go to OUT, a new folder.
#
#     bash scripts/gpu_check.sh [--interpret] [OUT]          OUT: results/gpu/check
#
# --interpret tries the check itself where there is no GPU; without it, and without a GPU, it is
# skipped, with status 0. Runs from the tree, with the packages of PYTHON, else .venv, else python3
# (torch, triton, numba, h5py, click, tqdm, scipy, pytest, hypothesis); no network.
set -euo pipefail
cd "$(dirname "$0")/.."
words=()
case "${1:-}" in
    --interpret) words=(--interpret); shift ;;
    -*) sed -n '2,/^set/s/^# \{0,1\}//p' scripts/gpu_check.sh >&2; exit 2 ;;
esac
python="${PYTHON:-}"
if [ -z "$python" ]; then
    python=python3
    [ -x .venv/bin/python ] && python=.venv/bin/python
fi
"$python" -c 'import torch' 2>/dev/null || {
    echo "gpu_check: $python has no torch; run scripts/test.sh first, or name another with PYTHON=" >&2
    exit 2
}
if [ ${#words[@]} = 0 ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "skipped: torch (of $python) sees no CUDA device on this machine (--interpret tries the check)" >&2
    exit 0
fi
exec "$python" -m cwrnn_cli bench gpu-check "${words[@]}" --out "${1:-results/gpu/check}"
