"""The cascade: module after module, slowest first, each over its own ticks only.

Slow modules never hear fast ones (eq. 3-4), so the slowest can run alone over its ceil(T / T_g)
ticks. Its outputs, multiplied once each by its columns of W_H, then enter all faster modules as
input, held until its next tick; and so on down to the fastest. What is left of the recurrence is k
x k per module. Modules of one period with different offsets hear each other, so these run together,
tick by tick in the order of time; never do two of them tick at once. The result is that of
:mod:`..reference`, for any periods, sizes and offsets; tested in float64, values and gradients.
"""

from collections.abc import Callable, Sequence
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


def steps_in_turn(
    drives: Sequence[Tensor],
    initial: Sequence[Tensor],
    weight: Tensor,
    begins: Sequence[int],
    period: int,
    nonlinearity: str = "tanh",
) -> list[Tensor]:
    """The outputs of the p modules of one period at their ticks, each at an offset of its own.

    Args:
        drives: (R, ticks, B, k) of each module, as of :func:`steps_of`; ticks may be 0.
        initial: (R, B, k) of each.
        weight: (R, K, K) the modules' common block of W_H.
        begins: step of each one's first tick, all different and below the period.
        period: of all.
        nonlinearity: "tanh" or "relu".

    Returns:
        (R, ticks, B, k) of each.
    """
    squash = NONLINEARITIES[nonlinearity]
    across = torch.split(weight, [y.shape[2] for y in initial], dim=1)  # (R, k, K) each
    turns = sorted(
        (begin + s * period, j, s)
        for j, begin in enumerate(begins)
        for s in range(drives[j].shape[1])
    )
    held = list(initial)
    hidden: list[list[Tensor]] = [[] for _ in held]
    for _, j, s in turns:
        held[j] = squash(drives[j][:, s] + torch.cat(held, dim=2) @ across[j].transpose(1, 2))
        hidden[j].append(held[j])
    return [torch.stack(y, dim=1) if y else drives[j] for j, y in enumerate(hidden)]


def latest_at(begin: int, period: int, steps: int, device: torch.device) -> Tensor:
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
        clock: periods and sizes, and offsets.
        start: the number of the first step.
        nonlinearity: "tanh" or "relu".
        scan: what does one module's recurrence, where no other has its period; None: plain torch,
            step by step.
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
    for block in reversed(clock.blocks):
        period, lowest = clock.periods[block.start], starts[block.start]
        spans = [slice(starts[i], starts[i + 1]) for i in block]
        # step of each module's first tick
        begins = [(clock.phases[i] - start) % period for i in block]
        drives = []  # (R, B, ticks, k)
        for begin, span in zip(begins, spans, strict=True):
            count = -(-(steps - begin) // period)
            drive = weight_hh.new_zeros(networks, batch, count, span.stop - span.start)
            if bias is not None:
                drive = drive + bias[:, None, None, span]
            if weight_ih is not None:
                drive = drive + x[:, :, begin::period] @ weight_ih[:, None, span].transpose(2, 3)
            for latest, contribution in contributions:
                read = latest[begin:-1:period]  # at a tick's step t, what there was at t - 1
                drive = drive + contribution[..., span].index_select(2, read)
            drives.append(drive.transpose(1, 2))
        initial = [h0[:, :, span] for span in spans]
        own = weight_hh[:, lowest : starts[block.stop], lowest : starts[block.stop]]
        if len(block) > 1:
            ran = steps_in_turn(drives, initial, own, begins, period, nonlinearity)
        else:
            ran = [scan(drives[0], initial[0], own)] if drives[0].shape[1] else drives
        held = []
        for begin, span, y, ticks in zip(begins, spans, initial, ran, strict=True):
            hidden = y[:, :, None]  # (R, B, 1 + ticks, k)
            if ticks.shape[1]:
                hidden = torch.cat([hidden, ticks.transpose(1, 2)], dim=2)
            # (1 + T,) of the steps from the one before the first: which of them holds then
            latest = latest_at(begin, period, steps, x.device)
            if lowest > 0:
                columns = weight_hh[:, None, :lowest, span].transpose(2, 3)  # (R, 1, k, lowest)
                contributions.append((latest, hidden @ columns))
            whole = period == 1  # nothing is held
            held.append(hidden[:, :, 1:] if whole else hidden.index_select(2, latest[1:]))
        outputs += held[::-1]
    return torch.cat(outputs[::-1], dim=3)
