"""The questions of torch's test_nn.py about recurrent layers."""

import copy
import functools
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from cwrnn_cli.models import SRN, ClockworkRNN
from tests.models.torch_own.common import LAYERS, backward, layers, same, tensors


def make(name, *sizes, **options):
    torch.manual_seed(0)
    return LAYERS[name][0](*sizes, dtype=torch.float64, **options)


def state_of(module, value):
    return (value, value.clone()) if module.states == 2 else value


@layers
@pytest.mark.parametrize("bidirectional", [False, True])
def test_sizes_are_checked(name, bidirectional):
    """test_rnn_args_check."""
    module = make(name, 3, 5, num_layers=2, bidirectional=bidirectional)
    count = 4 if bidirectional else 2

    def run(features=3, batch=7, shape=(count, 7, 5)):
        x = torch.zeros(4, batch, features, dtype=torch.float64)
        return module(x, state_of(module, torch.zeros(shape, dtype=torch.float64)))

    run()
    for wrong in (
        {"features": 4},
        {"batch": 8},
        {"shape": (count, 8, 5)},
        {"shape": (count, 7, 6)},
        {"shape": (count + 1, 7, 5)},
        {"shape": (7, 5)},
    ):
        with pytest.raises(RuntimeError):
            run(**wrong)


@layers
def test_no_initial_state_is_zeros(name):
    """test_rnn_initial_hidden_state."""
    module = make(name, 3, 6, num_layers=2)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    zeros = state_of(module, torch.zeros(2, 2, 6, dtype=torch.float64))
    same(module(x), module(x, zeros))


def test_relu_and_tanh_by_position():
    """test_RNN_nonlinearity and test_RNN_nonlinearity_passed_as_arg."""
    for nonlinearity in ("tanh", "relu"):
        by_position = SRN(4, 6, 2, nonlinearity)
        assert by_position.nonlinearity == nonlinearity and by_position.num_layers == 2
        theirs = nn.RNN(4, 6, 2, nonlinearity)
        x = torch.randn(5, 2, 4)
        same(SRN.from_torch(theirs)(x), theirs(x))
    for kind in (functools.partial(SRN, 4, 6, 2), functools.partial(ClockworkRNN, 4, 6)):
        with pytest.raises(ValueError, match="Unknown nonlinearity 'garbage'"):
            kind(nonlinearity="garbage")


@pytest.mark.parametrize("name", ["RNN", "CW"])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.7, 1.0])
def test_dropout_between_layers(name, p):
    """test_RNN_dropout: what a second layer that passes its input on gets to see."""
    module = make(name, 3, 40, num_layers=2, nonlinearity="relu", dropout=p, bias=False)
    with torch.no_grad():
        module.weight_hh.zero_()
        module.weight_hh_l1.zero_()
        module.weight_ih_l1.copy_(torch.eye(40))
        module.weight_ih.abs_()
    x = torch.rand(40, 5, 3, dtype=torch.float64) + 0.1
    whole = module.eval()(x)[0]
    dropped = module.train()(x)[0]
    moved = slice(0, 20) if name == "CW" else slice(0, 40)  # the module of period 1
    ratio = (dropped / whole)[..., moved]
    kept = ratio != 0
    assert abs(kept.double().mean() - (1 - p)) < 0.05
    torch.testing.assert_close(ratio[kept], torch.full_like(ratio[kept], 1 / (1 - p or 1)))


@layers
def test_dropout_changes_and_is_drawn_anew(name):
    """test_RNN_change_dropout and test_RNN_dropout_state."""
    module = make(name, 4, 6, num_layers=2)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    for train, p in itertools.product((True, False), (0, 0.5, 0, 0.7, 1, 0.2)):
        module.train(train).dropout = p
        first, second = call_twice(module, x)
        third = pickle.loads(pickle.dumps(module))(x)[0]
        certain = p in (0, 1) or not train
        assert torch.equal(first, second) == torch.equal(first, third) == certain
        torch.manual_seed(7)
        first = module(x)[0]
        torch.manual_seed(7)
        assert torch.equal(first, module(x)[0])


def call_twice(module, x):
    return module(x)[0], module(x)[0]


