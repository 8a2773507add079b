"""`cwrnn bench ensemble`: task 1's training, all networks at once, against torch and JAX."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ...benchmarks import machine
from ...benchmarks.options import device_option, kept, numbers_or, out_option, show
from ...console import json_option, progress_bar, say
from ...help import Command, section
from ...models import CELLS, LSTMSpec
from ...models.cell import CellSpec
from ...models.ensemble import Ensemble, Shape
from ...option import REPEATS, SECONDS
from ...paper import AUDIO
from ...reporting.benchmarks import machine_text
from ...reporting.page import cell_name
from ...reporting.tables import table
from . import on_device, stacked
from .engines import LOOPS, CompiledEngine

RUNS = (1, 10, 100, 500)
STEPS = 320
MORE = 4  # times the least rounds are the most
_RATE, _MOMENTUM = 1e-6, 0.95  # so low a rate that the work stays the same
_LONGEST = 60.0  # seconds: a peer whose least rounds would take longer is left out
_NETWORKS = 500  # of each model and size in Figure 3
_MEASURED = [cell for cell in CELLS.values() if cell in LOOPS]


def _ensemble(cell: type[CellSpec], params: int, networks: int) -> Ensemble:
    spec = cell.of_size(AUDIO.hidden_sizes[params][cell.name], cell.published(AUDIO))
    ensemble = Ensemble(Shape(spec, 0, 1), networks)
    generators = [np.random.default_rng(i) for i in range(networks)]
    ensemble.draw(generators, AUDIO.weight_std)
    return ensemble


def _targets(networks: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (networks, STEPS))).float()


def _epochs(cell: type[CellSpec], params: int, networks: int, epochs: int) -> Callable[[], None]:
    """Train an ensemble of ours for some epochs."""
    engine = CompiledEngine(_ensemble(cell, params, networks), _targets(networks), [])
    active, rates = np.arange(networks), np.full(epochs, _RATE)
    momenta = np.full(epochs, _MOMENTUM)

    def call() -> None:
        engine.train(active, rates, momenta)

    return call


def _stacked_epoch(cell: type[CellSpec], params: int, networks: int) -> Callable[[], Any]:
    """One epoch of an ensemble, stacked in torch."""
    ensemble = _ensemble(cell, params, networks)
    weights = dict(ensemble.named_parameters())
    return stacked.epoch(ensemble.shape.cell, weights, _targets(networks), _RATE, _MOMENTUM)


def _jax_epochs(
    cell: type[CellSpec], params: int, networks: int, epochs: int
) -> tuple[Callable[[], Any], str]:
    """Some epochs of an ensemble in JAX, in its fastest setting, which is named."""
    from ...benchmarks import jax_cells  # noqa: PLC0415  (it may not be installed)

    ensemble = _ensemble(cell, params, networks)
    weights = {n: jax_cells.array(w) for n, w in ensemble.named_parameters()}
    velocity = {n: jax_cells.array(torch.zeros_like(w)) for n, w in ensemble.named_parameters()}
    arguments = (weights, velocity, jax_cells.array(_targets(networks)), _RATE, _MOMENTUM)
    return jax_cells.fastest(ensemble.shape.cell, jax_cells.training, arguments, epochs)


def _torch_epoch(cell: type[CellSpec], params: int) -> Callable[[], None]:
    """One epoch of one network with torch.nn: the cell's peer, or an RNN, of its width."""
    n = AUDIO.hidden_sizes[params][cell.name]
    layer, readout = (cell.peer or torch.nn.RNN)(1, n), torch.nn.Linear(n, 1)
    parameters = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=_RATE, momentum=_MOMENTUM, nesterov=True)
    x, target = torch.zeros(STEPS, 1, 1), torch.rand(STEPS, 1, 1) * 2 - 1

    def call() -> None:
        optimiser.zero_grad()
        output = readout(layer(x)[0])
        (0.5 * (output - target).square().sum()).backward()
        optimiser.step()

    return call


