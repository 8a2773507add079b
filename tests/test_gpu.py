"""What needs a GPU: the layers and the autograd engine there give what they give on a CPU."""

import numpy as np
import pytest
import torch

from cwrnn_cli.models import LSTM, SRN, ClockworkRNN
from cwrnn_cli.training.audio_engines import AutogradEngine, CompiledEngine
from tests.conftest import random_ensemble

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: ClockworkRNN(3, 20, periods=[1, 2, 5], bidirectional=True),
        lambda: SRN(3, 20),
        lambda: LSTM(3, 20, bidirectional=True),
        lambda: LSTM(3, 20, peepholes=True),
    ],
    ids=["cw", "srn", "lstm", "lstm with peepholes"],
)
def test_layers(layer):
    torch.manual_seed(0)
    module = layer().double()
    x = torch.randn(30, 4, 3, dtype=torch.float64)
    expected = module(x)[0]
    wanted = torch.autograd.grad(expected.square().sum(), list(module.parameters()))
    module.cuda()
    found = module(x.cuda())[0]
    torch.testing.assert_close(found.cpu(), expected)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), list(module.parameters())), wanted, strict=True
    ):
        torch.testing.assert_close(mine.cpu(), theirs)


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_training(model):
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (6, 50)))
    rates, momenta = torch.full((6,), 1e-4), np.full(5, 0.9)
    there = AutogradEngine(random_ensemble(model, 9, 6).cuda(), targets, rates)
    here = CompiledEngine(random_ensemble(model, 9, 6), targets, rates)
    np.testing.assert_allclose(there.run(momenta), here.run(momenta), rtol=1e-5)
    for name, weight in here.weights().items():
        torch.testing.assert_close(there.weights()[name], weight)
