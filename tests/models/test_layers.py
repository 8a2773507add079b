import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN, Stream

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


def test_a_second_forward_does_not_spoil_the_first_ones_backward():
    module = layer()
    first = module(torch.randn(5, 2, 3, dtype=torch.float64))[0].sum()
    second = module(torch.randn(5, 2, 3, dtype=torch.float64))[0].sum()
    (first + second).backward()
    assert module.weight_hh.grad.isfinite().all()


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


def test_dropout_works_between_layers_in_training():
    module = layer(num_layers=2, dropout=0.5)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    torch.manual_seed(1)
    y, h = module(x)
    below = layer()
    own = {name: w for name, w in module.named_parameters() if not name.endswith("_l1")}
    below.load_state_dict(own)
    torch.testing.assert_close(below(x)[1], h[:1])  # nothing is dropped below
    assert not torch.equal(module(x)[0], y)
    module.eval()
    assert torch.equal(module(x)[0], module(x)[0])
    with pytest.warns(UserWarning, match="between layers"):
        ClockworkRNN(3, 4, dropout=0.1)


def test_each_layer_may_have_its_own_clock():
    module = ClockworkRNN(
        3, 6, num_layers=2, periods=[[1, 2], [2, 3, 6]], module_sizes=[[4, 2], [1, 2, 3]]
    )
    assert [clock.periods for clock in module.clocks] == [(1, 2), (2, 3, 6)]
    assert module.clocks[1].sizes == (1, 2, 3) and module.clock == module.clocks[0]
    x = torch.randn(7, 2, 3)
    first = ClockworkRNN(3, 6, periods=[1, 2], module_sizes=[4, 2])
    second = ClockworkRNN(6, 6, periods=[2, 3, 6], module_sizes=[1, 2, 3])
    for alone, end in ((first, ""), (second, "_l1")):
        for name, weight in alone.named_parameters():
            module.get_parameter(name + end).data[:] = weight
    torch.testing.assert_close(module(x)[0], second(first(x)[0])[0])
    assert "periods=[[1, 2 (units 4, 2)], [2, 3, 6 (units 1, 2, 3)]]" in repr(module)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ClockworkRNN(10, 20, 2), TypeError, "say num_layers=2, torch's third argument"),
        (lambda: ClockworkRNN(10, 20, [1, 2]), TypeError, r"not \[1, 2\]: say periods=\[1, 2\]"),
        (lambda: SRN(10, 20, True), TypeError, "num_layers should be of type int, got: bool"),
        (lambda: SRN(10, 20, 0), ValueError, "num_layers should be at least 1"),
        (lambda: SRN(10, 20, bias=1), TypeError, "bias should be of type bool, got: int"),
        (lambda: SRN(10, 20, batch_first=1), TypeError, "batch_first should be of type bool"),
        (lambda: SRN(10, 20, 1, "sin"), ValueError, "'tanh' or 'relu'"),
        (lambda: LSTM(10, 20.0), TypeError, "hidden_size should be of type int, got: float"),
        (lambda: LSTM("10", 20), TypeError, "input_size should be of type int, got: str"),
        (lambda: LSTM(10, 20, 1, "relu"), TypeError, "bias should be of type bool, got: str"),
        (lambda: LSTM(10, 20, 1, True, False, 0.0, False, 5), TypeError, "positional"),
        (lambda: GRU(10, 20, dropout=True), TypeError, "dropout should be a number"),
        (lambda: GRU(10, 20, dropout=1.5), ValueError, r"in \[0, 1\]"),
        (lambda: ClockworkRNN(3, 8, periods=[1, 2**63 - 1]), ValueError, "at most 2147483648"),
        (lambda: ClockworkRNN(64, 64, periods=64), ValueError, "at most 32 .* up to 2147483648"),
        (lambda: ClockworkRNN(3, 8, periods=[[1], [2]]), ValueError, "of 2 layers given"),
        (lambda: SRN(3, 8)([1]), TypeError, "expected a tensor, got list"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), torch.ones(1, 1, 8).double()), RuntimeError,
         "the initial state is torch.float64 on cpu, the weights are torch.float32 on cpu"),
        (lambda: LSTM(3, 8)(torch.ones(2, 1, 3), torch.ones(1, 1, 8)), TypeError,
         "a tuple of 2 tensors, got Tensor"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), None, -1), ValueError, "counts steps from 0"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), None, 1.5), TypeError, "whole numbers"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), None, True), TypeError, "whole numbers"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), None, [1, 2]), RuntimeError, "one per sequence"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), None, None), TypeError, "whole numbers, got: None"),
        (lambda: SRN(3, 8)(torch.ones(2, 1, 3), None, 2**70), ValueError, r"below 2\*\*62"),
        (lambda: ClockworkRNN(3, 8, periods="12"), ValueError, "clock period"),
        (lambda: Stream(torch.nn.RNN(2, 3)), TypeError, "expected a layer of cwrnn_cli.models"),
        (lambda: SRN(3, 8, bidirectional=True)(torch.ones(2, 1, 3), None, 1), ValueError,
         "needs whole sequences"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_when_it_is_made(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("cls", [ClockworkRNN, SRN, LSTM, GRU])
def test_everything_is_on_one_device(cls):
    module = layer(cls)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="input is on meta, the weights are on cpu"):
        module(x.to("meta"))
    _, hx = module(x)
    away = tuple(s.to("meta") for s in as_tuple(hx))
    with pytest.raises(RuntimeError, match=r"initial state is torch.float64 on meta"):
        module(x, away if module.states == 2 else away[0])


@pytest.mark.parametrize("cls", [ClockworkRNN, SRN, LSTM, GRU])
@pytest.mark.parametrize("shape", [(7, 2, 3), (100, 70, 3)], ids=str)  # small, and from the pool
def test_outputs_may_be_written_to_and_viewed(cls, shape):
    module = layer(cls, num_layers=2, bidirectional=True).float()
    x = torch.randn(shape)
    y, h = module(x)
    assert y.is_contiguous() and all(s.is_contiguous() for s in as_tuple(h))
    expected = torch.autograd.grad(y.relu().sum(), list(module.parameters()))
    y, h = module(x)
    kept = [s.clone() for s in as_tuple(h)]
    found = torch.autograd.grad(y.relu_().view(-1).sum(), list(module.parameters()))
    assert_same(found, expected)
    assert_same(h, tuple(kept))


def test_parametrisations_that_fill_forbidden_blocks_are_refused():
    x = torch.randn(5, 1, 3, dtype=torch.float64)
    scaled = layer()
    torch.nn.utils.parametrizations.spectral_norm(scaled, "weight_hh")
    scaled(x)
    assert not forbidden_of(scaled).any()
    full = layer()
    torch.nn.utils.parametrizations.orthogonal(full, "weight_hh")
    full(x)  # at first: the orthogonal part of a block-triangular matrix is block-diagonal
    torch.nn.init.normal_(full.parametrizations.weight_hh.original)  # then it learns
    with pytest.raises(ValueError, match=r"_Orthogonal of weight_hh fills blocks that the clock"):
        full(x)
    dense = layer(SRN)
    torch.nn.utils.parametrizations.orthogonal(dense, "weight_hh")
    dense(x)


def forbidden_of(module):
    return module.weight_hh[~torch.from_numpy(module.clock.mask())]
