"""A layer's weights to the blocks of both passes, and its gradients back: compiled.

Where each number goes, :class:`.layout.Packing` says as well, as an index a number. These copies
are faster, and that counts where a call is short.
"""

import numpy as np

from ..numba.products import Vectors, clear, inline, jit, vectors_for
from ..numba.simd import LANES, get, load, load_some, put, store, store_some
from .layout import Layout, Places


def block_places(layout: Layout, features: int) -> tuple[Places, int, Places, int]:
    """Of the forward and of the backward pass: where its blocks are, how many numbers there are."""
    units, starts, offsets = layout.clock.units, layout.clock.starts, layout.clock.offsets
    width = np.diff(offsets)
    own = units * width
    forward = (features * width, own, units * offsets[:-1])
    backward = (units * vectors_for.py_func(features), own, starts[:-1] * width)
    return *_places(forward), *_places(backward)


def _places(vectors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[Places, int]:
    ends = np.cumsum(np.concatenate(vectors), dtype=np.int64)
    first = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return Places(*np.split(first, 3)), int(ends[-1]) * LANES


@inline
def _transpose(source, first, row, units, depth, target, at):
    """Target (depth, units padded) Vectors: ``source[first + u * row + c]`` at (c, u)."""
    for v in range(vectors_for(units)):
        some = min(LANES, units - v * LANES)
        for c in range(depth):
            to = (at.first + c * at.stride + v) * LANES
            for u in range(some):
                put(target, to + u, get(source, first + (v * LANES + u) * row + c))
            for u in range(some, LANES):
                put(target, to + u, 0.0)


@inline
def _pad(source, first, row, count, size, target, at):
    """Target (count, size padded) from vector ``at`` on: ``count`` rows of the source."""
    for r in range(count):
        for c in range(0, size, LANES):
            store(target, at, load_some(source, first + r * row + c, min(LANES, size - c)))
            at += 1


@inline
def _cut(source, at, count, size, target, first, row):
    """The reverse of :func:`_pad`."""
    for r in range(count):
        for c in range(0, size, LANES):
            store_some(target, first + r * row + c, min(LANES, size - c), load(source, at))
            at += 1


@inline
def _forbid(clock, i, numbers, first, row, column):
    """Zeros where units of bundle i would hear its faster ones.

    (u, v) of its block of W_H is at ``first + u * row + v * column``.
    """
    begin = 0
    for j in range(clock.members.starts[i], clock.members.starts[i + 1]):
        for u in range(begin, clock.members.ends[j]):
            for v in range(begin):
                put(numbers, first + u * row + v * column, 0.0)
        begin = clock.members.ends[j]


@jit
def pack_forward(clock, features, w_ih, w_hh, places, blocks):
    """The forward pass's blocks of networks' W_I (R, n m) and W_H (R, n n), to (R, numbers)."""
    starts, offsets = clock.starts, clock.offsets
    n = starts[clock.units.size]
    for r in range(len(blocks)):
        inputs, hidden, to = w_ih[r], w_hh[r], blocks[r]
        for i in range(clock.units.size):
            k, width, start = clock.units[i], offsets[i + 1] - offsets[i], starts[i]
            at = Vectors(places.inputs[i], width)
            _transpose(inputs, start * features, features, k, features, to, at)
            at = Vectors(places.own[i], width)
            _transpose(hidden, start * n + start, n, k, k, to, at)
            _forbid(clock, i, to, at.first * LANES, 1, width * LANES)
            for j in range(i):
                at = Vectors(places.columns[i] + offsets[j], offsets[i])
                _transpose(hidden, starts[j] * n + start, n, clock.units[j], k, to, at)


@jit
def pack_bias(clock, bias, padded):
    """The bias (R, n), or (R, 0) for zeros, to (R, N)."""
    for r in range(len(padded)):
        for i in range(clock.units.size):
            k = clock.units[i] if bias.shape[1] > 0 else 0
            clear(padded[r], clock.offsets[i], clock.offsets[i + 1] - clock.offsets[i])
            _pad(bias[r], clock.starts[i], 0, 1, k, padded[r], clock.offsets[i])


@jit
def pack_backward(clock, features, w_ih, w_hh, places, blocks):
    """The backward pass's blocks, as :func:`pack_forward`."""
    starts, offsets = clock.starts, clock.offsets
    n = starts[clock.units.size]
    for r in range(len(blocks)):
        inputs, hidden, to = w_ih[r], w_hh[r], blocks[r]
        for i in range(clock.units.size):
            k, width, start = clock.units[i], offsets[i + 1] - offsets[i], starts[i]
            _pad(inputs, start * features, features, k, features, to, places.inputs[i])
            _pad(hidden, start * n + start, n, k, k, to, places.own[i])
            _forbid(clock, i, to, places.own[i] * LANES, width * LANES, 1)
            _pad(hidden, start, n, start, k, to, places.columns[i])


@jit
def unpack(clock, features, places, blocks, padded_bias, w_ih, w_hh, bias):
    """The reverse, for gradients: W_I, W_H and b (or empty) from blocks and (R, N)."""
    starts, offsets = clock.starts, clock.offsets
    n = starts[clock.units.size]
    for r in range(len(blocks)):
        inputs, hidden, source = w_ih[r], w_hh[r], blocks[r]
        hidden[:] = 0.0
        for i in range(clock.units.size):
            k, start = clock.units[i], starts[i]
            _cut(source, places.inputs[i], k, features, inputs, start * features, features)
            _cut(source, places.own[i], k, k, hidden, start * n + start, n)
            _forbid(clock, i, hidden, start * n + start, n, 1)
            _cut(source, places.columns[i], start, k, hidden, start, n)
            if bias.shape[1] > 0:
                _cut(padded_bias[r], offsets[i], 1, k, bias[r], start, 0)
