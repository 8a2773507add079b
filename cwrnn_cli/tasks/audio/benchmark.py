"""`cwrnn bench ensemble`: task 1's training, all networks at once, against torch one by one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ...benchmarks import machine
from ...benchmarks.options import device_option, kept, numbers_or, out_option, show
from ...console import json_option, progress_bar
from ...models import CELLS, LSTMSpec
from ...models.cell import CellSpec
from ...models.ensemble import Ensemble, Shape
from ...option import at_least
from ...paper import AUDIO
from ...reporting.benchmarks import machine_text
from ...reporting.page import cell_name
from ...reporting.tables import table
from . import on_device
from .engines import LOOPS, CompiledEngine

RUNS = (1, 10, 100, 500)
STEPS = 320
_NETWORKS = 500  # of each model and size in Figure 3
_MEASURED = [cell for cell in CELLS.values() if cell in LOOPS]


def _ensemble(cell: type[CellSpec], params: int, networks: int) -> Ensemble:
    spec = cell.of_size(AUDIO.hidden_sizes[params][cell.name], cell.published(AUDIO))
    ensemble = Ensemble(Shape(spec, 0, 1), networks)
    generators = [np.random.default_rng(i) for i in range(networks)]
    ensemble.draw(generators, AUDIO.weight_std)
    return ensemble


def _epochs(cell: type[CellSpec], params: int, networks: int, epochs: int) -> Callable[[], None]:
    """Train an ensemble of ours for some epochs, at a rate so low that the work stays the same."""
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (networks, STEPS)))
    engine = CompiledEngine(_ensemble(cell, params, networks), targets, [])
    active, rates, momenta = np.arange(networks), np.full(epochs, 1e-6), np.full(epochs, 0.95)

    def call() -> None:
        engine.train(active, rates, momenta)

    return call


def _torch_epoch(cell: type[CellSpec], params: int) -> Callable[[], None]:
    """One epoch of one network with torch.nn: the cell's peer, or an RNN, of its width."""
    n = AUDIO.hidden_sizes[params][cell.name]
    layer, readout = (cell.peer or torch.nn.RNN)(1, n), torch.nn.Linear(n, 1)
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
        for cell in _MEASURED:
            for networks in runs:
                epochs = max(2, 2000 // (10 * networks))
                times = machine.alternate(
                    {
                        "ours": _epochs(cell, params, networks, epochs),
                        "torch": _torch_epoch(cell, params),
                        "torch LSTM": _torch_epoch(LSTMSpec, params),
                    },
                    repeats,
                    seconds,
                )
                measured = {name: machine.spread(t) for name, t in times.items()}
                medians = {name: found["ms"] / 1e3 for name, found in measured.items()}
                each = medians["ours"] / (networks * epochs)
                rows.append(
                    {
                        "model": cell.name,
                        "params": params,
                        "runs": networks,
                        "networks_epochs_per_s": 1 / each,
                        "ratio": medians["torch"] / each,
                        "ratio_lstm": medians["torch LSTM"] / each,
                        "torch_ms": 1e3 * medians["torch"],
                        "epochs": epochs,  # of a round; one of torch's
                        "rounds_ms": measured["ours"]["rounds_ms"],
                        "torch_rounds_ms": measured["torch"]["rounds_ms"],
                        "torch_lstm_rounds_ms": measured["torch LSTM"]["rounds_ms"],
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


def ensemble_text(result: Mapping[str, Any]) -> str:
    """A row per model, size and number of networks."""
    rows = [
        [
            cell_name((row["model"], row["params"])),
            str(row["runs"]),
            f"{row['networks_epochs_per_s']:.0f}",
            f"{row['ratio']:.1f}",
            f"{row['ratio_lstm']:.1f}",
        ]
        for row in result["rows"]
    ]
    header = (
        "parameters",
        "networks at once",
        "networks x epochs / s",
        "times torch.nn",
        "times torch.nn.LSTM",
    )
    return (
        f"{machine_text(result)}\ntask 1 (320 steps, no input): forward, loss, backward, update\n\n"
        f"{table(header, rows)}\n\nall of Figure 3 (6000 networks x 2000 epochs) at these rates: "
        f"{result['figure3_s']:.0f} s"
    )


@click.command()
@click.option("--runs", help="Networks trained at once.  [default: 1,10,100,500]")
@click.option("--repeats", default=5, show_default=True, help="Rounds per point at the most.")
@click.option("--seconds", default=6.0, show_default=True, help="Per point, about.")
@device_option
@out_option
@json_option
def command(
    runs: str | None,
    repeats: int,
    seconds: float,
    device: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Task 1's training at Table 1's sizes against torch.nn, one network at a time."""
    counts = numbers_or(RUNS, runs, "--runs")
    at_least("--repeats", repeats, 1)
    at_least("--seconds", seconds, 0)
    points = len(AUDIO.hidden_sizes) * len(_MEASURED) * len(counts)
    settings: dict[str, Any] = {"runs": counts, "repeats": repeats, "seconds": seconds}
    if device:
        on_device.ensembles_command(settings | {"device": device}, out, as_json)
        return
    with kept(out, settings) as folder:
        bar = progress_bar(points, "ensembles", unit="point")
        result = run(**settings, tick=lambda: bar.update(1))
        bar.close()
        show(result, ensemble_text(result), as_json, folder)
