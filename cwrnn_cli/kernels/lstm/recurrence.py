"""An LSTM around a function that does its recurrence only, from what enters the gates."""

import torch
from torch import Tensor

from .. import reference
from ..autograd import Arguments, FastFunction, Tensors


def plain(_: None, arguments: Arguments) -> Tensors:
    """The recurrence by torch operations, step by step.

    Args:
        arguments: drive (R, T, B, 4, n), weight (R, 4n, n), peephole (R, 3, n), h0 and c0
            (R, B, n).

    Returns:
        Outputs and cells, (R, T, B, n) each.
    """
    drive, weight, peephole, h0, c0 = arguments
    assert drive is not None and weight is not None
    x = drive.flatten(3).transpose(1, 2)  # (R, B, T, 4n)
    outputs = reference.lstm(x, None, weight, None, peephole, h0, c0)
    return tuple(output.transpose(1, 2) for output in outputs)


def peephole_gradient(grad_gates: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """(R, 3, n) of the peepholes to i, f and o.

    Args:
        grad_gates: (R, T, B, 4, n) gradients of what is in the gates i, f, g, o.
        old: (R, T, B, n) cells that i and f see, of the step before.
        new: (R, T, B, n) cells that o sees.
    """
    seen = (0, old), (1, old), (3, new)
    return torch.stack([(grad_gates[:, :, :, g] * c).sum(dim=(1, 2)) for g, c in seen], dim=1)


def lstm(
    function: FastFunction,
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As :func:`cwrnn_cli.kernels.reference.lstm`, by a function like :func:`plain`."""
    networks, batch, steps, _ = x.shape
    cells = weight_hh.shape[2]
    drive = weight_hh.new_zeros(networks, steps, batch, 4 * cells)
    if weight_ih is not None:
        drive = drive + x.transpose(1, 2) @ weight_ih[:, None].transpose(2, 3)
    elif x.shape[3]:
        drive = drive + x.transpose(1, 2)
    if bias is not None:
        drive = drive + bias[:, None, None]
    zeros = weight_hh.new_zeros(networks, batch, cells)
    y, c = function(
        None,
        drive.view(networks, steps, batch, 4, cells),
        weight_hh,
        weight_hh.new_zeros(networks, 3, cells) if peephole is None else peephole,
        zeros if h0 is None else h0,
        zeros if c0 is None else c0,
    )
    return y.transpose(1, 2), c.transpose(1, 2)
