#!/usr/bin/env bash
# On a machine with a CUDA device: the marked tests. Runs from the tree, with
# PYTHON's packages (torch, triton, numba, h5py, click, tqdm, scipy, pytest, hypothesis).
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "skipped: torch sees no CUDA device on this machine" >&2
    exit 0
}
"$python" -m pytest -m gpu -q tests
