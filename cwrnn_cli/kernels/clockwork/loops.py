"""A clockwork layer for a few rows of the batch, compiled whole: all modules, forward and backward.

The rows of a batch never meet but in the weights' gradients, so a thread takes a few rows, as many
as keep everything it touches in its cache, and does the whole layer for them. Units are padded
module by module to whole vectors; in the buffers of a call the rows of a step, then the steps, lie
one behind the other. The weights come in blocks, one per module and use (:mod:`.layout`, where the
types of the arguments are).

What there is of each module i, flat, places counted in vectors of :data:`~..numba.simd.LANES`:

=====================  =========================================================================
``hidden``             (1 + ticks, rows, width) its outputs, the initial state first; before a tick
                       is computed, what drives it
``contributions``      (1 + ticks, rows, offsets[i]) those times its columns of W_H, which faster
                       modules add to what drives them
``grad_contributions`` (1 + ticks, rows, offsets[i]) their gradients, summed over all readers
``grad_hidden``        (1 + ticks, rows, width) the gradient of each output; once a tick is done,
                       that of the argument of its tanh
=====================  =========================================================================
"""

import numpy as np

from ..numba.products import Numbers, Vectors, accumulate, clear, inline, jit, vectors_for
from ..numba.simd import LANES, broadcast, choose_first, clamp, load, store, tanh
from .inputs import PIECE, ROWS, add_input_gradient, add_inputs, add_weight_gradient
from .layout import GradPlaces, History, Rows, Ticks
from .steps import hold, latest, sum_held, tick_count, ticking


