"""The cascade: module after module, slowest first, each over its own ticks only.

Slow modules never hear fast ones (eq. 3-4), so the slowest can run alone over its ceil(T / T_g)
ticks. Its outputs, multiplied once each by its columns of W_H, then enter all faster modules as
input, held until its next tick; and so on down to the fastest. What is left of the recurrence is k
x k per module. The result is that of :mod:`..reference`, for any periods and sizes; tested in
float64, values and gradients.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...clock import Clock

Scan = Callable[[Tensor, Tensor, Tensor], Tensor]


def steps_of(drive: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
    """One module's outputs at its ticks, step by step.

    Args:
        drive: (R, ticks, B, k) what enters at each tick, from the input and from slower modules.
        initial: (R, B, k) output before the first tick.
        weight: (R, k, k) the module's own block of W_H.

    Returns:
        (R, ticks, B, k).
    """
    y, across = initial, weight.transpose(1, 2)
    hidden = []
    for step in drive.unbind(1):
        y = torch.tanh(step + y @ across)
        hidden.append(y)
    return torch.stack(hidden, dim=1)


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
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
        scan: what does one module's recurrence; None: plain torch, step by step.
    """
    scan = scan or steps_of
    networks, batch, steps, _ = x.shape
    clock = clock.merged()
    starts = clock.starts
    if h0 is None:
        h0 = weight_hh.new_zeros(networks, batch, clock.hidden_size)
    # per slower module: period, and its outputs times its columns of W_H, (R, B, 1 + ticks, first)
    contributions: list[tuple[int, Tensor]] = []
    outputs: list[Tensor] = []
    for i in reversed(range(len(clock.periods))):
        period, first, end = clock.periods[i], starts[i], starts[i + 1]
        ticks = torch.arange(0, steps, period, device=x.device)
        drive = weight_hh.new_zeros(networks, batch, len(ticks), end - first)  # (R, B, ticks, k)
        if bias is not None:
            drive = drive + bias[:, None, None, first:end]
        if weight_ih is not None:
            drive = drive + x[:, :, ::period] @ weight_ih[:, None, first:end].transpose(2, 3)
        for other, contribution in contributions:
            # of a slower module's output at t - 1: index 0 is the initial state
            held = torch.div(ticks - 1, other, rounding_mode="floor") + 1
            drive = drive + contribution[..., first:end].index_select(2, held)
        y = h0[:, :, first:end]
        own = weight_hh[:, first:end, first:end]
        ran = scan(drive.transpose(1, 2), y, own).transpose(1, 2)  # (R, B, ticks, k)
        hidden = torch.cat([y[:, :, None], ran], dim=2)  # (R, B, 1 + ticks, k)
        if first > 0:
            columns = weight_hh[:, None, :first, first:end].transpose(2, 3)  # (R, 1, k, first)
            contributions.append((period, hidden @ columns))
        if period > 1:
            ran = ran.repeat_interleave(period, dim=2)[:, :, :steps]
        outputs.append(ran)  # (R, B, T, k)
    return torch.cat(outputs[::-1], dim=3)
