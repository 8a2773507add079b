"""Each way in which torch takes a module, with the layers: docs/using.md names these tests."""

import copy

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN

CLASSES = {"CW": ClockworkRNN, "LSTM": LSTM, "GRU": GRU, "SRN": SRN}
every = pytest.mark.parametrize("name", CLASSES)
compiled = pytest.mark.parametrize("name", ["CW", "LSTM"])


def build(name, dtype=torch.float64, **options):
    torch.manual_seed(0)
    if name == "CW":
        options = {"periods": [1, 2, 3]} | options
    if name == "LSTM":
        options = {"peepholes": True} | options
    return CLASSES[name](3, 6, dtype=dtype, **options)


def drawn(*shape, dtype=torch.float64, seed=1):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


X = drawn(5, 2, 3)


def gradients(module, run=None, x=X):
    """Of the input and all weights."""
    x = x.detach().requires_grad_()
    run = module if run is None else run
    loss = run(x)[0].square().sum()
    return torch.autograd.grad(loss, (x, *module.parameters()))


def same(found, expected, **tolerances):
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, **tolerances)


def forbidden(module):
    return module.weight_hh[~torch.from_numpy(module.clock.mask())]


def by_reference(module):
    module = copy.deepcopy(module)
    module.backend = "reference"
    return module