@inline
def add_outer(grad_weights, w_at, grad, grad_at, hidden, first, units, depth):
    """grad_weights[u] += sum over d of grad[u, d] hidden[d], as many at a time as fit the cache.

    grad_weights is (units, width) Vectors, grad (units, depth) Numbers, hidden (depth, width) from
    vector ``first`` on.
    """
    width = w_at.stride
    some = max(PIECE // (width * LANES), 1)
    for d in range(0, depth, some):
        part = Numbers(grad_at.first + d * grad_at.column, grad_at.row, grad_at.column)
        outputs = Vectors(first + d * width, width)
        count = min(some, depth - d)
        accumulate(grad_weights, w_at, grad, part, hidden, outputs, units, count, width)


@inline
def place_hidden(clock, steps, rows, places):
    """Where the outputs of a piece of rows lie, module by module: ``places`` (g,) of a History."""
    total = 0
    for i in range(places.size):
        places[i] = total
        width = clock.offsets[i + 1] - clock.offsets[i]
        total += (tick_count(clock, steps, i) + 1) * width
    for i in range(places.size):
        places[i] = rows.first * total + rows.size * places[i]


@inline
def forward_piece(clock, weights, sizes, rows, x, h0, bias, hidden, scratch):
    """The outputs of all modules at their ticks for a piece of rows, to ``hidden``, a History.

    Other arguments as in :func:`forward`.
    """
    periods, firsts, units, starts, offsets, nested, members = clock
    values, inputs_at, own_at, columns_at = weights
    y, y_places = hidden
    has_h0 = h0.size > 0
    steps, features, count = sizes.steps, sizes.features, rows.size
    modules = periods.size
    n = starts[modules]
    place = np.empty(modules, np.int64)  # of the contributions that a tick reads
    wide = np.empty(modules, np.int64)  # vectors of those from row to row
    contributions = np.empty(modules, np.int64)  # their places in scratch
    used = 0
    for i in range(modules):
        contributions[i] = used
        used += (tick_count(clock, steps, i) + 1) * count * offsets[i]
    inputs = scratch[used * LANES :]  # (some ticks, rows, m padded)
    for back in range(modules):  # slowest first
        i = modules - 1 - back
        width = offsets[i + 1] - offsets[i]
        period, k = periods[i], units[i]
        ticks = tick_count(clock, steps, i)
        bundled = members.starts[i + 1] - members.starts[i] > 1  # then width is 1
        lanes = width * LANES
        row = count * width  # vectors from tick to tick
        for b in range(count):
            initial = (y_places[i] + b * width) * LANES
            source = (rows.first + b) * n + starts[i]
            for u in range(k):
                y[initial + u] = h0[source + u] if has_h0 else 0.0
            for u in range(k, lanes):
                y[initial + u] = 0.0
        drive = y_places[i] + row  # of tick 0
        w_at = Vectors(inputs_at[i], width)
        for b in range(drive, drive + ticks * row, width):
            for u in range(width):
                store(y, b + u, load(bias, offsets[i] + u))
        if features > 0 and count < ROWS:
            every = Ticks(period, firsts[i], 0, ticks)
            add_inputs(x, sizes, rows, every, inputs, values, w_at, y, drive, width)
        own = Vectors(own_at[i], width)
        for s in range(ticks):
            now = drive + s * row
            t = firsts[i] + s * period
            if count >= ROWS:
                x_at = Numbers((t * sizes.batch + rows.first) * features, features, 1)
                accumulate(y, Vectors(now, width), x, x_at, values, w_at, count, features, width)
            before = Numbers((now - row) * LANES, lanes, 1)
            accumulate(y, Vectors(now, width), y, before, values, own, count, k, width)
            read = 0
            for j in range(i + 1, modules):
                if j > i + 1 and nested[j]:
                    continue  # that of j - 1 has it
                held = latest(clock, j, t - 1)  # tick whose output is read, 0: initial state
                place[read] = contributions[j] + held * count * offsets[j] + offsets[i]
                wide[read] = offsets[j]
                read += 1
            for b in range(count):
                for u in range(width):
                    z = load(y, now + b * width + u)
                    for j in range(read):
                        z = z + load(scratch, place[j] + b * wide[j] + u)
                    store(y, now + b * width + u, tanh(z))
            if bundled and ticking(clock, i, s) < k:
                some = ticking(clock, i, s)
                for b in range(now, now + count):
                    store(y, b, choose_first(some, load(y, b), load(y, b - count)))
        if i > 0:
            outputs = (1 + ticks) * count
            if i + 1 < modules and nested[i + 1]:
                for s in range(1 + ticks):
                    held = latest(clock, i + 1, firsts[i] + (s - 1) * period)
                    source = contributions[i + 1] + held * count * offsets[i + 1]
                    target = contributions[i] + s * count * offsets[i]
                    for _ in range(count):
                        for u in range(offsets[i]):
                            store(scratch, target + u, load(scratch, source + u))
                        source += offsets[i + 1]
                        target += offsets[i]
            else:
                clear(scratch, contributions[i], outputs * offsets[i])
            at, y_at = Vectors(contributions[i], offsets[i]), Numbers(y_places[i] * LANES, lanes, 1)
            w_at = Vectors(columns_at[i], offsets[i])
            accumulate(scratch, at, y, y_at, values, w_at, outputs, k, offsets[i])


@jit
def forward(clock, weights, sizes, share, x, h0, bias, hidden, scratch, output):
    """The outputs of all modules for a share of the rows, a piece at a time.

    Args:
        clock: a ClockTable.
        weights: Weights, the forward blocks.
        sizes: Sizes.
        share: a Share.
        x: (T, B, m).
        h0: (B, n) state before the first step, or empty for zeros.
        bias: (N,).
        hidden: gets the modules' outputs of all rows, piece after piece, each a History.
        scratch: for a piece: contributions, then the inputs of some ticks.
        output: (T, B, n) gets every unit's output at every step.
    """
    history = History(hidden, np.empty(clock.periods.size, np.int64))
    for first in range(share.begin, share.end, share.piece):
        rows = Rows(first, min(share.piece, share.end - first))
        place_hidden(clock, sizes.steps, rows, history.places)
        forward_piece(clock, weights, sizes, rows, x, h0, bias, history, scratch)
        hold(clock, sizes, rows, history, output)


@inline
def place_gradients(clock, steps, rows, places):
    """Where the backward pass of a piece of rows has what, to ``places``: GradPlaces.

    Returns:
        The first vector behind that.
    """
    contributions, hidden = places
    offsets = clock.offsets
    used = 0
    for i in range(contributions.size):
        contributions[i] = used
        used += (tick_count(clock, steps, i) + 1) * rows.size * offsets[i]
    for i in range(hidden.size):
        hidden[i] = used
        width = offsets[i + 1] - offsets[i]
        used += (tick_count(clock, steps, i) + 1) * rows.size * width
    return used


@inline
def backward_piece(
    clock, weights, sizes, rows, x, hidden, scratch, places, end, gradients, delta_clip
):
    """The gradients of :func:`forward_piece`; arguments as in :func:`backward`.

    ``hidden`` is a History, ``places`` and ``end`` are from :func:`place_gradients`; ``scratch``
    has grad_hidden already.
    """
    periods, firsts, units, starts, offsets, nested, members = clock
    values, inputs_at, own_at, columns_at = weights
    y, y_places = hidden
    grad_contributions, grad_hidden = places
    grad_weights, grad_bias, grad_h0, grad_x, wants_x = gradients
    steps, features, count = sizes.steps, sizes.features, rows.size
    modules = periods.size
    n = starts[modules]
    m_width = vectors_for(features)
    zero, one = broadcast(y, 0.0), broadcast(y, 1.0)
    clips, limit = delta_clip < np.inf, broadcast(y, delta_clip)
    place = np.empty(modules, np.int64)  # of the contributions that a tick read
    wide = np.empty(modules, np.int64)  # vectors of those from row to row
    clear(scratch, 0, grad_hidden[0])
    inputs = scratch[end * LANES :]  # (some ticks, rows, m padded)
    for i in range(modules):  # fastest first
        width = offsets[i + 1] - offsets[i]
        period, k = periods[i], units[i]
        ticks = tick_count(clock, steps, i)
        bundled = members.starts[i + 1] - members.starts[i] > 1  # then width is 1
        lanes = width * LANES
        row = count * width  # vectors from tick to tick
        outputs = (1 + ticks) * count
        if i > 0 and i + 1 < modules and nested[i + 1]:
            for s in range(1 + ticks):
                held = latest(clock, i + 1, firsts[i] + (s - 1) * period)
                target = grad_contributions[i + 1] + held * count * offsets[i + 1]
                source = grad_contributions[i] + s * count * offsets[i]
                for _ in range(count):
                    for u in range(offsets[i]):
                        total = load(scratch, target + u) + load(scratch, source + u)
                        store(scratch, target + u, total)
                    source += offsets[i]
                    target += offsets[i + 1]
        apart = offsets[i] * LANES
        for j in range(i):  # from what this module contributed to module j
            first = (grad_contributions[i] + offsets[j]) * LANES
            block = columns_at[i] + starts[j] * width
            w_at = Vectors(block, width)
            to, grad_at = Vectors(grad_hidden[i], width), Numbers(first, apart, 1)
            accumulate(scratch, to, scratch, grad_at, values, w_at, outputs, units[j], width)
            grad_at = Numbers(first, 1, apart)  # transposed
            add_outer(grad_weights, w_at, scratch, grad_at, y, y_places[i], units[j], outputs)
        drive = grad_hidden[i] + row  # of tick 0
        own = Vectors(own_at[i], width)
        for back in range(ticks):
            s = ticks - 1 - back
            now = drive + s * row
            t = firsts[i] + s * period
            read = 0
            for j in range(i + 1, modules):
                if j > i + 1 and nested[j]:
                    continue  # that of j - 1 had it
                held = latest(clock, j, t - 1)  # tick whose output was read, 0: initial state
                place[read] = grad_contributions[j] + held * count * offsets[j] + offsets[i]
                wide[read] = offsets[j]
                read += 1
            if bundled and ticking(clock, i, s) < k:
                some = ticking(clock, i, s)
                for b in range(now, now + count):
                    grad = load(scratch, b)
                    before = load(scratch, b - count) + choose_first(some, zero, grad)
                    store(scratch, b - count, before)
                    store(scratch, b, choose_first(some, grad, zero))
            for b in range(count):
                for u in range(width):
                    at = now + b * width + u
                    value = load(y, y_places[i] + (s + 1) * row + b * width + u)
                    grad_z = load(scratch, at) * (one - value * value)
                    if clips:
                        grad_z = clamp(grad_z, limit)
                    store(scratch, at, grad_z)
                    for j in range(read):
                        p = place[j] + b * wide[j] + u
                        store(scratch, p, load(scratch, p) + grad_z)
            after = Numbers(now * LANES, lanes, 1)
            to = Vectors(now - row, width)
            accumulate(scratch, to, scratch, after, values, own, count, k, width)
        grad_at = Numbers(drive * LANES, 1, lanes)  # transposed
        add_outer(grad_weights, own, scratch, grad_at, y, y_places[i], k, ticks * count)
        for u in range(width):
            total = load(grad_bias, offsets[i] + u)
            for at in range(ticks * count):
                total = total + load(scratch, drive + at * width + u)
            store(grad_bias, offsets[i] + u, total)
        for b in range(count):
            initial = (grad_hidden[i] + b * width) * LANES
            for u in range(k):
                grad_h0[(rows.first + b) * n + starts[i] + u] = scratch[initial + u]
        if features > 0:
            every, w_at = Ticks(period, firsts[i], 0, ticks), Vectors(inputs_at[i], m_width)
            add_weight_gradient(
                x, sizes, rows, every, inputs, scratch, drive, width, grad_weights, w_at, k
            )
            if wants_x:
                add_input_gradient(
                    grad_x, sizes, rows, every, inputs, scratch, drive, width, values, w_at, k
                )


@jit
def backward(clock, weights, sizes, share, x, hidden, scratch, grad_output, gradients, delta_clip):
    """The gradients of :func:`forward`.

    Args:
        clock: a ClockTable.
        weights: Weights, the backward blocks.
        sizes: Sizes.
        share: a Share, of pieces as in :func:`forward`.
        x: (T, B, m).
        hidden: what :func:`forward` left.
        scratch: for a piece: grad_contributions, grad_hidden, then the inputs of some ticks.
        grad_output: (T, B, n).
        gradients: Gradients.
        delta_clip: what each tick's gradient of the argument of its tanh is clipped to within;
            infinite: it is not.
    """
    modules = clock.periods.size
    history = History(hidden, np.empty(modules, np.int64))
    places = GradPlaces(np.empty(modules, np.int64), np.empty(modules, np.int64))
    for first in range(share.begin, share.end, share.piece):
        rows = Rows(first, min(share.piece, share.end - first))
        place_hidden(clock, sizes.steps, rows, history.places)
        end = place_gradients(clock, sizes.steps, rows, places)
        sum_held(clock, sizes, rows, grad_output, scratch, places.hidden)
        backward_piece(
            clock, weights, sizes, rows, x, history, scratch, places, end, gradients, delta_clip
        )
