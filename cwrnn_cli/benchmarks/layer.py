"""`cwrnn bench layer`: forward and backward pass of our layers, torch's and JAX's, of one width."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from ..clock import Clock
from ..models import CELLS, ClockworkSpec, SRNSpec
from ..models.cell import CellSpec
from ..models.modular import ModularSpec
from . import machine

WIDTHS = (40, 64, 128, 256, 512, 1024)
BATCHES = (1, 32, 128)
LENGTHS = (320, 2048)
MODULES = 8
BASE = "torch.nn.RNN"  # with our own SRN the measure of all
JAX = "jax"  # a backend
DRAWN = (SRNSpec.name, ClockworkSpec.name)  # cells without which the figure has nothing to show
MORE = 4  # times the least rounds are the most
_FEW = 20  # steps, to estimate by
_TOO_LONG = 60.0  # seconds: a row whose least rounds would take longer than that is left out

Note = Callable[[str], None]
Call = Callable[[], Any]
PerStep = dict[tuple[str, int, int], float]  # layer and backend, n, B -> seconds, as measured


def operations(width: int, inputs: int, modules: int = MODULES) -> dict[str, float]:
    """Multiply-adds per step and row of the forward pass (the paper's appendix).

    Returns:
        ``dense``: n^2 + n m, of an SRN; ``paper``: W_H row by row at each module's ticks, as the
        appendix counts; ``cascade``: what our kernels do, W_H column by column at each module's
        ticks; ``paper_ratio``, ``cascade_ratio``: dense over those two; ``paper_hidden``: of
        ``paper`` that of W_H; ``paper_bound``: what the appendix says that this is at most.
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
        "paper_hidden": rows,
        "paper_bound": (width / modules) ** 2 * (2 * modules - 2),
    }


def _step(layer: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor) -> Callable[[], None]:
    def call() -> None:
        layer.zero_grad(set_to_none=True)
        output, _ = layer(x)
        output.backward(gradient)

    return call


@dataclass(frozen=True)
class _Entry:
    """A row to be.

    Attributes:
        name: of the layer.
        backend: how it is computed.
        cell: None: torch's own.
        products: multiply-adds per step and row of the forward pass, at least.
        call: of inputs and the outputs' gradient (T, B, n): the pass to measure, and which setting
            it took, if it had a choice.
    """

    name: str
    backend: str
    cell: CellSpec | None
    products: float
    call: Callable[[torch.Tensor, torch.Tensor], tuple[Call, str | None]]

    @property
    def key(self) -> str:
        """Name and backend."""
        return f"{self.name} ({self.backend})"

    @property
    def is_clockwork(self) -> bool:
        """Whether the paper's count of operations is its."""
        return isinstance(self.cell, ClockworkSpec)


def _of_torch(
    name: str, backend: str, cell: CellSpec | None, layer: Any, products: float
) -> _Entry:
    return _Entry(name, backend, cell, products, lambda x, grad: (_step(layer, x, grad), None))


def _in_jax(cell: CellSpec, layer: torch.nn.Module, products: float) -> _Entry:
    """The fastest of its settings."""
    from . import jax_cells  # noqa: PLC0415  (it may not be installed)

    def call(x: torch.Tensor, gradient: torch.Tensor) -> tuple[Call, str]:
        weights = {n: jax_cells.array(w) for n, w in layer.named_parameters()}
        arguments = (weights, jax_cells.array(x), jax_cells.array(gradient))
        return jax_cells.fastest(cell, jax_cells.weight_gradients, arguments)

    return _Entry(type(layer).__name__, JAX, cell, products, call)


