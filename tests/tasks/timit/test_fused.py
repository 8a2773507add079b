"""The fused engine of task 2: against autograd in Triton's interpreter, and when it is taken."""

import numpy as np
import pytest
import torch

from cwrnn_cli.tasks.timit import data as words
from cwrnn_cli.tasks.timit import engines
from cwrnn_cli.tasks.timit.engines import (
    CompiledEngine,
    Learning,
    StepwiseEngine,
    is_fused,
    make_engine,
)
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.configure import configure
from tests.conftest import interpreted, shape_of

pytest.importorskip("triton", reason="torch brings Triton on Linux only")
from cwrnn_cli.kernels.triton import train_classifier
from cwrnn_cli.kernels.triton.resources import resources
from cwrnn_cli.tasks.timit.fused import FusedEngine, unsupported


def test_in_the_interpreter():
    assert interpreted("tests.tasks.timit.interpreted") == "the engines agree\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu(monkeypatch):
    from tests.tasks.timit.interpreted import (
        CASES,
        check,
        check_divergence,
        check_noise,
        check_resume,
    )

    monkeypatch.setattr(engines, "draw_epoch", engines.draw_epoch)  # which `check` replaces
    check_noise("cuda")
    for case in CASES:
        check(case, torch.float32, 1e-4, "cuda")
        check_resume(case, "cuda")
        check_divergence(case, "cuda")


@pytest.mark.parametrize(
    ("model", "units", "outputs", "options", "learning", "reason"),
    [
        ("cw", 102, 25, {"periods": 7}, Learning(delta_clip=1.0), None),
        ("srn", 128, 64, {}, Learning(loss_at="every"), None),
        ("lstm", 41, 35, {"peepholes": True, "cell_output": "2tanh"}, Learning(), None),
        ("lstm", 65, 25, {}, Learning(), "65 units, more than 64, do not fit on chip"),
        ("srn", 129, 25, {}, Learning(), "129 units, more than 128, do not fit on chip"),
        ("srn", 9, 65, {}, Learning(), "at most 64 outputs, not 65"),
        ("srn", 9, 25, {}, Learning(batch=2), "one sequence per update, not 2"),
        ("srn", 9, 25, {"bidirectional": True}, Learning(), "one direction"),
        (
            "cw",
            9,
            25,
            {"periods": ((2, 1), (4, 0))},
            Learning(),
            "it has no offsets, one mask, and",
        ),
        ("gru", 9, 25, {}, Learning(), "no kernel for the cell gru"),
    ],
)
def test_what_it_does_not_do_it_says(model, units, outputs, options, learning, reason):
    found = unsupported(shape_of(model, 13, units, outputs, **options), learning)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("device", "model", "batch", "kind"),
    [
        ("cpu", "cw", 1, CompiledEngine),
        ("cuda", "cw", 1, FusedEngine),
        ("cuda:0", "srn", 1, FusedEngine),
        ("cuda", "lstm", 1, FusedEngine),
        ("cuda", "cw", 2, StepwiseEngine),
        ("cuda", "gru", 1, StepwiseEngine),
        ("cpu", "gru", 1, StepwiseEngine),
    ],
)
def test_which_engine_is_taken(spoken, monkeypatch, device, model, batch, kind):
    data = words.load(spoken)
    config = configure(data, model, 500, runs=2, batch=batch)
    start = config.start()
    object.__setattr__(config, "device", device)
    # its networks stay on the CPU: only the choice needs no GPU
    monkeypatch.setattr(TrainConfig, "start", lambda self: start)
    engine = make_engine(config, data)
    assert type(engine) is kind
    if kind is FusedEngine:
        weights, own = engine.weights(), dict(start[0].named_parameters())
        assert all(torch.equal(weights[name], own[name]) for name in own)
        engine.load(engine.state())
        active = np.array([1])
        expected = StepwiseEngine(start[0], data.train, 0.0, start[1]).logits(active, data.test)
        np.testing.assert_array_equal(engine.logits(active, data.test), expected)


def test_where_triton_could_not_compile_it_is_not_taken(spoken, monkeypatch):
    config = configure(words.load(spoken), "cw", 500, runs=2)
    assert is_fused(config)
    monkeypatch.setattr("cwrnn_cli.tasks.timit.engines.missing_for_triton", lambda: "no compiler")
    assert not is_fused(config)


def test_a_kernel_fits_into_registers():
    """The narrowest of each, on one GPU; all of them, on all: ``cwrnn bench gpu-resources``."""
    for epoch in (train_classifier.CLOCKWORK, train_classifier.LSTM):
        variant = next(v for v in train_classifier.variants() if v.function is epoch.kernel)
        found = resources(variant, 90)
        assert found.registers <= 255 and found.stack == found.spills == 0
