"""Task 1's speed on a device: `cwrnn bench ensemble --device` and `cwrnn bench figure3`."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ...benchmarks import on_device
from ...benchmarks.options import kept, out_option, show
from ...console import json_option, say
from ...help import Command, section
from ...models import CELLS
from ...models.cell import CellSpec
from ...option import COUNT, SECONDS
from ...paper import AUDIO
from ...reporting.benchmarks import machine_text
from ...reporting.page import cell_name
from ...reporting.tables import table
from ...training.config import TrainConfig
from ...training.configure import configure
from ...training.device import check_device
from ...training.folder import RunFolder
from ...training.loop import train
from .data import AudioData, load
from .engines import make_engine

_CELLS = [cell for cell in CELLS.values() if cell.name in AUDIO.learning_rates]
_RATE, _MOMENTUM = 1e-6, 0.95  # so low a rate that the work stays the same


def _noise(length: int) -> AudioData:
    """One sequence to learn."""
    targets = np.random.default_rng(0).uniform(-1, 1, (1, length)).astype(np.float32)
    return AudioData(
        targets=targets,
        shift=np.zeros(1),
        scale=np.ones(1),
        names=["noise"],
        source="noise",
        standin=True,
        sha256="",
        path=Path("noise"),
        provenance={},
    )


def _epochs(
    cell: type[CellSpec], params: int, networks: int, epochs: int, device: str, length: int
) -> tuple[Callable[[], Any], str]:
    """Train an ensemble for some epochs in the engine that a run takes there; and its name."""
    data = _noise(length)
    config = configure(data, cell.name, params, runs=networks, device=device)
    engine = make_engine(config, data)
    active, rates = np.arange(networks), np.full(epochs, _RATE)
    momenta = np.full(epochs, _MOMENTUM, np.float32)
    return lambda: engine.train(active, rates, momenta), type(engine).__name__


def _torch_epoch(cell: type[CellSpec], params: int, device: str, length: int) -> Callable[[], Any]:
    """One epoch of one network with torch.nn: the cell's peer, or an RNN, of its width."""
    n = AUDIO.hidden_sizes[params][cell.name]
    layer = (cell.peer or torch.nn.RNN)(1, n).to(device)
    readout = torch.nn.Linear(n, 1).to(device)
    weights = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.SGD(weights, lr=_RATE, momentum=_MOMENTUM, nesterov=True)
    x = torch.zeros(length, 1, 1, device=device)
    target = torch.rand_like(x) * 2 - 1

    def call() -> None:
        optimiser.zero_grad()
        output = readout(layer(x)[0])
        (0.5 * (output - target).square().sum()).backward()
        optimiser.step()

    return call


def ensembles(
    runs: Sequence[int],
    device: str,
    repeats: int = 5,
    seconds: float = 2.0,
    length: int = AUDIO.length or 0,
    epochs: int = 20,
    sizes: Sequence[int] = tuple(AUDIO.hidden_sizes),
) -> dict[str, Any]:
    """Measure all models and sizes against torch's layers there, one network at a time.

    Args:
        runs: R, networks trained at once.
        device: where.
        repeats: rounds per point at the most, after one that compiles.
        seconds: per point, about.
        length: T.
        epochs: of a round of ours.
        sizes: of Table 1.

    Returns:
        The JSON of `cwrnn bench ensemble --device`.
    """
    rows = []
    for params in sizes:
        for cell in _CELLS:
            for networks in runs:
                ours, engine = _epochs(cell, params, networks, epochs, device, length)
                calls = {"ours": ours, "torch": _torch_epoch(cell, params, device, length)}
                for call in calls.values():
                    call()
                found = on_device.alternate(calls, device, repeats, seconds)
                each = found["ours"]["ms"] / (networks * epochs)
                rows.append(
                    {
                        "model": cell.name,
                        "params": params,
                        "runs": networks,
                        "engine": engine,
                        "networks_epochs_per_s": 1e3 / each,
                        "ratio": found["torch"]["ms"] / each,
                        "epochs": epochs,
                        "rounds_ms": found["ours"]["rounds_ms"],
                        "torch_rounds_ms": found["torch"]["rounds_ms"],
                    }
                )
    return {**on_device.describe(device), "length": length, "rows": rows}


class _Enough(Exception):
    """The time for a cell is over."""


