"""How much of a corpus is slow, and how much fast: for modules of a size that fits."""

from collections.abc import Iterable, Sequence

import numpy as np


def energies(signals: Iterable[np.ndarray], periods: Sequence[int]) -> tuple[float, ...]:
    """Energy of signals in the band of each module.

    A module of period T sees frequencies up to 1 / (2 T), its Nyquist frequency (in cycles per
    step). Its band begins there and ends at that of the next slower one; the slowest's at 0. A
    sequence's mean counts in none, nor does what is faster than the fastest module. Modules of one
    period share their band alike.

    Args:
        signals: (T, channels) each.
        periods: of the modules, ascending.

    Returns:
        The sums of squares, (g,), by Parseval's theorem.
    """
    every = sorted(set(periods), reverse=True)
    found = np.zeros(len(every))  # slowest first
    for signal in signals:
        steps = len(signal)
        power = np.abs(np.fft.rfft(signal, axis=0)) ** 2  # (1 + T // 2, channels)
        power[1 : (steps + 1) // 2] *= 2  # of the negative frequencies
        edges = [0, *(steps // (2 * period) for period in every)]  # ascending, as of rfft
        bands = np.searchsorted(edges, np.arange(len(power))) - 1  # (1 + T // 2,)
        inside = (bands >= 0) & (bands < len(every))
        np.add.at(found, bands[inside], power.sum(axis=1)[inside] / steps)
    of_period = dict(zip(every, found.tolist(), strict=True))
    return tuple(of_period[period] / list(periods).count(period) for period in periods)
