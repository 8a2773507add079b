"""The clockwork layer as an autograd function over the compiled code of :mod:`.rows`.

Here the weights are packed into blocks, a module's rows or columns each, padded to whole vectors;
the batch is shared out over threads, a few rows at a time; and the gradients are put together
again.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ...clock import Clock
from . import memory, rows
from .announce import announced
from .simd import LANES
from .threads import run_all

_CACHE = 1 << 22  # bytes that the rows of a call should touch at the most
_INLINE = 1 << 24  # multiply-adds (of a layer, about) below which waking a thread costs more


@dataclass(frozen=True)
class Layout:
    """A clock as the compiled code wants it.

    Attributes:
        clock: (4, g + 1) int64, see :func:`.rows.forward`.
        spans: the units of each module.
        widths: vectors of each module.
    """

    clock: np.ndarray
    spans: tuple[slice, ...]
    widths: tuple[int, ...]

    @property
    def padded(self) -> int:
        """N, units with their padding."""
        return int(self.clock[3, -1]) * LANES

    def rows_per_module(self, steps: int) -> np.ndarray:
        """(g,) 1 + ticks."""
        periods = self.clock[0, :-1]
        counts: np.ndarray = -(-steps // periods) + 1
        return counts


@lru_cache(maxsize=64)
def clock_layout(clock: Clock) -> Layout:
    """The layout of a clock, whose periods are all different."""
    widths = tuple(-(-size // LANES) for size in clock.sizes)
    table = np.zeros((4, len(widths) + 1), np.int64)
    table[0, :-1], table[1, :-1], table[2] = clock.periods, clock.sizes, clock.starts
    table[3, 1:] = np.cumsum(widths)
    spans = tuple(slice(a, b) for a, b in zip(clock.starts, clock.starts[1:], strict=False))
    return Layout(table, spans, widths)


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none, clock = torch.empty(0, dtype=dtype).numpy(), np.zeros((4, 1), np.int64)
    places, sizes = np.zeros((3, 0), np.int64), np.zeros(3, np.int64)
    with announced("the clockwork layer"):
        rows.forward(none, none, False, none, none, places, clock, sizes, 0, 0, 1, none, none, none)
        rows.backward(
            none, none, places, clock, sizes, 0, 0, 1, none, none, none, none,
            none, False, none, none,
        )  # fmt: skip


def _columns(block: Tensor, width: int) -> Tensor:
    """The last axis padded to ``width`` vectors."""
    return pad(block, (0, width * LANES - block.shape[-1]))


def pack(blocks: list[list[Tensor]]) -> tuple[Tensor, np.ndarray]:
    """Blocks (R, rows, columns) of each use and module as (R, numbers), and their places."""
    flat = [block.reshape(block.shape[0], -1) for use in blocks for block in use]
    lengths = [part.shape[1] // LANES for part in flat]
    places = np.concatenate([[0], np.cumsum(lengths)])[:-1].reshape(3, -1)
    return torch.cat(flat, dim=1), places


def forward_blocks(w_ih: Tensor | None, w_hh: Tensor, layout: Layout) -> list[list[Tensor]]:
    """Per module: W_I transposed, W_H's diagonal block transposed, its columns transposed."""
    across = w_hh.transpose(1, 2)
    total = int(layout.clock[3, -1])
    # every unit's outgoing weights, the receiving units at their padded places
    out = torch.cat(
        [_columns(across[:, :, s], w) for s, w in zip(layout.spans, layout.widths, strict=True)],
        dim=2,
    )
    assert out.shape[2] == total * LANES
    blocks: list[list[Tensor]] = [[], [], []]
    for span, width, offset in zip(layout.spans, layout.widths, layout.clock[3], strict=False):
        nothing = w_hh.new_empty(w_hh.shape[0], 0, 0)
        blocks[0].append(
            nothing if w_ih is None else _columns(w_ih[:, span].transpose(1, 2), width)
        )
        blocks[1].append(_columns(across[:, span, span], width))
        blocks[2].append(out[:, span, : int(offset) * LANES])
    return blocks


