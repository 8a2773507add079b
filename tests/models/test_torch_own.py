"""Torch's own inputs for its recurrent modules, and what its tests ask, asked of our layers.

The inputs are those of torch.testing; the questions are those of torch's test_modules.py and of
the recurrent part of its test_nn.py.
"""

import copy
import functools
import io
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN

Clockwork = functools.partial(ClockworkRNN, periods=[1, 2])
# the name of torch's module: ours, and whether it is of torch's class RNN; a clockwork layer gets
# what torch has for nn.RNN
LAYERS = {"RNN": (SRN, True), "GRU": (GRU, False), "LSTM": (LSTM, False), "CW": (Clockwork, True)}
layers = pytest.mark.parametrize("name", LAYERS)
peers = pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])


@functools.cache
def of_torch():
    """Torch's module of inputs; it takes seconds to import."""
    own = pytest.importorskip(
        "torch.testing._internal.common_modules", reason="it needs expecttest, of the extra 'test'"
    )
    # it forbids everybody to set flags of torch.backends
    setattr(torch.backends, "__allow_nonbracketed_mutation_flag", True)
    return own


def samples(name, dtype=torch.float64, requires_grad=False, every=1):
    """Torch's ModuleInputs, or each so manieth; without those of projections."""
    common, of_rnn = of_torch(), LAYERS[name][1]
    options = {"device": "cpu", "dtype": dtype, "requires_grad": requires_grad, "training": True}
    if name == "LSTM":
        found = common.module_inputs_torch_nn_LSTM(None, **options)
        found = [s for s in found if not s.constructor_input.kwargs.pop("proj_size")]
    else:
        found = common.module_inputs_torch_nn_RNN_GRU(
            None, is_rnn=of_rnn, with_packed_sequence=True, **options
        )
    return found[::every]


def build(name, sample, **more):
    torch.manual_seed(0)
    more = {"dtype": torch.float64} | more
    return LAYERS[name][0](**sample.constructor_input.kwargs, **more)


