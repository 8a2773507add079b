"""Whoever makes a graph of a layer: torch.compile, export, ONNX, traces."""

import io
import shutil
import warnings

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from tests.models.entry_points.common import CLASSES, X, build, drawn, every, gradients, same


@every
def test_compile_is_one_graph_of_any_length(name):
    """The first call and its training, one more for lengths, one for batches."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    module = build(name)
    graph = torch.compile(module, fullgraph=True, backend=counter)
    for length, batch in ((5, 2), (7, 2), (9, 3), (4, 4)):
        x = drawn(length, batch, 3)
        same(gradients(module, graph, x), gradients(module, x=x))
    assert counter.frame_count <= 3


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
