"""Equations 1 to 4 of the paper as anybody would write them, step by step: the oracle.

Plain torch operations on any device and dtype, differentiable. Axes: R networks, B sequences, T
steps, n hidden units, m inputs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from ..clock import Clock

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}
# what an LSTM squashes its cells' outputs by
CELL_OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "2tanh": lambda cell: 2 * torch.tanh(cell),
    "sigmoid": torch.sigmoid,
}


# One step of a cell with G gates: what enters from outside (R, B, G k) and from the outputs before
# it (R, B, G k), its states (R, B, k), the output first, and what each unit has for itself
# (R, q, k), to the next states.
Step = Callable[[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]]


class _ClipDeltas(Function):
    """The same numbers; their gradient is clipped."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, limit: float) -> Tensor:
        return z.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.limit = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0].clamp(-ctx.limit, ctx.limit), None


def clip_deltas(z: Tensor, limit: float | None) -> Tensor:
    """``z``, whose gradient is clipped elementwise to within ``limit``; None: is left alone."""
    return z if limit is None else _ClipDeltas.apply(z, limit)  # type: ignore[no-untyped-call]


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    start: int | Tensor = 0,
    nonlinearity: str = "tanh",
    delta_clip: float | None = None,
) -> Tensor:
    """Hidden states of R clockwork layers (eq. 1).

    Args:
        x: (R, B, T, m) inputs; m may be 0.
        weight_ih: (R, n, m), or None where m is 0.
        weight_hh: (R, n, n); what the clock's mask forbids is taken as 0.
        bias: (R, n), or None.
        h0: (R, B, n) outputs before the first step, or None for zeros.
        clock: periods and sizes, and offsets.
        start: the number of the first step, one for all or (B,) int64, one per sequence.
        nonlinearity: "tanh" or "relu".
        delta_clip: each step's gradient of what is squashed is clipped elementwise to within this,
            before it flows on to weights and earlier steps; None: it is not.

    Returns:
        (R, B, T, n), the outputs of all units at all steps, the held ones too.
    """
    networks, batch, *_ = x.shape
    allowed = torch.from_numpy(clock.mask()).to(weight_hh.device)
    recurrent = torch.where(allowed, weight_hh, 0).transpose(1, 2)  # (R, n, n)
    periods = torch.from_numpy(clock.unit_periods).to(weight_hh.device)
    phases = torch.from_numpy(clock.unit_phases).to(weight_hh.device)
    squash = NONLINEARITIES[nonlinearity]
    if isinstance(start, Tensor):
        start = start.to(weight_hh.device)[:, None]  # (B, 1)
    y = weight_hh.new_zeros(networks, batch, clock.hidden_size) if h0 is None else h0
    outputs = []
    for t, step in enumerate(x.unbind(2)):
        z = y @ recurrent  # (R, B, n)
        if weight_ih is not None:
            z = z + step @ weight_ih.transpose(1, 2)
        if bias is not None:
            z = z + bias[:, None]
        active = (start + t) % periods == phases  # (n,) or (B, n)
        y = torch.where(active, squash(clip_deltas(z, delta_clip)), y)
        outputs.append(y)
    return torch.stack(outputs, dim=2)


def clocked(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    own: tuple[Tensor, ...],
    state: tuple[Tensor, ...],
    clock: Clock,
    step: Step,
    start: int | Tensor = 0,
) -> tuple[Tensor, ...]:
    """States of R layers of any cell under a clock: all of a unit holds between its ticks.

    Args:
        x: (R, B, T, m) inputs; m may be 0.
        weight_ih: (R, G n, m), or None where m is 0, or where x is what enters the gates already.
        weight_hh: (R, G n, n); what the clock's mask forbids, in each gate, is taken as 0.
        bias: (R, G n), or None.
        own: (R, q, n) each, what each unit has for itself.
        state: (R, B, n) each, before the first step, the output first.
        clock: as of :func:`clockwork`.
        step: of the cell.
        start: as of :func:`clockwork`.

    Returns:
        (R, B, T, n) each.
    """
    gates = weight_hh.shape[1] // clock.hidden_size
    allowed = torch.from_numpy(clock.mask()).to(weight_hh.device).repeat(gates, 1)
    recurrent = torch.where(allowed, weight_hh, 0).transpose(1, 2)  # (R, n, G n)
    periods = torch.from_numpy(clock.unit_periods).to(weight_hh.device)
    phases = torch.from_numpy(clock.unit_phases).to(weight_hh.device)
    if isinstance(start, Tensor):
        start = start.to(weight_hh.device)[:, None]  # (B, 1)
    history = []
    for t, inputs in enumerate(x.unbind(2)):
        drive = weight_hh.new_zeros(*x.shape[:2], weight_hh.shape[1])
        if weight_ih is not None:
            drive = drive + inputs @ weight_ih.transpose(1, 2)
        elif x.shape[3]:
            drive = drive + inputs
        if bias is not None:
            drive = drive + bias[:, None]
        new = step(drive, state[0] @ recurrent, state, own)
        active = (start + t) % periods == phases  # (n,) or (B, n)
        state = tuple(torch.where(active, a, b) for a, b in zip(new, state, strict=True))
        history.append(state)
    return tuple(torch.stack(each, dim=2) for each in zip(*history, strict=True))