def figure(device: str, runs: int, epochs: int, seconds: float) -> dict[str, Any]:
    """Train all networks of Figure 3 on the built-in piece, through the real loop.

    Args:
        device: where.
        runs: of each network.
        epochs: of each.
        seconds: for all of it; what would take longer is timed in part and extrapolated.

    Returns:
        The JSON of `cwrnn bench figure3`. ``wall_s``: of all, with compilation and checkpoints;
        ``extrapolated``: whether some of it was not trained to its end.
    """
    from data_prep.audio import prepare  # noqa: PLC0415  (its music, only where it is needed)

    begun, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / "audio.h5")
        data = load(Path(folder) / "audio.h5")
        cells = [(params, cell) for params in AUDIO.hidden_sizes for cell in _CELLS]
        for number, (params, cell) in enumerate(cells):
            options: dict[str, Any] = {"runs": runs, "epochs": epochs, "device": device}
            config = configure(data, cell.name, params, **options)
            left = seconds - (time.perf_counter() - begun)
            place = RunFolder(Path(folder) / f"{cell.name}-{params}")
            rows.append(_timed(config, data, place, left / (len(cells) - number)))
            say(f"{cell.name} {params}: {rows[-1]['wall_s']:.1f} s")
    return {
        **on_device.describe(device),
        "data": data.source,
        "rows": rows,
        "wall_s": sum(row["wall_s"] for row in rows),
        "extrapolated": any(row["extrapolated"] for row in rows),
    }


def _timed(
    config: TrainConfig, data: AudioData, folder: RunFolder, seconds: float
) -> dict[str, Any]:
    begun, marks = time.perf_counter(), []

    def progress(epoch: int, _: dict[str, Any]) -> None:
        marks.append((epoch, time.perf_counter() - begun))
        if marks[-1][1] > seconds and len(marks) > 1 and epoch < config.epochs:
            raise _Enough

    folder.start(config)
    try:
        train(config, data, folder, progress)
        wall = time.perf_counter() - begun
    except _Enough:  # the first mark has all that is done once
        (first, before), (last, after) = marks[0], marks[-1]
        wall = before + (after - before) / (last - first) * (config.epochs - first)
    return {
        "model": config.model,
        "params": config.params,
        "networks": config.networks,
        "epochs": config.epochs,
        "trained": marks[-1][0],
        "first_s": marks[0][1],
        "wall_s": wall,
        "extrapolated": marks[-1][0] < config.epochs,
    }


def text(result: Mapping[str, Any]) -> str:
    """A row per model and size."""
    if "wall_s" in result:
        return _figure_text(result)
    rows = [
        [
            cell_name((row["model"], row["params"])),
            str(row["runs"]),
            row["engine"],
            f"{row['networks_epochs_per_s']:.0f}",
            f"{row['ratio']:.1f}",
        ]
        for row in result["rows"]
    ]
    header = ("parameters", "networks at once", "engine", "networks x epochs / s", "times torch.nn")
    return (
        f"{machine_text(result)}\ntask 1 ({result['length']} steps, no input): forward, loss, "
        "backward, update; torch.nn there, one network at\na time, by cuDNN on a GPU\n\n"
        f"{table(header, rows)}"
    )


def _figure_text(result: Mapping[str, Any]) -> str:
    rows = [
        [
            cell_name((row["model"], row["params"])),
            str(row["networks"]),
            f"{row['trained']} of {row['epochs']}",
            f"{row['first_s']:.1f}",
            f"{row['wall_s']:.1f}" + " (extrapolated)" * row["extrapolated"],
        ]
        for row in result["rows"]
    ]
    header = ("parameters", "networks", "epochs", "s to the first line", "s")
    networks = sum(row["networks"] for row in result["rows"])
    said = "extrapolated from a part" if result["extrapolated"] else "measured"
    return (
        f"{machine_text(result)}\nFigure 3 on the {result['data']}, trained by the loop of `cwrnn "
        f"train`\n\n{table(header, rows)}\n\n{networks} networks: {result['wall_s']:.0f} s, {said}"
    )


def ensembles_command(settings: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """What `cwrnn bench ensemble --device` does."""
    check_device(settings["device"], auto=False)
    with kept(out, settings) as folder:
        result = ensembles(**settings)
        show(result, text(result), as_json, folder)


@click.command(
    cls=Command,
    examples=[("on a GPU, for ten minutes", "cwrnn bench figure3 --device cuda --seconds 600")],
)
@section("Measurement")
@click.option("--runs", type=COUNT, default=AUDIO.runs, show_default=True, help="Of each network.")
@click.option("--epochs", type=COUNT, default=AUDIO.epochs, show_default=True, help="Of each.")
@click.option(
    "--seconds",
    type=SECONDS,
    default=3600.0,
    show_default=True,
    help="For all; what would take longer is timed in part and extrapolated, which is said.",
)
@click.option("--device", default="cpu", show_default=True, help="Where, such as cuda.")
@section("Output")
@out_option
@json_option
def figure3(
    runs: int, epochs: int, seconds: float, device: str, out: Path | None, as_json: bool
) -> None:
    """How long all of Figure 3 takes: its networks, trained on the built-in piece."""
    check_device(device, auto=False)
    settings: dict[str, Any] = {
        "device": device,
        "runs": runs,
        "epochs": epochs,
        "seconds": seconds,
    }
    with kept(out, settings) as folder:
        result = figure(**settings)
        show(result, text(result), as_json, folder)
