"""The compiled loop against autograd, and autograd against torch's own optimiser."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.tasks.audio.data import half_sum_of_squares
from cwrnn_cli.tasks.audio.engines import CompiledEngine, SilenceEngine
from tests.conftest import random_ensemble

MOMENTA = np.array([0.5, 0.5, 0.9, 0.95])


def run(engine, rates, momenta):
    """(epochs, R) losses; rates (R,), all the same but for the compiled loop."""
    each = np.broadcast_to(np.asarray(rates, np.float64), (len(momenta), len(rates)))
    return engine.train(
        np.arange(len(rates)), each[:, 0] if len(set(rates)) == 1 else each, momenta
    )


def test_every_network_may_have_its_own_rate_in_the_compiled_loop():
    shape = {"model": "cw", "hidden_size": 11, "periods": 9}
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (3, 64)))
    rates = np.array([1e-4, 5e-4, 2e-3])
    together = CompiledEngine(random_ensemble(networks=3, **shape), targets, [])
    run(together, rates, MOMENTA)
    for r, rate in enumerate(rates):
        same = CompiledEngine(random_ensemble(networks=3, **shape), targets, [])
        run(same, np.full(3, rate), MOMENTA)
        for name, weight in same.weights().items():
            assert torch.equal(weight[r], together.weights()[name][r])


def both(networks, steps, seed=0, loss="half_sum_of_squares", delta_clip=None, **shape):
    targets = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (networks, steps)))
    return [
        # weights and rates small enough that an SRN does not amplify the last digit's difference
        engine(
            random_ensemble(networks=networks, scale=0.15, **shape),
            targets,
            [],
            loss=loss,
            delta_clip=delta_clip,
        )
        for engine in (CompiledEngine, SilenceEngine)
    ]


def assert_same(compiled, autograd, rate=2e-4):
    networks = len(next(iter(compiled.weights().values())))
    rates = np.full(networks, rate)
    found, expected = run(compiled, rates, MOMENTA), run(autograd, rates, MOMENTA)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    lengths = [engine.gradient_lengths for engine in (compiled, autograd)]
    assert lengths[0].shape == (len(MOMENTA), networks)
    np.testing.assert_allclose(*lengths, rtol=1e-9)
    compare(compiled, autograd, ("weights", "velocity"))


def compare(compiled, autograd, states):
    for state in states:
        mine, theirs = (getattr(engine.state(), state) for engine in (compiled, autograd))
        assert list(mine) == list(theirs)
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "shape",
    [
        {"model": "cw", "hidden_size": 11, "periods": [2**i for i in range(9)]},
        {"model": "cw", "hidden_size": 40, "periods": [2**i for i in range(9)]},
        {"model": "cw", "hidden_size": 9, "periods": [2, 3, 7]},
        {"model": "cw", "hidden_size": 14, "periods": [1, 1, 5], "sizes": [2, 9, 3]},
        {"model": "srn", "hidden_size": 9},
        {"model": "srn", "hidden_size": 31},
        {"model": "srn", "hidden_size": 3},
        {"model": "lstm", "hidden_size": 4},
        {"model": "lstm", "hidden_size": 15},
        {"model": "lstm", "hidden_size": 10, "peepholes": False},
        {"model": "lstm", "hidden_size": 1},
        {"model": "lstm", "hidden_size": 4, "cell_output": "2tanh"},
        {"model": "lstm", "hidden_size": 4, "cell_output": "sigmoid"},
        {"model": "lstm", "hidden_size": 5, "delta_clip": 0.05},
        {"model": "srn", "hidden_size": 5, "delta_clip": 0.05},
        {"model": "cw", "hidden_size": 11, "periods": 9, "delta_clip": 0.05},
        {"model": "cw", "hidden_size": 11, "periods": 9, "clock_origin": 1},
    ],
    ids=str,
)
def test_compiled_is_autograd(shape):
    assert_same(*both(networks=18, steps=70, **shape))


@pytest.mark.parametrize(
    "shape", [{"model": "cw", "periods": [1, 2, 7]}, {"model": "lstm"}], ids=str
)
def test_compiled_is_autograd_with_the_mean_too(shape):
    engines = both(networks=18, steps=70, loss="half_mean_of_squares", hidden_size=9, **shape)
    assert_same(*engines, rate=2e-4 * 70)


@pytest.mark.parametrize("model", ["cw", "lstm"])
@pytest.mark.parametrize("engine", [CompiledEngine, SilenceEngine])
def test_the_mean_is_the_sum_at_a_rate_so_many_times_lower(engine, model):
    shape = {"model": model, "hidden_size": 9, "networks": 3, "scale": 0.15}
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (3, 50)))
    losses, found = [], []
    for loss, rate in (("half_sum_of_squares", 1e-4), ("half_mean_of_squares", 50e-4)):
        trained = engine(random_ensemble(**shape), targets, [], loss=loss)
        losses.append(run(trained, np.full(3, rate), MOMENTA))
        found.append(trained.weights())
    np.testing.assert_allclose(losses[0], 50 * losses[1], rtol=1e-6)
    for name, weight in found[0].items():
        torch.testing.assert_close(weight, found[1][name], rtol=1e-9, atol=1e-12)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=5),
    st.integers(1, 45),
)
def test_compiled_is_autograd_for_any_clock_and_length(modules, steps):
    assert_same(
        *both(
            networks=2,
            steps=steps,
            seed=steps,
            model="cw",
            hidden_size=sum(k for _, k in modules),
            periods=[p for p, _ in modules],
            sizes=[k for _, k in modules],
        )
    )


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=5),
    st.integers(1, 45),
)
def test_compiled_is_autograd_where_the_clock_begins_at_1(modules, steps):
    shape = {"periods": [p for p, _ in modules], "sizes": [k for _, k in modules]}
    units = sum(shape["sizes"])
    engines = both(2, steps, steps, model="cw", hidden_size=units, clock_origin=1, **shape)
    assert_same(*engines)


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=5),
    st.integers(1, 45),
    st.integers(0, 3),
    st.integers(0, 1),
)
def test_compiled_is_autograd_with_offsets(modules, steps, quarters, origin):
    periods = [(p, quarters * p // 4) for p, _ in modules]
    shape = {"periods": periods, "sizes": [k for _, k in modules], "clock_origin": origin}
    units = sum(shape["sizes"])
    assert_same(*both(2, steps, steps, model="cw", hidden_size=units, **shape))


@pytest.mark.parametrize("model", ["srn", "cw", "lstm"])
@pytest.mark.parametrize("engine", [CompiledEngine, SilenceEngine])
def test_deltas_are_clipped_only_where_they_are_longer(engine, model):
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 40)))
    found = {}
    for limit in (None, 1e9, 1e-3):
        ensemble = random_ensemble(model, 6, 2, scale=0.15)
        trained = engine(ensemble, targets, [], delta_clip=limit)
        run(trained, np.full(2, 1e-3), MOMENTA)
        found[limit] = trained.weights()["weight_hh"]
    assert torch.equal(found[None], found[1e9])
    assert not torch.allclose(found[None], found[1e-3])


def test_a_rate_that_changes_from_epoch_to_epoch():
    engines = both(networks=3, steps=50, model="cw", hidden_size=9, periods=[1, 2, 7])
    rates = 2e-4 * (1 - MOMENTA)
    losses = [engine.train(np.arange(3), rates, MOMENTA) for engine in engines]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    compare(*engines, ("weights", "velocity"))


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(1, 30), st.booleans())
def test_compiled_lstm_is_autograd_for_any_size_and_length(cells, steps, peepholes):
    assert_same(
        *both(networks=2, steps=steps, model="lstm", hidden_size=cells, peepholes=peepholes)
    )


def test_float32_agrees_with_float64_to_its_own_precision():
    shape = {"model": "cw", "hidden_size": 40, "periods": 9, "networks": 16, "scale": 0.1}
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (16, 320)))
    rates = np.full(16, 1e-5)
    exact = CompiledEngine(random_ensemble(**shape), targets, [])
    single = CompiledEngine(random_ensemble(**shape, dtype=torch.float32), targets, [])
    found, expected = run(single, rates, MOMENTA), run(exact, rates, MOMENTA)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name, weight in exact.weights().items():
        torch.testing.assert_close(single.weights()[name].double(), weight, rtol=1e-4, atol=1e-6)


def test_the_update_is_torch_sgd_with_nesterov_momentum():
    ensemble = random_ensemble("cw", 8, 1)
    targets = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (1, 20)))
    engine = SilenceEngine(ensemble, targets, [])
    twin = random_ensemble("cw", 8, 1)
    optimiser = torch.optim.SGD(twin.parameters(), lr=2e-3, momentum=0.9, nesterov=True)
    x = torch.empty(1, 1, 20, 0, dtype=torch.float64)
    run(engine, [2e-3], np.full(5, 0.9))
    for update in range(5):
        optimiser.zero_grad()
        half_sum_of_squares(twin(x)[:, 0, :, 0], targets).sum().backward()
        length = torch.nn.utils.get_total_norm([w.grad for w in twin.parameters()])
        assert engine.gradient_lengths[update] == pytest.approx(length.item(), rel=1e-7)
        optimiser.step()
    for mine, theirs in zip(ensemble.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_a_network_trains_the_same_alone_and_in_company():
    shape = {"model": "cw", "hidden_size": 11, "periods": 9, "dtype": torch.float32}
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (20, 64)))
    all_of_them = CompiledEngine(random_ensemble(networks=20, **shape), targets, [])
    company = random_ensemble(networks=20, **shape)
    alone = random_ensemble(networks=1, **shape)
    for name, weight in alone.named_parameters():
        weight.data[:] = company.get_parameter(name)[17:18]
    single = CompiledEngine(alone, targets[17:18], [])
    found = run(all_of_them, np.full(20, 1e-3), MOMENTA)[:, 17:18]
    np.testing.assert_array_equal(found, run(single, [1e-3], MOMENTA))
    for name, weight in single.weights().items():
        assert torch.equal(all_of_them.weights()[name][17:18], weight)


@pytest.mark.parametrize("engine", [CompiledEngine, SilenceEngine])
def test_a_diverging_network_takes_no_other_with_it(engine):
    shape = {"model": "srn", "hidden_size": 9, "networks": 4, "dtype": torch.float32}
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (4, 64)))
    ensembles = random_ensemble(**shape), random_ensemble(**shape)
    for weight in ensembles[0].parameters():
        weight.data[2] *= 1e30
    momenta, rates = np.full(60, 0.9), np.full(4, 1e-4)
    losses, expected = (run(engine(e, targets, []), rates, momenta) for e in ensembles)
    assert not np.isfinite(losses[-1, 2])
    others = [0, 1, 3]
    np.testing.assert_array_equal(losses[:, others], expected[:, others])


@pytest.mark.parametrize("engine", [CompiledEngine, SilenceEngine])
def test_a_restored_engine_goes_on_bit_for_bit(engine):
    shape = {"model": "lstm", "hidden_size": 4, "networks": 3, "dtype": torch.float32}
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (3, 40)))
    rates = np.full(3, 1e-3)
    through = engine(random_ensemble(**shape), targets, [])
    run(through, rates, np.full(10, 0.9))
    first = engine(random_ensemble(**shape), targets, [])
    run(first, rates, np.full(4, 0.9))
    second = engine(random_ensemble(**shape, scale=9.0), targets, [])
    second.load(first.state())
    run(second, rates, np.full(6, 0.9))
    for name, weight in through.weights().items():
        assert torch.equal(weight, second.weights()[name])
