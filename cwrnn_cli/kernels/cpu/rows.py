"""A clockwork layer for a few rows of the batch, compiled whole: all modules, forward and backward.

The rows of a batch never meet but in the weights' gradients, so a thread takes a few rows, as many
as keep everything it touches in its cache, and does the whole layer for them. Units are padded
module by module to whole vectors; in the buffers of a call the rows of a step, then the steps, lie
one behind the other. The weights come packed, a block per module and use (:mod:`.clockwork`).

Names of arrays: ``said`` are a module's outputs, (1 + ticks, rows, width) vectors, the initial
state first; ``heard`` are those times its columns of W_H, (1 + ticks, rows, offsets[i]) vectors,
which faster modules add to what drives them; ``told`` are the errors of these readers, of the same
shape. Arrays are flat; places are counted in vectors of :data:`~.simd.LANES`.
"""

import numpy as np

from .products import accumulate, jit
from .simd import LANES, broadcast, get, load, put, store, tanh

PIECE = 1 << 16  # numbers of the input, or of outputs, that are worked on at a time


@jit
def _gather(x, batch, features, period, start, ticks, first, rows, seen, width):
    """seen[s, b] = x[(start + s) * period, first + b], padded with 0 to ``width`` vectors.

    x is (T, B, m).
    """
    size = width * LANES
    for s in range(ticks):
        for b in range(rows):
            source = ((start + s) * period * batch + first + b) * features
            target = (s * rows + b) * size
            for c in range(features):
                put(seen, target + c, get(x, source + c))
            for c in range(features, size):
                put(seen, target + c, 0.0)


