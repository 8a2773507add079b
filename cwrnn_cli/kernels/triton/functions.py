"""Tanh and the logistic function, inside of Triton kernels."""

import triton
import triton.language as tl


@triton.jit
def tanh(z):
    """Tanh to 3e-7, of float64 to 1e-14: a series near 0, where the formula by exp loses digits."""
    q = z * z
    series = z * (1 + q * (-1 / 3 + q * (2 / 15 + q * (-17 / 315 + q * (62 / 2835)))))
    e = tl.exp(-2 * tl.abs(z))
    far = (1 - e) / (1 + e)
    near = tl.abs(z) < (0.25 if z.dtype == tl.float32 else 0.01)
    return tl.where(near, series, tl.where(z < 0, -far, far))


@triton.jit
def sigmoid(z):
    """1 / (1 + exp(-z)) without overflow, for any sign of z."""
    e = tl.exp(-tl.abs(z))
    return tl.where(z < 0, e, 1.0) / (1 + e)