def _layers(
    width: int, counts: dict[str, float], models: Collection[str] | None = None
) -> list[_Entry]:
    """Torch's layers, :data:`BASE` first, then ours, then JAX's; of all cells, or of ``models``."""
    found, in_jax = [], []
    cells = [cell for name, cell in CELLS.items() if models is None or name in models]
    for cell in cells:
        if cell.peer:
            layer = cell.peer(width, width)
            products = float(sum(w.numel() for w in layer.parameters() if w.dim() == 2))
            found.append(
                _of_torch(f"torch.nn.{cell.peer.__name__}", "torch", None, layer, products)
            )
    for cell in cells:
        spec = cell.of_size(width, {"periods": MODULES})
        shapes = spec.weights(width)
        products = float(sum(a * b for a, b in (shapes["weight_ih"], shapes["weight_hh"])))
        if isinstance(spec, ModularSpec):
            products = counts["cascade"] * spec.gates
        for backend in cell.backends:
            layer = spec.layer(width)
            layer.backend = backend
            found.append(_of_torch(type(layer).__name__, backend, spec, layer, products))
        if machine.has_jax() and _has_peer(spec):
            in_jax.append(_in_jax(spec, spec.layer(width), products))
    return found + in_jax


def _has_peer(cell: CellSpec) -> bool:
    from .jax_cells import WAYS  # noqa: PLC0415  (it may not be installed)

    return type(cell) in WAYS


