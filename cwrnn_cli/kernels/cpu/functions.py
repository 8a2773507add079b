"""Clockwork and LSTM layers as autograd functions over the compiled recurrences.

All that is not recurrent is one matrix product per module: its input at its ticks, its columns of
    W_H times its
outputs at its ticks, and in the backward pass their gradients. Held outputs are never materialised
but in the layer's output. Inside, units are padded module by module to whole vectors, and time is
the outer
axis: (R, T, B, units).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
def _compile(dtype: torch.dtype) -> None:
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
    starts: np.ndarray  # (g + 1,) first unpadded unit of each module, then n
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
    return _Layout(periods, offsets, clock.sizes, np.array(clock.starts), padded, index)


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
    """(R, B, T, m) to contiguous (R, T, B, m)."""
    tensor = tensor.detach().transpose(1, 2)
    if tensor.is_contiguous():
        return tensor
    return memory.empty(tensor.shape, tensor).copy_(tensor)


class _Places:
    """Where each module's vectors lie in the buffers of a call, said and heard."""

    def __init__(self, layout: _Layout, networks: int, batch: int, steps: int) -> None:
        self.layout, self.networks, self.batch, self.steps = layout, networks, batch, steps
        self.rows = (-(-steps // layout.periods) + 1) * batch  # (g,) of one network
        self._sizes = {
            "said": self.rows * np.diff(layout.offsets),
            "heard": self.rows * layout.offsets[:-1],
        }
        self._starts = {
            what: np.concatenate([[0], np.cumsum(networks * sizes)])
            for what, sizes in self._sizes.items()
        }

    def buffer(self, what: str, like: Tensor) -> Tensor:
        """Memory for all modules of all networks."""
        return memory.empty((int(self._starts[what][-1]) * LANES,), like)

    def of(self, what: str, network: int) -> np.ndarray:
        """(g,) first vector of each module of one network."""
        places: np.ndarray = self._starts[what][:-1] + network * self._sizes[what]
        return places

    def module(self, what: str, buffer: Tensor, i: int) -> Tensor:
        """Module ``i`` of all networks: (R, (1 + ticks) * B, units), padded."""
        begin, end = (int(self._starts[what][i + k]) * LANES for k in (0, 1))
        return buffer[begin:end].view(self.networks, int(self.rows[i]), -1)

    def ticks(self, i: int) -> int:
        """Of module ``i``."""
        return int(self.rows[i]) // self.batch - 1

    def span(self, i: int) -> slice:
        """The padded units of module ``i``."""
        offsets = self.layout.offsets
        return slice(int(offsets[i]) * LANES, int(offsets[i + 1]) * LANES)


def _at_ticks(x: Tensor, period: int) -> Tensor:
    """The inputs at a module's ticks: (R, T, B, m) to (R, ticks * B, m)."""
    seen = x[:, ::period]
    if period > 1:
        seen = memory.empty(seen.shape, x).copy_(seen)
    return seen.view(x.shape[0], -1, x.shape[3])


class Clockwork(torch.autograd.Function):
    """See :func:`clockwork`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """x, weight_ih, weight_hh, bias, h0, clock as in :func:`clockwork`."""
        x, weight_ih, weight_hh, bias, h0, clock = inputs
        layout = _layout(clock)
        networks, batch, steps, _ = x.shape
        modules = len(clock.periods)
        x = _time_first(x)
        w_ih, w_hh = _pad(weight_ih, layout, 1), _pad(weight_hh, layout, 1, 2)
        assert w_hh is not None
        b = _pad(bias, layout, 1)
        if b is None:
            b = w_hh.new_zeros(networks, layout.padded)
        start = _pad(h0, layout, 2)
        places = _Places(layout, networks, batch, steps)
        said, heard = places.buffer("said", w_hh), places.buffer("heard", w_hh)
        for i in range(modules):
            span, y = places.span(i), places.module("said", said, i)
            y[:, :batch] = 0 if start is None else start[:, :, span]
            if w_ih is None:
                y[:, batch:] = 0
            else:
                seen = _at_ticks(x, clock.periods[i])
                torch.bmm(seen, w_ih[:, span].transpose(1, 2), out=y[:, batch:])
        for i in reversed(range(modules)):
            span, y = places.span(i), places.module("said", said, i)
            own = w_hh[:, span, span].transpose(1, 2).contiguous()

            def module(network: int, first: int, last: int, i: int = i, own: Tensor = own) -> None:
                recurrence.module_forward(
                    said.numpy(),
                    places.of("said", network),
                    _flat(own, network),
                    _flat(b, network),
                    heard.numpy(),
                    places.of("heard", network),
                    layout.periods,
                    layout.offsets,
                    i,
                    layout.units[i],
                    places.ticks(i),
                    batch,
                    first,
                    last,
                )

            _for_rows(networks, batch, places.ticks(i) * own.shape[2] * layout.units[i], module)
            if i > 0:
                columns = w_hh[:, : span.start, span].transpose(1, 2)
                torch.bmm(y, columns, out=places.module("heard", heard, i))
        output = memory.empty((networks, steps, batch, clock.hidden_size), w_hh)

        def hold(network: int, first: int, last: int) -> None:
            recurrence.hold(
                said.numpy(),
                places.of("said", network),
                layout.periods,
                layout.offsets,
                layout.starts,
                _flat(output, network),
                steps,
                batch,
                first,
                last,
            )

        _for_rows(networks, batch, steps * clock.hidden_size // 4, hold)
        ctx.save_for_backward(x, w_ih, w_hh)
        ctx.said, ctx.clock, ctx.places = said, clock, places
        ctx.has_bias, ctx.has_h0 = bias is not None, h0 is not None
        return output.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything but the clock."""
        x, w_ih, w_hh = ctx.saved_tensors
        clock, places, said = ctx.clock, ctx.places, ctx.said
        layout = _layout(clock)
        gradient = _time_first(gradients[0])
        networks, steps, batch, features = x.shape
        errors, told = places.buffer("said", w_hh), places.buffer("heard", w_hh).zero_()

        def sum_held(network: int, first: int, last: int) -> None:
            recurrence.sum_held(
                errors.numpy(),
                places.of("said", network),
                layout.periods,
                layout.offsets,
                layout.starts,
                _flat(gradient, network),
                steps,
                batch,
                first,
                last,
            )

        _for_rows(networks, batch, steps * clock.hidden_size // 4, sum_held)
        d_hh = torch.zeros_like(w_hh)
        d_ih = torch.empty_like(w_ih) if w_ih is not None else None
        d_b = w_hh.new_empty(networks, layout.padded)
        d_h0 = w_hh.new_empty(networks, batch, layout.padded)
        d_x = None
        if ctx.needs_input_grad[0] and w_ih is not None:
            d_x = memory.empty(x.shape, x).zero_()
        for i in range(len(clock.periods)):
            span = places.span(i)
            y, d = places.module("said", said, i), places.module("said", errors, i)
            if i > 0:
                readers = places.module("heard", told, i)
                d.baddbmm_(readers, w_hh[:, : span.start, span])
                d_hh[:, : span.start, span] = torch.bmm(readers.transpose(1, 2), y)
            own = w_hh[:, span, span].contiguous()

            def module(network: int, first: int, last: int, i: int = i, own: Tensor = own) -> None:
                recurrence.module_backward(
                    errors.numpy(),
                    said.numpy(),
                    places.of("said", network),
                    _flat(own, network),
                    told.numpy(),
                    places.of("heard", network),
                    layout.periods,
                    layout.offsets,
                    i,
                    layout.units[i],
                    places.ticks(i),
                    batch,
                    first,
                    last,
                )

            _for_rows(networks, batch, places.ticks(i) * own.shape[2] * layout.units[i], module)
            error = d[:, batch:]
            d_h0[:, :, span] = d[:, :batch]
            d_hh[:, span, span] = torch.bmm(error.transpose(1, 2), y[:, :-batch])
            if ctx.has_bias:
                d_b[:, span] = error.sum(dim=1)
            if d_ih is not None:
                seen = _at_ticks(x, clock.periods[i])
                torch.bmm(error.transpose(1, 2), seen, out=d_ih[:, span])
                if d_x is not None:
                    back = torch.bmm(error, w_ih[:, span])
                    d_x[:, :: clock.periods[i]] += back.view(networks, -1, batch, features)
        return (
            None if d_x is None else d_x.transpose(1, 2),
            _unpad(d_ih, layout, 1),
            _unpad(d_hh, layout, 1, 2),
            _unpad(d_b, layout, 1) if ctx.has_bias else None,
            _unpad(d_h0, layout, 2) if ctx.has_h0 else None,
            None,
        )


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
    _compile(weight_hh.dtype)
    output: Tensor = Clockwork.apply(x, weight_ih, weight_hh, bias, h0, clock.merged())
    return output


class Lstm(torch.autograd.Function):
    """See :func:`lstm`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """x, weight_ih, weight_hh, bias, peephole, h0, c0 as in :func:`lstm`."""
        x, weight_ih, weight_hh, bias, peephole, h0, c0 = inputs
        networks, batch, steps, _ = x.shape
        cells = weight_hh.shape[2]
        layout = _layout(Clock((1,), (cells,)))
        padded, width = layout.padded, layout.padded // LANES
        x = _time_first(x)
        w_ih, b = _pad_gates(weight_ih, layout), _pad_gates(bias, layout)
        w_hh = _pad(weight_hh, layout, 2)
        across = _pad_gates(weight_hh, layout)
        assert w_hh is not None and across is not None
        across = across.transpose(1, 2).contiguous()  # (R, n, 4 N)
        peep = _pad(peephole, layout, 2)
        if peep is None:
            peep = w_hh.new_zeros(networks, 0)
        z = memory.empty((networks, steps, batch, 4 * padded), w_hh)
        if w_ih is None:
            z.zero_()
        else:
            rows = x.view(networks, steps * batch, -1)
            torch.bmm(rows, w_ih.transpose(1, 2), out=z.view(networks, -1, 4 * padded))
        if b is not None:
            z += b[:, None, None]
        y, c = (memory.empty((networks, 1 + steps, batch, padded), w_hh) for _ in range(2))
        for buffer, initial in ((y, h0), (c, c0)):
            start = _pad(initial, layout, 2)
            buffer[:, 0] = 0 if start is None else start

        def run(network: int, first: int, last: int) -> None:
            recurrence.lstm_forward(
                _flat(z, network),
                _flat(y, network),
                _flat(c, network),
                _flat(across, network),
                _flat(peep, network),
                peephole is not None,
                width,
                cells,
                steps,
                batch,
                first,
                last,
            )

        _for_rows(networks, batch, 4 * steps * cells * padded, run)
        ctx.save_for_backward(x, w_ih, w_hh, peep)
        ctx.kept, ctx.layout, ctx.cells = (z, y, c), layout, cells
        ctx.given = [value is not None for value in inputs]
        outputs = y[:, 1:, :, :cells].transpose(1, 2)
        states = c[:, 1:, :, :cells].transpose(1, 2)
        # copies: the padded originals are kept for the backward pass, which overwrites the gates
        return tuple(memory.empty(part.shape, part).copy_(part) for part in (outputs, states))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything."""
        x, w_ih, w_hh, peep = ctx.saved_tensors
        (z, y, c), layout, cells = ctx.kept, ctx.layout, ctx.cells
        z = memory.empty(z.shape, z).copy_(z)  # so that a second backward pass finds it
        networks, steps, batch, _ = x.shape
        padded, width = layout.padded, layout.padded // LANES
        errors = []
        for gradient in gradients:
            error = memory.empty(y.shape, y).zero_()
            error[:, 1:, :, :cells] = gradient.transpose(1, 2)
            errors.append(error)
        d, dc = errors
        has_peepholes = ctx.given[4]

        def run(network: int, first: int, last: int) -> None:
            recurrence.lstm_backward(
                _flat(d, network),
                _flat(dc, network),
                _flat(z, network),
                _flat(c, network),
                _flat(w_hh, network),
                _flat(peep, network),
                has_peepholes,
                width,
                cells,
                steps,
                batch,
                first,
                last,
            )

        _for_rows(networks, batch, 4 * steps * cells * padded, run)
        flat = z.view(networks, steps * batch, 4 * padded)
        before = y[:, :-1].reshape(networks, -1, padded)
        d_hh = torch.bmm(flat.transpose(1, 2), before)
        d_ih = d_x = d_peep = None
        if w_ih is not None:
            d_ih = torch.bmm(flat.transpose(1, 2), x.view(networks, steps * batch, -1))
            if ctx.needs_input_grad[0]:
                d_x = torch.bmm(flat, w_ih).view(x.shape).transpose(1, 2)
        if has_peepholes:
            gates = z.view(networks, steps, batch, 4, padded)
            d_peep = torch.stack(
                [
                    (gates[:, :, :, gate] * cell).sum(dim=(1, 2))
                    for gate, cell in ((0, c[:, :-1]), (1, c[:, :-1]), (3, c[:, 1:]))
                ],
                dim=1,
            )
        return (
            d_x,
            _unpad_gates(d_ih, layout),
            _unpad(_unpad_gates(d_hh, layout), layout, 2),
            _unpad_gates(flat.sum(dim=1), layout) if ctx.given[3] else None,
            _unpad(d_peep, layout, 2),
            _unpad(d[:, 0], layout, 2) if ctx.given[5] else None,
            _unpad(dc[:, 0], layout, 2) if ctx.given[6] else None,
        )


def _pad_gates(weight: Tensor | None, layout: _Layout) -> Tensor | None:
    """(R, 4n, ...) to (R, 4N, ...), gate by gate."""
    if weight is None:
        return None
    gates = weight.reshape(weight.shape[0], 4, -1, *weight.shape[2:])
    padded = _pad(gates, layout, 2)
    assert padded is not None
    return padded.reshape(weight.shape[0], 4 * layout.padded, *weight.shape[2:])


def _unpad_gates(gradient: Tensor | None, layout: _Layout) -> Tensor | None:
    if gradient is None:
        return None
    networks, _, *rest = gradient.shape
    gates = _unpad(gradient.view(networks, 4, layout.padded, *rest), layout, 2)
    assert gates is not None
    return gates.reshape(networks, -1, *rest)


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As :func:`cwrnn_cli.kernels.reference.lstm`, on the CPU, float32 or float64.

    Gradients of gradients are not available.
    """
    _compile(weight_hh.dtype)
    y, c = Lstm.apply(x, weight_ih, weight_hh, bias, peephole, h0, c0)
    return y, c
