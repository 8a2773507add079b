"""Task 3's networks in compiled code: how lines and outputs lie in memory, and their readout.

The weights lie as in :mod:`.parameters`. Some lines are worked on at a time, side by side as rows
of a batch; a direction that reads them from their ends gets its inputs so, and what it gives is
looked up backwards: no hidden output is ever copied, reversed or held.

The readout of a direction works at its modules' ticks only (eq. 2): module i's outputs, times its
columns of W_O, are its ``contributions`` (1 + ticks, rows, K), from which each step's logits are
put together. In the backward pass the gradients of all steps at which a contribution was read are
added up in its place first.
"""

from typing import Any, NamedTuple

import numpy as np

from ..clockwork.layout import ClockTable
from ..clockwork.steps import latest, tick_count
from ..lstm import layout as lstm_layout
from .ctc import CtcBuffers
from .products import inline, jit
from .simd import LANES, get, load, put, store


class Lines(NamedTuple):
    """A data set.

    Attributes:
        frames: flat (frames, m), all lines one after the other.
        features: m.
        offsets: (S + 1,) int64 first frame of each line, then the number of frames.
        texts: flat int64, the units of all lines' texts one after the other.
        text_offsets: (S + 1,) int64 first unit of each line's text, then the number of units.
    """

    frames: np.ndarray
    features: int
    offsets: np.ndarray
    texts: np.ndarray
    text_offsets: np.ndarray


class Updates(NamedTuple):
    """How an epoch goes.

    Attributes:
        lines: (S,) int64 in which the lines come.
        ends: (U,) int64 behind the last line of each update.
        rates: (U,) learning rates.
        momenta: (U,) Nesterov's.
        clip: longer gradients are shortened to this; infinite: none.
        delta_clip: see :func:`.reference.clockwork`; infinite: none.
        mean: whether the mean over an update's lines is learnt from, or their sum.
        rows: lines that are worked on at a time.
    """

    lines: np.ndarray
    ends: np.ndarray
    rates: np.ndarray
    momenta: np.ndarray
    clip: float
    delta_clip: float
    mean: bool
    rows: int


class OutputBuffers(NamedTuple):
    """Memory for so many rows of the longest line.

    Attributes:
        x: inputs (T, rows, m) of each direction, one behind the other.
        contributions: those of one direction.
        logits: (T, rows, K).
        ctc: of one line.
    """

    x: np.ndarray
    contributions: np.ndarray
    logits: np.ndarray
    ctc: CtcBuffers


class ClockworkBuffers(NamedTuple):
    """Memory of one direction for so many rows of the longest line.

    Attributes:
        hidden: of a History.
        scratch: as :func:`.clockwork.loops.backward` has it; may be another direction's.
        grad_h0: (rows, n), of no use.
    """

    hidden: np.ndarray
    scratch: np.ndarray
    grad_h0: np.ndarray


class LstmBuffers(NamedTuple):
    """Memory of one direction for so many rows of the longest line.

    Attributes:
        history: all steps.
        gradients: may be another direction's.
    """

    history: lstm_layout.History
    gradients: lstm_layout.Gradients


class Direction(NamedTuple):
    """A hidden layer that reads lines from one of their ends.

    Attributes:
        layer: a ClockworkNetwork or an LstmNetwork.
        columns: (K, N) W_O's columns for its units, kept equal to theta's transposed ones.
        clock: when its modules tick; of an LSTM: one module at every step.
    """

    layer: Any
    columns: np.ndarray
    clock: ClockTable


class Piece(NamedTuple):
    """Lines side by side.

    Attributes:
        which: (B,) their indices.
        lengths: (B,) their steps.
        steps: T, the longest's.
    """

    which: np.ndarray
    lengths: np.ndarray
    steps: int


@jit
def gather(lines, piece, backwards, x):
    """x[s, b] = line b's frame of its step s, or its s-th from the end; 0 behind its end."""
    frames, features, offsets = lines.frames, lines.features, lines.offsets
    count = piece.which.size
    for b in range(count):
        length = piece.lengths[b]
        source = offsets[piece.which[b]] * features
        for s in range(piece.steps):
            target = (s * count + b) * features
            frame = source + (length - 1 - s if backwards else s) * features
            for c in range(features):
                put(x, target + c, get(frames, frame + c) if s < length else 0.0)


@inline
def place_contributions(clock, steps, rows, width, places):
    """Where each module's contributions lie, to ``places`` (g,).

    Returns:
        How many vectors they fill.
    """
    used = 0
    for i in range(places.size):
        places[i] = used
        used += (1 + tick_count(clock, steps, i)) * rows * width
    return used


@jit
def start_logits(theta, readout, rows, width, logits):
    """Logits (rows, K) = b_O."""
    for row in range(rows):
        for u in range(width):
            store(logits, row * width + u, load(theta, readout.bias + u))


@jit
def add_contributions(clock, piece, backwards, contributions, places, width, logits):
    """logits[t, b] += what each module contributes at step t of line b."""
    count = piece.which.size
    place = np.empty(places.size, np.int64)
    for s in range(piece.steps):
        for i in range(places.size):
            place[i] = places[i] + latest(clock, i, s) * count * width
        for b in range(count):
            if s >= piece.lengths[b]:
                continue
            t = piece.lengths[b] - 1 - s if backwards else s
            at = (t * count + b) * width
            for u in range(width):
                total = load(logits, at + u)
                for i in range(places.size):
                    total = total + load(contributions, place[i] + b * width + u)
                store(logits, at + u, total)


@jit
def sum_contributions(clock, piece, backwards, grad_logits, places, width, contributions):
    """Contributions become gradients: the sums of those of all steps at which each was read."""
    count = piece.which.size
    place = np.empty(places.size, np.int64)
    for s in range(piece.steps):
        for i in range(places.size):
            place[i] = places[i] + latest(clock, i, s) * count * width
        for b in range(count):
            if s >= piece.lengths[b]:
                continue
            t = piece.lengths[b] - 1 - s if backwards else s
            at = (t * count + b) * width
            for u in range(width):
                grad = load(grad_logits, at + u)
                for i in range(places.size):
                    to = place[i] + b * width + u
                    store(contributions, to, load(contributions, to) + grad)


@jit
def add_bias_gradient(readout, piece, width, grad_logits, gradient):
    """The gradient of b_O += the sum of those of all lines' logits."""
    count = piece.which.size
    for b in range(count):
        for t in range(piece.lengths[b]):
            for u in range(width):
                i = readout.bias + u
                grad = load(grad_logits, (t * count + b) * width + u)
                store(gradient, i, load(gradient, i) + grad)


@jit
def best_path(logits, piece, width, units, offsets, path):
    """path[offsets[line] + t] = the likeliest unit at step t of each line."""
    count = piece.which.size
    lanes = width * LANES
    for b in range(count):
        first = offsets[piece.which[b]]
        for t in range(piece.lengths[b]):
            row = (t * count + b) * lanes
            best = 0
            for k in range(1, units):
                if get(logits, row + k) > get(logits, row + best):
                    best = k
            path[first + t] = best
