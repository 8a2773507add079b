#!/usr/bin/env bash
# On a machine with a GPU, in under 8 minutes: is everything right there, and how fast? The marked
# tests (every kernel against its reference), the benchmarks against cuDNN, FlashRNN if it is
# installed, Figure 3's wall time. A table and its JSON go to OUT, a new folder.
#
#     scripts/gpu_check.sh [--interpret] [OUT]          OUT: results/gpu/check
#
# --interpret tries the check itself where there is no GPU. Runs from the tree, with PYTHON's
# packages (torch, triton, numba, h5py, click, tqdm, scipy, pytest, hypothesis); no network.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
words=()
if [ "${1:-}" = --interpret ]; then
    words=(--interpret)
    shift
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "skipped: torch sees no CUDA device on this machine (--interpret tries the check)" >&2
    exit 0
fi
exec "$python" -m cwrnn_cli bench gpu-check "${words[@]}" --out "${1:-results/gpu/check}"
