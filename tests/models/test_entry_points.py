"""Each way in which torch takes a module, with the layers: docs/using.md names these tests."""

import copy
import io
import shutil
import warnings

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint
from torch import func, multiprocessing, nn
from torch.autograd import functional
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations, parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN
from cwrnn_cli.models.clockwork import ClockworkSpec
from cwrnn_cli.models.gru import GRUSpec
from cwrnn_cli.models.lstm import LSTMSpec
from cwrnn_cli.models.srn import SRNSpec
from tests.models import processes

CLASSES = {"CW": ClockworkRNN, "LSTM": LSTM, "GRU": GRU, "SRN": SRN}
every = pytest.mark.parametrize("name", CLASSES)
compiled = pytest.mark.parametrize("name", ["CW", "LSTM"])


def build(name, dtype=torch.float64, **options):
    torch.manual_seed(0)
    if name == "CW":
        options = {"periods": [1, 2, 3]} | options
    if name == "LSTM":
        options = {"peepholes": True} | options
    return CLASSES[name](3, 6, dtype=dtype, **options)


def drawn(*shape, dtype=torch.float64, seed=1):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


X = drawn(5, 2, 3)


def gradients(module, run=None, x=X):
    """Of the input and all weights."""
    x = x.detach().requires_grad_()
    run = module if run is None else run
    loss = run(x)[0].square().sum()
    return torch.autograd.grad(loss, (x, *module.parameters()))


def same(found, expected, **tolerances):
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, **tolerances)


def forbidden(module):
    return module.weight_hh[~torch.from_numpy(module.clock.mask())]


def by_reference(module):
    module = copy.deepcopy(module)
    module.backend = "reference"
    return module


# --- derivatives ---------------------------------------------------------------------------------

