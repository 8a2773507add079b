"""What is captured as CUDA graphs, called as it is: on a CPU, in float64, against the reference."""

import pytest
import torch

from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.lstm import graph, lstm


def problem(steps, inputs=2, peepholes=True, networks=2, batch=3, cells=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [
        (networks, batch, steps, inputs),
        (networks, 4 * cells, inputs),
        (networks, 4 * cells, cells),
        (networks, 4 * cells),
        (networks, 3, cells) if peepholes else (0,),
        (networks, batch, cells),
        (networks, batch, cells),
    ]
    values = [0.6 * torch.randn(s, dtype=torch.float64, generator=generator) for s in shapes]
    return [v.requires_grad_() if v.numel() or i == 0 else None for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("steps", "inputs", "peepholes"), [(1, 2, True), (7, 0, True), (64, 2, False), (91, 1, True)]
)
def test_values_and_gradients_are_the_references(steps, inputs, peepholes):
    values = problem(steps, inputs, peepholes, seed=steps)
    used = [v for v in values if v is not None and v.numel()]
    results = []
    for way in (reference.lstm, graph.lstm):
        y, c = way(*values)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
        loss = (y * weights).sum() + (c * weights.flip(2)).sum()
        results.append([y, c, *torch.autograd.grad(loss, used)])
    for theirs, mine in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)
    with torch.no_grad():
        torch.testing.assert_close(graph.lstm(*values)[0], results[0][0])


def test_one_output_alone_has_its_gradient():
    values = problem(6)
    for which in (0, 1):
        theirs = torch.autograd.grad(reference.lstm(*values)[which].square().sum(), values)
        mine = torch.autograd.grad(graph.lstm(*values)[which].square().sum(), values)
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b)


def test_refused_with_the_reason():
    values = problem(3)
    with pytest.raises(ValueError, match="'graph': it runs on a GPU, not on cpu; use 'auto'"):
        lstm(*values, None, "graph")
    with pytest.raises(ValueError, match="'graph': its cells give out tanh, not sigmoid; use"):
        lstm(*values, None, "graph", "sigmoid")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_replayed_on_a_gpu():
    for steps in (91, 5, 91):  # the third has all its graphs
        values = problem(steps, seed=steps)
        there = [value.detach().cuda().requires_grad_() for value in values]
        expected, found = lstm(*values, None, "reference")[0], lstm(*there, None, "graph")[0]
        torch.testing.assert_close(found.cpu(), expected)
        theirs = torch.autograd.grad(expected.square().sum(), values)
        mine = torch.autograd.grad(found.square().sum(), there)
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a.cpu(), b)
