"""Torch's own inputs for its recurrent modules, and what its tests ask, asked of our layers.

The inputs are those of torch.testing; the questions are those of torch's test_modules.py and of
the recurrent part of its test_nn.py.
"""

import functools

import pytest
import torch
from torch.nn.utils.rnn import (
    PackedSequence,
)

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN

Clockwork = functools.partial(ClockworkRNN, periods=[1, 2])
# the name of torch's module: ours, and whether it is of torch's class RNN; a clockwork layer gets
# what torch has for nn.RNN
LAYERS = {"RNN": (SRN, True), "GRU": (GRU, False), "LSTM": (LSTM, False), "CW": (Clockwork, True)}
layers = pytest.mark.parametrize("name", LAYERS)
peers = pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])


@functools.cache
def of_torch():
    """Torch's module of inputs; it takes seconds to import."""
    own = pytest.importorskip(
        "torch.testing._internal.common_modules", reason="it needs expecttest, of the extra 'test'"
    )
    # it forbids everybody to set flags of torch.backends
    setattr(torch.backends, "__allow_nonbracketed_mutation_flag", True)
    return own


def samples(name, dtype=torch.float64, requires_grad=False, every=1):
    """Torch's ModuleInputs, or each so manieth; without those of projections."""
    common, of_rnn = of_torch(), LAYERS[name][1]
    options = {"device": "cpu", "dtype": dtype, "requires_grad": requires_grad, "training": True}
    if name == "LSTM":
        found = common.module_inputs_torch_nn_LSTM(None, **options)
        found = [s for s in found if not s.constructor_input.kwargs.pop("proj_size")]
    else:
        found = common.module_inputs_torch_nn_RNN_GRU(
            None, is_rnn=of_rnn, with_packed_sequence=True, **options
        )
    return found[::every]


def build(name, sample, **more):
    torch.manual_seed(0)
    more = {"dtype": torch.float64} | more
    return LAYERS[name][0](**sample.constructor_input.kwargs, **more)


def call(module, sample):
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def tensors(value):
    """All tensors in tuples and packed sequences, one after the other."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [value.data]
    return [] if value is None else [t for each in value for t in tensors(each)]


def same(found, expected, **tolerances):
    for mine, theirs in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(mine, theirs, **tolerances)


def inputs_that_learn(sample):
    return [t for t in tensors(sample.forward_input.args) if t.requires_grad]


def backward(results):
    sum(
        (t * torch.linspace(-1, 1, t.numel()).view(t.shape)).sum() for t in tensors(results)
    ).backward()
