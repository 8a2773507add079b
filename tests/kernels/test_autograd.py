"""Every derivative of the compiled layers is that of the reference; none is zero in silence."""

import pytest
import torch
from torch import func
from torch.autograd import forward_ad

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import compiled as clockwork
from cwrnn_cli.kernels.gru import compiled as gru
from cwrnn_cli.kernels.lstm import compiled as lstm
from cwrnn_cli.kernels.numba import memory

CLOCK = Clock.of(5, [1, 2, 3], [2, 1, 2])


def drawn(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) * 0.6 for shape in shapes]


CELLS = {
    "clockwork": (
        lambda *v: clockwork.clockwork(*v, CLOCK, 1),
        lambda *v: reference.clockwork(*v, CLOCK, 1),
        drawn((1, 2, 5, 2), (1, 5, 2), (1, 5, 5), (1, 5), (1, 2, 5)),
    ),
    "lstm": (
        lambda *v: torch.cat(lstm.lstm(*v), 3),
        lambda *v: torch.cat(reference.lstm(*v), 3),
        drawn((1, 2, 4, 2), (1, 12, 2), (1, 12, 3), (1, 12), (1, 3, 3), (1, 2, 3), (1, 2, 3)),
    ),
    "gru": (
        gru.gru,
        reference.gru,
        drawn((1, 2, 4, 2), (1, 9, 2), (1, 9, 3), (1, 9), (1, 3), (1, 2, 3), (1, 2, 4, 9)),
    ),
}
cells = pytest.mark.parametrize("cell", CELLS)


def losses(cell):
    ours, theirs, values = CELLS[cell]
    return lambda *v: ours(*v).pow(2).sum(), lambda *v: theirs(*v).pow(2).sum(), values


@cells
def test_gradients_of_gradients(cell):
    ours, _, values = CELLS[cell]
    values = [value.clone().requires_grad_() for value in values]
    assert torch.autograd.gradgradcheck(ours, values)


@cells
def test_forward_mode(cell):
    ours, _, values = CELLS[cell]
    values = [value.clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(ours, values, check_forward_ad=True)


@cells
@pytest.mark.parametrize("only", [0, 2, 4])
def test_gradients_of_some_arguments_only(cell, only):
    ours, theirs, values = losses(cell)
    found = []
    for loss in (ours, theirs):
        chosen = [v.clone().requires_grad_(i == only) for i, v in enumerate(values)]
        (first,) = torch.autograd.grad(loss(*chosen), chosen[only], create_graph=True)
        found.append((first, *torch.autograd.grad(first.square().sum(), chosen[only])))
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its)


@cells
@pytest.mark.parametrize(
    "derivative",
    [
        func.jacrev,
        func.jacfwd,
        func.hessian,
        lambda f, argnums: func.jacrev(func.jacrev(f, argnums), argnums),
        lambda f, argnums: func.jacrev(func.jacfwd(f, argnums), argnums),
        lambda f, argnums: func.jacfwd(func.jacfwd(f, argnums), argnums),  # 0 in a plain Function
        lambda f, argnums: func.jacrev(func.hessian(f, argnums), argnums),
    ],
    ids=["rev", "fwd", "hessian", "rev-rev", "rev-fwd", "fwd-fwd", "third"],
)
def test_torch_func(cell, derivative):
    ours, theirs, values = losses(cell)
    found, expected = (derivative(loss, 3)(*values) for loss in (ours, theirs))
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected)


@cells
def test_vmap_over_sequences_and_over_weights(cell):
    """Per-sample gradients, and many networks at once."""
    ours, theirs, values = losses(cell)
    x = torch.stack([values[0] * scale for scale in (1.0, 0.5, -2.0)])
    w_hh = torch.stack([values[2] * scale for scale in (1.0, 0.3, 0.7)], dim=-1)
    dims = (0, None, -1, *[None] * (len(values) - 3))
    for loss in (ours, theirs):
        every = func.vmap(func.grad(loss, argnums=(0, 1, 2)), dims)(x, values[1], w_hh, *values[3:])
        for i in range(3):
            alone = func.grad(loss, argnums=(0, 1, 2))(x[i], values[1], w_hh[..., i], *values[3:])
            for mine, its in zip(every, alone, strict=True):
                torch.testing.assert_close(mine[i], its)


