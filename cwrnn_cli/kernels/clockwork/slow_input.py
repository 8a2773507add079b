"""What a slow module reads of the input since its last tick, in place of one sample.

A causal filter of T taps for a module of period T, computed at its ticks only: "mean"; "ema", the
exponentially weighted mean with the module's own time constant, T; "haar", two coefficients of the
Haar wavelets at the module's own scale, the mean and half the difference between the newer and the
older half. What lies before a sequence counts as 0. So the windows of a module's ticks lie one
behind the other, and all of them are one product.

This is of the layer's input only: a module's outputs feed slower ones no more than ever (eq. 3-4).
"""

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock

SAMPLE = "sample"
KINDS = (SAMPLE, "mean", "ema", "haar")
MOST = 1 << 12  # a period: so many inputs are kept between the pieces of a sequence


def coefficients(kind: str) -> int:
    """q, numbers that a slow module reads of each input."""
    return 2 if kind == "haar" else 1


def taps(kind: str, period: int) -> np.ndarray:
    """(q, T) weights of the inputs since the last tick, the newest last; for T = 1 it is that."""
    ages = np.arange(period)[::-1]
    mean = np.full(period, 1 / period)
    if kind == "mean":
        return mean[None]
    if kind == "ema":
        weights = (1 - 1 / period) ** ages
        ema: np.ndarray = weights / weights.sum()
        return ema[None]
    newer = ages < period - period // 2
    halves = [half / half.sum() if half.any() else half for half in (1.0 * newer, 1.0 * ~newer)]
    detail = (halves[0] - halves[1]) / 2 * (period > 1)
    both: np.ndarray = np.stack([mean, detail])
    return both


def drive(
    x: Tensor, weight_ih: Tensor, clock: Clock, kind: str, memory: Tensor, start: int
) -> Tensor:
    """What the input gives to the gates at ticks, 0 at all other steps: (R, B, T, G n).

    Args:
        x: (R, B, T, m).
        weight_ih: (R, G n, q m), for each coefficient the columns of all inputs.
        clock: periods, sizes, offsets.
        kind: of :data:`KINDS`, but for the first.
        memory: (R, B, longest period - 1, m) inputs before the first step.
        start: the number of the first step.
    """
    networks, batch, steps, features = x.shape
    n, starts = clock.hidden_size, clock.starts
    gates = weight_ih.shape[1] // n
    before = memory.shape[2]
    every = torch.cat([memory, x], dim=2)
    weights = weight_ih.reshape(networks, gates, n, -1)
    parts = []
    for i, (period, offset) in enumerate(zip(clock.periods, clock.phases, strict=True)):
        begin = (offset - start) % period
        count = -(-(steps - begin) // period)
        first = before + begin - (period - 1)
        windows = every[:, :, first : first + count * period]
        windows = windows.reshape(networks, batch, count, period, features)
        filters = torch.from_numpy(taps(kind, period)).to(x)
        found = torch.einsum("rbstm,qt->rbsqm", windows, filters).flatten(3)
        rows = weights[:, :, starts[i] : starts[i + 1]].flatten(1, 2)  # (R, G k, q m)
        values = found @ rows[:, None].transpose(2, 3)
        values = values.reshape(networks, batch, count, gates, clock.sizes[i])
        ticks = begin + period * torch.arange(count, device=x.device)
        silent = x.new_zeros(networks, batch, steps, gates, clock.sizes[i])
        parts.append(silent.index_copy(2, ticks, values))
    return torch.cat(parts, dim=4).flatten(3)


def remembered(x: Tensor, memory: Tensor, lengths: Tensor | None) -> Tensor:
    """(R, B, longest period - 1, m): the inputs before the step behind each sequence's last."""
    every, keep = torch.cat([memory, x], dim=2), memory.shape[2]
    if lengths is None:
        return every[:, :, every.shape[2] - keep :]
    index = lengths.to(x.device)[:, None] + torch.arange(keep, device=x.device)  # (B, kept)
    index = index[None, :, :, None].expand(len(x), -1, -1, x.shape[3])
    return every.gather(2, index)
