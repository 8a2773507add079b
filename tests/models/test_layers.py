import copy
import io

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from cwrnn_cli.models import LSTM, SRN, ClockworkRNN

CLOCK = {"periods": [1, 2, 3, 8], "module_sizes": [3, 1, 2, 4]}


def layer(cls=ClockworkRNN, inputs=3, n=10, **options):
    torch.manual_seed(0)
    if cls is ClockworkRNN:
        options = CLOCK | options
    return cls(inputs, n, dtype=torch.float64, **options)


def states(module, *shape):
    tensors = tuple(torch.randn(shape, dtype=torch.float64) for _ in range(module.states))
    return tensors if module.states == 2 else tensors[0]


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def assert_same(found, expected):
    for mine, theirs in zip(as_tuple(found), as_tuple(expected), strict=True):
        torch.testing.assert_close(mine, theirs)


def copy_from_torch(mine, theirs):
    for suffix, other in (("", "_l0"), ("_reverse", "_l0_reverse")):
        if not hasattr(theirs, "weight_ih" + other):
            continue
        getattr(mine, "weight_ih" + suffix).data[:] = getattr(theirs, "weight_ih" + other)
        getattr(mine, "weight_hh" + suffix).data[:] = getattr(theirs, "weight_hh" + other)
        both = getattr(theirs, "bias_ih" + other) + getattr(theirs, "bias_hh" + other)
        getattr(mine, "bias" + suffix).data[:] = both


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("pair", [(SRN, torch.nn.RNN), (LSTM, torch.nn.LSTM)], ids=["srn", "lstm"])
def test_srn_and_lstm_are_torchs(pair, backend, batch_first, bidirectional):
    options = {"batch_first": batch_first, "bidirectional": bidirectional}
    mine = layer(pair[0], **options)
    mine.backend = backend
    theirs = pair[1](3, 10, dtype=torch.float64, **options)
    copy_from_torch(mine, theirs)
    directions = 2 if bidirectional else 1
    x, hx = torch.randn(7, 4, 3, dtype=torch.float64), states(mine, directions, 4, 10)
    x = x.transpose(0, 1) if batch_first else x
    for given in ((x, hx), (x,)):
        found, expected = mine(*given), theirs(*given)
        torch.testing.assert_close(found[0], expected[0])
        assert_same(found[1], expected[1])
    flat = x[0] if batch_first else x[:, 0]
    own = tuple(s[:, 0] for s in as_tuple(hx))
    found = mine(flat, own if mine.states == 2 else own[0])
    expected = theirs(flat, own if mine.states == 2 else own[0])
    torch.testing.assert_close(found[0], expected[0])
    assert_same(found[1], expected[1])
    packed = pack_sequence(
        [torch.randn(k, 3, dtype=torch.float64) for k in (4, 7, 2, 7)], enforce_sorted=False
    )
    found, expected = mine(packed, hx), theirs(packed, hx)
    torch.testing.assert_close(found[0].data, expected[0].data)
    assert torch.equal(found[0].batch_sizes, expected[0].batch_sizes)
    assert torch.equal(found[0].unsorted_indices, expected[0].unsorted_indices)
    assert_same(found[1], expected[1])


LAYERS = [
    (ClockworkRNN, {}),
    (LSTM, {"peepholes": True}),
    (SRN, {"bias": False}),
]


@pytest.mark.parametrize(("cls", "options"), LAYERS)
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences_are_each_as_alone(cls, options, enforce_sorted):
    """No padding leaks in; the backward direction starts at each sequence's last valid step."""
    module = layer(cls, bidirectional=True, **options)
    lengths = [9, 6, 6, 1] if enforce_sorted else [4, 9, 1, 6]
    sequences = [torch.randn(k, 3, dtype=torch.float64) for k in lengths]
    hx = states(module, 2, 4, 10)
    packed, last = module(pack_sequence(sequences, enforce_sorted=enforce_sorted), hx)
    assert isinstance(packed, PackedSequence)
    outputs, _ = pad_packed_sequence(packed)
    for s, sequence in enumerate(sequences):
        own = tuple(state[:, s] for state in as_tuple(hx))
        alone, final = module(sequence, own if module.states == 2 else own[0])
        torch.testing.assert_close(outputs[: len(sequence), s], alone)
        assert_same(tuple(state[:, s] for state in as_tuple(last)), final)


