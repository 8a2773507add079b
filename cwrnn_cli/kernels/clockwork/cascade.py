"""The cascade: module after module, slowest first, each over its own ticks only.

Slow modules never hear fast ones (eq. 3-4), so the slowest can run alone over its ceil(T / T_g)
ticks. Its outputs, multiplied once each by its columns of W_H, then enter all faster modules as
input, held until its next tick; and so on down to the fastest. What is left of the recurrence is k
x k per module. The result is that of :mod:`..reference`, for any periods and sizes; tested in
float64, values and gradients.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ...clock import Clock
from ..reference import NONLINEARITIES

Scan = Callable[[Tensor, Tensor, Tensor], Tensor]


def steps_of(drive: Tensor, initial: Tensor, weight: Tensor, nonlinearity: str = "tanh") -> Tensor:
    """One module's outputs at its ticks, of which there is at least one, step by step.

    Args:
        drive: (R, ticks, B, k) what enters at each tick, from the input and from slower modules.
        initial: (R, B, k) output before the first tick.
        weight: (R, k, k) the module's own block of W_H.
        nonlinearity: "tanh" or "relu".

    Returns:
        (R, ticks, B, k).
    """
    y, across = initial, weight.transpose(1, 2)
    squash = NONLINEARITIES[nonlinearity]
    hidden = []
    for step in drive.unbind(1):
        y = squash(step + y @ across)
        hidden.append(y)
    return torch.stack(hidden, dim=1)


def _latest(begin: int, period: int, steps: int, device: torch.device) -> Tensor:
    """(1 + T,) at the steps -1 ... T - 1: the latest of a module's outputs, 0: the initial state.

    Its ticks are at the steps begin, begin + period ... and numbered from 1 on.
    """
    since = torch.arange(-1 - begin, steps - begin, device=device)
    return torch.div(since, period, rounding_mode="floor") + 1


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    start: int = 0,
    nonlinearity: str = "tanh",
    scan: Scan | None = None,
) -> Tensor:
    """As :func:`cwrnn_cli.kernels.reference.clockwork`, argument for argument.

    Args:
        x: (R, B, T, m).
        weight_ih: (R, n, m), or None.
        weight_hh: (R, n, n).
        bias: (R, n), or None.
        h0: (R, B, n), or None.
        clock: periods and sizes.
        start: the number of the first step.
        nonlinearity: "tanh" or "relu".
        scan: what does one module's recurrence; None: plain torch, step by step.
    """
    scan = scan or partial(steps_of, nonlinearity=nonlinearity)
    networks, batch, steps, _ = x.shape
    clock = clock.merged()
    starts = clock.starts
    if h0 is None:
        h0 = weight_hh.new_zeros(networks, batch, clock.hidden_size)
    # per slower module: which output each step reads, and the outputs times its columns of W_H,
    # (R, B, 1 + ticks, its first unit)
    contributions: list[tuple[Tensor, Tensor]] = []
    outputs: list[Tensor] = []
    for i in reversed(range(len(clock.periods))):
        period, first, end = clock.periods[i], starts[i], starts[i + 1]
        begin = -start % period  # step of the module's first tick
        count = -(-(steps - begin) // period)
        drive = weight_hh.new_zeros(networks, batch, count, end - first)  # (R, B, ticks, k)
        if bias is not None:
            drive = drive + bias[:, None, None, first:end]
        if weight_ih is not None:
            drive = drive + x[:, :, begin::period] @ weight_ih[:, None, first:end].transpose(2, 3)
        for latest, contribution in contributions:
            read = latest[begin:-1:period]  # at a tick's step t, what there was at t - 1
            drive = drive + contribution[..., first:end].index_select(2, read)
        y = h0[:, :, first:end]
        hidden = y[:, :, None]  # (R, B, 1 + ticks, k)
        if count:
            own = weight_hh[:, first:end, first:end]
            ran = scan(drive.transpose(1, 2), y, own).transpose(1, 2)
            hidden = torch.cat([hidden, ran], dim=2)
        # (1 + T,) of the steps from the one before the first: which of them holds then
        latest = _latest(begin, period, steps, x.device)
        if first > 0:
            columns = weight_hh[:, None, :first, first:end].transpose(2, 3)  # (R, 1, k, first)
            contributions.append((latest, hidden @ columns))
        whole = period == 1  # nothing is held
        outputs.append(hidden[:, :, 1:] if whole else hidden.index_select(2, latest[1:]))
    return torch.cat(outputs[::-1], dim=3)
