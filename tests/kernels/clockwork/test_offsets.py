"""Modules with offsets: the reference against the definition, every backend against the reference.

Each problem is drawn: periods, offsets, sizes, steps, batch, inputs, initial state, start.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import clockwork
from cwrnn_cli.models import ClockworkRNN, Stream
from tests.kernels.clockwork.test_clockwork import problem


def modules(distinct):
    """Period, where in it the module ticks, units."""
    one = st.tuples(st.integers(1, 12), st.integers(0, 11), st.integers(1, 3))
    return st.lists(
        one, min_size=1, max_size=5, unique_by=(lambda module: module[0]) if distinct else None
    ).map(
        lambda found: Clock.of(
            sum(k for *_, k in found),
            [p for p, *_ in found],
            [k for *_, k in found],
            [o % p for p, o, _ in found],
        )
    )


def by_definition(x, weight_ih, weight_hh, bias, h0, clock, start):
    """Scalar arithmetic, one unit at a time; x (T, m), h0 (n,)."""
    units = list(zip(clock.unit_periods.tolist(), clock.unit_phases.tolist(), strict=True))
    y, outputs = list(h0), []
    for t, step in enumerate(x):
        before = list(y)
        for i, (period, offset) in enumerate(units):
            if (start + t - offset) % period:
                continue
            z = bias[i] + sum(w * v for w, v in zip(weight_ih[i], step, strict=True))
            for w, v, (other, _) in zip(weight_hh[i], before, units, strict=True):
                z += w * v if period <= other else 0
            y[i] = math.tanh(z)
        outputs.append(list(y))
    return outputs


@settings(max_examples=15)
@given(modules(distinct=False), st.integers(0, 30))
def test_the_reference_is_the_definition(clock, start):
    x, w_i, w_h, b, h0 = problem(clock, seed=start)
    y = reference.clockwork(x, w_i, w_h, b, h0, clock, start)
    expected = by_definition(
        *(v.tolist() for v in (x[0, 1], w_i[0], w_h[0], b[0], h0[0, 1])), clock, start
    )
    torch.testing.assert_close(y[0, 1], torch.tensor(expected, dtype=torch.float64))


def assert_same(backend, clock, steps, batch, inputs, start, with_bias=True, with_h0=True):
    values = problem(clock, 2, batch, steps, inputs, seed=steps, requires_grad=True)
    x, w_i, w_h, b, h0 = values
    arguments = (x, w_i if inputs else None, w_h, b if with_bias else None, h0 if with_h0 else None)
    used = [v for v in arguments if v is not None and v.numel()]
    expected = reference.clockwork(*arguments, clock, start)
    found = clockwork(*arguments, clock, backend, start)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    theirs = torch.autograd.grad((expected * weights).sum(), used)
    for a, b in zip(torch.autograd.grad((found * weights).sum(), used), theirs, strict=True):
        torch.testing.assert_close(a, b)


# steps, batch, inputs, start, with a bias, with an initial state
drawn = st.tuples(
    *(st.integers(1, 40), st.integers(1, 2), st.integers(0, 2), st.integers(0, 50)),
    *(st.booleans(), st.booleans()),
)


@settings(max_examples=60)
@given(modules(distinct=False), drawn)
def test_the_cascade_is_the_reference_with_its_gradients(clock, values):
    assert_same("cascade", clock, *values)
    assert_same("auto", clock, *values)


@settings(max_examples=60)
@given(modules(distinct=True), drawn)
def test_compiled_is_the_reference_with_its_gradients(clock, values):
    assert_same("compiled", clock, *values)


@pytest.mark.parametrize(
    "clock",
    [
        Clock.of(40, (1, 2, 4, 8), None, (0, 1, 3, 7)),  # nested, and bundled
        Clock.of(40, (2, 4, 8, 16), None, (0, 1, 5, 3)),  # some are nested
        Clock.of(64, (1, 2, 4, 12, 24), (20, 5, 6, 30, 3), (0, 1, 3, 3, 15)),
    ],
    ids=str,
)
@pytest.mark.parametrize("start", [0, 5])
def test_bundles_with_offsets(clock, start):
    assert_same("compiled", clock, 50, 6, 3, start)


TURNS = Clock.of(8, (8, 8, 8, 8), None, (0, 2, 4, 6))


def test_modules_that_take_turns_hear_each_other():
    """Under eq. 3-4 as they stand, and so the last one's weights matter to the first."""
    values = problem(TURNS, steps=20, requires_grad=True)
    (gradient,) = torch.autograd.grad(clockwork(*values, TURNS, "cascade").sum(), values[2])
    assert gradient.all() and TURNS.mask().all() and TURNS.recurrent_parameters() == 64