@cells
def test_the_functions_of_torch_autograd(cell):
    ours, theirs, values = losses(cell)

    def of_weights(loss):
        return lambda w: loss(*values[:2], w, *values[3:])

    direction = torch.ones_like(values[2])
    for name in ("hvp", "vhp", "jvp"):
        function = getattr(torch.autograd.functional, name)
        _, found = function(of_weights(ours), values[2], direction)
        _, expected = function(of_weights(theirs), values[2], direction)
        assert expected.any()
        torch.testing.assert_close(found, expected)


@cells
def test_a_gradient_that_is_moved_forward_is_refused_and_not_zero(cell):
    ours, _, values = CELLS[cell]
    x = values[0].clone().requires_grad_()
    y = ours(x, *values[1:])
    with forward_ad.dual_level():
        moved = forward_ad.make_dual(torch.ones_like(y), torch.ones_like(y))
        with pytest.raises(RuntimeError, match="jvp"):
            torch.autograd.grad(y, x, moved)


@cells
def test_no_graph_where_nothing_is_learned(cell):
    ours, _, values = CELLS[cell]
    learning = [value.clone().requires_grad_() for value in values]
    with torch.no_grad():
        assert ours(*learning).grad_fn is None
    with torch.inference_mode():
        torch.testing.assert_close(ours(*learning), ours(*values))


def test_weights_that_changed_by_any_way_are_packed_again():
    x, w_ih, w_hh, bias, h0 = CELLS["clockwork"][2]
    w_ih, w_hh = w_ih.clone(), w_hh.clone()

    def check():
        found = clockwork.clockwork(x, w_ih, w_hh, bias, h0, CLOCK)
        expected = reference.clockwork(x, w_ih, w_hh, bias, h0, CLOCK)
        torch.testing.assert_close(found, expected)

    check()
    w_hh.data[0, 0, 0] += 1  # no trace in the version
    check()
    w_ih.numpy()[0, 1, 1] += 1  # no torch at all
    check()
    w_hh[0, 0, 0] = float("nan")
    assert clockwork.clockwork(x, w_ih, w_hh, bias, h0, CLOCK).isnan().any()
    for _ in range(2 * clockwork._LAYERS):  # more layers than are kept
        w_hh = torch.randn(1, 5, 5, dtype=torch.float64)
        check()
    assert len(clockwork._latest) <= clockwork._LAYERS


def test_equal_weights_of_another_clock_are_packed_for_that_clock():
    """More clocks than are remembered, each with the same weights."""
    clocks = [Clock.of(12, [1, 2], [k, 12 - k]) for k in range(1, 12)]
    clocks += [Clock.of(12, [1, 2, 3], [a, b, 12 - a - b]) for a in range(1, 10) for b in (1, 2)]
    clocks += [Clock.of(12, [1, 3, 5], [a, b, 12 - a - b]) for a in range(1, 10) for b in (1, 2)]
    clocks += [Clock.of(12, [2, 5, 7], [a, b, 12 - a - b]) for a in range(1, 10) for b in (1, 2)]
    assert len(clocks) > clockwork._block_places.cache_info().maxsize
    x, w_ih, w_hh = drawn((1, 2, 5, 2), (1, 12, 2), (1, 12, 12))
    learning = w_hh.clone().requires_grad_()
    for first in (0, 7):
        for clock in [clocks[first], *clocks]:
            clockwork.clockwork(x, w_ih, learning, None, None, clock)
            found = clockwork.clockwork(x, w_ih, w_hh, None, None, clock)
            torch.testing.assert_close(found, reference.clockwork(x, w_ih, w_hh, None, None, clock))
    assert [key[0] for key in clockwork._latest] == clocks[-clockwork._LAYERS :]
    memory.release()
    assert not clockwork._latest


@cells
def test_no_sequences(cell):
    ours, _, values = CELLS[cell]
    batch_axes = {"clockwork": {0, 4}, "lstm": {0, 5, 6}, "gru": {0, 5, 6}}[cell]
    values = [v[:, :0] if i in batch_axes else v for i, v in enumerate(values)]
    values = [v.clone().requires_grad_() for v in values]
    y = ours(*values)
    assert y.shape[1] == 0
    y.sum().backward()
    assert all(v.grad.shape == v.shape and not v.grad.any() for v in values)
