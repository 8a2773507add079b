"""Clockwork and LSTM layers as autograd functions over the compiled recurrences.

All that is not recurrent is one matrix product per module: its input at its ticks, its columns of W_H times its
outputs at its ticks, and in the backward pass their gradients. Held outputs are never materialised but in the
layer's output. Inside, units are padded module by module to whole vectors, and time is the outer axis:
(R, T, B, units).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock
from . import recurrence
from .simd import LANES
from .threads import run_all

_INLINE = 1 << 16  # multiply-adds below which a thread costs more than it saves


def _flat(tensor: Tensor, network: int) -> np.ndarray:
    """One network's part of a contiguous (R, ...) tensor as a flat array."""
    array: np.ndarray = tensor.detach()[network].reshape(-1).numpy()
    return array


def _for_rows(networks: int, batch: int, work: int, call: Callable[[int, int, int], None]) -> None:
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
class _Layout:
    """Where the padded units lie."""

    periods: np.ndarray  # (g,)
    offsets: np.ndarray  # (g + 1,) in vectors
    units: tuple[int, ...]  # per module
    starts: tuple[int, ...]  # first unpadded unit of each module
    padded: int  # N, padded units
    index: Tensor | None  # (n,) padded place of each unit, or None if there is no padding


@lru_cache(maxsize=64)
def _layout(clock: Clock) -> _Layout:
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
    return _Layout(periods, offsets, clock.sizes, clock.starts[:-1], padded, index)


def _pad(weight: Tensor | None, layout: _Layout, *axes: int) -> Tensor | None:
    """A weight with its units at their padded places along ``axes``, contiguous."""
    if weight is None or layout.index is None:
        return None if weight is None else weight.contiguous()
    for axis in axes:
        shape = list(weight.shape)
        shape[axis] = layout.padded
        weight = weight.new_zeros(shape).index_copy_(axis, layout.index, weight)
    return weight


def _unpad(gradient: Tensor | None, layout: _Layout, *axes: int) -> Tensor | None:
    if gradient is None or layout.index is None:
        return gradient
    for axis in axes:
        gradient = gradient.index_select(axis, layout.index)
    return gradient


def _time_first(tensor: Tensor) -> Tensor:
    """(R, B, T, ...) to contiguous (R, T, B, ...)."""
    return tensor.detach().transpose(1, 2).contiguous()


def _at_ticks(x: Tensor, period: int) -> Tensor:
    """(R, T, B, m) to (R, ticks * B, m)."""
    return x[:, ::period].reshape(x.shape[0], -1, x.shape[3])


