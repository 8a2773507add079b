"""`cwrnn bench layer --device`: our layers on a GPU against torch's there (cuDNN), and FlashRNN."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Any

import torch
from torch import Tensor

from data_prep.errors import UserError

from ..models import CELLS, ClockworkSpec, SRNSpec
from ..models.cell import CellSpec
from . import machine
from .layer import BASE, MODULES, operations

BACKENDS = ("auto", "cascade", "triton", "graph")  # of ours; one that cannot do a layer is left out
FLASHRNN = "flashrnn"
_OTHERS = ("cuda_fused", "triton")  # backends of FlashRNN
Call = Callable[[], Any]
Note = Callable[[str], None]


def synchronize(device: str) -> None:
    """Wait until a device has done all that it was given."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)


def timed(call: Call, device: str) -> float:
    """Seconds of a call, until its results are there."""
    synchronize(device)
    begun = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - begun


def alternate(calls: dict[str, Call], device: str, repeats: int, seconds: float) -> dict[str, Any]:
    """:func:`.machine.alternate` for work on a device, whose calls return before it is done.

    Returns:
        name -> what :func:`.machine.spread` makes of its rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(timed(call, device))
        if time.perf_counter() - begun > seconds:
            break
    return {name: machine.spread(found) for name, found in times.items()}


def peak_bytes(call: Call, device: str) -> int | None:
    """By how much a call's tensors fill the device's memory at most; None: torch does not count."""
    if torch.device(device).type != "cuda":
        return None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device) - before


def peak_gflops(device: str, size: int = 4096) -> float:
    """What a large `torch.mm` in float32 reaches there: the best of several."""
    size = size if torch.device(device).type != "cpu" else 1024
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    seconds = min(timed(lambda: torch.mm(a, b), device) for _ in range(8))
    return 2 * size**3 / seconds / 1e9


def describe(device: str) -> dict[str, Any]:
    """Of a benchmark's JSON: the machine, the device and what it reaches."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    about = {**machine.describe(), "gpu": name, "cudnn_tf32": torch.backends.cudnn.allow_tf32}
    return {"machine": about, "device": device, "peak_gflops": peak_gflops(device)}


def run(
    widths: Sequence[int],
    batches: Sequence[int],
    lengths: Sequence[int],
    device: str,
    repeats: int = 5,
    seconds: float = 2.0,
    flashrnn: bool = False,
    note: Note = lambda message: None,
) -> dict[str, Any]:
    """Measure the grid.

    Args:
        widths: n, and m as well.
        batches: B.
        lengths: T.
        device: where.
        repeats: rounds per point at the most, after one that compiles.
        seconds: per point, about.
        flashrnn: whether FlashRNN's layers are measured, instead of ours.
        note: told what is left out, and why.

    Returns:
        The JSON of `cwrnn bench layer`, with the device.

    Raises:
        UserError: FlashRNN is not installed.
    """
    if flashrnn and not find_spec(FLASHRNN):
        raise UserError(
            "--flashrnn: it is not installed; pip install flashrnn, on a machine with nvcc"
        )
    entries = partial(_entries, flashrnn=flashrnn)
    rows: list[dict[str, Any]] = []
    for width, length, batch in product(widths, lengths, batches):
        x, gradient = (torch.randn(length, batch, width, device=device) for _ in range(2))
        rows += _point(
            entries(x, gradient), (width, batch, length), device, (repeats, seconds), note
        )
    return {**describe(device), "rows": rows}


