"""Between steps and ticks: when modules tick, what they read at a tick, what holds at a step.

Arguments are those of :mod:`.loops`.
"""

import numpy as np

from ..numba.products import clear, inline, jit, vectors_for
from ..numba.simd import LANES, load, load_some, store, store_some


@inline
def tick_count(clock, steps, i):
    """Ticks of module i within so many steps."""
    period = clock.periods[i]
    return (steps - clock.firsts[i] + period - 1) // period


@inline
def latest(clock, i, t):
    """Which of module i's outputs holds after step t; 0: the initial state."""
    return (t - clock.firsts[i]) // clock.periods[i] + 1


@inline
def ticking(clock, i, s):
    """How many units of bundle i, the first ones, tick at its tick s."""
    units = 0
    for j in range(clock.members.starts[i], clock.members.starts[i + 1]):
        if (s + clock.members.phases[j]) % clock.members.multiples[j] == 0:
            units = clock.members.ends[j]
    return units


@inline
def stride(sizes, rows, ticks):
    """Numbers of x (T, B, m) from row to row of :func:`gather`; 0: it has no regular stride."""
    if rows.size == 1:
        return ticks.period * sizes.batch * sizes.features
    return sizes.features if ticks.period == 1 and rows.size == sizes.batch else 0


@inline
def gather(x, sizes, rows, ticks, inputs):
    """inputs[s, b] = x[step of tick ticks.first + s, rows.first + b], padded with 0.

    x is (T, B, m); inputs gets (ticks, rows, m padded).
    """
    features = sizes.features
    whole, rest = features // LANES, features % LANES
    width = vectors_for(features)
    for s in range(ticks.size):
        step = ticks.begin + (ticks.first + s) * ticks.period
        source = (step * sizes.batch + rows.first) * features
        for target in range(s * rows.size * width, (s + 1) * rows.size * width, width):
            for u in range(whole):
                store(inputs, target + u, load_some(x, source + u * LANES, LANES))
            if rest > 0:
                store(inputs, target + whole, load_some(x, source + whole * LANES, rest))
            source += features


@jit
def hold(clock, sizes, rows, hidden, output):
    """Every unit's output at every step, held between its module's ticks, to output (T, B, n)."""
    y, y_places = hidden
    modules, count = y_places.size, rows.size
    place = y_places.copy()  # of what holds
    upcoming = clock.firsts.copy()  # step of the next tick
    for t in range(sizes.steps):
        for i in range(modules):
            if t == upcoming[i]:
                place[i] += count * (clock.offsets[i + 1] - clock.offsets[i])
                upcoming[i] += clock.periods[i]
        target = (t * sizes.batch + rows.first) * clock.starts[modules]
        for b in range(count):
            for i in range(modules):
                whole, rest = clock.units[i] // LANES, clock.units[i] % LANES
                source = place[i] + b * (clock.offsets[i + 1] - clock.offsets[i])
                for u in range(source, source + whole):
                    store_some(output, target, LANES, load(y, u))
                    target += LANES
                if rest > 0:
                    store_some(output, target, rest, load(y, source + whole))
                    target += rest


@jit
def sum_held(clock, sizes, rows, grad_output, scratch, grad_hidden):
    """The gradient of each tick's output: the sum over the steps for which it was held.

    From grad_output (T, B, n) to scratch, at the places ``grad_hidden`` (g,).
    """
    modules, count = grad_hidden.size, rows.size
    place = grad_hidden.copy()  # of what holds
    upcoming = clock.firsts.copy()  # step of the next tick
    ticks = np.empty(modules, np.bool_)
    for i in range(modules):
        clear(scratch, place[i], count * (clock.offsets[i + 1] - clock.offsets[i]))
    for t in range(sizes.steps):
        for i in range(modules):
            ticks[i] = t == upcoming[i]
            if ticks[i]:
                place[i] += count * (clock.offsets[i + 1] - clock.offsets[i])
                upcoming[i] += clock.periods[i]
        source = (t * sizes.batch + rows.first) * clock.starts[modules]
        for b in range(count):
            for i in range(modules):
                whole, rest = clock.units[i] // LANES, clock.units[i] % LANES
                target = place[i] + b * (clock.offsets[i + 1] - clock.offsets[i])
                for u in range(target, target + whole):
                    grad = load_some(grad_output, source, LANES)
                    store(scratch, u, grad if ticks[i] else load(scratch, u) + grad)
                    source += LANES
                if rest > 0:
                    u = target + whole
                    grad = load_some(grad_output, source, rest)
                    store(scratch, u, grad if ticks[i] else load(scratch, u) + grad)
                    source += rest
