"""Torch's own inputs of recurrent modules, and the questions of its test_modules.py."""

import copy
import functools
import io
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
)

from cwrnn_cli.models import LSTM
from tests.models.torch_own.common import (
    LAYERS,
    backward,
    build,
    call,
    inputs_that_learn,
    layers,
    of_torch,
    peers,
    same,
    samples,
    tensors,
)


@peers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_outputs_and_gradients_are_torchs(name, dtype):
    for sample in samples(name, dtype, requires_grad=True):
        theirs = getattr(nn, name)(**sample.constructor_input.kwargs, dtype=dtype)
        expected = call(theirs, sample)
        backward(expected)
        expected_grads = [t.grad.clone() for t in inputs_that_learn(sample)]
        for backend in ("auto", "reference"):
            mine = LAYERS[name][0].from_torch(theirs)
            mine.backend = backend
            for t in inputs_that_learn(sample):
                t.grad = None
            found = call(mine, sample)
            same(found, expected)
            backward(found)
            same([t.grad for t in inputs_that_learn(sample)], expected_grads)
            for kind, layer, way in itertools.product(
                ("weight_ih", "weight_hh"), range(2), ("", "_reverse")
            ):
                other = getattr(theirs, f"{kind}_l{layer}{way}", None)
                if other is not None:
                    own = mine.get_parameter(kind + (f"_l{layer}" if layer else "") + way)
                    torch.testing.assert_close(own.grad, other.grad)


@layers
def test_no_batch_is_a_batch_of_one(name):
    for sample in samples(name):
        if isinstance(sample.forward_input.args[0], PackedSequence):
            continue
        module = build(name, sample)
        same(call(module, sample), sample.reference_fn(module, *sample.forward_input.args))


def test_an_lstm_has_no_projections():
    with pytest.raises(TypeError, match="proj_size"):
        LSTM(2, 3, proj_size=2)


@layers
def test_construction_on_a_device_with_a_type(name):
    for sample in samples(name, every=3):
        for device, dtype in itertools.product(("cpu", "meta"), (torch.float32, torch.float64)):
            made = [build(name, sample, device=device, dtype=dtype)]
            with torch.device(device):
                made.append(build(name, sample, dtype=dtype))
            made.append(
                nn.utils.skip_init(
                    type(made[0]), device=device, dtype=dtype, **own_options(name, sample)
                )
            )
            for module in made:
                every = [*module.named_parameters(), *module.named_buffers()]
                assert len(every) == len(list(build(name, sample).parameters()))
                assert all(t.device.type == device and t.dtype == dtype for _, t in every)
            with torch.device("meta"):  # a device that is said is said
                module = build(name, sample, device="cpu")
            assert all(p.device.type == "cpu" for p in module.parameters())


def own_options(name, sample):
    return sample.constructor_input.kwargs | ({"periods": [1, 2]} if name == "CW" else {})


@layers
def test_from_meta_to_memory(name):
    """to_empty, then weights of another; and the shapes of a forward pass without memory."""
    for sample in samples(name, every=3):
        module, other = build(name, sample, device="meta"), build(name, sample)
        without = copy.deepcopy(sample.forward_input.args)
        without = [
            t.to("meta")
            if not isinstance(t, tuple) or isinstance(t, PackedSequence)
            else tuple(s.to("meta") for s in t)
            for t in without
        ]
        expected = call(other, sample)
        if not isinstance(without[0], PackedSequence):
            found = module(*without)
            for mine, theirs in zip(tensors(found), tensors(expected), strict=True):
                assert mine.is_meta and mine.shape == theirs.shape and mine.dtype == theirs.dtype
        module.to_empty(device="cpu")
        module.load_state_dict(other.state_dict())
        same(call(module, sample), expected)


@layers
@pytest.mark.parametrize("swap", [False, True])
def test_to_another_type(name, swap):
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for sample in samples(name, torch.float32, every=5):
            module = build(name, sample, dtype=torch.float32)
            with torch.no_grad():
                expected, before = call(module, sample), list(module.parameters())
            module.double()
            assert all(p.dtype == torch.float64 for p in module.parameters())
            assert all(a is b for a, b in zip(module.parameters(), before, strict=True))
            same(call(module.float(), sample), expected)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@layers
