"""Kernels compiled for the CPU by Numba."""
