"""Task 1's training of R networks as one writes it with torch: stacked, a `torch.baddbmm` a step.

What `cwrnn bench ensemble` measures beside ours.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...models import ClockedSpec, ClockworkSpec, LSTMSpec, SRNSpec
from ...models.cell import CellSpec

Weights = Mapping[str, Tensor]


def _clocked(cell: ClockedSpec, w: Weights, steps: int) -> Tensor:
    """All units at every step; those whose clock does not tick keep what they have."""
    clock, bias = cell.clock, w["bias"][:, None]
    recurrent = w["weight_hh"].mT
    periodic = max(clock.periods) > 1
    if periodic:
        recurrent = recurrent * torch.from_numpy(clock.mask()).T
    numbers = cell.origin + torch.arange(steps)[:, None]
    ticks = numbers % torch.from_numpy(clock.unit_periods) == 0  # (T, n)
    y = bias.new_zeros(bias.shape)
    outputs = []
    for t in range(steps):
        new = torch.tanh(torch.baddbmm(bias, y, recurrent))
        y = torch.where(ticks[t], new, y) if periodic else new
        outputs.append(y)
    return torch.cat(outputs, dim=1)


def _gated(cell: LSTMSpec, w: Weights, steps: int) -> Tensor:
    bias, recurrent = w["bias"][:, None], w["weight_hh"].mT
    peep = w["weight_peephole"][:, None].unbind(2) if cell.peepholes else None
    y = c = bias.new_zeros(len(bias), 1, cell.hidden_size)
    outputs = []
    for _ in range(steps):
        i, f, g, o = torch.baddbmm(bias, y, recurrent).chunk(4, dim=2)
        if peep:
            i, f = i + peep[0] * c, f + peep[1] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if peep:
            o = o + peep[2] * c
        y = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


HIDDEN: dict[type[CellSpec], Callable[[Any, Weights, int], Tensor]] = {
    SRNSpec: _clocked,
    ClockworkSpec: _clocked,
    LSTMSpec: _gated,
}


def epoch(
    cell: CellSpec, weights: Weights, targets: Tensor, rate: float, momentum: float
) -> Callable[[], Tensor]:
    """An epoch of R networks: forward, half the sum of squares, backward, Nesterov's step.

    Args:
        cell: of each; its type is in :data:`HIDDEN`.
        weights: by name, (R, ...), with ``weight_out`` (R, 1, n) and ``bias_out`` (R, 1); leaves
            that take a gradient, changed in place.
        targets: (R, T).
        rate: the learning rate.
        momentum: mu.

    Returns:
        What trains an epoch and returns the (R,) losses before its step.
    """
    optimiser = torch.optim.SGD(weights.values(), lr=rate, momentum=momentum, nesterov=True)

    def call() -> Tensor:
        optimiser.zero_grad()
        y = HIDDEN[type(cell)](cell, weights, targets.shape[1])  # (R, T, n)
        outputs = torch.baddbmm(weights["bias_out"][:, None], y, weights["weight_out"].mT)
        losses = 0.5 * (outputs[..., 0] - targets).square().sum(dim=1)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return losses.detach()

    return call
