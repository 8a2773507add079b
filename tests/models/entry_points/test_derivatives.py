"""Derivatives of the layers in every way that torch has."""

import copy
import warnings

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint
from torch import func
from torch.autograd import functional

from tests.models.entry_points.common import (
    X,
    build,
    by_reference,
    compiled,
    drawn,
    every,
    gradients,
    same,
)

BACKENDS = {
    "CW": ["cascade", "compiled", "exported", "auto"],
    "SRN": ["cascade", "compiled", "exported", "torch", "auto"],
    "LSTM": ["compiled", "exported", "torch", "auto"],
    "GRU": ["compiled", "exported", "torch", "auto"],
}


@every
def test_gradients_on_every_backend(name):
    """But Triton's, for which tests/kernels/test_triton.py has its interpreter."""
    for backend in BACKENDS[name]:
        module = build(name)
        if (name, backend) == ("LSTM", "torch"):
            module = build(name, peepholes=False)
        expected = gradients(by_reference(module))
        module.backend = backend
        same(gradients(module), expected)


def of_weight(module, weight):
    """A loss as a function of one weight."""

    def loss(value):
        return func.functional_call(module, {weight: value}, (X,))[0].pow(3).sum()

    return loss


@every
def test_derivatives_of_derivatives(name):
    module = build(name)
    direction = drawn(*module.weight_hh.shape)
    found = []
    for own in (module, by_reference(module)):
        loss = of_weight(own, "weight_hh")
        values = [
            getattr(functional, kind)(loss, own.weight_hh, direction)[1]
            for kind in ("hvp", "vhp", "jvp")
        ]
        values.append(functional.hessian(of_weight(own, "bias"), own.bias))
        x = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(own(x)[0].sum(), x, create_graph=True)
        penalty = (slope.norm() - 1).square()
        values += torch.autograd.grad(penalty, [own.weight_ih, own.weight_hh])
        found.append(values)
    same(*found)
    assert all(value.any() for value in found[0])


@every
def test_torch_func(name):
    module = build(name)
    found = []
    for own in (module, by_reference(module)):
        loss, bias = of_weight(own, "bias"), own.bias.detach()

        def outputs(value, own=own):
            return func.functional_call(own, {"bias": value}, (X[:, :1],))[0]

        y, pull = func.vjp(outputs, bias)
        found.append(
            [
                func.grad(loss)(bias),
                *pull(torch.ones_like(y)),
                *func.jvp(outputs, (bias,), (torch.ones_like(bias),)),
                func.jacrev(outputs)(bias),
                func.jacfwd(outputs)(bias),
                func.hessian(loss)(bias),
            ]
        )
    same(*found)


@every
def test_gradients_of_each_sequence(name):
    module = build(name)
    weights = {key: weight.detach() for key, weight in module.named_parameters()}

    def loss(own, x):
        return func.functional_call(module, own, (x,))[0].square().sum()

    each = func.vmap(func.grad(loss), (None, 1))(weights, X)
    for i in range(X.shape[1]):
        alone = func.grad(loss)(weights, X[:, i])
        same([each[key][i] for key in weights], alone.values())


@every
def test_many_layers_at_once(name):
    modules = [build(name) for _ in range(3)]
    for module in modules[1:]:
        module.reset_parameters()
    weights, buffers = func.stack_module_state(modules)
    base = copy.deepcopy(modules[0]).to("meta")

    def run(own, other, x):
        return func.functional_call(base, (own, other), (x,))[0]

    found = func.vmap(run, (0, 0, None))(weights, buffers, X)
    same(found, [module(X)[0] for module in modules])


@every
def test_functional_call_leaves_tensors_alone(name):
    module = build(name)
    before = {key: weight.detach().clone() for key, weight in module.named_parameters()}
    given = {key: drawn(*weight.shape) for key, weight in before.items()}
    copies = {key: weight.clone() for key, weight in given.items()}
    func.functional_call(module, given, (X,))
    for key in before:
        assert torch.equal(given[key], copies[key]) and torch.equal(
            module.state_dict()[key], before[key]
        )


@compiled
def test_batched_gradients_are_refused(name):
    """Torch's older vmap, which knows no rules of others; torch.func has the same."""
    module, x = build(name), X.clone().requires_grad_()
    y = module(x)[0]
    directions = torch.stack([torch.ones_like(y), torch.zeros_like(y)])
    with pytest.raises(RuntimeError, match="[Bb]atching rule|vmap"):
        torch.autograd.grad(y, x, directions, is_grads_batched=True)
    with pytest.raises(RuntimeError, match="[Bb]atching rule|vmap"):
        functional.jacobian(lambda x: module(x)[0], x, vectorize=True)
    _, pull = func.vjp(lambda x: module(x)[0], X)
    (found,) = func.vmap(pull)(directions)
    torch.testing.assert_close(found[0], torch.autograd.grad(y.sum(), x)[0])
    assert not found[1].any()


@every
def test_no_graph_where_none_is_wanted(name):
    module = build(name)
    expected = module(X)[0].detach()
    with torch.no_grad():
        output = module(X)[0]
    assert output.grad_fn is None and torch.equal(output, expected)
    with torch.inference_mode():
        output = module(X)[0]
    assert output.is_inference() and torch.equal(output, expected)
    module.requires_grad_(False)
    assert not module(X)[0].requires_grad
    assert module(X.clone().requires_grad_())[0].requires_grad


@every
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(name, reentrant):
    module = build(name)
    checkpoint = torch.utils.checkpoint.checkpoint
    found = gradients_of_backward(module, lambda x: checkpoint(module, x, use_reentrant=reentrant))
    same(found, gradients_of_backward(module, module))


def gradients_of_backward(module, run):
    module.zero_grad()
    x = X.clone().requires_grad_()
    run(x)[0].square().sum().backward()
    return [t.grad for t in (x, *module.parameters())]


@every
def test_what_autograd_keeps_may_lie_elsewhere(name):
    module = build(name)
    expected = gradients(module)
    with torch.autograd.graph.save_on_cpu(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        with torch.autograd.detect_anomaly():
            same(gradients(module), expected)