@jit
def _grow(grown, g0, width, errors, e0, e_row, e_step, said, s0, depth, units):
    """grown[u] += sum over rows of errors[row, u] said[row], as many at a time as fit the cache."""
    some = max(PIECE // (width * LANES), 1)
    for first in range(0, depth, some):
        accumulate(
            grown, g0, width, errors, e0 + first * e_step, e_row, e_step,
            said, s0 + first * width, width, width, min(some, depth - first), units,
        )  # fmt: skip


@jit
def _spread(
    d_x, batch, features, period, start, ticks, first, rows, seen, m_width, errors, at, width,
    packed, w_ih, units,
):  # fmt: skip
    """Add the input's gradient at some ticks: d_x[(start + s) * period, first + b] += e W_I."""
    size = m_width * LANES
    for v in range(ticks * rows * m_width):
        store(seen, v, broadcast(seen, 0.0))
    accumulate(
        seen, 0, m_width, errors, at * LANES, width * LANES, 1,
        packed, w_ih, m_width, m_width, units, ticks * rows,
    )  # fmt: skip
    for s in range(ticks):
        for b in range(rows):
            target = ((start + s) * period * batch + first + b) * features
            source = (s * rows + b) * size
            for c in range(features):
                put(d_x, target + c, get(d_x, target + c) + get(seen, source + c))


@jit
def said_places(clock, steps, first, rows, places):
    """Where the outputs of ``rows`` rows from row ``first`` on lie, module by module."""
    total = 0
    for i in range(places.size):
        places[i] = total
        total += ((steps + clock[0, i] - 1) // clock[0, i] + 1) * (clock[3, i + 1] - clock[3, i])
    for i in range(places.size):
        places[i] = first * total + rows * places[i]


@jit
def forward_piece(
    x, h0, has_h0, bias, packed, places, clock, sizes, first, rows, said, said_at, scratch
):
    """The outputs of all modules at their ticks for ``rows`` rows from row ``first`` on.

    Arguments as in :func:`forward`; ``said_at`` from :func:`said_places`.
    """
    periods, units, starts, offsets = clock[0], clock[1], clock[2], clock[3]
    modules = periods.size - 1
    steps, batch, features = sizes[0], sizes[1], sizes[2]
    n = starts[modules]
    m_width = (features + LANES - 1) // LANES
    place = np.empty(modules, np.int64)
    heard_at = np.empty(modules, np.int64)
    used = 0
    for i in range(modules):
        heard_at[i] = used
        used += ((steps + periods[i] - 1) // periods[i] + 1) * rows * offsets[i]
    seen = scratch[used * LANES :]
    for back in range(modules):
        i = modules - 1 - back
        width = offsets[i + 1] - offsets[i]
        period, k = periods[i], units[i]
        ticks = (steps + period - 1) // period
        lanes = width * LANES
        row = rows * width
        for b in range(rows):
            y = (said_at[i] + b * width) * LANES
            for u in range(k):
                said[y + u] = h0[(first + b) * n + starts[i] + u] if has_h0 else 0.0
            for u in range(k, lanes):
                said[y + u] = 0.0
        drive = said_at[i] + row
        for at in range(ticks * rows):
            for u in range(width):
                store(said, drive + at * width + u, load(bias, offsets[i] + u))
        if features > 0:
            some = max(PIECE // (rows * m_width * LANES), 1)
            for start in range(0, ticks, some):
                part = min(some, ticks - start)
                _gather(x, batch, features, period, start, part, first, rows, seen, m_width)
                accumulate(
                    said, drive + start * row, width, seen, 0, m_width * LANES, 1,
                    packed, places[0, i], width, width, features, part * rows,
                )  # fmt: skip
        for s in range(ticks):
            now = drive + s * row
            accumulate(
                said, now, width, said, (now - row) * LANES, lanes, 1,
                packed, places[1, i], width, width, k, rows,
            )  # fmt: skip
            t = s * period
            for j in range(i + 1, modules):
                place[j] = (
                    heard_at[j] + ((t - 1) // periods[j] + 1) * rows * offsets[j] + offsets[i]
                )
            for b in range(rows):
                for u in range(width):
                    z = load(said, now + b * width + u)
                    for j in range(i + 1, modules):
                        z = z + load(scratch, place[j] + b * offsets[j] + u)
                    store(said, now + b * width + u, tanh(z))
        if i > 0:
            count = (1 + ticks) * rows
            for at in range(heard_at[i], heard_at[i] + count * offsets[i]):
                store(scratch, at, broadcast(scratch, 0.0))
            accumulate(
                scratch, heard_at[i], offsets[i], said, said_at[i] * LANES, lanes, 1,
                packed, places[2, i], offsets[i], offsets[i], k, count,
            )  # fmt: skip


@jit
def _hold(clock, sizes, first, rows, said, said_at, output):
    """Every unit's output at every step, held between its module's ticks."""
    periods, starts, offsets = clock[0], clock[2], clock[3]
    modules = periods.size - 1
    n = starts[modules]
    for t in range(sizes[0]):
        for b in range(rows):
            o = (t * sizes[1] + first + b) * n
            for i in range(modules):
                width = offsets[i + 1] - offsets[i]
                a = (said_at[i] + ((t // periods[i] + 1) * rows + b) * width) * LANES - starts[i]
                for u in range(starts[i], starts[i + 1]):
                    put(output, o + u, get(said, a + u))


@jit
def forward(
    x, h0, has_h0, bias, packed, places, clock, sizes, begin, end, piece, said, scratch, output
):
    """The outputs of all modules for the rows from ``begin`` to ``end``, ``piece`` at a time.

    Args:
        x: (T, B, m).
        h0: (B, n), if ``has_h0``.
        has_h0: whether there is an initial state other than 0.
        bias: (N,) padded.
        packed: the weights.
        places: (3, g) where in ``packed`` each module's are: what its input is multiplied with
            (m, width), its own (units, width), its columns for the faster modules (units,
            offsets[i]).
        clock: (4, g + 1): periods, units, first unit and, in vectors, first padded unit of each
            module, then (0, 0, n, N).
        sizes: (3,): T, B, m.
        begin: first row.
        end: behind the last row.
        piece: rows at a time.
        said: gets the modules' outputs, piece after piece.
        scratch: (:func:`scratch_sizes`) vectors.
        output: (T, B, n) gets every unit's output at every step.
    """
    said_at = np.empty(clock.shape[1] - 1, np.int64)
    for first in range(begin, end, piece):
        rows = min(piece, end - first)
        said_places(clock, sizes[0], first, rows, said_at)
        forward_piece(
            x, h0, has_h0, bias, packed, places, clock, sizes, first, rows, said, said_at, scratch
        )
        _hold(clock, sizes, first, rows, said, said_at, output)


@jit
def error_places(clock, steps, rows, told_at, errors_at):
    """Where in ``scratch`` a piece's :func:`backward_piece` has what; the first place behind it.

    told_at gets the places of what each module was told, errors_at those of its ticks' errors
    (index 0: its initial state).
    """
    used = 0
    for i in range(told_at.size):
        told_at[i] = used
        used += ((steps + clock[0, i] - 1) // clock[0, i] + 1) * rows * clock[3, i]
    for i in range(told_at.size):
        errors_at[i] = used
        width = clock[3, i + 1] - clock[3, i]
        used += ((steps + clock[0, i] - 1) // clock[0, i] + 1) * rows * width
    return used


@jit
def _collect(clock, sizes, first, rows, gradient, scratch, errors_at):
    """The gradient of each tick's output: the sum over the steps for which it was held."""
    periods, starts, offsets = clock[0], clock[2], clock[3]
    modules = periods.size - 1
    batch, n = sizes[1], starts[modules]
    zero = broadcast(scratch, 0.0)
    for i in range(modules):
        width = offsets[i + 1] - offsets[i]
        for at in range(errors_at[i], errors_at[i] + rows * width):
            store(scratch, at, zero)
    for t in range(sizes[0]):
        for b in range(rows):
            o = (t * batch + first + b) * n
            for i in range(modules):
                width = offsets[i + 1] - offsets[i]
                begin = errors_at[i] + ((t // periods[i] + 1) * rows + b) * width
                a = begin * LANES - starts[i]
                if t % periods[i] == 0:
                    store(scratch, begin + width - 1, zero)
                    for u in range(starts[i], starts[i + 1]):
                        put(scratch, a + u, get(gradient, o + u))
                else:
                    for u in range(starts[i], starts[i + 1]):
                        put(scratch, a + u, get(scratch, a + u) + get(gradient, o + u))


@jit
def backward_piece(
    x, packed, places, clock, sizes, first, rows, said, said_at, scratch, grown,
    d_x, wants_x, d_h0, d_bias, told_at, errors_at, used,
):  # fmt: skip
    """The gradients of :func:`forward_piece`; arguments as in :func:`backward`.

    ``told_at``, ``errors_at`` and ``used`` are from :func:`error_places`; the errors lie in
    ``scratch`` already.
    """
    periods, units, starts, offsets = clock[0], clock[1], clock[2], clock[3]
    modules = periods.size - 1
    steps, batch, features = sizes[0], sizes[1], sizes[2]
    n = starts[modules]
    m_width = (features + LANES - 1) // LANES
    m_lanes = m_width * LANES
    one = broadcast(said, 1.0)
    place = np.empty(modules, np.int64)
    for at in range(errors_at[0]):
        store(scratch, at, broadcast(said, 0.0))
    seen = scratch[used * LANES :]
    for i in range(modules):
        width = offsets[i + 1] - offsets[i]
        period, k = periods[i], units[i]
        ticks = (steps + period - 1) // period
        lanes = width * LANES
        row = rows * width
        count = (1 + ticks) * rows
        wide = offsets[i] * LANES
        for j in range(i):
            told = told_at[i] * LANES + offsets[j] * LANES
            accumulate(
                scratch, errors_at[i], width, scratch, told, wide, 1,
                packed, places[2, i] + starts[j] * width, width, width, units[j], count,
            )  # fmt: skip
            _grow(
                grown, places[2, i] + starts[j] * width, width, scratch, told, 1, wide,
                said, said_at[i], count, units[j],
            )  # fmt: skip
        drive = errors_at[i] + row
        for back in range(ticks):
            s = ticks - 1 - back
            now = drive + s * row
            t = s * period
            for j in range(i + 1, modules):
                place[j] = told_at[j] + ((t - 1) // periods[j] + 1) * rows * offsets[j] + offsets[i]
            for b in range(rows):
                for u in range(width):
                    at = now + b * width + u
                    value = load(said, said_at[i] + (s + 1) * row + b * width + u)
                    error = load(scratch, at) * (one - value * value)
                    store(scratch, at, error)
                    for j in range(i + 1, modules):
                        p = place[j] + b * offsets[j] + u
                        store(scratch, p, load(scratch, p) + error)
            accumulate(
                scratch, now - row, width, scratch, now * LANES, lanes, 1,
                packed, places[1, i], width, width, k, rows,
            )  # fmt: skip
        _grow(
            grown, places[1, i], width, scratch, drive * LANES, 1, lanes,
            said, said_at[i], ticks * rows, k,
        )  # fmt: skip
        for u in range(width):
            total = load(d_bias, offsets[i] + u)
            for at in range(ticks * rows):
                total = total + load(scratch, drive + at * width + u)
            store(d_bias, offsets[i] + u, total)
        for b in range(rows):
            for u in range(k):
                d_h0[(first + b) * n + starts[i] + u] = scratch[
                    (errors_at[i] + b * width) * LANES + u
                ]
        if features > 0:
            some = max(PIECE // (rows * m_lanes), 1)
            for start in range(0, ticks, some):
                part = min(some, ticks - start)
                at = drive + start * row
                _gather(x, batch, features, period, start, part, first, rows, seen, m_width)
                accumulate(
                    grown, places[0, i], m_width, scratch, at * LANES, 1, lanes,
                    seen, 0, m_width, m_width, part * rows, k,
                )  # fmt: skip
                if wants_x:
                    _spread(
                        d_x, batch, features, period, start, part, first, rows, seen, m_width,
                        scratch, at, width, packed, places[0, i], k,
                    )  # fmt: skip


@jit
def backward(
    x, packed, places, clock, sizes, begin, end, piece, said, scratch, gradient, grown,
    d_x, wants_x, d_h0, d_bias,
):  # fmt: skip
    """The gradients of :func:`forward`, of whose arguments the first are the same.

    Args:
        x: (T, B, m).
        packed: the weights, other blocks than forward.
        places: (3, g) where: a module's W_I (units, m padded), its own W_H (units, width), its
            columns (first unit, width): a row for each unit of the faster modules.
        clock: as in :func:`forward`.
        sizes: as in :func:`forward`.
        begin: first row.
        end: behind the last row.
        piece: rows at a time, as in :func:`forward`.
        said: what :func:`forward` left.
        scratch: (:func:`scratch_sizes`) vectors.
        gradient: (T, B, n) of the output.
        grown: the gradients of the weights, in blocks as ``packed``; added to.
        d_x: (T, B, m), if ``wants_x``; added to.
        wants_x: whether the input's gradient is wanted.
        d_h0: (B, n) gets the gradient of the initial state.
        d_bias: (N,) padded; added to.
    """
    modules = clock.shape[1] - 1
    said_at = np.empty(modules, np.int64)
    told_at = np.empty(modules, np.int64)
    errors_at = np.empty(modules, np.int64)
    for first in range(begin, end, piece):
        rows = min(piece, end - first)
        said_places(clock, sizes[0], first, rows, said_at)
        used = error_places(clock, sizes[0], rows, told_at, errors_at)
        _collect(clock, sizes, first, rows, gradient, scratch, errors_at)
        backward_piece(
            x, packed, places, clock, sizes, first, rows, said, said_at, scratch, grown,
            d_x, wants_x, d_h0, d_bias, told_at, errors_at, used,
        )  # fmt: skip
