"""How a clockwork layer lies in memory when its loops are compiled.

Units are padded module by module to whole vectors of :data:`~..numba.simd.LANES`: n units become N.
The weights lie in blocks, a block per module and use, padded likewise (:class:`Packing`). Where
narrow modules are bundled (:mod:`.bundles`), a bundle takes the place of a module in all of this.

The NamedTuples are arguments of compiled code (:mod:`.loops`), where arrays are flat and places in
them are counted in vectors.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from operator import mul
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock
from ..numba.simd import LANES
from .bundles import Members, bundled, bundles, members, nested


class ClockTable(NamedTuple):
    """A clock whose periods are all different, fastest module first; int64 each.

    Attributes:
        periods: (g,).
        firsts: (g,) the step of each module's first tick, below its period.
        units: (g,) of each module.
        starts: (g + 1,) first unit of each module, then n.
        offsets: (g + 1,) first vector of each module among the padded units, then N's.
        nested: (g,) 1 where the ticks are among those of the module before, else 0.
        members: of each bundle; without bundles each has one.
    """

    periods: np.ndarray
    firsts: np.ndarray
    units: np.ndarray
    starts: np.ndarray
    offsets: np.ndarray
    nested: np.ndarray
    members: Members


class Places(NamedTuple):
    """First vector of each module's block of weights, by use; (g,) int64 each.

    In the forward pass the blocks are transposed, in the backward pass they are not.

    Attributes:
        inputs: W_I: forward (m, width), backward (units, m padded).
        own: W_H's diagonal block: forward (units, width), backward (units, width).
        columns: W_H's columns above it, to the faster modules: forward (units, offsets[i] vectors),
            backward (starts[i], width), a row for each unit of the faster modules.
    """

    inputs: np.ndarray
    own: np.ndarray
    columns: np.ndarray

    def behind(self, first: int) -> "Places":
        """The same blocks, but the first of them begins at this vector."""
        return Places(self.inputs + first, self.own + first, self.columns + first)


class Weights(NamedTuple):
    """Blocks of weights.

    Attributes:
        values: all of them, one after the other.
        inputs: where they are, as in :class:`Places`.
        own: likewise.
        columns: likewise.
    """

    values: np.ndarray
    inputs: np.ndarray
    own: np.ndarray
    columns: np.ndarray


class Sizes(NamedTuple):
    """Of the input (T, B, m).

    Attributes:
        steps: T.
        batch: B.
        features: m.
    """

    steps: int
    batch: int
    features: int


class Share(NamedTuple):
    """Rows of the batch that a call computes.

    Attributes:
        begin: the first.
        end: behind the last.
        piece: how many at a time.
    """

    begin: int
    end: int
    piece: int


class Rows(NamedTuple):
    """Rows of the batch that are computed together, a piece of a :class:`Share`.

    Attributes:
        first: of the batch.
        size: how many.
    """

    first: int
    size: int


class Ticks(NamedTuple):
    """Ticks of a module that follow each other.

    Attributes:
        period: of the module.
        begin: step of the module's tick 0.
        first: number of the first of these ticks; its step is ``begin + first * period``.
        size: how many.
    """

    period: int
    begin: int
    first: int
    size: int


class History(NamedTuple):
    """Outputs of all modules, for a piece of rows.

    Attributes:
        values: where they are among others.
        places: (g,) int64: each module's (1 + ticks, rows, width) vectors, the initial state first.
    """

    values: np.ndarray
    places: np.ndarray


class GradPlaces(NamedTuple):
    """Where the backward pass of a piece of rows has what in its scratch memory.

    Attributes:
        contributions: (g,) int64: each module's (1 + ticks, rows, offsets[i]) vectors.
        hidden: (g,) int64: each module's (1 + ticks, rows, width) vectors.
    """

    contributions: np.ndarray
    hidden: np.ndarray


class Gradients(NamedTuple):
    """What a backward pass gives.

    Attributes:
        weights: blocks as those of the backward pass; added to.
        bias: (N,); added to.
        h0: (B, n); written.
        x: (T, B, m), if ``wants_x``; added to.
        wants_x: whether the input's gradient is wanted.
    """

    weights: np.ndarray
    bias: np.ndarray
    h0: np.ndarray
    x: np.ndarray
    wants_x: bool


@dataclass(frozen=True)
class Layout:
    """A clock as the compiled code wants it.

    Attributes:
        clock: its modules, or its bundles.
        spans: the units of each.
        widths: vectors of each.
        modules: the clock itself.
        parts: the modules of each bundle.
    """

    clock: ClockTable
    spans: tuple[slice, ...]
    widths: tuple[int, ...]
    modules: Clock
    parts: tuple[range, ...]

    @property
    def units(self) -> int:
        """n, units of all modules."""
        return int(self.clock.starts[-1])

    @property
    def padded(self) -> int:
        """N, units with their padding."""
        return int(self.clock.offsets[-1]) * LANES

    def hidden_vectors(self, steps: int) -> int:
        """Vectors of one row's :class:`History`."""
        return sum(map(mul, self._outputs(steps), self.widths))

    def contribution_vectors(self, steps: int) -> int:
        """Vectors of one row's contributions to faster modules."""
        return sum(map(mul, self._outputs(steps), self.clock.offsets[:-1].tolist()))

    def multiply_adds(self, steps: int, features: int) -> int:
        """Of one row's forward pass, with those of the padding."""
        units: list[int] = self.clock.units.tolist()
        offsets: list[int] = self.clock.offsets.tolist()
        each = zip(self._outputs(steps), self.widths, units, offsets, strict=False)
        return LANES * sum(
            (outputs - 1) * (width * (features + k) + offset * k)
            for outputs, width, k, offset in each
        )

    def _outputs(self, steps: int) -> list[int]:
        """1 + ticks of each module."""
        counts: list[int] = (1 - (self.clock.firsts - steps) // self.clock.periods).tolist()
        return counts

    def at(self, start: int) -> "Layout":
        """The layout when the first step has the number ``start``."""
        if start == 0:
            return self
        offsets = np.array(bundled(self.modules, self.parts).phases, np.int64)
        table = self.clock._replace(
            firsts=(offsets - start) % self.clock.periods,
            members=members(self.modules, self.parts, start),
        )
        return replace(self, clock=table)


@lru_cache(maxsize=64)
def clock_layout(modules: Clock, narrow: int = 0) -> Layout:
    """The layout of a clock, whose periods are all different.

    Args:
        modules: the clock.
        narrow: up to how many units modules are bundled; 0: none are.
    """
    parts = bundles(modules, narrow)
    clock = bundled(modules, parts)
    widths = tuple(-(-size // LANES) for size in clock.sizes)
    periods = np.array(clock.periods, np.int64)
    table = ClockTable(
        periods=periods,
        firsts=np.array(clock.phases, np.int64),
        units=np.array(clock.sizes, np.int64),
        starts=np.array(clock.starts, np.int64),
        offsets=np.cumsum((0, *widths), dtype=np.int64),
        nested=np.array([i > 0 and nested(clock, i) for i in range(len(periods))], np.int64),
        members=members(modules, parts, 0),
    )
    spans = tuple(slice(a, b) for a, b in zip(clock.starts, clock.starts[1:], strict=False))
    return Layout(table, spans, widths, modules, parts)


def _columns(block: np.ndarray, width: int) -> np.ndarray:
    """The last axis padded to ``width`` vectors."""
    return np.pad(block, ((0, 0), (0, width * LANES - block.shape[1])))


def _pack(blocks: list[list[np.ndarray]]) -> tuple[np.ndarray, Places]:
    """Blocks (rows, columns) of each use and module one after the other, and their places."""
    flat = [block.reshape(-1) for use in blocks for block in use]
    lengths = [len(part) // LANES for part in flat]
    first = np.cumsum([0, *lengths], dtype=np.int64)[:-1]
    return np.concatenate(flat), Places(*np.split(first, len(blocks)))


def _forward_blocks(w_ih: np.ndarray, w_hh: np.ndarray, layout: Layout) -> list[list[np.ndarray]]:
    """Per module: W_I transposed, W_H's diagonal block transposed, its columns transposed."""
    across = w_hh.T
    # every unit's outgoing weights, the receiving units at their padded places: (n, N)
    out = np.concatenate(
        [_columns(across[:, s], w) for s, w in zip(layout.spans, layout.widths, strict=True)],
        axis=1,
    )
    assert out.shape[1] == layout.padded
    blocks: list[list[np.ndarray]] = [[], [], []]
    for span, width, offset in zip(layout.spans, layout.widths, layout.clock.offsets, strict=False):
        blocks[0].append(_columns(w_ih[span].T, width))
        blocks[1].append(_columns(across[span, span], width))
        blocks[2].append(out[span, : int(offset) * LANES])
    return blocks


def _backward_blocks(w_ih: np.ndarray, w_hh: np.ndarray, layout: Layout) -> list[list[np.ndarray]]:
    """Per module: W_I, W_H's diagonal block, its columns."""
    blocks: list[list[np.ndarray]] = [[], [], []]
    for span, width in zip(layout.spans, layout.widths, strict=True):
        blocks[0].append(_columns(w_ih[span], -(-w_ih.shape[1] // LANES)))
        blocks[1].append(_columns(w_hh[span, span], width))
        blocks[2].append(_columns(w_hh[: span.start, span], width))
    return blocks


@dataclass(frozen=True)
class Packing:
    """Where each weight of a layer is in the blocks that the compiled code wants, as indices.

    An index counts from 1 on; 0 stands for the padding.

    Attributes:
        forward: for each number of the forward pass's blocks, which weight: of W_I, then of W_H.
        forward_places: of those blocks.
        backward: likewise of the backward pass.
        places: likewise.
        inverse: for each weight, which number of the backward pass's blocks; 0 for forbidden ones.
        bias: (N,) for each padded unit, which unit.
        units: (n,) place of each unit among the padded ones, from 0 on.
    """

    forward: Tensor
    forward_places: Places
    backward: Tensor
    places: Places
    inverse: Tensor
    bias: Tensor
    units: Tensor

    def weights(self, w_ih: Tensor | None, w_hh: Tensor, index: Tensor) -> Tensor:
        """(R, numbers): the blocks of all weights."""
        return select([w_hh] if w_ih is None else [w_ih, w_hh], index)

    def unpacked(self, blocks: Tensor, features: int) -> tuple[Tensor | None, Tensor]:
        """W_I and W_H, or their gradients, from the backward pass's blocks (R, numbers)."""
        n = len(self.units)
        flat = select([blocks], self.inverse)  # (R, n m + n n)
        w_ih = flat[:, : n * features].reshape(-1, n, features) if features else None
        return w_ih, flat[:, n * features :].reshape(-1, n, n)


def select(parts: list[Tensor], index: Tensor) -> Tensor:
    """Numbers of (R, ...) tensors, one after the other, by their index from 1 on; 0 gives 0."""
    zero = parts[0].new_zeros(parts[0].shape[0], 1)
    flat = torch.cat([zero, *(part.reshape(part.shape[0], -1) for part in parts)], dim=1)
    return flat.index_select(1, index)


@lru_cache(maxsize=64)
def packing(clock: Clock, features: int) -> Packing:
    """The packing of a layer with a clock whose periods are all different, and m inputs.

    Without bundles; for these there is :mod:`.blocks` only.
    """
    layout, n = clock_layout(clock), clock.hidden_size
    every = np.arange(1, n * features + n * n + 1)
    w_ih, w_hh = every[: n * features].reshape(n, features), every[n * features :].reshape(n, n)
    forward, forward_places = _pack(_forward_blocks(w_ih, w_hh, layout))
    backward, places = _pack(_backward_blocks(w_ih, w_hh, layout))
    inverse = np.zeros(len(every) + 1, np.int64)
    inverse[backward] = np.arange(1, len(backward) + 1)
    units = np.concatenate(
        [
            np.arange(s.stop - s.start) + int(offset) * LANES
            for s, offset in zip(layout.spans, layout.clock.offsets, strict=False)
        ]
    )
    bias = np.zeros(layout.padded, np.int64)
    bias[units] = np.arange(1, n + 1)
    # numpy and not torch, whose default device or fake tensors may be another's at the first call
    index = torch.from_numpy
    return Packing(
        index(forward),
        forward_places,
        index(backward),
        places,
        index(inverse[1:]),
        index(bias),
        index(units),
    )
