"""The optimizer inside the compiled training loops."""

import numpy as np

from .products import jit
from .simd import LANES, broadcast, fma, load, store, widen


@jit
def nesterov(theta, velocity, gradient, rate, momentum):
    """V = mu v + g; theta = theta - rate (g + mu v), as `torch.optim.SGD(nesterov=True)`.

    Args:
        theta: flat (P) vectors, the weights; changed.
        velocity: flat (P) vectors, their momentum; changed.
        gradient: flat (P) vectors.
        rate: a vector, the learning rate of each lane.
        momentum: a number, mu.

    Returns:
        A vector of doubles: each lane's sum of the gradient's squares.
    """
    squares = widen(broadcast(theta, 0.0))
    minus_rate = broadcast(theta, 0.0) - rate
    mu = broadcast(theta, momentum)
    for i in range(theta.size // LANES):
        g = load(gradient, i)
        wide = widen(g)
        squares = fma(wide, wide, squares)
        v = fma(mu, load(velocity, i), g)
        store(velocity, i, v)
        store(theta, i, fma(minus_rate, fma(mu, v, g), load(theta, i)))
    return squares


@jit
def sum_squares(gradient):
    """The sum of the squares of flat vectors, in double precision."""
    squares = widen(broadcast(gradient, 0.0))
    for i in range(gradient.size // LANES):
        wide = widen(load(gradient, i))
        squares = fma(wide, wide, squares)
    lanes = np.empty(LANES)
    store(lanes, 0, squares)
    return lanes.sum()


@jit
def scale(gradient, factor):
    """Multiply flat vectors by a number."""
    by = broadcast(gradient, factor)
    for i in range(gradient.size // LANES):
        store(gradient, i, load(gradient, i) * by)
