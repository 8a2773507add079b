"""What is done to a module: hooks, pruning, parametrisations, optimisers, files."""

import copy
import io

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN
from cwrnn_cli.models.clockwork import ClockworkSpec
from cwrnn_cli.models.gru import GRUSpec
from cwrnn_cli.models.lstm import LSTMSpec
from cwrnn_cli.models.srn import SRNSpec
from tests.models.entry_points.common import X, build, every, forbidden, gradients, same


@every
def test_hooks(name):
    module, called = build(name), []
    module.register_forward_pre_hook(lambda *_: called.append("before"))
    module.register_forward_hook(lambda m, args, output: called.append(output[0].shape))
    module.register_full_backward_pre_hook(lambda m, grads: called.append(grads[0].shape))
    module.register_full_backward_hook(lambda m, grads, outs: called.append(grads[0].shape))
    module.weight_hh.register_hook(lambda grad: 2 * grad)
    expected = 2 * gradients(copy.deepcopy(module))[2]  # a copy has no hooks of tensors
    called.clear()
    x = X.clone().requires_grad_()
    module(x)[0].square().sum().backward()
    assert called == ["before", (5, 2, 6), (5, 2, 6), (5, 2, 3)]
    torch.testing.assert_close(module.weight_hh.grad, expected)


@every
def test_an_optimiser_within_backward(name):
    """By post_accumulate_grad hooks."""
    module, other = build(name), build(name)
    for parameter in module.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        parameter.register_post_accumulate_grad_hook(lambda _, own=optimizer: own.step())
    module(X)[0].square().sum().backward()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    other(X)[0].square().sum().backward()
    optimizer.step()
    same(module.parameters(), other.parameters())


@every
def test_pruning(name):
    module = build(name)
    torch.nn.utils.prune.l1_unstructured(module, "weight_hh", amount=0.5)
    pruned = module.weight_hh_mask == 0
    module(X)[0].sum().backward()
    assert not module.weight_hh_orig.grad[pruned].any()
    expected = module(X)[0]
    torch.nn.utils.prune.remove(module, "weight_hh")
    assert torch.equal(module(X)[0], expected) and not module.weight_hh[pruned].any()


def steps(module, optimizer, count=3):
    def closure():
        optimizer.zero_grad()
        loss = (module(X)[0] - 0.3).square().mean()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(count)]


@pytest.mark.parametrize(
    "optimizer",
    [
        "SGD",
        "Adam",
        "AdamW",
        "NAdam",
        "RAdam",
        "Adamax",
        "Adagrad",
        "Adadelta",
        "RMSprop",
        "Rprop",
        "LBFGS",
    ],
)
def test_every_optimiser_keeps_to_the_clock(optimizer):
    """As they come from torch, without weight decay; with it: test_layers.py."""
    module = build("CW")
    before = module.weight_hh.detach().clone()
    losses = steps(module, getattr(torch.optim, optimizer)(module.parameters()))
    assert losses[-1] < losses[0]
    assert not forbidden(module).any() and not torch.equal(before, module.weight_hh)


def test_muon_writes_where_nothing_is_read():
    module = build("CW")
    matrices = [p for p in module.parameters() if p.dim() == 2]
    losses = steps(module, torch.optim.Muon(matrices, lr=0.01, weight_decay=0.0))
    assert losses[-1] < losses[0]
    assert forbidden(module).any()
    saved = module.state_dict()
    assert not saved["weight_hh"][~torch.from_numpy(module.clock.mask())].any()
    other = build("CW")
    other.load_state_dict(saved)
    assert torch.equal(other(X)[0], module(X)[0])


@every
def test_averages_of_weights(name):
    module = build(name)
    start = copy.deepcopy(module.state_dict())
    mean, moving = (
        AveragedModel(module),
        AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    )
    for average in (mean, moving):
        average.update_parameters(module)
    steps(module, torch.optim.SGD(module.parameters(), lr=0.1))
    for average, share in ((mean, 0.5), (moving, 0.1)):
        average.update_parameters(module)
        expected = torch.lerp(start["weight_hh"], module.weight_hh, share)
        torch.testing.assert_close(average.module.weight_hh, expected)
        assert average(X)[0].shape == (5, 2, 6)
        AveragedModel(module).load_state_dict(average.state_dict())


class Masked(nn.Module):
    """A parametrisation that keeps a recurrent weight to its clock."""

    def __init__(self, clock):
        super().__init__()
        self.register_buffer("mask", torch.from_numpy(clock.mask()))

    def forward(self, weight):
        return weight * self.mask


@every
def test_spectral_norm(name):
    """Its gradient writes everywhere: of a clockwork layer's recurrent weight behind a mask."""
    module = build(name)
    if name == "CW":
        parametrize.register_parametrization(module, "weight_hh", Masked(module.clock))
    parametrizations.spectral_norm(module, "weight_hh")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(30):
        steps(module, optimizer, 1)
    norm = torch.linalg.matrix_norm(module.weight_hh, 2)
    torch.testing.assert_close(norm, torch.ones_like(norm), rtol=0.01, atol=0)
    if name == "CW":
        assert not forbidden(module).any()


def test_what_fills_forbidden_blocks_is_refused():
    srn = build("SRN")
    parametrizations.orthogonal(srn, "weight_hh")
    steps(srn, torch.optim.SGD(srn.parameters(), lr=0.1))
    torch.testing.assert_close(srn.weight_hh @ srn.weight_hh.T, torch.eye(6, dtype=torch.float64))
    for kind in (parametrizations.orthogonal, parametrizations.spectral_norm):
        module = build("CW")
        kind(module, "weight_hh")
        with pytest.raises(ValueError, match="of weight_hh fills blocks that the clock forbids"):
            steps(module, torch.optim.SGD(module.parameters(), lr=0.1))
        parametrize.remove_parametrizations(module, "weight_hh")
        module(X)


SAFE = {
    "CW": [ClockworkRNN, ClockworkSpec],
    "LSTM": [LSTM, LSTMSpec],
    "GRU": [GRU, GRUSpec],
    "SRN": [SRN, SRNSpec],
}


@every
def test_a_whole_layer_in_a_file(name):
    module, file = build(name), io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(file, weights_only=True)
    for options in ({"weights_only": False}, {"weights_only": True}):
        file.seek(0)
        with torch.serialization.safe_globals(SAFE[name]):
            loaded = torch.load(file, **options)
        assert torch.equal(loaded(X)[0], module(X)[0])


@every
def test_loading_weights(name):
    module, other = build(name), build(name)
    other.reset_parameters()
    saved = other.state_dict()
    without = {key: value for key, value in saved.items() if key != "weight_ih"}
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict(without)
    assert module.load_state_dict(without, strict=False).missing_keys == ["weight_ih"]
    with pytest.raises(RuntimeError, match="Unexpected key"):
        module.load_state_dict(saved | {"more": X})
    with torch.device("meta"):
        module = build(name)
    module.load_state_dict(saved, assign=True)
    assert module.weight_hh.data_ptr() == saved["weight_hh"].data_ptr()
    assert torch.equal(module(X)[0], other(X)[0])


def test_loading_weights_of_a_clock():
    module = build("CW")
    old = module.state_dict()
    del old["_extra_state"]  # as files of before have it
    other = build("CW")
    other.reset_parameters()
    assert other.load_state_dict(old) and torch.equal(other(X)[0], module(X)[0])
    faster = build("CW", periods=[1, 2, 4])
    with pytest.raises(RuntimeError, match=r"another clock, periods \[1, 2, 3\]"):
        faster.load_state_dict(module.state_dict())
