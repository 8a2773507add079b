"""Kernels for a GPU, in Triton; testable on a CPU in Triton's interpreter (TRITON_INTERPRET=1)."""
