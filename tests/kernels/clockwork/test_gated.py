"""LSTM and GRU on the clock: what holds between ticks, and every backend against the reference."""

import copy
import functools

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import clockwork
from cwrnn_cli.models import CELLS, ClockworkGRU, ClockworkLSTM, Stream
from tests.kernels.clockwork.test_clockwork import problem
from tests.kernels.clockwork.test_offsets import modules

PLAIN = {"cwlstm": "lstm", "cwgru": "gru"}
models = pytest.mark.parametrize("model", list(PLAIN))


def spec_of(model, clock, **options):
    extra = {"peepholes": True} if model == "cwlstm" else {}
    return CELLS[model].of_clock(clock, **(extra | options))


def draw(spec, networks=2, batch=3, steps=9, inputs=2, seed=0, leave_out=()):
    """Inputs, weights by name, states: leaves that take a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def one(*shape):
        values = torch.randn(shape, dtype=torch.float64, generator=generator) * 0.6
        return values.requires_grad_()

    shapes = {n: s for n, s in spec.weights(inputs).items() if not n.startswith(leave_out)}
    weights = {name: one(networks, *shape) for name, shape in shapes.items()}
    states = 2 if "lstm" in spec.name else 1
    state = tuple(one(networks, batch, spec.hidden_size) for _ in range(states))
    return one(networks, batch, steps, inputs), weights, state


def gradients(y, last, x, weights, state):
    values = [x, *weights.values(), *(state or ())]
    loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum()
    loss = loss + sum(each.square().sum() for each in last)
    return torch.autograd.grad(loss, [v for v in values if v.numel()], allow_unused=True)


def assert_all_close(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


@models
def test_with_one_period_it_is_the_cell_itself(model):
    clock = Clock.of(7, [1, 1], [3, 4])
    spec, plain = spec_of(model, clock), CELLS[PLAIN[model]].of_size(7, {"peepholes": True})
    x, weights, state = draw(spec)
    expected = plain.forward(x, weights, state, backend="reference")
    for backend in ("reference", "cascade", "auto"):
        found = spec.forward(x, weights, state, backend=backend)
        torch.testing.assert_close(found, expected)


@models
def test_a_tick_is_a_step_of_the_cell_and_between_ticks_all_holds(model):
    """Step by step, a module is the plain cell with its own rows of masked weights."""
    clock = Clock.of(9, [1, 3, 6], [4, 3, 2], [0, 1, 4])
    spec, plain = spec_of(model, clock), CELLS[PLAIN[model]].of_size(9, {"peepholes": True})
    x, weights, state = draw(spec, steps=20)
    y, last = spec.forward(x, weights, state, backend="reference", start=5)
    allowed = torch.from_numpy(clock.mask()).repeat(spec.gates, 1)
    masked = weights | {"weight_hh": weights["weight_hh"] * allowed}
    held = state
    for t in range(20):
        _, new = plain.forward(x[:, :, t : t + 1], masked, held, backend="reference")
        ticks = torch.from_numpy((5 + t - clock.unit_phases) % clock.unit_periods == 0)
        held = tuple(torch.where(ticks, a, b) for a, b in zip(new, held, strict=True))
        torch.testing.assert_close(y[:, :, t], held[0])
    torch.testing.assert_close(last, held)


@settings(max_examples=25)
@given(
    st.sampled_from(list(PLAIN)),
    modules(distinct=False),
    st.integers(1, 30),
    st.integers(0, 2),
    st.integers(0, 40),
    st.sampled_from([(), ("bias",), ("bias_hn", "weight_peephole")]),
    st.booleans(),
)
def test_the_cascade_is_the_reference_with_its_gradients(
    model, clock, steps, inputs, start, leave_out, with_state
):
    spec = spec_of(model, clock)
    x, weights, state = draw(spec, 2, 2, steps, inputs, steps, leave_out)
    lengths = torch.tensor([steps, (steps + 1) // 2])
    results = []
    for backend in ("reference", "cascade", "auto"):
        given_state = state if with_state else None
        y, last = spec.forward(x, weights, given_state, lengths, backend, start)
        results.append([y, *last, *gradients(y[:, :1], last, x, weights, given_state)])
    for found in results[1:]:
        assert_all_close(found, results[0])


@models
def test_auto_is_compiled(model):
    spec = spec_of(model, Clock.of(6, [1, 2, 4]))
    x, weights, state = draw(spec)
    found = [spec.forward(x, weights, state, backend=name)[0] for name in ("auto", "compiled")]
    assert torch.equal(*found)
    assert not torch.equal(found[0], spec.forward(x, weights, state, backend="cascade")[0])


@models
@pytest.mark.parametrize("backend", ["cascade", "compiled"])
def test_gradcheck(model, backend):
    spec = spec_of(model, Clock.of(5, [2, 3, 3], [2, 1, 2], [1, 0, 2]))
    x, weights, state = draw(spec, 1, 2, 7)

    def run(*values):
        named = dict(zip(weights, values[1:], strict=False))
        y, last = spec.forward(values[0], named, values[1 + len(weights) :], backend=backend)
        return y, *last

    assert torch.autograd.gradcheck(run, (x, *weights.values(), *state))


@models
def test_modules_with_a_period_of_their_own_are_compiled(model):
    """And those with a common one are not, beside them; in float32, too, and for any period."""
    clock = Clock.of(42, [1, 3, 3, 8, 1 << 30], [17, 2, 3, 16, 4], [0, 1, 2, 7, 3])
    options = {"cell_output": "2tanh"} if model == "cwlstm" else {}
    spec = spec_of(model, clock, **options)
    x, weights, state = draw(spec, steps=40)
    results = []
    choices = (("cascade", torch.float64), ("compiled", torch.float64), ("compiled", torch.float32))
    for backend, dtype in choices:
        own, *states = x.to(dtype), *(each.to(dtype) for each in state)
        named = {name: weight.to(dtype) for name, weight in weights.items()}
        y, last = spec.forward(own, named, tuple(states), None, backend, 2)
        assert y.dtype == dtype
        results.append([y, *last, *gradients(y, last, x, weights, state)])
    assert_all_close(results[1], results[0])
    for expected, found in zip(results[0], results[2], strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-2)


@models
def test_what_compiled_cannot_is_refused_with_the_reason(model):
    for clock, start, reason in (
        (Clock.of(6, [1, 2, 4], None, None, "full"), 0, "with the mask 'full' fast ones feed them"),
        (Clock.of(6, [1, 2, 4]), torch.tensor([0, 1, 2]), "it does one start, not one for each"),
    ):
        spec = spec_of(model, clock)
        x, weights, state = draw(spec)
        with pytest.raises(ValueError, match=f"'compiled': .*{reason}"):
            spec.forward(x, weights, state, backend="compiled", start=start)
    half = [each.to(torch.bfloat16) for each in (x, *weights.values())]
    with pytest.raises(ValueError, match=r"'compiled': .* not torch.bfloat16"):
        spec.forward(half[0], dict(zip(weights, half[1:], strict=True)), backend="compiled")


@models
def test_exported_is_the_reference(model):
    spec = spec_of(model, Clock.of(9, [2, 4, 4], None, [1, 0, 2]))
    x, weights, state = draw(spec, networks=1)
    for given_state in (state, None):
        results = [
            spec.forward(x, weights, given_state, None, backend, 3)
            for backend in ("exported", "reference")
        ]
        torch.testing.assert_close(*results)


def test_an_lstms_deltas_are_clipped_alike():
    spec = spec_of("cwlstm", Clock.of(6, [1, 3]), cell_output="sigmoid")
    x, weights, state = draw(spec)
    results = []
    choices = (("reference", 0.02), ("cascade", 0.02), ("compiled", 0.02), ("compiled", None))
    for backend, limit in choices:
        y, last = spec.forward(x, weights, state, backend=backend, delta_clip=limit)
        results.append(gradients(y, last, x, weights, state))
    assert_all_close(results[0], results[1])
    assert_all_close(results[0], results[2])
    assert not torch.allclose(results[0][0], results[3][0])


@pytest.mark.parametrize("cls", [ClockworkLSTM, ClockworkGRU])
def test_in_pieces_and_at_any_start(cls):
    torch.manual_seed(0)
    clock = {"periods": [1, 4, 4], "module_offsets": [0, 1, 3], "clock_origin": 1}
    layer = cls(3, 9, num_layers=2, batch_first=True, dtype=torch.float64, **clock)
    x = torch.randn(2, 23, 3, dtype=torch.float64)
    whole, _ = layer(x)
    stream = Stream(layer)
    pieces = [stream(piece) for piece in x.split([1, 4, 7, 11], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    begun, _ = layer(x, None, [3, 10])
    for i, start in enumerate([3, 10]):
        torch.testing.assert_close(begun[i], layer(x[i], None, start)[0])
    layer.backend = "cascade"
    torch.testing.assert_close(layer(x, None, [3, 3])[0], layer(x, None, 3)[0])
    with pytest.raises(ValueError, match="'cascade': it does one start, not one for each"):
        layer(x, None, [3, 4])


@pytest.mark.parametrize("cls", [ClockworkLSTM, ClockworkGRU])
def test_compiled_modules_have_every_derivative_and_one_graph_for_many_lengths(cls):
    torch.manual_seed(0)
    layer = cls(2, 4, periods=[1, 2], dtype=torch.float64)
    oracle = copy.deepcopy(layer)
    oracle.backend = "reference"
    x = torch.randn(11, 2, 2, dtype=torch.float64)

    def loss(module):
        named = functools.partial(torch.func.functional_call, module)
        return lambda bias: named({"bias": bias}, (x[:5],))[0].pow(3).sum()

    bias = layer.bias.detach()
    torch.testing.assert_close(*(torch.func.hessian(loss(own))(bias) for own in (layer, oracle)))
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    graph = torch.compile(layer, fullgraph=True, backend=counter)
    for steps in (5, 9, 11):  # a graph more for those that the period divides
        results = []
        for run in (graph, oracle):
            y = run(x[:steps])[0]
            results.append([y, *torch.autograd.grad(y.square().sum(), list(run.parameters()))])
        assert_all_close(*results)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("cls", [ClockworkLSTM, ClockworkGRU])
def test_weights_know_their_clock_and_forbidden_ones_are_0(cls):
    layer = cls(3, 6, periods=[1, 2, 4], bidirectional=True)
    forbidden = torch.from_numpy(~layer.clock.mask()).repeat(layer.cells[0].gates, 1)
    for name in ("weight_hh", "weight_hh_reverse"):
        assert not getattr(layer, name)[forbidden].any()
        assert getattr(layer, name)[~forbidden].all()
    cls(3, 6, periods=[1, 2, 4], bidirectional=True).load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="saved under another clock"):
        cls(3, 6, periods=[1, 2, 8], bidirectional=True).load_state_dict(layer.state_dict())


MASKS = ("full", "lower")


@pytest.mark.parametrize("feeds", MASKS)
def test_other_masks_are_the_references_alone(feeds):
    clock = Clock.of(6, [1, 2, 4], None, None, feeds)
    values = problem(clock, steps=12, requires_grad=True)
    x, w_i, w_h, b, h0 = values
    found = clockwork(*values, clock)
    allowed = torch.from_numpy(clock.mask())
    assert allowed.all() if feeds == "full" else not allowed.triu(2).any()
    (gradient,) = torch.autograd.grad(found.sum(), w_h, retain_graph=True)
    assert gradient[:, allowed].all() and not gradient[:, ~allowed].any()
    y = h0
    for t in range(12):
        ticks = torch.from_numpy(t % clock.unit_periods == 0)
        z = x[:, :, t] @ w_i.mT + y @ (w_h * allowed).mT + b[:, None]
        y = torch.where(ticks, torch.tanh(z), y)
        torch.testing.assert_close(found[:, :, t], y)
    for backend in ("cascade", "compiled"):
        with pytest.raises(ValueError, match=f"'{backend}': it runs slow modules first, and with"):
            clockwork(*values, clock, backend)
    one = [value[:1] for value in values]
    torch.testing.assert_close(clockwork(*one, clock, "exported"), reference.clockwork(*one, clock))


@models
@pytest.mark.parametrize("feeds", MASKS)
def test_gated_cells_take_other_masks_by_the_reference(model, feeds):
    spec = spec_of(model, Clock.of(6, [1, 2, 4], None, None, feeds))
    x, weights, state = draw(spec)
    found = spec.forward(x, weights, state)
    torch.testing.assert_close(found, spec.forward(x, weights, state, backend="reference"))
    with pytest.raises(ValueError, match=f"with the mask '{feeds}' fast ones feed them"):
        spec.forward(x, weights, state, backend="cascade")


def test_a_mask_is_part_of_the_layer():
    layer = CELLS["cw"].of_size(6, {"periods": 3, "mask": "lower"}).layer(2)
    assert layer.mask == "lower" and "mask=lower" in repr(layer)
    assert not layer.weight_hh.triu(2).any()
    other = CELLS["cw"].of_size(6, {"periods": 3}).layer(2)
    with pytest.raises(RuntimeError, match="another clock, .*, mask lower; this layer has"):
        other.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match="mask 'diagonal': expected one of upper, full, lower"):
        type(layer)(2, 6, mask="diagonal")
