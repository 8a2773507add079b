"""Between steps and ticks: when modules tick, and what holds at each step.

Arguments are those of :mod:`.loops`.
"""

import numpy as np

from ..numba.products import clear, inline, jit
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
