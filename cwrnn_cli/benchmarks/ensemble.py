"""`cwrnn bench ensemble`: task 1's training, all networks at once, against torch one by one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..clock import Clock
from ..models.ensemble import Ensemble, Shape
from ..paper import AUDIO, MODELS
from ..training.audio_engines import CompiledEngine
from . import machine

RUNS = (1, 10, 100, 500)
STEPS = 320
_NETWORKS = 500  # of each model and size in Figure 3


def _ensemble(model: str, params: int, networks: int) -> Ensemble:
    n = AUDIO.hidden_sizes[params][model]
    clock = Clock.of(n, AUDIO.periods) if model == "cw" else Clock((), ())
    peepholes = AUDIO.peepholes and model == "lstm"
    ensemble = Ensemble(Shape(model, 0, n, 1, clock.periods, clock.sizes, peepholes), networks)
    generators = [np.random.default_rng(i) for i in range(networks)]
    ensemble.draw(generators, AUDIO.weight_std, AUDIO.forget_bias)
    return ensemble


def _epochs(model: str, params: int, networks: int, epochs: int) -> Callable[[], None]:
    """Train an ensemble of ours for some epochs, at a rate so low that the work stays the same."""
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (networks, STEPS)))
    engine = CompiledEngine(
        _ensemble(model, params, networks), targets, torch.full((networks,), 1e-6)
    )
    momenta = np.full(epochs, 0.95)
    return lambda: (engine.run(momenta), None)[1]


def _torch_epoch(model: str, params: int) -> Callable[[], None]:
    """One epoch of one network with torch.nn: an RNN of the CW-RNN's or SRN's width, or an LSTM."""
    n = AUDIO.hidden_sizes[params][model]
    kind = torch.nn.LSTM if model == "lstm" else torch.nn.RNN
    layer, readout = kind(1, n), torch.nn.Linear(n, 1)
    parameters = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=1e-6, momentum=0.95, nesterov=True)
    x, target = torch.zeros(STEPS, 1, 1), torch.rand(STEPS, 1, 1) * 2 - 1

    def call() -> None:
        optimiser.zero_grad()
        output = readout(layer(x)[0])
        (0.5 * (output - target).square().sum()).backward()
        optimiser.step()

    return call


def run(
    runs: Sequence[int] = RUNS,
    repeats: int = 5,
    seconds: float = 6.0,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure all models and sizes.

    Args:
        runs: R, networks trained at once.
        repeats: rounds per point at the most.
        seconds: per point, about.
        tick: called after each point.

    Returns:
        The JSON of `cwrnn bench ensemble`: machine, peak_gflops, rows, figure3_s (from the
        rates at the largest R).
    """
    rows = []
    figure3 = 0.0
    for params in AUDIO.hidden_sizes:
        for model in MODELS:
            for networks in runs:
                epochs = max(2, 2000 // (10 * networks))
                times = machine.alternate(
                    {
                        "ours": _epochs(model, params, networks, epochs),
                        "torch": _torch_epoch(model, params),
                        "torch LSTM": _torch_epoch("lstm", params),
                    },
                    repeats,
                    seconds,
                )
                medians = {name: machine.spread(t)["ms"] / 1e3 for name, t in times.items()}
                each = medians["ours"] / (networks * epochs)
                rows.append(
                    {
                        "model": model,
                        "params": params,
                        "runs": networks,
                        "networks_epochs_per_s": 1 / each,
                        "ratio": medians["torch"] / each,
                        "ratio_lstm": medians["torch LSTM"] / each,
                        "torch_ms": 1e3 * medians["torch"],
                    }
                )
                tick()
            figure3 += each * _NETWORKS * AUDIO.epochs
    return {
        "machine": machine.describe(),
        "peak_gflops": machine.peak_gflops(),
        "rows": rows,
        "figure3_s": figure3,
    }
