"""What is captured as CUDA graphs, called as it is: on a CPU, in float64, against the reference."""

import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import cascade, clockwork, graph
from tests.kernels.clockwork.test_clockwork import problem


@pytest.mark.parametrize("steps", [1, 7, 64, 91])
def test_values_and_gradients_are_the_references(steps):
    clock = Clock.of(9, [1, 2, 5], [4, 2, 3])
    values = problem(clock, steps=steps, seed=steps, requires_grad=True)
    expected = reference.clockwork(*values, clock, 3)
    found = cascade.clockwork(*values, clock, 3, scan=graph.scan)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    theirs = torch.autograd.grad((expected * weights).sum(), values)
    mine = torch.autograd.grad((found * weights).sum(), values)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(cascade.clockwork(*values, clock, 3, scan=graph.scan), expected)


def test_derivatives_of_derivatives_and_many_at_once():
    clock = Clock.of(4, [1, 3], [2, 2])
    values = problem(clock, 1, 2, 6, requires_grad=True)

    def layer(*given):
        return cascade.clockwork(*given, clock, scan=graph.scan)

    assert torch.autograd.gradgradcheck(layer, values)
    many = torch.stack([values[0].detach(), 2 * values[0].detach()])
    rest = [value.detach() for value in values[1:]]
    found = torch.vmap(lambda x: layer(x, *rest))(many)
    torch.testing.assert_close(found, torch.stack([layer(x, *rest) for x in many]))


def test_the_outputs_may_be_written_to():
    drive, initial = (torch.randn(1, 5, 2, 3).double(), torch.zeros(1, 2, 3).double())
    weight = torch.randn(1, 3, 3).double().requires_grad_()
    given = torch.randn(1, 5, 2, 3).double()
    (wanted,) = torch.autograd.grad(graph.scan(drive, initial, weight), weight, given)
    hidden = graph.scan(drive, initial, weight)
    with torch.no_grad():
        hidden.zero_()
    (found,) = torch.autograd.grad(hidden, weight, given)
    torch.testing.assert_close(found, wanted)
    assert wanted.abs().max() > 0


def test_refused_with_the_reason():
    clock = Clock.of(6, 2)
    values = problem(clock)
    with pytest.raises(ValueError, match="'graph': it runs on a GPU, not on cpu; use 'auto'"):
        clockwork(*values, clock, "graph")
    with pytest.raises(ValueError, match="backend 'graph': it has no relu; use 'auto'"):
        clockwork(*values, clock, "graph", nonlinearity="relu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_replayed_on_a_gpu():
    for steps, batch in ((91, 3), (5, 3), (91, 3), (64, 2)):  # the third has all its graphs
        clock = Clock.of(9, [1, 2, 5], [4, 2, 3])
        values = problem(clock, batch=batch, steps=steps, seed=steps, requires_grad=True)
        there = [value.detach().cuda().requires_grad_() for value in values]
        expected = reference.clockwork(*values, clock, 3)
        found = clockwork(*there, clock, "graph", 3)
        torch.testing.assert_close(found.cpu(), expected)
        theirs = torch.autograd.grad(expected.square().sum(), values)
        mine = torch.autograd.grad(found.square().sum(), there)
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a.cpu(), b)