BACKENDS = {
    "CW": ["cascade", "compiled", "exported", "auto"],
    "SRN": ["cascade", "compiled", "exported", "torch", "auto"],
    "LSTM": ["compiled", "exported", "torch", "auto"],
    "GRU": ["exported", "torch", "auto"],
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


# --- graphs --------------------------------------------------------------------------------------


@every
def test_compile_is_one_graph_of_any_length(name):
    """The first call and its training; but for a GRU, one more for lengths, one for batches."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    module = build(name)
    graph = torch.compile(module, fullgraph=True, backend=counter)
    for length, batch in ((5, 2), (7, 2), (9, 3), (4, 4)):
        x = drawn(length, batch, 3)
        same(gradients(module, graph, x), gradients(module, x=x))
    assert counter.frame_count <= 3 or name == "GRU"


def test_inductor():
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("inductor needs a C++ compiler")
    torch._dynamo.reset()
    module = build("CW", bidirectional=True, num_layers=2)
    graph = torch.compile(module, fullgraph=True)
    for length, batch in ((5, 2), (7, 3), (9, 4)):  # strides of the first batch must not stay
        x = drawn(length, batch, 3)
        same(gradients(module, graph, x), gradients(module, x=x))


@pytest.mark.parametrize(("name", "strict"), [("CW", False), ("CW", True), ("LSTM", False)])
def test_export_keeps_a_loop_of_any_length(name, strict):
    module = build(name).eval()
    dynamic = ({0: torch.export.Dim("T"), 1: torch.export.Dim("B")},)
    program = torch.export.export(module, (X,), dynamic_shapes=dynamic, strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for x in (X, drawn(9, 4, 3)):
        same(loaded(x), module(x))


@every
def test_onnx_without_dynamo_is_refused(name, tmp_path):
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="dynamo=True"):
        warnings.simplefilter("ignore")  # that it is old
        torch.onnx.export(build(name).eval(), (X,), tmp_path / "old.onnx", dynamo=False)


def test_onnx(tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript is in the extra 'recipes'")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'recipes'")
    module = build("CW", torch.float32).eval()
    dynamic = ({0: torch.export.Dim("T"), 1: torch.export.Dim("B")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (X.float(),), dynamo=True, dynamic_shapes=dynamic, verbose=False
        )
    program.save(tmp_path / "layer.onnx")
    session = runtime.InferenceSession(tmp_path / "layer.onnx")
    x = drawn(9, 4, 3, dtype=torch.float32)
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    same(map(torch.from_numpy, found), module(x), rtol=1e-4, atol=1e-5)


@every
def test_a_trace_has_one_length(name):
    module = build(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tracing is old, and sees one way through
        trace = torch.jit.trace(module, X)
    x = 2 * X
    same(trace(x)[:1], module(x)[:1])
    same(gradients(module, trace), gradients(module))
    for length in (3, 9):
        with pytest.raises(RuntimeError, match="elements in a list"):
            trace(drawn(length, 2, 3))


@every
def test_no_script(name):
    with warnings.catch_warnings(), pytest.raises((OSError, torch.jit.frontend.NotSupportedError)):
        warnings.simplefilter("ignore")
        torch.jit.script(build(name))


@every
def test_make_fx(name):
    module = build(name)
    graph = make_fx(lambda x: module(x)[0])(X)
    torch.testing.assert_close(graph(2 * X), module(2 * X)[0])


@every
def test_symbolic_traces_take_a_layer_as_a_leaf(name):
    network = nn.Sequential(build(name))
    with pytest.raises(TypeError, match="expected a tensor, got Proxy"):
        torch.fx.symbolic_trace(network)

    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m, qualified_name):
            return isinstance(m, CLASSES[name]) or super().is_leaf_module(m, qualified_name)

    graph = torch.fx.GraphModule(network, Tracer().trace(network))
    same(graph(X)[:1], network(X)[:1])


# --- types ---------------------------------------------------------------------------------------


@every
def test_autocast(name):
    module, x = build(name, torch.float32), X.float()
    expected, expected_grads = module(x)[0].bfloat16(), gradients(module, x=x)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(x)[0]
        found = gradients(module, lambda x: (module(x)[0].float(),), x)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)
    assert all(grad.dtype == torch.float32 for grad in found)
    same(found, expected_grads, rtol=0.05, atol=0.02)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types(name, dtype):
    module = build(name, torch.float32)
    expected = module(X.float())[0]
    module = module.to(dtype)
    output = module(X.to(dtype))[0]
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)
    assert all(g.dtype == dtype and g.isfinite().all() for g in gradients(module, x=X.to(dtype)))


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}], ids=str)
def test_outputs_lie_in_memory_as_torchs(options):
    for peer, name in ((nn.RNN, "SRN"), (nn.LSTM, "LSTM"), (nn.GRU, "GRU"), (nn.RNN, "CW")):
        for x in (X, X[:, 0]):
            found, last = build(name, **options)(x)
            expected, its_last = peer(3, 6, dtype=torch.float64, **options)(x)
            assert found.stride() == expected.stride()
            last, its_last = (s if isinstance(s, tuple) else (s,) for s in (last, its_last))
            assert [s.stride() for s in last] == [s.stride() for s in its_last]
            assert all(s.view(-1).shape == (s.numel(),) for s in last)


@every
def test_outputs_may_be_written_to(name):
    module = build(name)
    expected = [4 * g for g in gradients(module)]
    same(gradients(module, lambda x: (module(x)[0].mul_(2),)), expected)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            output, last = module(X)
            last = last[0] if isinstance(last, tuple) else last
            kept = output.clone()
            last.zero_()
            assert torch.equal(output, kept)
    output.sum().backward()


@every
def test_no_sequences(name):
    module = build(name, num_layers=2, bidirectional=True)
    output, last = module(torch.empty(5, 0, 3, dtype=torch.float64))
    assert output.shape == (5, 0, 12)
    assert all(s.shape == (4, 0, 6) for s in (last if isinstance(last, tuple) else (last,)))
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


# --- modules -------------------------------------------------------------------------------------


@every
def test_hooks(name):
    module, called = build(name), []
    module.register_forward_pre_hook(lambda *_: called.append("before"))
    module.register_forward_hook(lambda m, args, output: called.append(output[0].shape))
    module.register_full_backward_pre_hook(lambda m, grads: called.append(grads[0].shape))
    module.register_full_backward_hook(lambda m, grads, outs: called.append(grads[0].shape))
    module.weight_hh.register_hook(lambda grad: 2 * grad)
    expected = 2 * gradients(copy.deepcopy(module))[2]  # a copy has no hooks of tensors
    called.clear()
    x = X.clone().requires_grad_()
    module(x)[0].square().sum().backward()
    assert called == ["before", (5, 2, 6), (5, 2, 6), (5, 2, 3)]
    torch.testing.assert_close(module.weight_hh.grad, expected)


@every
def test_an_optimiser_within_backward(name):
    """By post_accumulate_grad hooks."""
    module, other = build(name), build(name)
    for parameter in module.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        parameter.register_post_accumulate_grad_hook(lambda _, own=optimizer: own.step())
    module(X)[0].square().sum().backward()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    other(X)[0].square().sum().backward()
    optimizer.step()
    same(module.parameters(), other.parameters())


@every
def test_pruning(name):
    module = build(name)
    torch.nn.utils.prune.l1_unstructured(module, "weight_hh", amount=0.5)
    pruned = module.weight_hh_mask == 0
    module(X)[0].sum().backward()
    assert not module.weight_hh_orig.grad[pruned].any()
    expected = module(X)[0]
    torch.nn.utils.prune.remove(module, "weight_hh")
    assert torch.equal(module(X)[0], expected) and not module.weight_hh[pruned].any()


def steps(module, optimizer, count=3):
    def closure():
        optimizer.zero_grad()
        loss = (module(X)[0] - 0.3).square().mean()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(count)]


@pytest.mark.parametrize(
    "optimizer",
    [
        "SGD",
        "Adam",
        "AdamW",
        "NAdam",
        "RAdam",
        "Adamax",
        "Adagrad",
        "Adadelta",
        "RMSprop",
        "Rprop",
        "LBFGS",
    ],
)
def test_every_optimiser_keeps_to_the_clock(optimizer):
    """As they come from torch, without weight decay; with it: test_layers.py."""
    module = build("CW")
    before = module.weight_hh.detach().clone()
    losses = steps(module, getattr(torch.optim, optimizer)(module.parameters()))
    assert losses[-1] < losses[0]
    assert not forbidden(module).any() and not torch.equal(before, module.weight_hh)


def test_muon_writes_where_nothing_is_read():
    module = build("CW")
    matrices = [p for p in module.parameters() if p.dim() == 2]
    losses = steps(module, torch.optim.Muon(matrices, lr=0.01, weight_decay=0.0))
    assert losses[-1] < losses[0]
    assert forbidden(module).any()
    saved = module.state_dict()
    assert not saved["weight_hh"][~torch.from_numpy(module.clock.mask())].any()
    other = build("CW")
    other.load_state_dict(saved)
    assert torch.equal(other(X)[0], module(X)[0])


@every
def test_averages_of_weights(name):
    module = build(name)
    start = copy.deepcopy(module.state_dict())
    mean, moving = (
        AveragedModel(module),
        AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    )
    for average in (mean, moving):
        average.update_parameters(module)
    steps(module, torch.optim.SGD(module.parameters(), lr=0.1))
    for average, share in ((mean, 0.5), (moving, 0.1)):
        average.update_parameters(module)
        expected = torch.lerp(start["weight_hh"], module.weight_hh, share)
        torch.testing.assert_close(average.module.weight_hh, expected)
        assert average(X)[0].shape == (5, 2, 6)
        AveragedModel(module).load_state_dict(average.state_dict())


class Masked(nn.Module):
    """A parametrisation that keeps a recurrent weight to its clock."""

    def __init__(self, clock):
        super().__init__()
        self.register_buffer("mask", torch.from_numpy(clock.mask()))

    def forward(self, weight):
        return weight * self.mask


@every
def test_spectral_norm(name):
    """Its gradient writes everywhere: of a clockwork layer's recurrent weight behind a mask."""
    module = build(name)
    if name == "CW":
        parametrize.register_parametrization(module, "weight_hh", Masked(module.clock))
    parametrizations.spectral_norm(module, "weight_hh")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(30):
        steps(module, optimizer, 1)
    norm = torch.linalg.matrix_norm(module.weight_hh, 2)
    torch.testing.assert_close(norm, torch.ones_like(norm), rtol=0.01, atol=0)
    if name == "CW":
        assert not forbidden(module).any()


def test_what_fills_forbidden_blocks_is_refused():
    srn = build("SRN")
    parametrizations.orthogonal(srn, "weight_hh")
    steps(srn, torch.optim.SGD(srn.parameters(), lr=0.1))
    torch.testing.assert_close(srn.weight_hh @ srn.weight_hh.T, torch.eye(6, dtype=torch.float64))
    for kind in (parametrizations.orthogonal, parametrizations.spectral_norm):
        module = build("CW")
        kind(module, "weight_hh")
        with pytest.raises(ValueError, match="of weight_hh fills blocks that the clock forbids"):
            steps(module, torch.optim.SGD(module.parameters(), lr=0.1))
        parametrize.remove_parametrizations(module, "weight_hh")
        module(X)


SAFE = {
    "CW": [ClockworkRNN, ClockworkSpec],
    "LSTM": [LSTM, LSTMSpec],
    "GRU": [GRU, GRUSpec],
    "SRN": [SRN, SRNSpec],
}


@every
def test_a_whole_layer_in_a_file(name):
    module, file = build(name), io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(file, weights_only=True)
    for options in ({"weights_only": False}, {"weights_only": True}):
        file.seek(0)
        with torch.serialization.safe_globals(SAFE[name]):
            loaded = torch.load(file, **options)
        assert torch.equal(loaded(X)[0], module(X)[0])


@every
def test_loading_weights(name):
    module, other = build(name), build(name)
    other.reset_parameters()
    saved = other.state_dict()
    without = {key: value for key, value in saved.items() if key != "weight_ih"}
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict(without)
    assert module.load_state_dict(without, strict=False).missing_keys == ["weight_ih"]
    with pytest.raises(RuntimeError, match="Unexpected key"):
        module.load_state_dict(saved | {"more": X})
    with torch.device("meta"):
        module = build(name)
    module.load_state_dict(saved, assign=True)
    assert module.weight_hh.data_ptr() == saved["weight_hh"].data_ptr()
    assert torch.equal(module(X)[0], other(X)[0])


def test_loading_weights_of_a_clock():
    module = build("CW")
    old = module.state_dict()
    del old["_extra_state"]  # as files of before have it
    other = build("CW")
    other.reset_parameters()
    assert other.load_state_dict(old) and torch.equal(other(X)[0], module(X)[0])
    faster = build("CW", periods=[1, 2, 4])
    with pytest.raises(RuntimeError, match=r"another clock, periods \[1, 2, 3\]"):
        faster.load_state_dict(module.state_dict())


# --- processes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Two processes get layers and work: the layers as here, and what the processes say."""
    folder = tmp_path_factory.mktemp("processes")
    shared = build("CW").share_memory()
    to_shard = [build("CW", num_layers=2), build("LSTM", peepholes=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        multiprocessing.spawn(processes.work, (folder, shared, to_shard), nprocs=processes.COUNT)
    said = [torch.load(folder / f"of-{rank}.pt") for rank in range(processes.COUNT)]
    return shared, to_shard, said


def test_a_layer_is_sent_to_a_process(two_processes):
    _, layers, said = two_processes
    for one in said:
        same(one["sent"], [layer(processes.X)[0] for layer in layers])


def test_hogwild(two_processes):
    """Two processes train one layer's shared weights."""
    shared, _, _ = two_processes
    assert all(parameter.is_shared() for parameter in shared.parameters())
    alone = build("CW")
    first = processes.learn(copy.deepcopy(alone), processes.X)
    assert processes.learn(shared, processes.X) < first
    assert not torch.equal(shared.weight_ih, alone.weight_ih) and not forbidden(shared).any()


def test_fully_sharded(two_processes):
    """FSDP2: each process has half of each weight and half of the batch."""
    _, layers, said = two_processes
    for i, layer in enumerate(layers):
        alone = copy.deepcopy(layer)
        processes.learn(alone, processes.X)
        expected = alone.state_dict()
        found = said[0]["trained"][i]
        assert found.keys() == expected.keys()
        same(found.values(), expected.values())
        layer.load_state_dict(found)