def call(module, sample):
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def tensors(value):
    """All tensors in tuples and packed sequences, one after the other."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [value.data]
    return [] if value is None else [t for each in value for t in tensors(each)]


def same(found, expected, **tolerances):
    for mine, theirs in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(mine, theirs, **tolerances)


def inputs_that_learn(sample):
    return [t for t in tensors(sample.forward_input.args) if t.requires_grad]


def backward(results):
    sum(
        (t * torch.linspace(-1, 1, t.numel()).view(t.shape)).sum() for t in tensors(results)
    ).backward()


# --- test_modules.py -----------------------------------------------------------------------------


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


# --- test_nn.py ----------------------------------------------------------------------------------


def make(name, *sizes, **options):
    torch.manual_seed(0)
    return LAYERS[name][0](*sizes, dtype=torch.float64, **options)


def state_of(module, value):
    return (value, value.clone()) if module.states == 2 else value


@layers
@pytest.mark.parametrize("bidirectional", [False, True])
def test_sizes_are_checked(name, bidirectional):
    """test_rnn_args_check."""
    module = make(name, 3, 5, num_layers=2, bidirectional=bidirectional)
    count = 4 if bidirectional else 2

    def run(features=3, batch=7, shape=(count, 7, 5)):
        x = torch.zeros(4, batch, features, dtype=torch.float64)
        return module(x, state_of(module, torch.zeros(shape, dtype=torch.float64)))

    run()
    for wrong in (
        {"features": 4},
        {"batch": 8},
        {"shape": (count, 8, 5)},
        {"shape": (count, 7, 6)},
        {"shape": (count + 1, 7, 5)},
        {"shape": (7, 5)},
    ):
        with pytest.raises(RuntimeError):
            run(**wrong)


@layers
def test_no_initial_state_is_zeros(name):
    """test_rnn_initial_hidden_state."""
    module = make(name, 3, 6, num_layers=2)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    zeros = state_of(module, torch.zeros(2, 2, 6, dtype=torch.float64))
    same(module(x), module(x, zeros))


def test_relu_and_tanh_by_position():
    """test_RNN_nonlinearity and test_RNN_nonlinearity_passed_as_arg."""
    for nonlinearity in ("tanh", "relu"):
        by_position = SRN(4, 6, 2, nonlinearity)
        assert by_position.nonlinearity == nonlinearity and by_position.num_layers == 2
        theirs = nn.RNN(4, 6, 2, nonlinearity)
        x = torch.randn(5, 2, 4)
        same(SRN.from_torch(theirs)(x), theirs(x))
    for kind in (functools.partial(SRN, 4, 6, 2), functools.partial(ClockworkRNN, 4, 6)):
        with pytest.raises(ValueError, match="Unknown nonlinearity 'garbage'"):
            kind(nonlinearity="garbage")


@pytest.mark.parametrize("name", ["RNN", "CW"])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.7, 1.0])
def test_dropout_between_layers(name, p):
    """test_RNN_dropout: what a second layer that passes its input on gets to see."""
    module = make(name, 3, 40, num_layers=2, nonlinearity="relu", dropout=p, bias=False)
    with torch.no_grad():
        module.weight_hh.zero_()
        module.weight_hh_l1.zero_()
        module.weight_ih_l1.copy_(torch.eye(40))
        module.weight_ih.abs_()
    x = torch.rand(40, 5, 3, dtype=torch.float64) + 0.1
    whole = module.eval()(x)[0]
    dropped = module.train()(x)[0]
    moved = slice(0, 20) if name == "CW" else slice(0, 40)  # the module of period 1
    ratio = (dropped / whole)[..., moved]
    kept = ratio != 0
    assert abs(kept.double().mean() - (1 - p)) < 0.05
    torch.testing.assert_close(ratio[kept], torch.full_like(ratio[kept], 1 / (1 - p or 1)))


@layers
def test_dropout_changes_and_is_drawn_anew(name):
    """test_RNN_change_dropout and test_RNN_dropout_state."""
    module = make(name, 4, 6, num_layers=2)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    for train, p in itertools.product((True, False), (0, 0.5, 0, 0.7, 1, 0.2)):
        module.train(train).dropout = p
        first, second = call_twice(module, x)
        third = pickle.loads(pickle.dumps(module))(x)[0]
        certain = p in (0, 1) or not train
        assert torch.equal(first, second) == torch.equal(first, third) == certain
        torch.manual_seed(7)
        first = module(x)[0]
        torch.manual_seed(7)
        assert torch.equal(first, module(x)[0])


def call_twice(module, x):
    return module(x)[0], module(x)[0]


@layers
def test_weight_norm_comes_and_goes(name):
    """test_rnn_weight_norm, as a parametrisation and as a hook."""
    module = make(name, 3, 6, num_layers=2)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = module(x)
    for weight in ("weight_ih_l1", "weight_hh_l1"):
        parametrizations.weight_norm(module, weight)
        same(module(x), expected)
        backward(module(x))
        inner = module.parametrizations[weight]
        assert all(p.grad.isfinite().all() and p.grad.any() for p in inner.parameters())
        nn.utils.parametrize.remove_parametrizations(module, weight)
        same(module(x), expected)
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(module, weight)
        same(module(x), expected)
        nn.utils.remove_weight_norm(module, weight)
        same(module(x), expected)
    assert weight in dict(module.named_parameters())


@layers
def test_no_features(name):
    """Where torch has no layer without input (test_RNN_input_size_zero), ours runs on its clock."""
    module = make(name, 0, 6, num_layers=2)
    output, _ = module(torch.empty(5, 2, 0, dtype=torch.float64))
    assert output.shape == (5, 2, 6)
    output.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@layers
def test_tied_weights(name):
    """test_cudnn_weight_tying: one parameter of two directions is trained once."""
    module = make(name, 3, 6, bidirectional=True)
    module.weight_hh_reverse = module.weight_hh
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    for _ in range(2):
        optimizer.zero_grad()
        module(x)[0].square().sum().backward()
        optimizer.step()
    assert module.weight_hh_reverse is module.weight_hh
    assert len(list(module.parameters())) == 5 + (name == "GRU") * 2
    same(copy.deepcopy(module)(x), module(x))


@layers
def test_a_graph_that_is_kept_gives_the_same_again(name):
    """test_rnn_retain_variables."""
    module = make(name, 3, 6, num_layers=2, bidirectional=True)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    output = module(x)[0].square().sum()
    grads = []
    for keep in (True, True, False):
        x.grad = None
        module.zero_grad()
        output.backward(retain_graph=keep)
        grads.append([t.grad.clone() for t in (x, *module.parameters())])
    same(grads[1:], [grads[0]] * 2)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        output.backward()


@layers
@pytest.mark.parametrize("batch_first", [False, True])
def test_sequences_of_their_own_lengths(name, batch_first):
    """test_variable_sequence: packed, each is as alone, and so are all gradients."""
    module = make(name, 3, 6, num_layers=2, bidirectional=True, batch_first=batch_first)
    lengths = [7, 4, 2, 2, 1]
    padded = torch.randn(7, 5, 3, dtype=torch.float64)
    hx = torch.randn(4, 5, 6, dtype=torch.float64, requires_grad=True)
    x = padded.transpose(0, 1) if batch_first else padded
    x = x.detach().requires_grad_()

    def gradients(run):
        for t in (x, hx, *module.parameters()):
            t.grad = None
        outputs, last = run()
        (outputs.square().sum() + sum(t.pow(3).sum() for t in tensors(last))).backward()
        return outputs, last, [t.grad.clone() for t in (x, hx, *module.parameters())]

    def packed():
        each = pack_padded_sequence(x, lengths, batch_first=batch_first)
        output, last = module(each, state_of(module, hx))
        return pad_packed_sequence(output, batch_first=batch_first)[0], last

    def alone():
        outputs, lasts = [], []
        for i, length in enumerate(lengths):
            own = x[i : i + 1, :length] if batch_first else x[:length, i : i + 1]
            output, last = module(own, state_of(module, hx[:, i : i + 1]))
            gap = (0, 0, 0, 7 - length) if batch_first else (0, 0, 0, 0, 0, 7 - length)
            outputs.append(nn.functional.pad(output, gap))
            lasts.append(tensors(last))
        axis = 0 if batch_first else 1
        return torch.cat(outputs, axis), [torch.cat(same, 1) for same in zip(*lasts, strict=True)]

    same(gradients(packed), gradients(alone))


@layers
def test_packed_sequences_change_their_type_with_the_layer(name):
    module = make(name, 3, 6)
    packed = pack_sequence(
        [torch.randn(k, 3, dtype=torch.float64) for k in (2, 5, 3)], enforce_sorted=False
    )
    expected = module(packed)
    found = module.float()(packed.float())
    assert found[0].data.dtype == torch.float32
    assert torch.equal(found[0].batch_sizes, packed.batch_sizes)
    same([t.double() for t in tensors(found)], tensors(expected), rtol=1e-4, atol=1e-5)