def _point(
    candidates: "Iterator[_Entry]",
    shape: tuple[int, int, int],
    device: str,
    effort: tuple[int, float],
    note: Note,
) -> list[dict[str, Any]]:
    width, batch, length = shape
    where = f"width {width}, batch {batch}, length {length}"
    entries: dict[str, _Entry] = {}
    sizes: dict[str, int | None] = {}
    for entry in candidates:
        key = f"{entry.cell} ({entry.backend})"
        try:
            entry.call()  # which compiles
            sizes[key] = peak_bytes(entry.call, device)
        except Exception as error:  # whatever a kernel, or another's package, makes of it
            first = str(error).partition("\n")[0]
            note(f"{where}: {key} left out: {first or type(error).__name__}")
            continue
        entries[key] = entry
    found = alternate({key: entry.call for key, entry in entries.items()}, device, *effort)
    torchs = [found[key]["ms"] for key, entry in entries.items() if entry.cell == BASE]
    ours = [found[key]["ms"] for key, entry in entries.items() if isinstance(entry.spec, SRNSpec)]
    bases = {"ratio": torchs, "ratio_own": ours, "ratio_faster": torchs + ours}
    rows = []
    for key, entry in entries.items():
        row = {
            "cell": entry.cell,
            "backend": entry.backend,
            "width": width,
            "batch": batch,
            "length": length,
            **found[key],
            "rounds": len(found[key]["rounds_ms"]),
            "bytes": sizes[key],
        }
        for name, base in bases.items():
            row[name] = min(base) / row["ms"] if base else None
        if isinstance(entry.spec, ClockworkSpec):
            counts = operations(width, width)
            work = 2 * 3 * counts["cascade"] * batch * length  # forward, and twice backward
            row |= {
                "gflops": work / row["ms"] / 1e6,
                "operations_ratio": counts["paper_ratio"],
                "cascade_ratio": counts["cascade_ratio"],
                "paper_bound": MODULES / 4,
            }
        rows.append(row)
    return rows


@dataclass(frozen=True)
class _Entry:
    """A row to be.

    Attributes:
        cell: name of the layer.
        backend: how it is computed.
        call: a forward and a backward pass.
        spec: of our own layers.
    """

    cell: str
    backend: str
    call: Call
    spec: CellSpec | None = None


def _entries(x: Tensor, gradient: Tensor, flashrnn: bool) -> Iterator[_Entry]:
    """Torch's layers, then ours, or FlashRNN's."""
    width = x.shape[2]
    for cell in CELLS.values():
        if cell.peer:
            peer = cell.peer(width, width).to(x.device)
            yield _Entry(f"torch.nn.{cell.peer.__name__}", "torch", _pass(peer, x, gradient))
    for cell in () if flashrnn else CELLS.values():
        spec = cell.of_size(width, {"periods": MODULES})
        for backend in BACKENDS:
            layer = spec.layer(width).to(x.device)
            layer.backend = backend
            yield _Entry(type(layer).__name__, backend, _pass(layer, x, gradient), spec)
    for cell, backend in product(CELLS.values() if flashrnn else (), _OTHERS):
        if cell.peer:
            name = "elman" if cell.peer is torch.nn.RNN else cell.peer.__name__.lower()
            gates = len(cell.peer(1, 1).get_parameter("weight_hh_l0"))
            call = _flashrnn(name, gates, backend, x, gradient)
            yield _Entry(f"flashrnn {name}, bfloat16", backend, call)


def _pass(layer: torch.nn.Module, x: Tensor, gradient: Tensor) -> Call:
    def call() -> None:
        layer.zero_grad(set_to_none=True)
        layer(x)[0].backward(gradient)

    return call


def _flashrnn(name: str, gates: int, backend: str, x: Tensor, gradient: Tensor) -> Call:
    """One head as wide as the layer, behind the product with the inputs that it leaves to others.

    It computes in bfloat16 unless told otherwise.
    """
    length, batch, n = x.shape
    inputs = torch.nn.Linear(n, gates * n, device=x.device)
    shapes = (gates, 1, n, n), (gates, 1, n)
    recurrent, bias = (
        (torch.randn(shape, device=x.device) / n**0.5).bfloat16().requires_grad_()
        for shape in shapes
    )
    rows, grad = x.transpose(0, 1), gradient.transpose(0, 1).bfloat16()

    def call() -> None:
        from flashrnn import flashrnn  # noqa: PLC0415  (it may not be installed)

        inputs.zero_grad(set_to_none=True)
        recurrent.grad = bias.grad = None
        drive = inputs(rows).view(batch, length, gates, 1, n).bfloat16()
        states, _ = flashrnn(drive, recurrent, bias, function=name, backend=backend)
        states[0].reshape(batch, length, n).backward(grad.to(states.dtype))

    return call