def lstm_step(
    z: Tensor,
    c: Tensor,
    peephole: Tensor | None,
    squash: Callable[[Tensor], Tensor],
    delta_clip: float | None,
) -> tuple[Tensor, Tensor]:
    """Outputs and cells (R, B, n) from what enters the gates (R, B, 4n) and the last cells."""
    zi, zf, zg, zo = z.chunk(4, dim=2)
    if peephole is not None:
        zi = zi + peephole[:, None, 0] * c
        zf = zf + peephole[:, None, 1] * c
    zi, zf, zg = (clip_deltas(gate, delta_clip) for gate in (zi, zf, zg))
    c = torch.sigmoid(zf) * c + torch.sigmoid(zi) * torch.tanh(zg)
    if peephole is not None:
        zo = zo + peephole[:, None, 2] * c
    return torch.sigmoid(clip_deltas(zo, delta_clip)) * squash(c), c


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    cell_output: str = "tanh",
    delta_clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Hidden and cell states of R LSTM layers; gates in torch's order i, f, g, o.

    Args:
        x: (R, B, T, m) inputs; m may be 0.
        weight_ih: (R, 4n, m), or None where m is 0, or where x is what enters the gates already.
        weight_hh: (R, 4n, n).
        bias: (R, 4n), or None.
        peephole: (R, 3, n), what i, f (from the last step's cell) and o (from this step's) see of
            their own cell, or None.
        h0: (R, B, n), or None for zeros.
        c0: (R, B, n), or None for zeros.
        cell_output: of :data:`CELL_OUTPUTS`.
        delta_clip: as of :func:`clockwork`, of what is in each gate and in the cell's input.

    Returns:
        Outputs and cells, (R, B, T, n) each.
    """
    networks, batch, *_ = x.shape
    n = weight_hh.shape[2]
    h = weight_hh.new_zeros(networks, batch, n) if h0 is None else h0
    c = weight_hh.new_zeros(networks, batch, n) if c0 is None else c0
    squash = CELL_OUTPUTS[cell_output]
    outputs, cells = [], []
    for step in x.unbind(2):
        z = h @ weight_hh.transpose(1, 2)  # (R, B, 4n)
        if weight_ih is not None:
            z = z + step @ weight_ih.transpose(1, 2)
        elif x.shape[3]:
            z = z + step
        if bias is not None:
            z = z + bias[:, None]
        h, c = lstm_step(z, c, peephole, squash, delta_clip)
        outputs.append(h)
        cells.append(c)
    return torch.stack(outputs, dim=2), torch.stack(cells, dim=2)


def gru_step(drive: Tensor, heard: Tensor, y: Tensor, bias_hn: Tensor | None) -> Tensor:
    """Outputs (..., n) from what enters the gates r, z, n (..., 3n) and the last outputs.

    Args:
        drive: what comes from outside.
        heard: what comes from last outputs; its part of n is scaled by r.
        y: (..., n).
        bias_hn: added to that part, or None.
    """
    r_in, z_in, n_in = drive.chunk(3, dim=-1)
    r_own, z_own, n_own = heard.chunk(3, dim=-1)
    if bias_hn is not None:
        n_own = n_own + bias_hn
    new = torch.tanh(n_in + torch.sigmoid(r_in + r_own) * n_own)
    return torch.lerp(new, y, torch.sigmoid(z_in + z_own))


def gru(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None,
    h0: Tensor | None,
    heard: Tensor | None = None,
) -> Tensor:
    """Outputs (R, B, T, n) of R GRU layers; gates in torch's order r, z, n.

    Args:
        x: (R, B, T, m) inputs; m may be 0.
        weight_ih: (R, 3n, m), or None where m is 0, or where x is what enters the gates already.
        weight_hh: (R, 3n, n).
        bias: (R, 3n), or None.
        bias_hn: (R, n), added to what r scales, or None.
        h0: (R, B, n), or None for zeros.
        heard: (R, B, T, 3n), what other units' outputs contribute, added to what W_H gives; or
            None.
    """
    networks, batch, steps, _ = x.shape
    across = weight_hh.transpose(1, 2)  # (R, n, 3n)
    drive = x.new_zeros(networks, batch, steps, across.shape[2])
    if weight_ih is not None:
        drive = drive + x @ weight_ih[:, None].transpose(2, 3)
    elif x.shape[3]:
        drive = drive + x
    if bias is not None:
        drive = drive + bias[:, None, None]
    own = None if bias_hn is None else bias_hn[:, None]
    y = weight_hh.new_zeros(networks, batch, weight_hh.shape[2]) if h0 is None else h0
    outputs = []
    for t, step in enumerate(drive.unbind(2)):
        others = y @ across
        if heard is not None:
            others = others + heard[:, :, t]
        y = gru_step(step, others, y, own)
        outputs.append(y)
    return torch.stack(outputs, dim=2)