def test_copies_and_files(name):
    for sample in samples(name):
        module = build(name, sample)
        expected = call(module, sample)
        same(call(copy.deepcopy(module), sample), expected)
        same(call(copy.copy(module), sample), expected)
        same(call(pickle.loads(pickle.dumps(module)), sample), expected)
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        other = build(name, sample)
        other.reset_parameters()
        other.load_state_dict(torch.load(file, weights_only=True))
        same(call(other, sample), expected)
        for key, weight in module.state_dict().items():
            assert torch.equal(weight, other.state_dict()[key])


@layers
def test_repr_says_what_is_not_the_default(name):
    for sample in samples(name):
        text = repr(build(name, sample))
        for option, value in sample.constructor_input.kwargs.items():
            said = f"{option}={value}" in text
            default = {"bias": True, "nonlinearity": "tanh"}.get(option, False)
            assert said == (value != default and not option.endswith("_size"))


@layers
def test_the_order_in_memory_changes_nothing(name):
    scattered = pytest.importorskip(
        "torch.testing._internal.common_utils", reason="it needs expecttest, of the extra 'test'"
    ).noncontiguous_like
    for sample in samples(name, requires_grad=True):
        arguments = sample.forward_input.args
        if isinstance(arguments[0], PackedSequence):
            continue
        module = build(name, sample)
        flat = [t.detach().clone().requires_grad_() for t in tensors(arguments)]
        results = []
        for chosen in itertools.product((False, True), repeat=len(flat)):
            own = [
                (scattered(t) if other else t).detach().requires_grad_()
                for t, other in zip(flat, chosen, strict=True)
            ]
            assert all(t.is_contiguous() != c for t, c in zip(own, chosen, strict=True))
            module.zero_grad()
            found = module(own[0], *([tuple(own[1:])] if len(own) > 2 else own[1:]))
            backward(found)
            grads = [p.grad.clone() for p in module.parameters()]
            results.append((found, [t.grad for t in own], grads))
        for result in results[1:]:
            same(result, results[0])


@layers
@pytest.mark.parametrize("of_gradients", [False, True])
def test_derivatives(name, of_gradients):
    """Of outputs by inputs, states and weights; packed sequences among them."""
    check = torch.autograd.gradgradcheck if of_gradients else torch.autograd.gradcheck
    for sample in samples(name, requires_grad=True, every=7 if of_gradients else 3):
        module = build(name, sample)
        leaves = tensors(sample.forward_input.args)
        more = {"fast_mode": True}
        if not of_gradients:  # torch cannot pack in forward mode
            packed = isinstance(sample.forward_input.args[0], PackedSequence)
            more["check_forward_ad"] = not packed
        results = functools.partial(of_values, module, sample.forward_input.args, len(leaves))
        weights = list(module.parameters())
        values = [t.detach().clone().requires_grad_() for t in (*leaves, *weights)]
        assert check(results, values, **more)


def of_values(module, given, count, *values):
    """The layer's results as a function of its inputs, the first ones, and its weights."""
    first, *states = values[:count]
    if isinstance(given[0], PackedSequence):
        first = given[0]._replace(data=first)
    arguments = [first, *([tuple(states)] if module.states == 2 and states else states)]
    names = [name for name, _ in module.named_parameters()]
    own = dict(zip(names, values[count:], strict=True))
    return tuple(tensors(torch.func.functional_call(module, own, tuple(arguments))))


@layers
def test_training_and_evaluating_are_one_without_dropout(name):
    for sample in samples(name, every=2):
        module = build(name, sample)
        expected = call(module.train(), sample)
        assert module.training
        same(call(module.eval(), sample), expected)
        assert not module.training


def test_torchs_own_mistakes():
    """The errors that torch's tests expect: the same kind, and of a wrong type the same words."""
    common = of_torch()
    for name in ("RNN", "GRU", "LSTM"):
        options = {"requires_grad": False, "training": True, "is_rnn": name == "RNN"}
        for error in common.module_error_inputs_torch_nn_RNN_GRU(
            None, device="cpu", dtype=torch.float32, **options
        ):
            given = error.module_error_input
            if given.constructor_input.args[0] == 0:
                continue  # ours has layers without input
            words = error.error_regex if error.error_type is TypeError else None
            with pytest.raises(error.error_type, match=words):
                module = LAYERS[name][0](
                    *given.constructor_input.args, **given.constructor_input.kwargs
                )
                if given.forward_input is not None:
                    call(module, given)
