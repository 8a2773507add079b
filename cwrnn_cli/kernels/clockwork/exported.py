"""The layer as a loop of any length, for torch.export and ONNX; see :mod:`..exported`."""

import torch
from torch import Tensor

from ...clock import LOWER, UPPER, Clock
from .. import exported
from ..reference import NONLINEARITIES


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    start: int | Tensor = 0,
    nonlinearity: str = "tanh",
) -> Tensor:
    """As :func:`..reference.clockwork`, argument for argument, with R = 1."""
    squash = NONLINEARITIES[nonlinearity]
    periods, phases = (
        torch.tensor(
            [v for v, k in zip(each, clock.sizes, strict=True) for _ in range(k)],
            device=weight_hh.device,
        )
        for each in (clock.periods, clock.phases)
    )
    recurrent = torch.where(allowed(clock, periods), weight_hh[0], 0).T  # (n, n)
    steps = torch.arange(x.shape[2], device=x.device)[:, None, None]  # (T, 1, 1)
    first = start[:, None] if isinstance(start, Tensor) else start  # (B, 1)
    ticks = (first + steps) % periods == phases  # (T, B or 1, n)

    def step(y: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        drive, active = inputs
        y = torch.where(active, squash(drive + y @ recurrent), y)
        return y, y.clone()

    inputs = (exported.drive(x, weight_ih, weight_hh, bias), ticks)
    initial = exported.initial_state(x, weight_hh, h0)
    return exported.network(exported.scan(step, initial, inputs))


def allowed(clock: Clock, periods: Tensor) -> Tensor:
    """:meth:`.Clock.mask` in torch's operations, from (n,) periods of the units."""
    upper = periods[:, None] <= periods  # eq. 3-4
    if clock.feeds == UPPER:
        return upper
    return upper.T if clock.feeds == LOWER else torch.ones_like(upper)
