"""What the compiled layers share: padded units, time first, and rows shared out over threads."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock
from . import memory, recurrence
from .announce import announced
from .simd import LANES
from .threads import run_all

_INLINE = 1 << 16  # multiply-adds below which a thread costs more than it saves


@lru_cache
def compile_all(dtype: torch.dtype) -> None:
    """Compile all kernels for a precision, or fetch them from the disk, on empty work."""
    none, places = torch.empty(0, dtype=dtype).numpy(), np.zeros(2, np.int64)
    counts = (0, 0, 0, 0)
    with announced("the recurrent kernels"):
        recurrence.module_forward(
            none, places, none, none, none, places, places, places, 0, *counts, 0
        )
        recurrence.module_backward(
            none, none, places, none, none, places, places, places, 0, *counts, 0
        )
        for copy in (recurrence.hold, recurrence.sum_held):
            copy(none, places, places[:1], places, places, none, *counts)
        recurrence.lstm_forward(none, none, none, none, none, False, 0, *counts, 0)
        recurrence.lstm_backward(none, none, none, none, none, none, False, 0, *counts, 0)


def flat(tensor: Tensor, network: int) -> np.ndarray:
    """One network's part of a contiguous (R, ...) tensor as a flat array."""
    array: np.ndarray = tensor.detach()[network].reshape(-1).numpy()
    return array


def for_rows(networks: int, batch: int, work: int, call: Callable[[int, int, int], None]) -> None:
    """``call(network, first row, last row)`` for all, on several threads if there is enough to do.

    Args:
        networks: R.
        batch: B.
        work: multiply-adds of one row.
        call: does a range of rows.
    """
    threads = torch.get_num_threads()
    if threads == 1 or networks * batch * work < _INLINE or networks * batch == 1:
        for network in range(networks):
            call(network, 0, batch)
        return
    pieces = min(-(-threads // networks), batch) if networks < threads else 1
    rows = -(-batch // pieces)
    if rows > 4:
        rows = -(-rows // 4) * 4  # the kernels like rows by four
    run_all(
        call,
        [
            (network, first, min(first + rows, batch))
            for network in range(networks)
            for first in range(0, batch, rows)
        ],
        threads,
    )


@dataclass(frozen=True)
class Layout:
    """Where the padded units lie."""

    periods: np.ndarray  # (g,)
    offsets: np.ndarray  # (g + 1,) in vectors
    units: tuple[int, ...]  # per module
    starts: np.ndarray  # (g + 1,) first unpadded unit of each module, then n
    padded: int  # N, padded units
    index: Tensor | None  # (n,) padded place of each unit, or None if there is no padding


@lru_cache(maxsize=64)
def layout_of(clock: Clock) -> Layout:
    """Where the units of a clock's modules lie when each module is padded to whole vectors."""
    widths = [-(-size // LANES) for size in clock.sizes]
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    padded = int(offsets[-1]) * LANES
    index = None
    if padded != clock.hidden_size:
        index = torch.cat(
            [
                torch.arange(size) + int(offset) * LANES
                for size, offset in zip(clock.sizes, offsets[:-1], strict=True)
            ]
        )
    periods = np.array(clock.periods, np.int64)
    return Layout(periods, offsets, clock.sizes, np.array(clock.starts), padded, index)


def pad(weight: Tensor | None, layout: Layout, *axes: int) -> Tensor | None:
    """A weight with its units at their padded places along ``axes``, contiguous."""
    if weight is None or layout.index is None:
        return None if weight is None else weight.contiguous()
    for axis in axes:
        shape = list(weight.shape)
        shape[axis] = layout.padded
        weight = weight.new_zeros(shape).index_copy_(axis, layout.index, weight)
    return weight


def unpad(gradient: Tensor | None, layout: Layout, *axes: int) -> Tensor | None:
    """The reverse of :func:`pad`."""
    if gradient is None or layout.index is None:
        return gradient
    for axis in axes:
        gradient = gradient.index_select(axis, layout.index)
    return gradient


def time_first(tensor: Tensor) -> Tensor:
    """(R, B, T, m) to contiguous (R, T, B, m)."""
    tensor = tensor.detach().transpose(1, 2)
    if tensor.is_contiguous():
        return tensor
    return memory.empty(tensor.shape, tensor).copy_(tensor)
