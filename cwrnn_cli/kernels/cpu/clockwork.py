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


def _pack(blocks: list[list[Tensor]]) -> tuple[Tensor, np.ndarray]:
    """Blocks (R, rows, columns) of each use and module as (R, numbers), and their places."""
    flat = [block.reshape(block.shape[0], -1) for use in blocks for block in use]
    lengths = [part.shape[1] // LANES for part in flat]
    places = np.concatenate([[0], np.cumsum(lengths)])[:-1].reshape(3, -1)
    return torch.cat(flat, dim=1), places


def _forward_blocks(w_ih: Tensor | None, w_hh: Tensor, layout: Layout) -> list[list[Tensor]]:
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


def _backward_blocks(w_ih: Tensor | None, w_hh: Tensor, layout: Layout) -> list[list[Tensor]]:
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
class Packing:
    """Where each weight of a layer is in the blocks that the compiled code wants, as indices.

    An index counts from 1 on; 0 stands for the padding.

    Attributes:
        forward: for each number of the forward pass's blocks, which weight: of W_I, then of W_H.
        forward_places: (3, g) first vector of each block.
        backward: likewise of the backward pass.
        places: likewise.
        inverse: for each weight, which number of the backward pass's blocks; 0 for forbidden ones.
        bias: for each padded unit, which unit.
        units: (n,) place of each unit among the padded ones, from 0 on.
    """

    forward: Tensor
    forward_places: np.ndarray
    backward: Tensor
    places: np.ndarray
    inverse: Tensor
    bias: Tensor
    units: Tensor

    def weights(self, w_ih: Tensor | None, w_hh: Tensor, index: Tensor) -> Tensor:
        """(R, numbers): the blocks of all weights."""
        return taken([w_hh] if w_ih is None else [w_ih, w_hh], index)

    def unpacked(self, blocks: Tensor, features: int) -> tuple[Tensor | None, Tensor]:
        """W_I and W_H, or their gradients, from the backward pass's blocks (R, numbers)."""
        n = len(self.units)
        flat = taken([blocks], self.inverse)
        w_ih = flat[:, : n * features].reshape(-1, n, features) if features else None
        return w_ih, flat[:, n * features :].reshape(-1, n, n)


def taken(parts: list[Tensor], index: Tensor) -> Tensor:
    """Numbers of (R, ...) tensors, one after the other, by their index from 1 on; 0 gives 0."""
    zero = parts[0].new_zeros(parts[0].shape[0], 1)
    flat = torch.cat([zero, *(part.reshape(part.shape[0], -1) for part in parts)], dim=1)
    return flat.index_select(1, index)


@lru_cache(maxsize=64)
def packing(clock: Clock, features: int) -> Packing:
    """The packing of a layer with a clock whose periods are all different, and m inputs."""
    layout, n = clock_layout(clock), clock.hidden_size
    every = torch.arange(1, n * features + n * n + 1)[None]
    w_ih = every[:, : n * features].view(1, n, features) if features else None
    w_hh = every[:, n * features :].view(1, n, n)
    forward, forward_places = _pack(_forward_blocks(w_ih, w_hh, layout))
    backward, places = _pack(_backward_blocks(w_ih, w_hh, layout))
    inverse = torch.zeros(every.shape[1] + 1, dtype=torch.int64)
    inverse[backward[0]] = torch.arange(1, backward.shape[1] + 1)
    units = torch.cat(
        [
            torch.arange(s.stop - s.start) + int(offset) * LANES
            for s, offset in zip(layout.spans, layout.clock[3], strict=False)
        ]
    )
    bias = torch.zeros(layout.padded, dtype=torch.int64)
    bias[units] = torch.arange(1, n + 1)
    return Packing(forward[0], forward_places, backward[0], places, inverse[1:], bias, units)


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
        where = packing(clock, 0 if w_ih is None else features)
        packed, places = where.weights(w_ih, w_hh, where.forward), where.forward_places
        padded = w_hh.new_zeros(networks, layout.padded)
        if bias is not None:
            padded = taken([bias], where.bias)
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
        ctx.said, ctx.plan, ctx.where = said, plan, where
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
        where = ctx.where
        packed, places = where.weights(w_ih, w_hh, where.backward), where.places
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
        d_ih, d_hh = where.unpacked(grown, 0 if w_ih is None else w_ih.shape[2])
        return (
            d_x.transpose(1, 2) if wants_x else None,
            d_ih,
            d_hh,
            d_bias.index_select(1, where.units) if ctx.has_bias else None,
            d_h0 if ctx.has_h0 else None,
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
    output: Tensor = _Clockwork.apply(x, weight_ih, weight_hh, bias, h0, clock.merged())
    return output
