"""Compiled by Numba for a CPU: what the cells' loops stand on, training loops, beam search."""

from pathlib import Path

from .cache import drop_stale

# all of the kernels: loops of a cell have code from here compiled in, and training loops theirs
drop_stale(Path(__file__).parents[1])