def run(
    widths: Sequence[int] = WIDTHS,
    batches: Sequence[int] = BATCHES,
    lengths: Sequence[int] = LENGTHS,
    repeats: int = 5,
    seconds: float = 2.0,
    models: Collection[str] | None = None,
    note: Note = lambda message: None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the grid.

    Args:
        widths: n, and m as well.
        batches: B.
        lengths: T.
        repeats: rounds of each row, at least; :data:`MORE` times as many at the most.
        seconds: per point, for rounds beyond the least.
        models: names of the cells; None: all.
        note: told what is left out, and why.
        tick: called after each point.

    Returns:
        The JSON of `cwrnn bench layer`: machine, peak_gflops, rows.
    """
    if not machine.has_jax():
        note(machine.NO_JAX)
    peak = machine.peak_gflops()
    rows: list[dict[str, Any]] = []
    per_step: PerStep = {}
    for width in widths:
        counts = operations(width, width)
        for length in lengths:
            for batch in batches:
                point = _Point(width, batch, length, counts, models)
                rows += _measure(point, repeats, seconds, peak, per_step, note)
                tick()
    return {"machine": machine.describe(), "peak_gflops": peak, "rows": rows}


def expected_seconds(
    widths: Sequence[int],
    batches: Sequence[int],
    lengths: Sequence[int],
    repeats: int,
    seconds: float,
    models: Collection[str] | None = None,
) -> float:
    """How long :func:`run` should take, from calls of each row at the smallest and largest point.

    A row's call at another point is taken to need as long per step as at the smallest, or as long
    per product as in a few steps at the largest, whichever is more.

    Args:
        widths: as there.
        batches: likewise.
        lengths: likewise.
        repeats: likewise.
        seconds: likewise.
        models: likewise.
    """
    few = min(_FEW, *lengths)
    calls, ready = _warm_calls(min(widths), min(batches), min(lengths), models)
    per_step = {key: machine.timed(call) / min(lengths) for key, call in calls.items()}
    looks = sum(map(machine.timed, [partial(machine.peak_bytes, one) for one in calls.values()]))
    calls, again = _warm_calls(max(widths), max(batches), few, models)
    ready = max(ready, again)
    per_product = {
        entry.key: machine.timed(calls[entry.key]) / few / entry.products / max(batches)
        for entry in _layers(max(widths), _counts(max(widths)), models)
    }
    total = machine.timed(machine.peak_gflops)
    for width, batch, length in product(widths, batches, lengths):
        each = []
        for entry in _layers(width, _counts(width), models):
            of_products = per_product[entry.key] * entry.products * batch
            each.append(length * max(per_step[entry.key], of_products))
        kept = [one for one in each if repeats * one <= _TOO_LONG]
        least = repeats * sum(kept)
        # and a call of each before, and one for its memory
        total += 2 * sum(kept) + max(least, min(MORE * least, seconds)) + looks + ready
    return total


def _counts(width: int) -> dict[str, float]:
    return operations(width, width)


def _warm_calls(
    width: int, batch: int, length: int, models: Collection[str] | None
) -> tuple[dict[str, Call], float]:
    """Of each row, what has been called once; seconds to have it ready, which JAX compiles for."""
    x, gradient = torch.randn(length, batch, width), torch.randn(length, batch, width)
    calls, ready = {}, 0.0
    for entry in _layers(width, _counts(width), models):
        began = time.perf_counter()
        calls[entry.key], _ = entry.call(x, gradient)
        ready += time.perf_counter() - began
        calls[entry.key]()
    return calls, ready


@dataclass(frozen=True)
class _Point:
    """Where to measure: n, B, T, :func:`operations` there, and which cells; None: all."""

    width: int
    batch: int
    length: int
    counts: dict[str, float]
    models: Collection[str] | None

    def __str__(self) -> str:
        return f"width {self.width}, batch {self.batch}, length {self.length}"


def _measure(
    point: _Point,
    repeats: int,
    seconds: float,
    peak: float,
    per_step: PerStep,
    note: Note,
) -> list[dict[str, Any]]:
    shape = (point.length, point.batch, point.width)
    need = 4 * 30 * point.width * point.batch * point.length  # an LSTM's gates, cells, copies ...
    if need > machine.available_bytes():
        note(f"{point}: left out, it may need {need / 2**30:.0f} GiB")
        return []
    x, gradient = torch.randn(shape), torch.randn(shape)
    entries, calls, chosen = {}, {}, {}
    for entry in _layers(point.width, point.counts, point.models):
        if repeats * _least_seconds(entry, point, peak, per_step) > _TOO_LONG:
            note(_left_out(point, entry, repeats))
            continue
        entries[entry.key] = entry
        calls[entry.key], chosen[entry.key] = entry.call(x, gradient)
    times = machine.alternate(calls, repeats, MORE * repeats, seconds, _TOO_LONG)
    rows = []
    for key, entry in entries.items():
        if not times[key]:
            note(_left_out(point, entry, repeats))
            continue
        measured = machine.spread(times[key])
        per_step[key, point.width, point.batch] = measured["ms"] / 1e3 / point.length
        row = {
            "cell": entry.name,
            "backend": entry.backend,
            "width": point.width,
            "batch": point.batch,
            "length": point.length,
            **measured,
            "rounds": len(times[key]),
            "bytes": machine.peak_bytes(calls[key]),
        }
        if chosen[key]:
            row["setting"] = chosen[key]
        if entry.is_clockwork:
            work = 2 * 3 * point.counts["cascade"] * point.batch * point.length
            row |= {
                "gflops": work / measured["ms"] / 1e6,
                "operations_ratio": point.counts["paper_ratio"],
                "cascade_ratio": point.counts["cascade_ratio"],
                "paper_bound": MODULES / 4,
            }
        rows.append(row)
    own = {e.key for e in entries.values() if isinstance(e.cell, SRNSpec) and e.backend != JAX}
    _compare(rows, own)
    return rows


def _least_seconds(entry: _Entry, point: _Point, peak: float, per_step: PerStep) -> float:
    """A call takes no less than at the machine's peak, nor a step than one of a smaller point."""
    flop = 2 * 3 * entry.products * point.batch * point.length  # forward, and twice backward
    measured = (
        seconds * point.length
        for (key, width, batch), seconds in per_step.items()
        if key == entry.key and width <= point.width and batch <= point.batch
    )
    return max(flop / peak / 1e9, *measured, 0.0)


def _left_out(point: _Point, entry: _Entry, repeats: int) -> str:
    return f"{point}: {entry.key} left out, {repeats} rounds would take over {_TOO_LONG:.0f} s"


def _compare(rows: list[dict[str, Any]], own: set[str]) -> None:
    """How many times as fast as torch's SRN, as ours, as the faster; None: one is left out."""
    torchs = [row["ms"] for row in rows if row["cell"] == BASE]
    ours = [row["ms"] for row in rows if f"{row['cell']} ({row['backend']})" in own]
    both = torchs + ours if torchs and ours else []
    bases = {"ratio": torchs, "ratio_own": ours, "ratio_faster": both}
    for row in rows:
        for name, found in bases.items():
            row[name] = min(found) / row["ms"] if found else None
