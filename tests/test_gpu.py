"""What needs a GPU: the layers and the autograd engine there give what they give on a CPU."""

import numpy as np
import pytest
import torch

from cwrnn_cli.models import LSTM, SRN, ClockworkRNN
from cwrnn_cli.tasks.audio.engines import CompiledEngine, SilenceEngine
from cwrnn_cli.tasks.timit.engines import StepwiseEngine
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


@pytest.mark.parametrize(
    ("units", "dtype", "backend"),
    [(40, torch.float32, "triton"), (300, torch.float32, "graph"), (40, torch.float64, "graph")],
)
def test_auto_takes_what_has_the_least_to_launch(units, dtype, backend):
    torch.manual_seed(0)
    layer = ClockworkRNN(3, units, periods=[1, 4]).to("cuda", dtype)
    x = torch.randn(70, 2, 3, device="cuda", dtype=dtype)
    found = layer(x)[0]
    layer.backend = backend
    torch.testing.assert_close(found, layer(x)[0], rtol=0, atol=0)
    layer.backend = "reference"
    torch.testing.assert_close(found, layer(x)[0])


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_training(model):
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (6, 50)))
    epochs = np.arange(6), np.full(5, 1e-4), np.full(5, 0.9)
    there = SilenceEngine(random_ensemble(model, 9, 6).cuda(), targets, [])
    here = CompiledEngine(random_ensemble(model, 9, 6), targets, [])
    np.testing.assert_allclose(there.train(*epochs), here.train(*epochs), rtol=1e-5)
    for name, weight in here.weights().items():
        torch.testing.assert_close(there.weights()[name], weight)


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_words_train_alike_on_both(model):
    from tests.corpora import words as split_of

    data = split_of(np.random.default_rng(1), 6, 13, 3)
    states = []
    for device in ("cpu", "cuda"):
        ensemble = random_ensemble(
            model, 12, 2, 13, peepholes=False, dtype=torch.float32, output_size=3
        )
        generators = [np.random.default_rng(r) for r in range(2)]
        engine = StepwiseEngine(ensemble.to(device), data, 0.5, generators)
        engine.train(np.arange(2), np.full(6, 0.01), np.full(6, 0.9))
        states.append(engine.weights())
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=1e-3, atol=1e-5)