@layers
def test_weight_norm_comes_and_goes(name):
    """test_rnn_weight_norm, as a parametrisation and as a hook."""
    module = make(name, 3, 6, num_layers=2)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = module(x)
    for weight in ("weight_ih_l1", "weight_hh_l1"):
        parametrizations.weight_norm(module, weight)
        same(module(x), expected)
        backward(module(x))
        inner = module.parametrizations[weight]
        assert all(p.grad.isfinite().all() and p.grad.any() for p in inner.parameters())
        nn.utils.parametrize.remove_parametrizations(module, weight)
        same(module(x), expected)
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(module, weight)
        same(module(x), expected)
        nn.utils.remove_weight_norm(module, weight)
        same(module(x), expected)
    assert weight in dict(module.named_parameters())


@layers
def test_no_features(name):
    """Where torch has no layer without input (test_RNN_input_size_zero), ours runs on its clock."""
    module = make(name, 0, 6, num_layers=2)
    output, _ = module(torch.empty(5, 2, 0, dtype=torch.float64))
    assert output.shape == (5, 2, 6)
    output.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@layers
def test_tied_weights(name):
    """test_cudnn_weight_tying: one parameter of two directions is trained once."""
    module = make(name, 3, 6, bidirectional=True)
    module.weight_hh_reverse = module.weight_hh
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    for _ in range(2):
        optimizer.zero_grad()
        module(x)[0].square().sum().backward()
        optimizer.step()
    assert module.weight_hh_reverse is module.weight_hh
    assert len(list(module.parameters())) == 5 + (name == "GRU") * 2
    same(copy.deepcopy(module)(x), module(x))


@layers
def test_a_graph_that_is_kept_gives_the_same_again(name):
    """test_rnn_retain_variables."""
    module = make(name, 3, 6, num_layers=2, bidirectional=True)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    output = module(x)[0].square().sum()
    grads = []
    for keep in (True, True, False):
        x.grad = None
        module.zero_grad()
        output.backward(retain_graph=keep)
        grads.append([t.grad.clone() for t in (x, *module.parameters())])
    same(grads[1:], [grads[0]] * 2)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        output.backward()


@layers
@pytest.mark.parametrize("batch_first", [False, True])
def test_sequences_of_their_own_lengths(name, batch_first):
    """test_variable_sequence: packed, each is as alone, and so are all gradients."""
    module = make(name, 3, 6, num_layers=2, bidirectional=True, batch_first=batch_first)
    lengths = [7, 4, 2, 2, 1]
    padded = torch.randn(7, 5, 3, dtype=torch.float64)
    hx = torch.randn(4, 5, 6, dtype=torch.float64, requires_grad=True)
    x = padded.transpose(0, 1) if batch_first else padded
    x = x.detach().requires_grad_()

    def gradients(run):
        for t in (x, hx, *module.parameters()):
            t.grad = None
        outputs, last = run()
        (outputs.square().sum() + sum(t.pow(3).sum() for t in tensors(last))).backward()
        return outputs, last, [t.grad.clone() for t in (x, hx, *module.parameters())]

    def packed():
        each = pack_padded_sequence(x, lengths, batch_first=batch_first)
        output, last = module(each, state_of(module, hx))
        return pad_packed_sequence(output, batch_first=batch_first)[0], last

    def alone():
        outputs, lasts = [], []
        for i, length in enumerate(lengths):
            own = x[i : i + 1, :length] if batch_first else x[:length, i : i + 1]
            output, last = module(own, state_of(module, hx[:, i : i + 1]))
            gap = (0, 0, 0, 7 - length) if batch_first else (0, 0, 0, 0, 0, 7 - length)
            outputs.append(nn.functional.pad(output, gap))
            lasts.append(tensors(last))
        axis = 0 if batch_first else 1
        return torch.cat(outputs, axis), [torch.cat(same, 1) for same in zip(*lasts, strict=True)]

    same(gradients(packed), gradients(alone))


@layers
def test_packed_sequences_change_their_type_with_the_layer(name):
    module = make(name, 3, 6)
    packed = pack_sequence(
        [torch.randn(k, 3, dtype=torch.float64) for k in (2, 5, 3)], enforce_sorted=False
    )
    expected = module(packed)
    found = module.float()(packed.float())
    assert found[0].data.dtype == torch.float32
    assert torch.equal(found[0].batch_sizes, packed.batch_sizes)
    same([t.double() for t in tensors(found)], tensors(expected), rtol=1e-4, atol=1e-5)
