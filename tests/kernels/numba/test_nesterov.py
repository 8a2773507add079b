"""The optimizer of the compiled loops against torch's."""

import numpy as np
import pytest
import torch

from cwrnn_cli.kernels.numba.nesterov import nesterov
from cwrnn_cli.kernels.numba.products import jit
from cwrnn_cli.kernels.numba.simd import LANES, load, store


@jit
def _step(theta, velocity, gradient, rates, momentum, squares):
    store(squares, 0, nesterov(theta, velocity, gradient, load(rates, 0), momentum))


@pytest.mark.parametrize("shape", [(3 * LANES,), (3, LANES)])
def test_it_is_torch_sgd_for_every_lane(shape):
    rng = np.random.default_rng(0)
    theta, velocity = rng.standard_normal(shape), np.zeros(shape)
    rates = np.linspace(0.01, 0.1, LANES)
    lanes = [torch.tensor(theta.reshape(3, LANES)[:, r], requires_grad=True) for r in range(LANES)]
    optimisers = [
        torch.optim.SGD([lane], lr=rate, momentum=0.9, nesterov=True)
        for lane, rate in zip(lanes, rates, strict=True)
    ]
    for _ in range(4):
        gradient = rng.standard_normal(shape)
        squares = np.empty(LANES)
        _step(theta, velocity, gradient, rates, 0.9, squares)
        lengths = np.linalg.norm(gradient.reshape(3, LANES), axis=0)
        np.testing.assert_allclose(squares, lengths**2, rtol=1e-12)
        for r, (lane, optimiser) in enumerate(zip(lanes, optimisers, strict=True)):
            lane.grad = torch.tensor(gradient.reshape(3, LANES)[:, r])
            optimiser.step()
    expected = torch.stack(lanes, dim=1).detach().numpy().reshape(shape)
    np.testing.assert_allclose(theta, expected, rtol=1e-12)


def test_the_gradients_squares_are_summed_in_double_precision():
    like = np.zeros((2, LANES), np.float32)
    gradient, squares = np.full_like(like, 1e30), np.empty(LANES)
    gradient[:, 3], gradient[1, 5] = 1e-30, np.nan
    _step(like.copy(), like.copy(), gradient, np.zeros(LANES, np.float32), 0.0, squares)
    expected = np.square(gradient.astype(np.float64)).sum(axis=0)
    np.testing.assert_allclose(squares, expected, rtol=1e-12)