class Clockwork(torch.autograd.Function):
    """See :func:`clockwork`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """x, weight_ih, weight_hh, bias, h0, clock as in :func:`clockwork`."""
        x, weight_ih, weight_hh, bias, h0, clock = inputs
        layout = _layout(clock)
        networks, batch, steps, _ = x.shape
        x = _time_first(x)
        w_ih, w_hh = _pad(weight_ih, layout, 1), _pad(weight_hh, layout, 1, 2)
        assert w_hh is not None
        b = _pad(bias, layout, 1)
        start = _pad(h0, layout, 2)
        output = w_hh.new_empty(networks, steps, batch, clock.hidden_size)
        ticks = [-(-steps // period) for period in clock.periods]
        sizes = [
            networks * (1 + count) * batch * int(offset)
            for count, offset in zip(ticks, layout.offsets[:-1], strict=True)
        ]
        places = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)  # in vectors
        heard = w_hh.new_empty(int(places[-1]) * LANES)
        said: list[Tensor] = [heard] * len(ticks)
        for i in reversed(range(len(ticks))):
            first, end = (int(layout.offsets[i + k]) * LANES for k in (0, 1))
            y = w_hh.new_empty(networks, 1 + ticks[i], batch, end - first)
            y[:, 0] = 0 if start is None else start[:, :, first:end]
            drive = y[:, 1:].view(networks, -1, end - first)
            if w_ih is not None:
                seen, rows = _at_ticks(x, clock.periods[i]), w_ih[:, first:end].transpose(1, 2)
                torch.bmm(seen, rows, out=drive)
                if b is not None:
                    drive += b[:, None, first:end]
            else:
                drive[:] = 0 if b is None else b[:, None, first:end]
            own = w_hh[:, first:end, first:end].transpose(1, 2).contiguous()
            _run_module(layout, i, ticks, places, batch, y, own, heard, None)
            if i > 0:
                _block(heard, places, i, networks, first).copy_(
                    torch.bmm(
                        y.view(networks, -1, end - first),
                        w_hh[:, :first, first:end].transpose(1, 2),
                    )
                )
            said[i] = y
            _hold(layout, i, clock, y, output, recurrence.hold)
        ctx.save_for_backward(x, w_ih, w_hh)
        ctx.said, ctx.clock, ctx.places = said, clock, places
        ctx.has_bias, ctx.has_h0 = bias is not None, h0 is not None
        return output.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything but the clock."""
        x, w_ih, w_hh = ctx.saved_tensors
        clock, places = ctx.clock, ctx.places
        layout = _layout(clock)
        gradient = _time_first(gradients[0])
        networks, _, batch, features = x.shape
        ticks = [said.shape[1] - 1 for said in ctx.said]
        told = w_hh.new_zeros(int(places[-1]) * LANES)
        d_hh = torch.zeros_like(w_hh)
        d_ih = torch.empty_like(w_ih) if w_ih is not None else None
        d_b = w_hh.new_empty(networks, layout.padded)
        d_h0 = w_hh.new_empty(networks, batch, layout.padded)
        d_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        for i, y in enumerate(ctx.said):
            first, end = (int(layout.offsets[i + k]) * LANES for k in (0, 1))
            d = torch.empty_like(y)
            _hold(layout, i, clock, d, gradient, recurrence.sum_held)
            if i > 0:
                readers = _block(told, places, i, networks, first)
                columns = w_hh[:, :first, first:end]
                d.view(networks, -1, end - first).baddbmm_(readers, columns)
                d_hh[:, :first, first:end] = torch.bmm(
                    readers.transpose(1, 2), y.view(networks, -1, end - first)
                )
            own = w_hh[:, first:end, first:end].contiguous()
            _run_module(layout, i, ticks, places, batch, y, own, told, d)
            d_h0[:, :, first:end] = d[:, 0]
            error = d[:, 1:].reshape(networks, -1, end - first)
            before = y[:, :-1].reshape(networks, -1, end - first)
            d_hh[:, first:end, first:end] = torch.bmm(error.transpose(1, 2), before)
            if ctx.has_bias:
                d_b[:, first:end] = error.sum(dim=1)
            if d_ih is not None:
                seen = _at_ticks(x, clock.periods[i])
                d_ih[:, first:end] = torch.bmm(error.transpose(1, 2), seen)
                if d_x is not None:
                    back = torch.bmm(error, w_ih[:, first:end])
                    d_x[:, :: clock.periods[i]] += back.view(networks, -1, batch, features)
        return (
            None if d_x is None else d_x.transpose(1, 2),
            _unpad(d_ih, layout, 1),
            _unpad(d_hh, layout, 1, 2),
            _unpad(d_b, layout, 1) if ctx.has_bias else None,
            _unpad(d_h0, layout, 2) if ctx.has_h0 else None,
            None,
        )


def _block(buffer: Tensor, places: np.ndarray, i: int, networks: int, width: int) -> Tensor:
    """What lies in the buffer for module ``i``: (R, (1 + ticks) B, width)."""
    part = buffer[int(places[i]) * LANES : int(places[i + 1]) * LANES]
    return part.view(networks, -1, width)


def _run_module(
    layout: _Layout,
    i: int,
    ticks: list[int],
    places: np.ndarray,
    batch: int,
    y: Tensor,
    own: Tensor,
    buffer: Tensor,
    d: Tensor | None,
) -> None:
    """Forward (d None) or backward recurrence of module ``i`` for all networks."""
    networks = y.shape[0]
    flat = buffer.numpy()
    counts = np.array(ticks, np.int64) + 1

    def call(network: int, first: int, last: int) -> None:
        at = places[:-1] + network * counts * batch * layout.offsets[:-1]
        shared = (_flat(own, network), flat, at, layout.periods, layout.offsets)
        sizes = (i, layout.units[i], ticks[i], batch, first, last)
        if d is None:
            recurrence.module_forward(_flat(y, network), *shared, *sizes)
        else:
            recurrence.module_backward(_flat(d, network), _flat(y, network), *shared, *sizes)

    _for_rows(networks, batch, ticks[i] * own.shape[2] * layout.units[i], call)


def _hold(
    layout: _Layout, i: int, clock: Clock, module: Tensor, whole: Tensor, copy: Callable[..., None]
) -> None:
    """Spread a module's ticks over the layer's steps (hold) or gather them (sum_held)."""
    networks, steps, batch, n = whole.shape
    width = module.shape[3] // LANES

    def call(network: int, first: int, last: int) -> None:
        copy(
            _flat(module, network),
            clock.periods[i],
            width,
            _flat(whole, network),
            n,
            layout.starts[i],
            layout.units[i],
            steps,
            batch,
            first,
            last,
        )

    _for_rows(networks, batch, steps * layout.units[i] // 4, call)


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
) -> Tensor:
    """As :func:`cwrnn_cli.kernels.reference.clockwork`, on the CPU, float32 or float64.

    Gradients of gradients are not available.
    """
    output: Tensor = Clockwork.apply(x, weight_ih, weight_hh, bias, h0, clock.merged())
    return output
