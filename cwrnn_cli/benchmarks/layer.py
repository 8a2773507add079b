"""`cwrnn bench layer`: forward and backward pass of our layers and torch's, of the same width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..clock import Clock
from ..models import CELLS, ClockworkSpec
from . import machine

WIDTHS = (40, 64, 128, 256, 512, 1024)
BATCHES = (1, 32, 128)
LENGTHS = (320, 2048)
MODULES = 8
BASE = "torch.nn.RNN"  # the measure of all
_TOO_LONG = 60.0  # seconds: a backend that will take longer than that is left out

Note = Callable[[str], None]


def operations(width: int, inputs: int, modules: int = MODULES) -> dict[str, float]:
    """Multiply-adds per step and row of the forward pass (the paper's appendix).

    Returns:
        ``dense``: n^2 + n m, of an SRN; ``paper``: W_H row by row at each module's ticks, as the
        appendix counts; ``cascade``: what our kernels do, W_H column by column at each module's
        ticks; ``paper_ratio``, ``cascade_ratio``: dense over those two.
    """
    clock = Clock.of(width, modules)
    starts = clock.starts
    inward = sum(k * inputs / t for k, t in zip(clock.sizes, clock.periods, strict=True))
    rows = sum(
        k * (width - first) / t
        for k, first, t in zip(clock.sizes, starts[:-1], clock.periods, strict=True)
    )
    columns = sum(
        k * end / t for k, end, t in zip(clock.sizes, starts[1:], clock.periods, strict=True)
    )
    dense = float(width * width + width * inputs)
    return {
        "dense": dense,
        "paper": rows + inward,
        "cascade": columns + inward,
        "paper_ratio": dense / (rows + inward),
        "cascade_ratio": dense / (columns + inward),
    }


def _step(layer: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor) -> Callable[[], None]:
    def call() -> None:
        layer.zero_grad(set_to_none=True)
        output, _ = layer(x)
        output.backward(gradient)

    return call


@dataclass(frozen=True)
class _Entry:
    """A layer to measure."""

    name: str
    backend: str
    layer: torch.nn.Module
    clockwork: bool  # whether the paper's count of operations is its


def _layers(width: int) -> list[_Entry]:
    """Torch's layers, :data:`BASE` first, then ours."""
    torchs = [cell.peer for cell in CELLS.values() if cell.peer]
    found = [
        _Entry(f"torch.nn.{peer.__name__}", "torch", peer(width, width), False) for peer in torchs
    ]
    for cell in CELLS.values():
        spec = cell.of_size(width, {"periods": MODULES})
        for backend in cell.backends:
            layer = spec.layer(width)
            layer.backend = backend
            clockwork = isinstance(spec, ClockworkSpec)
            found.append(_Entry(type(layer).__name__, backend, layer, clockwork))
    return found


def run(
    widths: Sequence[int] = WIDTHS,
    batches: Sequence[int] = BATCHES,
    lengths: Sequence[int] = LENGTHS,
    repeats: int = 5,
    seconds: float = 20.0,
    note: Note = lambda message: None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the grid.

    Args:
        widths: n, and m as well.
        batches: B.
        lengths: T.
        repeats: rounds per point at the most.
        seconds: per point, about.
        note: told what is left out, and why.
        tick: called after each point.

    Returns:
        The JSON of `cwrnn bench layer`: machine, peak_gflops, rows.
    """
    rows: list[dict[str, Any]] = []
    per_unit: dict[tuple[str, str], float] = {}  # seconds per step and row, at the last point
    for width in widths:
        counts = operations(width, width)
        for length in lengths:
            for batch in batches:
                rows += _point(width, batch, length, repeats, seconds, counts, per_unit, note)
                tick()
    return {"machine": machine.describe(), "peak_gflops": machine.peak_gflops(), "rows": rows}


def _point(
    width: int,
    batch: int,
    length: int,
    repeats: int,
    seconds: float,
    counts: dict[str, float],
    per_step: dict[tuple[str, str], float],
    note: Note,
) -> list[dict[str, Any]]:
    where = f"width {width}, batch {batch}, length {length}"
    need = 4 * 30 * width * batch * length  # an LSTM's gates, cells, their errors, and copies
    if need > machine.available_bytes():
        note(f"{where}: left out, it may need {need / 2**30:.0f} GiB")
        return []
    x, gradient = (torch.randn(length, batch, width) for _ in range(2))
    entries = []
    for entry in _layers(width):
        expected = per_step.get((entry.name, entry.backend), 0.0) * length
        if expected > _TOO_LONG:
            left_out = f"{entry.name} ({entry.backend}) left out"
            note(f"{where}: {left_out}, it would take {expected:.0f} s a step")
            continue
        entries.append(entry)
    named = {f"{e.name} {e.backend}": _step(e.layer, x, gradient) for e in entries}
    peaks = {name: machine.peak_bytes(call) for name, call in named.items()}
    times = machine.alternate(named, repeats, seconds)
    base = machine.spread(times[f"{BASE} torch"])["ms"]
    rows = []
    for entry, name in zip(entries, named, strict=True):
        measured = machine.spread(times[name])
        per_step[entry.name, entry.backend] = measured["ms"] / 1e3 / length
        row = {
            "cell": entry.name,
            "backend": entry.backend,
            "width": width,
            "batch": batch,
            "length": length,
            **measured,
            "rounds": len(times[name]),
            "ratio": base / measured["ms"],
            "bytes": peaks[name],
        }
        if entry.clockwork:
            work = 2 * 3 * counts["cascade"] * batch * length  # forward, and twice backward
            row |= {
                "gflops": work / measured["ms"] / 1e6,
                "operations_ratio": counts["paper_ratio"],
                "cascade_ratio": counts["cascade_ratio"],
                "paper_bound": MODULES / 4,
            }
        rows.append(row)
    return rows
