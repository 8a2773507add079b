"""The reference against equation 1 unit by unit, and every backend against the reference."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import BACKENDS as TABLE
from cwrnn_cli.kernels.clockwork import clockwork


def equation_1(x, weight_ih, weight_hh, bias, h0, periods):
    """Scalar arithmetic in Python, one unit at a time; x (T, m), h0 (n,)."""
    y, outputs = list(h0), []
    for t, step in enumerate(x):
        before = list(y)
        for i, period in enumerate(periods):
            if t % period:
                continue
            z = bias[i] + sum(w * v for w, v in zip(weight_ih[i], step, strict=True))
            for j, other in enumerate(periods):
                if period <= other:
                    z += weight_hh[i][j] * before[j]
            y[i] = math.tanh(z)
        outputs.append(list(y))
    return outputs


def problem(clock, networks=2, batch=3, steps=9, inputs=2, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    n = clock.hidden_size

    def draw(*shape, scale=0.6):
        values = torch.randn(shape, dtype=torch.float64, generator=generator) * scale
        return values.requires_grad_(requires_grad)

    return [
        draw(networks, batch, steps, inputs),
        draw(networks, n, inputs),
        draw(networks, n, n),
        draw(networks, n),
        draw(networks, batch, n),
    ]


def test_reference_is_equation_1():
    clock = Clock.of(7, [1, 2, 3, 5])
    x, w_i, w_h, b, h0 = problem(clock)
    y = reference.clockwork(x, w_i, w_h, b, h0, clock)
    for r in range(2):
        for s in range(3):
            expected = equation_1(
                *(v.tolist() for v in (x[r, s], w_i[r], w_h[r], b[r], h0[r, s])),
                clock.unit_periods.tolist(),
            )
            torch.testing.assert_close(y[r, s], torch.tensor(expected, dtype=torch.float64))


BACKENDS = ("cascade", "compiled")

clocks = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=5).map(
    lambda pairs: Clock.of(sum(k for _, k in pairs), [p for p, _ in pairs], [k for _, k in pairs])
)


@settings(max_examples=60)
@given(
    clocks, st.integers(1, 40), st.integers(1, 2), st.integers(0, 2), st.booleans(), st.booleans()
)
def test_cascade_is_the_reference_with_its_gradients(
    clock, steps, batch, inputs, with_bias, with_h0
):
    values = problem(clock, 2, batch, steps, inputs, seed=steps, requires_grad=True)
    x, w_i, w_h, b, h0 = values
    arguments = (x, w_i if inputs else None, w_h, b if with_bias else None, h0 if with_h0 else None)
    used = [v for v in arguments if v is not None and v.numel()]
    expected = reference.clockwork(*arguments, clock)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    theirs = torch.autograd.grad((expected * weights).sum(), used)
    for backend in BACKENDS:
        found = clockwork(*arguments, clock, backend)
        torch.testing.assert_close(found, expected)
        mine = torch.autograd.grad((found * weights).sum(), used)
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
def test_gradcheck(backend):
    clock = Clock.of(5, [2, 3, 4], [2, 1, 2])
    values = problem(clock, 2, 2, 8, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *v: clockwork(*v, clock, backend), values)


def test_forbidden_weights_get_a_gradient_of_exactly_zero():
    clock = Clock.of(6, 3)
    values = problem(clock, requires_grad=True)
    for backend in ("reference", *BACKENDS):
        (gradient,) = torch.autograd.grad(clockwork(*values, clock, backend).sum(), values[2])
        allowed = torch.from_numpy(clock.mask())
        assert not gradient[:, ~allowed].any()
        assert gradient[:, allowed].all()


def test_auto_is_one_of_them_and_others_are_refused():
    clock = Clock.of(6, 3)
    values = problem(clock)
    torch.testing.assert_close(clockwork(*values, clock), reference.clockwork(*values, clock))
    with pytest.raises(ValueError, match="'cudnn': expected one of auto, reference, cascade, comp"):
        clockwork(*values, clock, "cudnn")


@pytest.mark.parametrize("with_h0", [True, False])
def test_torchs_own_rnn_is_an_srn(with_h0):
    clock = Clock.of(8, [1, 1], [3, 5])
    *values, h0 = problem(clock, networks=1, requires_grad=True)
    arguments = (*values, h0 if with_h0 else None, clock)
    found = clockwork(*arguments, "torch")
    expected = reference.clockwork(*arguments)
    torch.testing.assert_close(found, expected)
    mine = torch.autograd.grad(found.square().sum(), values)
    for a, b in zip(mine, torch.autograd.grad(expected.square().sum(), values), strict=True):
        torch.testing.assert_close(a, b)


def test_auto_takes_torchs_rnn_for_an_srn_that_the_compiled_code_cannot_do(monkeypatch):
    asked = []
    recorded = replace(TABLE.table["torch"], run=lambda given: asked.append(given) or given.x)
    monkeypatch.setitem(TABLE.table, "torch", recorded)
    for units, dtype in ((512, torch.float32), (8, torch.float64), (6, torch.bfloat16)):
        x = torch.zeros(1, 32, 1, 2, dtype=dtype)
        weights = x.new_zeros(1, units, 2), x.new_zeros(1, units, units), None, None
        clockwork(x, *weights, Clock.of(units, [1]))
    assert [given.weight_hh.dtype for given in asked] == [torch.bfloat16]


def test_torch_is_refused_with_the_reason():
    for clock, networks, inputs, message in (
        (Clock.of(6, 2), 1, 2, "clock periods"),
        (Clock.of(6, [1]), 2, 2, "2 networks at once"),
        (Clock.of(6, [1]), 1, 0, "no input"),
    ):
        x, w_ih, *others = problem(clock, networks=networks, inputs=inputs)
        with pytest.raises(ValueError, match=f"no way to do {message}; use 'auto'"):
            clockwork(x, w_ih if inputs else None, *others, clock, "torch")


def test_compiled_is_refused_with_the_reason():
    clock = Clock.of(6, 3)
    values = [value.to(torch.bfloat16) for value in problem(clock)]
    with pytest.raises(ValueError, match="float32 or float64, not torch.bfloat16; use 'auto'"):
        clockwork(*values, clock, "compiled")
    assert clockwork(*values, clock).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("shape", "batch"), [((256, 8), 33), ((37, [1]), 9), ((300, [1, 1, 2, 5]), 5), ((70, 3), 130)]
)
def test_wide_layers_and_many_rows_on_several_threads(shape, batch):
    """Every tile of the compiled products, and rows that are no multiple of four."""
    clock = Clock.of(*shape)
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(size, dtype=torch.float64, generator=generator) * 0.5 / clock.hidden_size**0.5
        for size in (
            (2, batch, 21, 5),
            (2, clock.hidden_size, 5),
            (2, clock.hidden_size, clock.hidden_size),
            (2, clock.hidden_size),
            (2, batch, clock.hidden_size),
        )
    ]
    for value in values:
        value.requires_grad_()
    weights = torch.randn(2, batch, 21, clock.hidden_size, dtype=torch.float64)
    results = []
    for backend in ("cascade", "compiled"):
        y = clockwork(*values, clock, backend)
        results.append([y, *torch.autograd.grad((y * weights).sum(), values)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_long_sequences_and_wide_inputs_are_worked_on_in_pieces():
    """Longer than a piece of the input, of the outputs and of the batch, in every product."""
    clock = Clock.of(70, [1, 3], [48, 22])
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 9, 900, 600), (1, 70, 600), (1, 70, 70), (1, 70), (1, 9, 70))
    values = [
        (torch.randn(shape, dtype=torch.float64, generator=generator) / 30).requires_grad_()
        for shape in shapes
    ]
    results = []
    for backend in ("cascade", "compiled"):
        y = clockwork(*values, clock, backend)
        results.append([y, *torch.autograd.grad(y.square().sum(), values)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_float32_agrees_with_float64_to_its_precision():
    clock = Clock.of(40, 8)
    exact = [v / 5 for v in problem(clock, batch=7, steps=50)]
    single = [v.float() for v in exact]
    found = clockwork(*single, clock, "compiled")
    torch.testing.assert_close(found.double(), clockwork(*exact, clock), rtol=1e-5, atol=1e-6)


def test_a_second_backward_pass_gives_the_same():
    clock = Clock.of(20, 3)
    values = problem(clock, requires_grad=True)
    loss = clockwork(*values, clock, "compiled").square().sum()
    first = torch.autograd.grad(loss, values, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(loss, values)))


def test_inputs_that_are_not_contiguous():
    clock = Clock.of(20, 3)
    x, *others = problem(clock, networks=1, steps=12)
    expected = reference.clockwork(x, *others, clock)
    for strange in (
        x.transpose(1, 2).contiguous().transpose(1, 2),
        x.flip(3).flip(3),
        x.repeat(1, 1, 1, 2)[..., ::2].copy_(x),
    ):
        torch.testing.assert_close(clockwork(strange, *others, clock, "compiled"), expected)