def test_the_backward_direction_reads_from_the_end():
    module = layer(bidirectional=True)
    forward = layer()
    for name in ("weight_ih", "weight_hh", "bias"):
        getattr(forward, name).data[:] = getattr(module, name + "_reverse")
    x = torch.randn(11, 2, 3, dtype=torch.float64)
    expected, last = forward(x.flip(0))
    output, h_n = module(x)
    torch.testing.assert_close(output[..., 10:], expected.flip(0))
    torch.testing.assert_close(h_n[1], last[0])


def test_held_units_hold_and_clocks_start_at_step_0():
    module = layer(inputs=0, periods=[2, 3], module_sizes=[4, 6])
    h0 = torch.randn(1, 1, 10, dtype=torch.float64)
    output, h_n = module(torch.empty(7, 1, 0, dtype=torch.float64), h0)
    units = output[:, 0]
    assert torch.equal(units[0, :4], units[1, :4]) and not torch.equal(units[1, :4], units[2, :4])
    assert torch.equal(units[0, 4:], units[2, 4:]) and not torch.equal(units[2, 4:], units[3, 4:])
    assert not torch.equal(units[0], h0[0, 0])
    assert torch.equal(h_n[0, 0], units[-1])
    assert module.weight_ih is None


def forbidden(module):
    mask = torch.from_numpy(module.clock.mask())
    names = [name for name, _ in module.named_parameters() if name.startswith("weight_hh")]
    return torch.cat([module.get_parameter(name)[~mask] for name in names])


@pytest.mark.parametrize(
    "optimiser",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.1),
        lambda p: torch.optim.Adagrad(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
    ],
)
def test_forbidden_weights_stay_exactly_zero(optimiser):
    module = layer(bidirectional=True)
    before = module.weight_hh.detach().clone()
    steps = optimiser(module.parameters())
    for _ in range(5):
        steps.zero_grad()
        module(torch.randn(20, 2, 3, dtype=torch.float64))[0].square().sum().backward()
        steps.step()
    assert len(forbidden(module)) and not forbidden(module).any()
    assert not torch.equal(before, module.weight_hh)


def test_trespassing_weights_are_never_computed_with_nor_saved():
    module = layer()
    x = torch.randn(12, 2, 3, dtype=torch.float64)
    expected, _ = module(x)
    with torch.no_grad():
        module.weight_hh += 7.0 * torch.from_numpy(~module.clock.mask())
    dense = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    mask = torch.from_numpy(module.clock.mask())
    saved = module.state_dict()["weight_hh"]
    assert not saved[~mask].any() and torch.equal(saved[mask], module.weight_hh[mask])
    assert forbidden(module).all(), "the parameter itself is its owner's"
    other = layer()
    other.load_state_dict(dense)
    assert not forbidden(other).any()
    torch.testing.assert_close(other(x)[0], expected)
    with torch.no_grad():
        module.weight_hh[~torch.from_numpy(module.clock.mask())] = float("nan")
    torch.testing.assert_close(module(x)[0], expected)


def test_a_second_forward_does_not_spoil_the_first_ones_backward():
    module = layer()
    first = module(torch.randn(5, 2, 3, dtype=torch.float64))[0].sum()
    second = module(torch.randn(5, 2, 3, dtype=torch.float64))[0].sum()
    (first + second).backward()
    assert module.weight_hh.grad.isfinite().all()


