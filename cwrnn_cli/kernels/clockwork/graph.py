"""One module's recurrence, for modules too wide for a Triton kernel, as CUDA graphs.

A tick is a batched matrix product and a tanh. Sequences are cut into pieces of a few lengths, and
each length is one graph, replayed as often as a sequence needs: a new length of sequences is no new
graph. Ticks behind the end are computed of zeros, and dropped. Everything but the capture itself
(:mod:`..graphs`) runs on a CPU, too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..autograd import Arguments, FastFunction, Tensors
from ..graphs import Replayed, pieces
from .cascade import steps_of


def _forward_ticks(hidden: Tensor, weight: Tensor) -> None:
    """hidden[s + 1] = tanh(hidden[s + 1] + hidden[s] W^T); (1 + ticks, R, B, k), (R, k, k)."""
    across = weight.transpose(1, 2)
    for s in range(len(hidden) - 1):
        hidden[s + 1].baddbmm_(hidden[s], across).tanh_()


def _backward_ticks(grad: Tensor, hidden: Tensor, weight: Tensor) -> None:
    """grad[s] = (grad[s] + grad[s + 1] W) (1 - hidden[s]^2), from the last tick on.

    (ticks + 1, R, B, k), (ticks, R, B, k), (R, k, k).
    """
    slope = 1 - hidden * hidden
    for s in reversed(range(len(hidden))):
        grad[s].baddbmm_(grad[s + 1], weight).mul_(slope[s])


_forward = Replayed(_forward_ticks)
_backward = Replayed(_backward_ticks)


def _forward_pass(_: None, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    drive, initial, weight = (t.detach() for t in arguments if t is not None)
    networks, ticks, batch, units = drive.shape
    cut = pieces(ticks)
    history = drive.new_zeros(1 + cut[-1].stop, networks, batch, units)
    history[0] = initial
    history[1 : 1 + ticks] = drive.transpose(0, 1)
    for piece in cut:
        _forward(history[piece.start : piece.stop + 1], weight)
    hidden = history[1 : 1 + ticks].transpose(0, 1)
    return (hidden.clone(memory_format=torch.contiguous_format),), (hidden,)


def _backward_pass(
    _: None, arguments: Arguments, kept: Tensors, grads: Arguments, wanted: Sequence[bool]
) -> Arguments:
    _drive, initial, weight = (t.detach() for t in arguments if t is not None)
    (hidden,), given = kept, grads[0]
    assert given is not None
    networks, ticks, batch, units = hidden.shape
    cut = pieces(ticks)
    history = hidden.new_zeros(cut[-1].stop, networks, batch, units)
    history[:ticks] = hidden.transpose(0, 1)
    grad = hidden.new_zeros(cut[-1].stop + 1, networks, batch, units)
    grad[:ticks] = given.transpose(0, 1)
    for piece in reversed(cut):
        _backward(grad[piece.start : piece.stop + 1], history[piece.start : piece.stop], weight)
    grad_drive = grad[:ticks].transpose(0, 1).contiguous()
    before = torch.cat([initial[:, None], hidden[:, :-1]], dim=1)
    flat = grad_drive.view(networks, -1, units)
    grad_weight = flat.transpose(1, 2) @ before.reshape(networks, -1, units)
    return grad_drive, grad[0] @ weight, grad_weight


def _plain(_: None, arguments: Arguments) -> Tensors:
    drive, initial, weight = arguments
    assert drive is not None and initial is not None and weight is not None
    return (steps_of(drive, initial, weight),)


_scan = FastFunction(_forward_pass, _backward_pass, _plain)


def scan(drive: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
    """As :func:`.cascade.steps_of`, argument for argument, with tanh."""
    (hidden,) = _scan(None, drive, initial, weight)
    return hidden
