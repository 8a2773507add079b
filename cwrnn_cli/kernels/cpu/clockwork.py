"""The clockwork layer as an autograd function over the compiled recurrences.

All that is not recurrent is one matrix product per module: its input at its ticks, its columns of
W_H times its outputs at its ticks, and in the backward pass their gradients. Held outputs are never
materialised but in the layer's output. Inside, units are padded module by module to whole vectors,
and time is the outer axis: (R, T, B, units).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock
from . import memory, recurrence
from .layout import Layout, compile_all, flat, for_rows, layout_of, pad, time_first, unpad
from .simd import LANES


class _Places:
    """Where each module's vectors lie in the buffers of a call, said and heard."""

    def __init__(self, layout: Layout, networks: int, batch: int, steps: int) -> None:
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
        layout = layout_of(clock)
        networks, batch, steps, _ = x.shape
        modules = len(clock.periods)
        x = time_first(x)
        w_ih, w_hh = pad(weight_ih, layout, 1), pad(weight_hh, layout, 1, 2)
        assert w_hh is not None
        b = pad(bias, layout, 1)
        if b is None:
            b = w_hh.new_zeros(networks, layout.padded)
        start = pad(h0, layout, 2)
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
                    flat(own, network),
                    flat(b, network),
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

            for_rows(networks, batch, places.ticks(i) * own.shape[2] * layout.units[i], module)
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
                flat(output, network),
                steps,
                batch,
                first,
                last,
            )

        for_rows(networks, batch, steps * clock.hidden_size // 4, hold)
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
        layout = layout_of(clock)
        gradient = time_first(gradients[0])
        networks, steps, batch, features = x.shape
        errors, told = places.buffer("said", w_hh), places.buffer("heard", w_hh).zero_()

        def sum_held(network: int, first: int, last: int) -> None:
            recurrence.sum_held(
                errors.numpy(),
                places.of("said", network),
                layout.periods,
                layout.offsets,
                layout.starts,
                flat(gradient, network),
                steps,
                batch,
                first,
                last,
            )

        for_rows(networks, batch, steps * clock.hidden_size // 4, sum_held)
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
                    flat(own, network),
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

            for_rows(networks, batch, places.ticks(i) * own.shape[2] * layout.units[i], module)
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
            unpad(d_ih, layout, 1),
            unpad(d_hh, layout, 1, 2),
            unpad(d_b, layout, 1) if ctx.has_bias else None,
            unpad(d_h0, layout, 2) if ctx.has_h0 else None,
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
    compile_all(weight_hh.dtype)
    output: Tensor = Clockwork.apply(x, weight_ih, weight_hh, bias, h0, clock.merged())
    return output
