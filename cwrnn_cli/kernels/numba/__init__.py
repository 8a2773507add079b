"""Compiled by Numba for a CPU: what the cells' loops stand on, training loops, beam search."""
