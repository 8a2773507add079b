"""The optimizer inside the compiled training loops."""

from .products import jit
from .simd import LANES, broadcast, fma, load, store


@jit
def nesterov(theta, velocity, gradient, rate, momentum):
    """V = mu v + g; theta = theta - rate (g + mu v), as `torch.optim.SGD(nesterov=True)`.

    Args:
        theta: flat (P) vectors, the weights; changed.
        velocity: flat (P) vectors, their momentum; changed.
        gradient: flat (P) vectors.
        rate: a vector, the learning rate of each lane.
        momentum: a number, mu.
    """
    minus_rate = broadcast(theta, 0.0) - rate
    mu = broadcast(theta, momentum)
    for i in range(theta.size // LANES):
        g = load(gradient, i)
        v = fma(mu, load(velocity, i), g)
        store(velocity, i, v)
        store(theta, i, fma(minus_rate, fma(mu, v, g), load(theta, i)))