def backward_blocks(w_ih: Tensor | None, w_hh: Tensor, layout: Layout) -> list[list[Tensor]]:
    """Per module: W_I, W_H's diagonal block, its columns."""
    blocks: list[list[Tensor]] = [[], [], []]
    for span, width in zip(layout.spans, layout.widths, strict=True):
        nothing = w_hh.new_empty(w_hh.shape[0], 0, 0)
        blocks[0].append(
            nothing if w_ih is None else _columns(w_ih[:, span], -(-w_ih.shape[2] // LANES))
        )
        blocks[1].append(_columns(w_hh[:, span, span], width))
        blocks[2].append(_columns(w_hh[:, : span.start, span], width))
    return blocks


@dataclass(frozen=True)
class _Plan:
    """Who does which rows, and where things lie."""

    layout: Layout
    networks: int
    steps: int
    batch: int
    features: int
    piece: int  # rows of a call
    threads: int

    @classmethod
    def of(cls, layout: Layout, networks: int, steps: int, batch: int, features: int) -> "_Plan":
        """As many rows at a time as fit the cache, and work for every thread."""
        n = int(layout.clock[2, -1])
        work = networks * batch * steps * n * (n + features) // 4
        threads = torch.get_num_threads() if work > _INLINE else 1
        said = int(layout.rows_per_module(steps) @ np.array(layout.widths)) * LANES
        touched = 4 * (4 * said + steps * (features + n))
        piece = max(_CACHE // touched // 4 * 4, 4)
        if networks < threads:
            piece = min(piece, -(-batch // -(-threads // networks)))
        return cls(layout, networks, steps, batch, features, min(piece, batch), threads)

    @property
    def said_row(self) -> int:
        """Vectors of all modules' outputs of one row."""
        return int(self.layout.rows_per_module(self.steps) @ np.array(self.layout.widths))

    def scratch(self, like: Tensor, backward: bool) -> Tensor:
        """Memory for one thread's rows: heard or told, errors, inputs at the ticks."""
        heard = int(self.layout.rows_per_module(self.steps) @ self.layout.clock[3, :-1])
        vectors = heard + (self.said_row if backward else 0)
        width = -(-self.features // LANES)
        seen = max(rows.PIECE, self.piece * width * LANES)  # at least a tick
        return memory.empty((self.piece * vectors * LANES + seen,), like)

    def shares(self) -> list[list[tuple[int, int, int]]]:
        """(network, first row, behind the last row), dealt out to threads, the same way every time.

        Whole networks where there are enough of them, else ranges of whole pieces of their rows.
        """
        ranges = 1 if self.networks >= self.threads else -(-self.threads // self.networks)
        pieces = -(-self.batch // self.piece)
        size = -(-pieces // ranges) * self.piece
        every = [
            (network, begin, min(begin + size, self.batch))
            for network in range(self.networks)
            for begin in range(0, self.batch, size)
        ]
        dealt = [every[thread :: self.threads] for thread in range(self.threads)]
        return [share for share in dealt if share]

    def run(self, work: Any) -> list[Any]:
        """``work(share)`` for every thread's share."""
        shares = self.shares()
        if len(shares) == 1:
            return [work(shares[0])]
        return run_all(work, [(share,) for share in shares], self.threads)

    @property
    def sizes(self) -> np.ndarray:
        """(3,) T, B, m."""
        return np.array([self.steps, self.batch, self.features])


def _flat(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().reshape(-1).numpy()
    return array


class _Clockwork(torch.autograd.Function):
    """See :func:`clockwork`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """x, weight_ih, weight_hh, bias, h0, clock as in :func:`clockwork`."""
        x, w_ih, w_hh, bias, h0, clock = inputs
        layout = clock_layout(clock)
        networks, batch, steps, features = x.shape
        x = memory.time_first(x)
        plan = _Plan.of(layout, networks, steps, batch, features)
        packed, places = pack(forward_blocks(w_ih, w_hh, layout))
        padded = w_hh.new_zeros(networks, layout.padded)
        if bias is not None:
            padded = torch.cat(
                [_columns(bias[:, s], w) for s, w in zip(layout.spans, layout.widths, strict=True)],
                dim=1,
            )
        start = h0.contiguous() if h0 is not None else w_hh.new_empty(networks, 0)
        said = memory.empty((networks, batch * plan.said_row * LANES), w_hh)
        output = memory.empty((networks, steps, batch, clock.hidden_size), w_hh)

        def work(share: list[tuple[int, int, int]]) -> None:
            scratch = _flat(plan.scratch(w_hh, backward=False))
            for r, begin, end in share:
                rows.forward(
                    _flat(x[r]), _flat(start[r]), h0 is not None, _flat(padded[r]),
                    _flat(packed[r]), places, layout.clock, plan.sizes, begin, end, plan.piece,
                    _flat(said[r]), scratch, _flat(output[r]),
                )  # fmt: skip

        plan.run(work)
        ctx.save_for_backward(x, w_ih, w_hh)
        ctx.said, ctx.plan = said, plan
        ctx.has_bias, ctx.has_h0 = bias is not None, h0 is not None
        return output.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything but the clock."""
        x, w_ih, w_hh = ctx.saved_tensors
        plan, said = ctx.plan, ctx.said
        layout = plan.layout
        gradient = memory.time_first(gradients[0])
        packed, places = pack(backward_blocks(w_ih, w_hh, layout))
        wants_x = ctx.needs_input_grad[0] and w_ih is not None
        d_x = memory.empty(x.shape, x).zero_() if wants_x else x.new_empty(plan.networks, 0)
        d_h0 = w_hh.new_empty(plan.networks, plan.batch, w_hh.shape[2])

        def work(share: list[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
            scratch = _flat(plan.scratch(w_hh, backward=True))
            grown = memory.empty(packed.shape, packed).zero_()
            d_bias = w_hh.new_zeros(plan.networks, layout.padded)
            for r, begin, end in share:
                rows.backward(
                    _flat(x[r]), _flat(packed[r]), places, layout.clock, plan.sizes, begin, end,
                    plan.piece, _flat(said[r]), scratch, _flat(gradient[r]), _flat(grown[r]),
                    _flat(d_x[r]), wants_x, _flat(d_h0[r]), _flat(d_bias[r]),
                )  # fmt: skip
            return grown, d_bias

        parts = plan.run(work)
        grown, d_bias = parts[0]
        for more, more_bias in parts[1:]:
            grown += more
            d_bias += more_bias
        d_ih, d_hh, d_b = unpack(grown, d_bias, places, w_ih, w_hh, layout)
        return (
            d_x.transpose(1, 2) if wants_x else None,
            d_ih,
            d_hh,
            d_b if ctx.has_bias else None,
            d_h0 if ctx.has_h0 else None,
            None,
        )


def unpack(
    grown: Tensor,
    d_bias: Tensor,
    places: np.ndarray,
    w_ih: Tensor | None,
    w_hh: Tensor,
    layout: Layout,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of W_I, W_H and the bias from the blocks of :func:`backward_blocks`."""
    networks, n, _ = w_hh.shape
    d_hh = torch.zeros_like(w_hh, memory_format=torch.contiguous_format)
    d_ih = None if w_ih is None else torch.empty_like(w_ih)
    d_b = w_hh.new_empty(networks, n)

    def block(use: int, i: int, count: int, width: int) -> Tensor:
        first = int(places[use, i]) * LANES
        size = count * width * LANES
        return grown[:, first : first + size].view(networks, count, width * LANES)

    for i, (span, width) in enumerate(zip(layout.spans, layout.widths, strict=True)):
        units = span.stop - span.start
        d_hh[:, span, span] = block(1, i, units, width)[..., :units]
        if i > 0:
            d_hh[:, : span.start, span] = block(2, i, span.start, width)[..., :units]
        if d_ih is not None:
            m = d_ih.shape[2]
            d_ih[:, span] = block(0, i, units, -(-m // LANES))[..., :m]
        offset = int(layout.clock[3, i]) * LANES
        d_b[:, span] = d_bias[:, offset : offset + units]
    return d_ih, d_hh, d_b


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
    output: Tensor = _Clockwork.apply(x, weight_ih, weight_hh, bias, h0, clock.merged())
    return output