@pytest.mark.parametrize(("cls", "options"), [*LAYERS, (ClockworkRNN, {"inputs": 0})])
def test_saving_copying_and_moving(cls, options, tmp_path):
    module = layer(cls, bidirectional=True, **options)
    x = torch.randn(6, 2, module.input_size, dtype=torch.float64)
    expected, _ = module(x)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other = layer(cls, bidirectional=True, **options)
    other.reset_parameters()
    assert not torch.equal(other(x)[0], expected)
    loaded = other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert not loaded.missing_keys and not loaded.unexpected_keys
    assert torch.equal(other(x)[0], expected)
    assert torch.equal(copy.deepcopy(module)(x)[0], expected)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x)[0], expected)
    single = copy.deepcopy(module).to(torch.device("cpu"), torch.float32)
    torch.testing.assert_close(single(x.float())[0].double(), expected, rtol=1e-4, atol=1e-5)
    assert all(weight.dtype == torch.float32 for weight in single.parameters())


def test_parameters_and_their_names():
    found = {
        n: tuple(p.shape) for n, p in ClockworkRNN(3, 10, bidirectional=True).named_parameters()
    }
    one = {"weight_ih": (10, 3), "weight_hh": (10, 10), "bias": (10,)}
    assert found == one | {name + "_reverse": shape for name, shape in one.items()}
    assert dict(ClockworkRNN(0, 10, bias=False).named_parameters()).keys() == {"weight_hh"}
    assert LSTM(3, 5, peepholes=True).weight_peephole.shape == (3, 5)
    assert LSTM(3, 5, forget_bias=5.0).bias.tolist()[5:10] == [5.0] * 5


def test_repr_tells_the_periods():
    assert repr(ClockworkRNN(3, 8, periods=[4, 1])) == "ClockworkRNN(3, 8, periods=[1, 4])"
    text = repr(
        ClockworkRNN(
            0,
            8,
            periods=[1, 4],
            module_sizes=[7, 1],
            bias=False,
            batch_first=True,
            bidirectional=True,
        )
    )
    assert "periods=[1, 4 (units 7, 1)]" in text
    assert "bias=False, batch_first=True, bidirectional=True" in text
    assert repr(SRN(3, 8)) == "SRN(3, 8)"
    assert repr(LSTM(3, 8, peepholes=True, forget_bias=5)) == (
        "LSTM(3, 8, peepholes=True, forget_bias=5)"
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(torch.randn(5)), ValueError, "2 or 3 dimensions"),
        (lambda m: m(torch.randn(5, 2, 4)), RuntimeError, "4 features, input_size is 3"),
        (lambda m: m(torch.randn(0, 2, 3)), RuntimeError, "at least one step"),
        (lambda m: m(torch.randn(5, 2, 3).double()), ValueError, "float64"),
        (lambda m: m(torch.randn(5, 2, 3), torch.randn(1, 3, 8)), RuntimeError, r"\(1, 2, 8\)"),
        (lambda m: m(torch.randn(5, 3), torch.randn(1, 1, 8)), RuntimeError, r"\(1, 8\)"),
        (lambda m: m(torch.randn(5, 2, 3), 0), TypeError, "got int"),
        (
            lambda m: ClockworkRNN(3, 8, periods=[1, 2], module_sizes=[1, 2]),
            ValueError,
            "add up to 3",
        ),
        (lambda m: ClockworkRNN(-1, 8), ValueError, "input_size"),
        (lambda m: ClockworkRNN(1, 0), ValueError, "hidden_size"),
        (lambda m: LSTM(1, 2, bias=False, forget_bias=1), ValueError, "needs bias=True"),
        (lambda m: LSTM(1, 2)(torch.randn(5, 1), [torch.randn(1, 2)]), RuntimeError, "expected 2"),
    ],
)
def test_what_does_not_fit_is_said_as_torch_does(call, error, message):
    with pytest.raises(error, match=message):
        call(ClockworkRNN(3, 8))


def test_gradcheck_through_the_layer():
    module = layer(n=10, bidirectional=True)
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(2, 2, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x, h0))
