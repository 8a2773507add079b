"""Task 2's whole training epoch in one compiled call (Section 4.2 of the paper).

One network at a time learns one sequence after the other: forward pass, softmax and cross entropy
at the last step, backward pass, Nesterov step. Vectors run over the network's own units, as in
:mod:`.rows` and :mod:`.recurrence`, whose code does the layer; networks are shared out to threads
by the caller. Nothing is allocated per sequence, and no step is computed that is only padding.

A network's weights are one flat array ``theta``, its parts padded to whole vectors. ``at`` tells
where they begin, in vectors:

    clockwork  0: the blocks of :func:`.clockwork.backward_blocks`   at[0]: bias (N)
    LSTM       0: W_I transposed (m, 4 width)   at[0]: W_H transposed (n, 4 width)
               at[3]: bias (4 width)   at[4]: peepholes (3 width), if at[5]
    both       at[1]: W_O transposed (N, K)   at[2]: b_O (K)

with N the hidden units and K the classes, both padded. Padding is 0 and stays 0.
"""

import math

import numpy as np

from .products import accumulate, jit
from .recurrence import lstm_backward, lstm_forward
from .rows import backward_piece, error_places, forward_piece, said_places
from .simd import LANES, broadcast, fma, get, load, put, store


@jit
def _clear(array, first, count):
    zero = broadcast(array, 0.0)
    for i in range(first, first + count):
        store(array, i, zero)


