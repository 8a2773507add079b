"""Training on a GPU, in Triton's interpreter; and who takes it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.audio.data import load
from cwrnn_cli.tasks.audio.engines import CompiledEngine, SilenceEngine, make_engine
from cwrnn_cli.training.configure import configure
from tests.conftest import interpreted, random_ensemble

fused = pytest.importorskip("cwrnn_cli.tasks.audio.fused", reason="torch brings Triton on Linux")


def test_in_the_interpreter():
    assert interpreted("tests.tasks.audio.interpreted") == "24 cases agree\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu():
    from tests.tasks.audio.interpreted import CASES, check, check_rest

    assert check("cuda", torch.float32, 1e-3) == len(CASES)
    assert check_rest("cuda") == 9


@pytest.mark.parametrize(
    "shape",
    [
        {"model": "cw", "hidden_size": 16, "periods": [1, 2, 5]},
        {"model": "lstm", "hidden_size": 5},
        {"model": "lstm", "hidden_size": 5, "peepholes": False},
    ],
    ids=str,
)
def test_weights_come_out_as_they_went_in(shape):
    ensemble = random_ensemble(networks=3, **shape)
    generators = [np.random.default_rng(r) for r in range(3)]
    engine = fused.FusedEngine(ensemble, torch.zeros(3, 4), generators)
    for name, weight in ensemble.named_parameters():
        assert torch.equal(engine.weights()[name], weight)
    state = engine.state()
    assert not any(velocity.any() for velocity in state.velocity.values())
    state.velocity.update({name: 2 * weight for name, weight in state.weights.items()})
    other = fused.FusedEngine(
        random_ensemble(networks=3, scale=9.0, **shape), torch.zeros(3, 4), []
    )
    other._generators = [np.random.default_rng(9) for _ in range(3)]
    other.load(state)
    for kept in ("weights", "velocity"):
        for name, value in getattr(other.state(), kept).items():
            assert torch.equal(value, getattr(state, kept)[name])
    assert other.state().generators == state.generators


@pytest.mark.parametrize(
    ("device", "model", "options", "engine"),
    [
        ("cuda", "cw", {}, "FusedEngine"),
        ("cuda:1", "srn", {}, "FusedEngine"),
        ("cuda", "lstm", {"delta_clip": 1.0}, "FusedEngine"),
        ("cuda", "gru", {}, "SilenceEngine"),
        ("cuda", "srn", {"hidden_size": 64}, "SilenceEngine"),
        ("cuda", "lstm", {"hidden_size": 32}, "SilenceEngine"),
        ("cuda", "srn", {"nonlinearity": "relu"}, "SilenceEngine"),
        ("cpu", "cw", {}, "CompiledEngine"),
        ("cpu", "cw", {"periods": ((2, 1), (4, 0))}, "CompiledEngine"),
        ("cpu", "cw", {"periods": ((4, 1), (4, 0))}, "SilenceEngine"),
        ("cuda", "cw", {"periods": ((4, 1), (4, 0))}, "FusedEngine"),
    ],
)
def test_who_trains(piece, monkeypatch, device, model, options, engine):
    data = load(piece)
    cell = {name: options.pop(name) for name in ("hidden_size", "nonlinearity") if name in options}
    config = configure(data, model, 100, runs=1, **options)
    config = replace(config, device=device, cell=replace(config.cell, **cell))
    monkeypatch.setattr(Ensemble, "to", lambda ensemble, _: ensemble)  # there is no such device
    known = (fused.FusedEngine, SilenceEngine, CompiledEngine)
    assert type(make_engine(config, data)) in known
    assert type(make_engine(config, data)).__name__ == engine


def test_where_triton_could_not_compile_autograd_trains(piece, monkeypatch):
    data = load(piece)
    config = replace(configure(data, "cw", 100, runs=1), device="cuda")
    monkeypatch.setattr(Ensemble, "to", lambda ensemble, _: ensemble)
    monkeypatch.setattr("cwrnn_cli.tasks.audio.engines.missing_for_triton", lambda: "no compiler")
    assert type(make_engine(config, data)) is SilenceEngine