def _point(
    cell: type[CellSpec], params: int, networks: int, repeats: int, seconds: float
) -> dict[str, Any]:
    """A row of the JSON; a peer that trains all at once and needs too long for it is not in it."""
    epochs = max(2, 2000 // (10 * networks))
    needed: dict[str, Callable[[], Any]] = {
        "ours": _epochs(cell, params, networks, epochs),
        "torch": _torch_epoch(cell, params),
        "torch LSTM": _torch_epoch(LSTMSpec, params),
    }
    calls = needed | {"stacked": _stacked_epoch(cell, params, networks)}
    setting = None
    if machine.has_jax():
        calls["jax"], setting = _jax_epochs(cell, params, networks, epochs)
    times = machine.alternate(calls, repeats, MORE * repeats, seconds, _LONGEST, needed)
    measured = {name: machine.spread(found) for name, found in times.items() if found}
    medians = {name: found["ms"] / 1e3 for name, found in measured.items()}
    each = medians["ours"] / (networks * epochs)
    row = {
        "model": cell.name,
        "params": params,
        "runs": networks,
        "networks_epochs_per_s": 1 / each,
        "ratio": medians["torch"] / each,
        "ratio_lstm": medians["torch LSTM"] / each,
        "torch_ms": 1e3 * medians["torch"],
        "epochs": epochs,  # of a round of ours and of JAX's; one of torch's
        "rounds_ms": measured["ours"]["rounds_ms"],
        "torch_rounds_ms": measured["torch"]["rounds_ms"],
        "torch_lstm_rounds_ms": measured["torch LSTM"]["rounds_ms"],
    }
    for name, done in (("stacked", networks), ("jax", networks * epochs)):
        if name in measured:
            row[f"{name}_networks_epochs_per_s"] = done / medians[name]
            row[f"{name}_rounds_ms"] = measured[name]["rounds_ms"]
    if "jax" in measured:
        row["jax_setting"] = setting
    return row


def run(
    runs: Sequence[int] = RUNS,
    repeats: int = 5,
    seconds: float = 2.0,
    note: Callable[[str], None] = lambda message: None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure all models and sizes.

    Args:
        runs: R, networks trained at once.
        repeats: rounds per point, at least; :data:`MORE` times as many at the most.
        seconds: per point, for rounds beyond the least.
        note: told what is missing, and why.
        tick: called after each point.

    Returns:
        The JSON of `cwrnn bench ensemble`: machine, peak_gflops, rows, figure3_s (from the
        rates at the largest R).
    """
    if not machine.has_jax():
        note(machine.NO_JAX)
    rows = []
    figure3 = 0.0
    for params in AUDIO.hidden_sizes:
        for cell in _MEASURED:
            for networks in runs:
                rows.append(_point(cell, params, networks, repeats, seconds))
                tick()
            figure3 += _NETWORKS * AUDIO.epochs / rows[-1]["networks_epochs_per_s"]
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
            *(_over(row, peer) for peer in ("stacked", "jax")),
            row.get("jax_setting", ""),
        ]
        for row in result["rows"]
    ]
    header = (
        "parameters",
        "networks at once",
        "networks x epochs / s",
        "times torch.nn",
        "times torch.nn.LSTM",
        "times torch.baddbmm",
        "times JAX",
        "JAX's setting",
    )
    return (
        f"{machine_text(result)}\ntask 1 (320 steps, no input): forward, loss, backward, update; "
        "times: how many times as fast ours is;\ntorch.nn trains one network at a time, "
        "torch.baddbmm and JAX (vmap, scan, jit; its fastest setting)\nas many as ours; –: not "
        f"installed, or its least rounds would take over {_LONGEST:.0f} s\n\n"
        f"{table(header, rows)}\n\nall of Figure 3 (6000 networks x 2000 epochs) at these rates: "
        f"{result['figure3_s']:.0f} s"
    )


def _over(row: Mapping[str, Any], peer: str) -> str:
    """How many times as fast as a peer ours is."""
    rate = row.get(f"{peer}_networks_epochs_per_s")
    return f"{row['networks_epochs_per_s'] / rate:.1f}" if rate else "–"


@click.command(cls=Command, examples=[("ten networks at once", "cwrnn bench ensemble --runs 10")])
@section("Measurement")
@click.option("--runs", help="Networks trained at once.  [default: 1,10,100,500]")
@click.option(
    "--repeats", type=REPEATS, default=5, show_default=True, help="Rounds per point at least."
)
@click.option(
    "--seconds", type=SECONDS, default=2.0, show_default=True, help="Per point, for more rounds."
)
@device_option
@section("Output")
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
    """Task 1's training at Table 1's sizes against torch.nn, one network at a time, and stacked.

    JAX's rates need the extra "bench"; compiling its settings takes most of the time.
    """
    counts = numbers_or(RUNS, runs, "--runs")
    points = len(AUDIO.hidden_sizes) * len(_MEASURED) * len(counts)
    settings: dict[str, Any] = {"runs": counts, "repeats": repeats, "seconds": seconds}
    if device:
        on_device.ensembles_command(settings | {"device": device}, out, as_json)
        return
    with kept(out, settings) as folder:
        bar = progress_bar(points, "ensembles", unit="point")
        result = run(**settings, note=say, tick=lambda: bar.update(1))
        bar.close()
        show(result, ensemble_text(result), as_json, folder)
