"""Task 2's networks in compiled code: how they lie in memory, their readout and their loss.

The weights lie as in :mod:`.parameters`.
"""

import math
from typing import NamedTuple

import numpy as np

from ..lstm import layout as lstm_layout
from .products import Numbers, Vectors, accumulate, jit
from .simd import LANES, broadcast, fma, get, load, put, store


class Sequences(NamedTuple):
    """A data set.

    Attributes:
        frames: flat (frames, m), all sequences one after the other, noise included.
        features: m.
        offsets: (S + 1,) int64 first frame of each sequence, then the number of frames.
        labels: (S,) int64 classes.
    """

    frames: np.ndarray
    features: int
    offsets: np.ndarray
    labels: np.ndarray


class Updates(NamedTuple):
    """How an epoch goes.

    Attributes:
        order: (S,) int64 in which the sequences come.
        rates: (U,) learning rates, update by update.
        momenta: (U,) Nesterov's, likewise.
        batch: sequences per update, whose mean is learnt from; the last may have fewer.
        every: whether all steps of a sequence are classified, or only the last.
        delta_clip: see :func:`.reference.clockwork`; infinite: none.
    """

    order: np.ndarray
    rates: np.ndarray
    momenta: np.ndarray
    batch: int
    every: bool
    delta_clip: float


class ClockworkBuffers(NamedTuple):
    """Memory for the longest sequence.

    Attributes:
        hidden: of a History of one row.
        scratch: for one row, as :func:`.clockwork.loops.backward` has it.
        outputs: (N,) of all units at one step.
        part: a vector.
        logits: (K,).
    """

    hidden: np.ndarray
    scratch: np.ndarray
    outputs: np.ndarray
    part: np.ndarray
    logits: np.ndarray


class LstmBuffers(NamedTuple):
    """Memory for the longest sequence.

    Attributes:
        history: of one row.
        gradients: of one row.
        part: a vector.
        logits: (K,).
    """

    history: lstm_layout.History
    gradients: lstm_layout.Gradients
    part: np.ndarray
    logits: np.ndarray


class Units(NamedTuple):
    """Where numbers of the hidden units are in an array, one behind the other.

    Attributes:
        first: their first vector.
        size: how many, padding included.
    """

    first: int
    size: int


@jit
def compute_logits(theta, readout, h, units, logits):
    """Logits = W_O h + b_O; h are Units, logits (K,)."""
    width = logits.size // LANES
    for u in range(width):
        store(logits, u, load(theta, readout.bias + u))
    h_at, w_at = Numbers(units.first * LANES, 0, 1), Vectors(readout.weight, width)
    accumulate(logits, Vectors(0, width), h, h_at, theta, w_at, 1, units.size, width)


@jit
def cross_entropy(logits, classes, label, share):
    """-log softmax(logits)[label]; logits become its gradient times share, their padding 0."""
    highest = get(logits, 0)
    for c in range(1, classes):
        highest = max(highest, get(logits, c))
    total = 0.0
    for c in range(classes):
        total += math.exp(get(logits, c) - highest)
    loss = math.log(total) + highest - get(logits, label)
    for c in range(classes):
        put(logits, c, share * (math.exp(get(logits, c) - highest) / total))
    for c in range(classes, logits.size):
        put(logits, c, 0.0)
    put(logits, label, get(logits, label) - share)
    return loss


@jit
def readout_backward(parameters, readout, h, units, grad_logits, part, grad_h):
    """Gradients of W_O and b_O, which are added to, and of the hidden units, which are written.

    h and grad_h are Units, grad_logits is (K,), part a vector for its own use.
    """
    theta, _, gradient = parameters
    width = grad_logits.size // LANES
    for u in range(width):
        i = readout.bias + u
        store(gradient, i, load(gradient, i) + load(grad_logits, u))
    for unit in range(units.size):
        value = broadcast(theta, get(h, units.first * LANES + unit))
        row = readout.weight + unit * width
        grad = broadcast(theta, 0.0)
        for u in range(width):
            error = load(grad_logits, u)
            store(gradient, row + u, fma(error, value, load(gradient, row + u)))
            grad = fma(load(theta, row + u), error, grad)
        store(part, 0, grad)
        total = get(part, 0)
        for lane in range(1, LANES):
            total += get(part, lane)
        put(grad_h, units.first * LANES + unit, total)
