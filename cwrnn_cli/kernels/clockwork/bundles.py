"""Modules too narrow to fill a vector: several of them in one, a bundle.

A bundle is computed whenever its fastest module ticks, and its units are padded once instead of
module by module. Units of members that do not tick keep what they had. So that those that tick are
always the first ones, each member's ticks are among those of the one before.
"""

from typing import NamedTuple

import numpy as np

from ...clock import Clock


class Members(NamedTuple):
    """The modules in each bundle; int64 each.

    Attributes:
        starts: (bundles + 1,) first module of each bundle, then their number g.
        multiples: (g,) every how many ticks of its bundle a module ticks.
        phases: (g,) it ticks at tick s of its bundle if ``s + phase`` is a multiple of that.
        ends: (g,) behind its last unit among those of its bundle.
    """

    starts: np.ndarray
    multiples: np.ndarray
    phases: np.ndarray
    ends: np.ndarray


def nested(clock: Clock, i: int) -> bool:
    """Whether the ticks of module i, not the first, are among those of the module before."""
    faster = clock.periods[i - 1]
    return not clock.periods[i] % faster and not (clock.phases[i] - clock.phases[i - 1]) % faster


def bundles(clock: Clock, widest: int) -> tuple[range, ...]:
    """The modules of each bundle, as many in each as fit.

    Args:
        clock: its periods are all different.
        widest: units of a bundle at the most, if it has more than one module.
    """
    found: list[range] = []
    units = 0
    for i, size in enumerate(clock.sizes):
        fits = found and units + size <= widest and nested(clock, i)
        if fits:
            found[-1] = range(found[-1].start, i + 1)
            units += size
        else:
            found.append(range(i, i + 1))
            units = size
    return tuple(found)


def bundled(clock: Clock, parts: tuple[range, ...]) -> Clock:
    """A module for each bundle: the ticks of its fastest, the units of all."""
    periods, offsets = (
        tuple(values[part.start] for part in parts) for values in (clock.periods, clock.phases)
    )
    return Clock(periods, tuple(sum(clock.sizes[i] for i in part) for part in parts), offsets)


def members(clock: Clock, parts: tuple[range, ...], start: int) -> Members:
    """When the modules of a clock tick within their bundles, if the first step is ``start``."""
    multiples, phases, ends = [], [], []
    for part in parts:
        fastest = clock.periods[part.start]
        first_tick = start + (clock.phases[part.start] - start) % fastest  # of the bundle
        for i in part:
            multiple = clock.periods[i] // fastest
            multiples.append(multiple)
            phases.append((first_tick - clock.phases[i]) // fastest % multiple)
            ends.append(sum(clock.sizes[part.start : i + 1]))
    first = [part.start for part in parts]
    columns = ([*first, len(clock.periods)], multiples, phases, ends)
    return Members(*(np.array(column, np.int64) for column in columns))