def test_what_compiled_code_cannot_do_it_says_and_auto_takes_the_cascade():
    values = problem(TURNS)
    with pytest.raises(ValueError, match="'compiled': .* of one period with several offsets"):
        clockwork(*values, TURNS, "compiled")
    expected = clockwork(*values, TURNS, "cascade")
    assert torch.equal(clockwork(*values, TURNS), expected)
    same = Clock.of(8, (3, 3, 8), None, (1, 1, 4))
    torch.testing.assert_close(
        clockwork(*values, same, "compiled"), reference.clockwork(*values, same)
    )


def test_with_deltas_clipped_too():
    clock = Clock.of(9, (1, 3, 6), None, (0, 2, 1))
    values = problem(clock, steps=20, requires_grad=True)
    results = []
    for backend in ("reference", "compiled"):
        y = clockwork(*values, clock, backend, 4, "tanh", 0.02)
        results.append(torch.autograd.grad(y.square().sum(), values))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("offsets", [(0, 1, 3), (1, 2, 2)])
@pytest.mark.parametrize("backend", ["auto", "reference", "cascade"])
def test_in_pieces_and_at_any_start(offsets, backend):
    torch.manual_seed(0)
    module = ClockworkRNN(
        3, 9, periods=(2, 4, 4), module_offsets=offsets, batch_first=True, dtype=torch.float64
    )
    module.backend = backend
    assert module.module_offsets == offsets
    x = torch.randn(2, 23, 3, dtype=torch.float64)
    whole, _ = module(x)
    stream = Stream(module)
    pieces = [stream(piece) for piece in x.split([1, 4, 7, 11], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    begun, _ = module(x, None, [3, 10])
    for i, start in enumerate([3, 10]):
        torch.testing.assert_close(begun[i], module(x[i], None, start)[0])


def test_an_origin_of_1_is_one_offset_for_all():
    torch.manual_seed(0)
    modules = [
        ClockworkRNN(3, 9, periods=(1, 2, 5), dtype=torch.float64, **options)
        for options in ({"clock_origin": 1}, {"module_offsets": (0, 1, 4)})
    ]
    for mine, theirs in zip(*(module.parameters() for module in modules), strict=True):
        mine.data.copy_(theirs)
    x = torch.randn(20, 2, 3, dtype=torch.float64)
    assert torch.equal(modules[0](x)[0], modules[1](x)[0])


def test_weights_know_their_offsets():
    options = {"periods": (2, 4, 4), "num_layers": 2, "clock_origin": 1}
    module = ClockworkRNN(3, 9, module_offsets=[(1, 0, 2), (0, 0, 0)], **options)
    same = ClockworkRNN(3, 9, module_offsets=[(1, 0, 2), (0, 0, 0)], **options)
    same.load_state_dict(module.state_dict())
    with pytest.raises(
        RuntimeError, match=r"another clock, .* step 1 on, offsets \[1, 0, 2\] / .* step 1 on;"
    ):
        ClockworkRNN(3, 9, **options).load_state_dict(module.state_dict())
    assert "2@1, 4, 4@2" in repr(module)


def test_exported_is_the_reference():
    clock = Clock.of(9, (2, 4, 4), None, (1, 0, 2))
    values = problem(clock, networks=1, steps=15)
    found = clockwork(*values, clock, "exported", 3)
    torch.testing.assert_close(found, reference.clockwork(*values, clock, 3))