@jit
def _nesterov(theta, velocity, gradient, rate, momentum):
    """V = mu v + g; theta = theta - rate (g + mu v), as `torch.optim.SGD(nesterov=True)`."""
    step = broadcast(theta, -rate)
    mu = broadcast(theta, momentum)
    for i in range(theta.size // LANES):
        g = load(gradient, i)
        v = fma(mu, load(velocity, i), g)
        store(velocity, i, v)
        store(theta, i, fma(step, fma(mu, v, g), load(theta, i)))


@jit
def _scores(theta, at, h, h0, units, logits):
    """Logits = W_O h + b_O: ``units`` padded units from vector ``h0`` of ``h`` on."""
    wide = logits.size // LANES
    for u in range(wide):
        store(logits, u, load(theta, at[2] + u))
    accumulate(logits, 0, wide, h, h0 * LANES, 0, 1, theta, at[1], wide, wide, units, 1)


@jit
def _cross_entropy(logits, classes, label):
    """-log softmax(logits)[label]; logits become its gradient, their padding 0."""
    highest = get(logits, 0)
    for c in range(1, classes):
        highest = max(highest, get(logits, c))
    total = 0.0
    for c in range(classes):
        total += math.exp(get(logits, c) - highest)
    loss = math.log(total) + highest - get(logits, label)
    for c in range(classes):
        put(logits, c, math.exp(get(logits, c) - highest) / total)
    for c in range(classes, logits.size):
        put(logits, c, 0.0)
    put(logits, label, get(logits, label) - 1.0)
    return loss


@jit
def _readout_back(theta, gradient, at, h, h0, units, errors, part, d, d0):
    """Gradients of W_O and b_O (written), and of h into ``d`` from vector ``d0`` on."""
    wide = errors.size // LANES
    for u in range(wide):
        store(gradient, at[2] + u, load(errors, u))
    for unit in range(units):
        value = broadcast(theta, get(h, h0 * LANES + unit))
        row = at[1] + unit * wide
        told = broadcast(theta, 0.0)
        for u in range(wide):
            error = load(errors, u)
            store(gradient, row + u, error * value)
            told = fma(load(theta, row + u), error, told)
        store(part, 0, told)
        total = get(part, 0)
        for lane in range(1, LANES):
            total += get(part, lane)
        put(d, d0 * LANES + unit, total)


@jit
def derive_clockwork(theta, places, clock, features, weights, forward_places):
    """The blocks that the forward pass wants, from those of the backward pass (transposed)."""
    units, starts, offsets = clock[1], clock[2], clock[3]
    m_lanes = (features + LANES - 1) // LANES * LANES
    for i in range(clock.shape[1] - 1):
        lanes = (offsets[i + 1] - offsets[i]) * LANES
        k = units[i]
        source, target = places[0, i] * LANES, forward_places[0, i] * LANES
        for u in range(k):
            for c in range(features):
                put(weights, target + c * lanes + u, get(theta, source + u * m_lanes + c))
        source, target = places[1, i] * LANES, forward_places[1, i] * LANES
        for u in range(k):
            for v in range(k):
                put(weights, target + v * lanes + u, get(theta, source + u * lanes + v))
        source, target = places[2, i] * LANES, forward_places[2, i] * LANES
        wide = offsets[i] * LANES
        for j in range(i):
            for u in range(units[j]):
                row, column = source + (starts[j] + u) * lanes, target + offsets[j] * LANES + u
                for v in range(k):
                    put(weights, column + v * wide, get(theta, row + v))


@jit
def _last_outputs(clock, steps, said, said_at, h):
    """Every module's output at the last step, module after module, to ``h``."""
    offsets = clock[3]
    for i in range(clock.shape[1] - 1):
        width = offsets[i + 1] - offsets[i]
        tick = (steps - 1) // clock[0, i] + 1
        for u in range(width):
            store(h, offsets[i] + u, load(said, said_at[i] + tick * width + u))


@jit
def _run_clockwork(theta, weights, forward_places, clock, at, x, sizes, said_at, buffers, logits):
    """The forward pass of one sequence, up to the logits; buffers: said, scratch, h, d."""
    said, scratch, h, _ = buffers
    bias = theta[at[0] * LANES :]
    said_places(clock, sizes[0], 0, 1, said_at)
    forward_piece(
        x, x, False, bias, weights, forward_places, clock, sizes, 0, 1, said, said_at, scratch
    )
    _last_outputs(clock, sizes[0], said, said_at, h)
    _scores(theta, at, h, 0, h.size, logits)


@jit
def clockwork_logits(
    frames, features, offsets, theta, weights, forward_places, clock, at, buffers, results
):
    """Logits of all sequences, to ``results`` (S, K); arguments as in :func:`clockwork_epoch`."""
    sizes = np.array([0, 1, features])
    said_at = np.empty(clock.shape[1] - 1, np.int64)
    for s in range(offsets.size - 1):
        sizes[0] = offsets[s + 1] - offsets[s]
        x = frames[offsets[s] * features : offsets[s + 1] * features]
        _run_clockwork(
            theta, weights, forward_places, clock, at, x, sizes, said_at, buffers, results[s]
        )


@jit
def clockwork_epoch(
    frames, features, offsets, labels, order, classes, theta, velocity, gradient, places, weights,
    forward_places, clock, at, rate, momenta, buffers, logits,
):  # fmt: skip
    """Train one CW-RNN (or SRN: one module of period 1) on all sequences once, in place.

    Args:
        frames: flat (N, m), all sequences one after the other, noise included.
        features: m.
        offsets: (S + 1,) first frame of each sequence, then N.
        labels: (S,) classes.
        order: (S,) in which the sequences come.
        classes: how many.
        theta: the weights.
        velocity: their momentum, like theta.
        gradient: like theta, for its own use.
        places: (3, g) where theta's blocks are, as in :func:`.rows.backward`.
        weights: the blocks of the forward pass, kept equal to theta's.
        forward_places: (3, g) where they are, as in :func:`.rows.forward`.
        clock: (4, g + 1), as in :func:`.rows.forward`.
        at: see the module.
        rate: learning rate.
        momenta: (S,) Nesterov's, update by update.
        buffers: flat arrays said, scratch (see :mod:`.rows`; for the longest sequence), h (N) and
            d (at least one vector).
        logits: (K,) for its own use.

    Returns:
        The sum of the sequences' cross entropies, each before its update.
    """
    said, scratch, h, d = buffers
    modules = clock.shape[1] - 1
    sizes = np.array([0, 1, features])
    said_at = np.empty(modules, np.int64)
    told_at = np.empty(modules, np.int64)
    errors_at = np.empty(modules, np.int64)
    padded = h.size // LANES
    error = np.empty_like(h)
    ignored = np.empty(clock[2, modules], theta.dtype)
    total = 0.0
    for update in range(order.size):
        s = order[update]
        steps = offsets[s + 1] - offsets[s]
        sizes[0] = steps
        x = frames[offsets[s] * features : offsets[s + 1] * features]
        _run_clockwork(
            theta, weights, forward_places, clock, at, x, sizes, said_at, buffers, logits
        )
        total += _cross_entropy(logits, classes, labels[s])
        _clear(gradient, 0, at[0] + padded)
        _readout_back(theta, gradient, at, h, 0, h.size, logits, d, error, 0)
        used = error_places(clock, steps, 1, told_at, errors_at)
        _clear(scratch, errors_at[0], used - errors_at[0])
        for i in range(modules):
            width = clock[3, i + 1] - clock[3, i]
            last = errors_at[i] + ((steps - 1) // clock[0, i] + 1) * width
            for u in range(width):
                store(scratch, last + u, load(error, clock[3, i] + u))
        backward_piece(
            x, theta, places, clock, sizes, 0, 1, said, said_at, scratch, gradient,
            x, False, ignored, gradient[at[0] * LANES :], told_at, errors_at, used,
        )  # fmt: skip
        _nesterov(theta, velocity, gradient, rate, momenta[update])
        derive_clockwork(theta, places, clock, features, weights, forward_places)
    return total


@jit
def derive_lstm(theta, at, cells, weights):
    """W_H (4 n, width), which the backward pass wants, from W_H transposed (n, 4 width)."""
    width = (cells + LANES - 1) // LANES
    lanes = width * LANES
    for v in range(cells):
        row = at[0] * LANES + v * 4 * lanes
        for gate in range(4):
            for u in range(cells):
                put(weights, (gate * cells + u) * lanes + v, get(theta, row + gate * lanes + u))


@jit
def _run_lstm(theta, at, cells, x, features, steps, buffers, logits):
    """The forward pass of one sequence, up to the logits; buffers: gates, y, c, d, dc."""
    z, y, c, _, _ = buffers
    width = (cells + LANES - 1) // LANES
    four = 4 * width
    for t in range(steps):
        for u in range(four):
            store(z, t * four + u, load(theta, at[3] + u))
    accumulate(z, 0, four, x, 0, features, 1, theta, 0, four, four, features, steps)
    _clear(y, 0, width)
    _clear(c, 0, width)
    w, peephole = theta[at[0] * LANES :], theta[at[4] * LANES :]
    lstm_forward(z, y, c, w, peephole, at[5] != 0, width, cells, steps, 1, 0, 1)
    _scores(theta, at, y, steps * width, width * LANES, logits)


@jit
def lstm_logits(frames, features, offsets, theta, cells, at, buffers, results):
    """The logits of all sequences, to ``results`` (S, K); arguments as in :func:`lstm_epoch`."""
    for s in range(offsets.size - 1):
        x = frames[offsets[s] * features : offsets[s + 1] * features]
        steps = offsets[s + 1] - offsets[s]
        _run_lstm(theta, at, cells, x, features, steps, buffers, results[s])


@jit
def lstm_epoch(
    frames, features, offsets, labels, order, classes, theta, velocity, gradient, weights,
    cells, at, rate, momenta, buffers, logits,
):  # fmt: skip
    """Train one LSTM on all sequences once, in place.

    Arguments as in :func:`clockwork_epoch`, but: ``weights`` is W_H, kept equal to theta's;
    ``cells`` is n; ``buffers`` are flat arrays for the longest sequence: gates (T, 4 width), y, c,
    d and dc, each (1 + T, width) vectors.
    """
    z, y, c, d, dc = buffers
    width = (cells + LANES - 1) // LANES
    four, lanes = 4 * width, width * LANES
    part = np.empty(LANES, theta.dtype)
    total = 0.0
    for update in range(order.size):
        s = order[update]
        steps = offsets[s + 1] - offsets[s]
        x = frames[offsets[s] * features : offsets[s + 1] * features]
        _run_lstm(theta, at, cells, x, features, steps, buffers, logits)
        total += _cross_entropy(logits, classes, labels[s])
        _clear(gradient, 0, at[1])
        _clear(d, 0, steps * width)
        _clear(dc, 0, (1 + steps) * width)
        _readout_back(theta, gradient, at, y, steps * width, lanes, logits, part, d, steps * width)
        peephole = theta[at[4] * LANES :]
        lstm_backward(d, dc, z, c, weights, peephole, at[5] != 0, width, cells, steps, 1, 0, 1)
        accumulate(gradient, 0, four, x, 0, 1, features, z, 0, four, four, steps, features)
        accumulate(gradient, at[0], four, y, 0, 1, lanes, z, 0, four, four, steps, cells)
        for t in range(steps):
            for u in range(four):
                i = at[3] + u
                store(gradient, i, load(gradient, i) + load(z, t * four + u))
        if at[5] != 0:
            for t in range(steps):
                for u in range(width):
                    for gate, row, tick in ((0, 0, t), (1, 1, t), (3, 2, t + 1)):
                        i = at[4] + row * width + u
                        error = load(z, t * four + gate * width + u)
                        store(gradient, i, fma(error, load(c, tick * width + u), load(gradient, i)))
        _nesterov(theta, velocity, gradient, rate, momenta[update])
        derive_lstm(theta, at, cells, weights)
    return total
