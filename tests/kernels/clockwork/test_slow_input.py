"""What slow modules read of the input: against the definition, and on every backend."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels.clockwork.slow_input import KINDS, taps
from cwrnn_cli.models import CELLS, ClockworkRNN, Stream
from cwrnn_cli.models.ensemble import Ensemble, Shape
from tests.kernels.clockwork.test_gated import assert_all_close
from tests.kernels.clockwork.test_offsets import modules

SLOW = KINDS[1:]
MODELS = ("cw", "cwlstm", "cwgru")
kinds = pytest.mark.parametrize("kind", SLOW)


def spec_of(model, clock, kind, **options):
    return CELLS[model].of_clock(clock, slow_input=kind, **options)


def read(kind, period, window):
    """What a module reads of its inputs (T, m), the oldest first: by its definition."""
    if kind == "mean":
        return window.mean(axis=0)
    if kind == "ema":
        value, weight = np.zeros(window.shape[1]), 0.0
        for row in window:
            keep = 1 - 1 / period
            value, weight = keep * value + row, keep * weight + 1
        return value / weight
    old, new = window[: period // 2], window[period // 2 :]
    detail = (new.mean(axis=0) - old.mean(axis=0)) / 2 if len(old) else 0 * window[0]
    return np.concatenate([window.mean(axis=0), detail])


@kinds
@pytest.mark.parametrize("period", [1, 2, 3, 8])
def test_taps_are_the_definition(kind, period):
    window = np.random.default_rng(0).standard_normal((period, 3))
    found = (taps(kind, period) @ window).flatten()
    np.testing.assert_allclose(found, read(kind, period, window), atol=1e-14)


def draw(spec, steps, seed, networks=2, batch=2, inputs=2):
    generator = torch.Generator().manual_seed(seed)

    def one(*shape):
        values = torch.randn(shape, dtype=torch.float64, generator=generator) * 0.6
        return values.requires_grad_()

    weights = {name: one(networks, *shape) for name, shape in spec.weights(inputs).items()}
    states = 2 if "lstm" in spec.name else 1
    state = [one(networks, batch, spec.hidden_size) for _ in range(states)]
    if spec.kept:
        state.append(one(networks, batch, spec.kept * inputs))
    return one(networks, batch, steps, inputs), weights, tuple(state)


def by_definition(spec, x, weights, state, start):
    """As a layer that samples, with inputs of its own for each module at each of its ticks."""
    clock, inputs = spec.clock, x.shape[3]
    before = state[-1].reshape(*x.shape[:2], spec.kept, inputs)
    every = torch.cat([before, x], dim=2).detach().numpy()
    q = weights["weight_ih"].shape[2]
    wide = np.zeros((*x.shape[:3], len(clock.periods), q))
    apart = torch.zeros(*weights["weight_ih"].shape[:2], len(clock.periods), q, dtype=x.dtype)
    for i, (period, offset) in enumerate(zip(clock.periods, clock.phases, strict=True)):
        for gate in range(spec.gates):
            first = gate * clock.hidden_size
            rows = slice(first + clock.starts[i], first + clock.starts[i + 1])
            apart[:, rows, i] = weights["weight_ih"][:, rows]
        for t in range(x.shape[2]):
            if (start + spec.origin + t - offset) % period == 0:
                for r, b in np.ndindex(*x.shape[:2]):
                    end = spec.kept + t + 1
                    window = every[r, b, end - period : end]
                    wide[r, b, t, i] = read(spec.slow_input, period, window)
    plain = CELLS[spec.name].of_clock(clock, clock_origin=spec.clock_origin)
    named = weights | {"weight_ih": apart.flatten(2)}
    x = torch.from_numpy(wide).flatten(3)
    return plain.forward(x, named, state[:-1], None, "reference", start)


@settings(max_examples=20)
@given(
    st.sampled_from(MODELS),
    st.sampled_from(SLOW),
    modules(distinct=False),
    st.integers(1, 30),
    st.integers(0, 40),
    st.integers(0, 1),
)
def test_the_reference_is_the_definition_and_the_cascade_the_reference(
    model, kind, clock, steps, start, origin
):
    spec = spec_of(model, clock, kind, clock_origin=origin)
    x, weights, state = draw(spec, steps, start)
    y, last = spec.forward(x, weights, state, None, "reference", start)
    if spec.buffered:
        expected, ends = by_definition(spec, x, weights, state, start)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(last[:-1], ends)
    results = []
    for backend in ("reference", "cascade"):
        y, last = spec.forward(x, weights, state, torch.tensor([steps, 1]), backend, start)
        loss = y[:, :1].square().sum() + sum(each.sin().sum() for each in last)
        values = [x, *weights.values(), *state]
        results.append([y, *last, *torch.autograd.grad(loss, values, materialize_grads=True)])
    assert_all_close(*results)


@kinds
@pytest.mark.parametrize("model", MODELS)
def test_gradcheck_and_every_backend(model, kind):
    spec = spec_of(model, Clock.of(5, [1, 3, 4], [2, 1, 2], [0, 1, 0]), kind)
    x, weights, state = draw(spec, 7, 0, networks=1)

    def run(backend, x, *values):
        named = dict(zip(weights, values, strict=False))
        y, last = spec.forward(x, named, values[len(weights) :], backend=backend)
        return y, *last

    values = (x, *weights.values(), *state)
    assert torch.autograd.gradcheck(lambda *v: run("cascade", *v), values)
    expected = run("reference", *values)
    for backend in ("auto", "exported", *(["compiled"] if model == "cw" else [])):
        torch.testing.assert_close(run(backend, *values), expected)


@kinds
@pytest.mark.parametrize("model", MODELS)
def test_in_pieces_and_bidirectional(model, kind):
    torch.manual_seed(0)
    spec = CELLS[model].of_size(9, {"periods": (1, 3, 8), "slow_input": kind})
    layer = spec.layer(3, batch_first=True, dtype=torch.float64)
    assert layer.slow_input == kind and f"slow_input={kind}" in repr(layer)
    x = torch.randn(2, 23, 3, dtype=torch.float64)
    whole, last = layer(x)
    stream = Stream(layer)
    pieces = [stream(piece) for piece in x.split([1, 4, 7, 11], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(stream.hx, last)
    alone, _ = layer(x[0])
    torch.testing.assert_close(alone, whole[0])
    both = spec.layer(3, batch_first=True, bidirectional=True, dtype=torch.float64)
    y, ends = both(x)
    assert ends[-1].shape == (2, 2, 7 * 3) and not torch.equal(both(x, ends)[0], y)
    with pytest.raises(ValueError, match=f"slow_input '{kind}' takes one start for all"):
        layer(x, None, [0, 1])


def test_haar_reads_two_numbers_of_each_input_where_it_is_slow():
    spec = CELLS["cw"].of_size(9, {"periods": (1, 2, 4), "slow_input": "haar"})
    assert spec.weights(3)["weight_ih"] == (9, 6)
    ensemble = Ensemble(Shape(spec, 3, 1), 1, dtype=torch.float64)
    ensemble.draw([np.random.default_rng(0)], 0.1)
    assert not ensemble.get_parameter("weight_ih")[0, :3, 3:].any()
    drawn = sum(int(w.count_nonzero()) for n, w in ensemble.named_parameters() if "_out" not in n)
    assert spec.parameter_count(3) == drawn + 3
    assert spec.fan_in("weight_ih", 3).flatten().tolist() == [3] * 3 + [6] * 6
    layer = spec.layer(3)
    assert not layer.weight_ih[:3, 3:].any() and layer.weight_ih[3:].all()
    same = CELLS["cw"].of_size(9, {"periods": (1, 2, 4), "slow_input": "mean"})
    assert same.parameter_count(3) == CELLS["cw"].of_size(9, {"periods": 3}).parameter_count(3)


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="slow_input 'mean' needs num_layers=1"):
        ClockworkRNN(3, 4, periods=2, num_layers=2, slow_input="mean")
    with pytest.raises(ValueError, match="slow_input 'max': expected one of sample, mean, ema"):
        ClockworkRNN(3, 4, periods=2, slow_input="max")
    with pytest.raises(ValueError, match="periods of at most 4096 only"):
        ClockworkRNN(3, 4, periods=[1, 5000], slow_input="ema")
    layer = ClockworkRNN(3, 4, periods=2, slow_input="mean")
    with pytest.raises(RuntimeError, match="another clock, .*, slow input mean; this layer"):
        ClockworkRNN(3, 4, periods=2).load_state_dict(layer.state_dict())


@pytest.mark.parametrize(("task", "corpus"), [("timit", "spoken"), ("iamondb", "lines")])
def test_it_trains(cwrnn, task, corpus, request):
    data = request.getfixturevalue(corpus)
    cwrnn("train", "--task", task, "--model", "cw", "--params", 1000, "--runs", 2, "--epochs", 2,
          "--data", data, "--slow-input", "haar")  # fmt: skip
    config = json.loads(open(f"runs/{task}-cw-1000-seed0/config.json").read())
    assert {"slow_input"} <= {each["name"] for each in config["deviations"]}
    assert abs(config["parameter_count"] - 1000) < 100
    cwrnn("eval")


def test_task_1_has_no_input(cwrnn, piece):
    result = cwrnn("train", "--model", "cw", "--slow-input", "mean", "--data", piece, expect=2)
    assert "--slow-input mean: task audio has no input" in result.stderr
