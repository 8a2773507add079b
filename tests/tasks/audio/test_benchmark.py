"""What `cwrnn bench ensemble` measures is the same training, whoever does it."""

import numpy as np
import pytest
import torch

from cwrnn_cli.benchmarks import machine
from cwrnn_cli.tasks.audio import stacked
from cwrnn_cli.tasks.audio.engines import LOOPS, CompiledEngine
from tests.conftest import random_ensemble

NETWORKS, STEPS, RATE = 3, 40, 1e-3
SHAPES = {
    "srn": {"model": "srn", "hidden_size": 9},
    "lstm": {"model": "lstm", "hidden_size": 4},
    "lstm without peepholes": {"model": "lstm", "hidden_size": 4, "peepholes": False},
    "cw": {"model": "cw", "hidden_size": 11, "periods": 5},
    "cw from 1": {"model": "cw", "hidden_size": 9, "periods": [2, 3, 50], "clock_origin": 1},
}


def ensemble(shape):
    return random_ensemble(networks=NETWORKS, dtype=torch.float32, scale=0.2, **SHAPES[shape])


TARGETS = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (NETWORKS, STEPS))).float()


def ours(shape, momenta):
    engine = CompiledEngine(ensemble(shape), TARGETS, [])
    losses = engine.train(np.arange(NETWORKS), np.full(len(momenta), RATE), np.array(momenta))
    return torch.from_numpy(losses), engine.weights()


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert set(found[1]) == set(expected[1])
    for name, weight in expected[1].items():
        torch.testing.assert_close(found[1][name], weight, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_stacked_torch_trains_as_ours(shape):
    networks = ensemble(shape)
    weights = dict(networks.named_parameters())
    before = {name: w.detach().clone() for name, w in weights.items()}
    train = stacked.epoch(networks.shape.cell, weights, TARGETS, RATE, 0.9)
    losses = torch.stack([train(), train()])
    assert_same((losses, {n: w.detach() for n, w in weights.items()}), ours(shape, [0.9, 0.9]))
    assert any(not torch.allclose(weights[name], w, rtol=1e-2) for name, w in before.items())


@pytest.mark.skipif(not machine.has_jax(), reason="JAX is not installed")
@pytest.mark.parametrize("way", ["dense", "masked", "cascade"])
@pytest.mark.parametrize("shape", SHAPES)
def test_jax_trains_as_ours(shape, way):
    from cwrnn_cli.benchmarks import jax_cells

    networks = ensemble(shape)
    cell = networks.shape.cell
    if way not in jax_cells.WAYS[type(cell)]:
        pytest.skip("not a way to write this cell")
    weights = {n: jax_cells.array(w) for n, w in networks.named_parameters()}
    velocity = {n: jax_cells.array(torch.zeros_like(w)) for n, w in networks.named_parameters()}
    train = jax_cells.training(cell, jax_cells.Setting(way, 4), epochs=2)
    w, v, losses = train(weights, velocity, jax_cells.array(TARGETS), RATE, 0.9)
    found = {n: torch.from_numpy(np.array(x)) for n, x in w.items()}
    assert_same((torch.from_numpy(np.array(losses)), found), ours(shape, [0.9, 0.9]))
    assert set(v) == set(w)


def test_every_compiled_cell_has_its_peers():
    assert set(stacked.HIDDEN) == set(LOOPS)
    if machine.has_jax():
        from cwrnn_cli.benchmarks import jax_cells

        assert set(jax_cells.WAYS) == set(LOOPS)
