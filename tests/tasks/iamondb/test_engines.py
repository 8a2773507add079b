"""Task 3's compiled loop against autograd, in double precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.tasks.iamondb.engines import (
    CompiledEngine,
    CtcEngine,
    batch_order,
    make_engine,
)
from cwrnn_cli.training import distributed
from cwrnn_cli.training.configure import configure
from data_prep import store

OWN = {
    "cw": st.fixed_dictionaries(
        {
            "periods": st.tuples(
                st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 3)
            ).map(lambda drawn: tuple((p, drawn[1] * p // 4) for p in sorted(drawn[0]))),
            "clock_origin": st.integers(0, 1),
        }
    ),
    "srn": st.just({}),
    "lstm": st.fixed_dictionaries(
        {
            "cell_output": st.sampled_from(["tanh", "2tanh", "sigmoid"]),
            "peepholes": st.booleans(),
        }
    ),
}


@settings(max_examples=25)
@given(
    cell=st.sampled_from(sorted(OWN)).flatmap(lambda m: st.tuples(st.just(m), OWN[m])),
    params=st.integers(300, 3000),
    batch=st.sampled_from([1, 3, 8, 11, 20]),
    clip=st.sampled_from([None, 0.3]),
    delta_clip=st.sampled_from([None, 0.01]),
    reduction=st.sampled_from(["mean", "sum"]),
    both=st.booleans(),
    seed=st.integers(0, 100),
)
def test_the_compiled_loop_is_autograds(
    lines, cell, params, batch, clip, delta_clip, reduction, both, seed
):
    data = handwriting.load(lines)
    model, own = cell
    options = {"batch": batch, "clip": clip, "delta_clip": delta_clip}
    options |= {"reduction": reduction, "seed": seed, "runs": 2}
    config = replace(configure(data, model, params, lr=1e-3, **options, **own), bidirectional=both)
    engines = [engine(config, data, dtype=torch.float64) for engine in (CtcEngine, CompiledEngine)]
    updates = -(-len(data.train) // batch)
    for epoch, active in enumerate([np.arange(2), np.array([1])]):
        rates = config.rates(epoch * updates, updates, 2 * updates)
        momenta = config.momenta(epoch * updates, updates)
        losses, mine = (engine.train(active, rates, momenta) for engine in engines)
        np.testing.assert_allclose(mine, losses, rtol=1e-9)
        longest = [engine.gradient_lengths.max(axis=0) for engine in engines]
        np.testing.assert_allclose(*longest, rtol=1e-8)
    states = [engine.state() for engine in engines]
    assert states[0].generators == states[1].generators
    assert states[0].updates == states[1].updates == 2 * updates
    for name, weight in states[0].weights.items():
        torch.testing.assert_close(states[1].weights[name], weight, rtol=1e-8, atol=1e-11)
        velocity = states[0].velocity[name]
        torch.testing.assert_close(states[1].velocity[name], velocity, rtol=1e-7, atol=1e-9)
    read = [engine.transcripts(np.arange(2), data.valid) for engine in engines]
    assert read[0] == read[1]


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_it_goes_on_from_autograds_state(lines, model):
    """And the other way round: a checkpoint is neither's own."""
    data = handwriting.load(lines)
    config = configure(data, model, 1000, runs=2, batch=4, lr=1e-3)
    order = [CtcEngine, CompiledEngine]
    ends = []
    for classes in (order, order[::-1]):
        state = None
        for epoch, engine_class in enumerate(classes):
            engine = engine_class(config, data, dtype=torch.float64)
            if state:
                engine.load(state)
            engine.train(np.arange(2), config.rates(5 * epoch, 5, 10), np.full(5, 0.9, np.float32))
            state = engine.state()
        ends.append(state)
    for name, weight in ends[0].weights.items():
        torch.testing.assert_close(ends[1].weights[name], weight, rtol=1e-8, atol=1e-11)


def lines_of(texts: list[str], steps: list[int], rng: np.random.Generator) -> store.Split:
    frames = rng.standard_normal((sum(steps), 4)).astype(np.float32)
    names = [f"line {i}" for i in range(len(steps))]
    shift, scale = np.zeros((1, 4)), np.ones((1, 4))
    offsets = np.cumsum([0, *steps])
    return store.Split(frames, offsets, names, shift, scale, text=texts)


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
@pytest.mark.parametrize("batch", [1, 3])
def test_lines_that_are_short_long_empty_or_too_short_for_their_text(lines, model, batch):
    rng = np.random.default_rng(0)
    texts, steps = ["a", "", "abcabc", "aa", "", "ab"], [1, 1, 4, 2, 7, 700]  # 700: many pieces
    train, valid = lines_of(texts, steps, rng), lines_of(["a", "b"], [1, 900], rng)
    data = replace(handwriting.load(lines), train=train, valid=valid)
    config = configure(data, model, 3000, batch=batch, runs=1, lr=1e-3)
    engines = [engine(config, data, dtype=torch.float64) for engine in (CtcEngine, CompiledEngine)]
    updates = -(-len(steps) // batch)
    given = np.arange(1), np.full(updates, 1e-3), np.full(updates, 0.5, np.float32)
    np.testing.assert_allclose(*(engine.train(*given) for engine in engines), rtol=1e-9)
    weights = [engine.weights() for engine in engines]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-8, atol=1e-11)
    assert len({str(engine.transcripts(np.arange(1), valid)) for engine in engines}) == 1


def test_weights_are_copies(lines):
    """Also of a network without any padding, whose weights lie in theta as they are."""
    data = handwriting.load(lines)
    config = configure(data, "lstm", 3000, runs=1, peepholes=True)
    config = replace(config, cell=replace(config.cell, hidden_size=16))
    engine = CompiledEngine(config, data)
    before = engine.weights()
    kept = {name: weight.clone() for name, weight in before.items()}
    engine.train(np.arange(1), np.full(3, 1e-3), np.zeros(3, np.float32))
    assert all(torch.equal(kept[name], before[name]) for name in kept)
    assert not any(torch.equal(kept[name], weight) for name, weight in engine.weights().items())


def test_a_network_that_diverges_is_seen(lines):
    data = handwriting.load(lines)
    config = configure(data, "srn", 1000, runs=2, lr=1e30)
    engine = CompiledEngine(config, data)
    losses = engine.train(np.arange(2), np.full(3, 1e30), np.zeros(3, np.float32))
    assert not np.isfinite(losses).any() and np.isinf(engine.gradient_lengths).all()


def test_batches_come_in_the_order_of_the_epoch(lines):
    config = configure(handwriting.load(lines), "cw", 1000)
    first, again, later = (batch_order(config, done, 5) for done in (0, 4, 5))
    assert sorted(first) == list(range(5))
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()


@pytest.mark.parametrize(
    ("options", "together", "engine"),
    [
        ({}, False, CompiledEngine),
        ({"optimizer": "adam"}, False, CtcEngine),
        ({}, True, CtcEngine),
    ],
)
def test_who_trains(lines, monkeypatch, options, together, engine):
    data = handwriting.load(lines)
    monkeypatch.setattr(distributed, "_together", together)
    assert type(make_engine(configure(data, "cw", 1000, **options), data)) is engine
