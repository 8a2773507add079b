"""An LSTM's recurrence, for LSTMs too wide for a Triton kernel, as CUDA graphs of many steps.

As :mod:`..clockwork.graph`: everything but the capture itself (:mod:`..graphs`) runs on a CPU, too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..autograd import Arguments, FastFunction, Tensors
from ..graphs import Replayed, pieces
from .recurrence import lstm as lstm_by
from .recurrence import peephole_gradient, plain

_PARTS = 6  # of a step: h, c, i, f, g, o


def _forward_steps(history: Tensor, weight: Tensor, peephole: Tensor) -> None:
    """All steps of history (1 + T, R, B, 6, n), whose gates come as what enters them.

    weight (R, 4n, n), peephole (R, 3, n).
    """
    across = weight.transpose(1, 2)
    p_i, p_f, p_o = peephole[:, None].unbind(2)  # (R, 1, n)
    for before, now in zip(history[:-1], history[1:], strict=True):
        h0, c0, *_ = before.unbind(2)  # (R, B, n)
        h, c, i, f, g, o = now.unbind(2)
        now.flatten(2)[..., 2 * h.shape[2] :].baddbmm_(h0, across)
        i.addcmul_(p_i, c0).sigmoid_()
        f.addcmul_(p_f, c0).sigmoid_()
        g.tanh_()
        c.copy_(f).mul_(c0).addcmul_(i, g)
        o.addcmul_(p_o, c).sigmoid_()
        h.copy_(c).tanh_().mul_(o)


def _backward_steps(grad: Tensor, history: Tensor, weight: Tensor, peephole: Tensor) -> None:
    """Gradients of all parts of steps, last first; grad (T + 1, R, B, 6, n).

    Those of h and c come from outside, the last step's are whole; of the gates they are of what is
    in their tanh or sigmoid. history (1 + T + 1, R, B, 6, n) has a step more at either end.
    """
    p_i, p_f, p_o = peephole[:, None].unbind(2)
    _, c, i, f, g, o = history[1:-1].unbind(3)  # (T, R, B, n)
    old = history[:-2, :, :, 1]
    now = c.tanh()
    by_o = now * o * (1 - o)
    by_c = o * (1 - now * now) + p_o * by_o
    by_ifg = torch.stack([g * i * (1 - i), old * f * (1 - f), i * (1 - g * g)], dim=3)
    f_later = history[2:, :, :, 3]
    for s in reversed(range(len(grad) - 1)):
        _, later_c, later_i, later_f, *_ = grad[s + 1].unbind(2)
        own = grad[s]
        own_h, own_c, own_o = own[:, :, 0], own[:, :, 1], own[:, :, 5]
        own_h.baddbmm_(grad[s + 1].flatten(2)[..., 2 * own_h.shape[2] :], weight)
        own_o.copy_(by_o[s]).mul_(own_h)
        own_c.addcmul_(by_c[s], own_h).addcmul_(f_later[s], later_c)
        own_c.addcmul_(p_i, later_i).addcmul_(p_f, later_f)
        own[:, :, 2:5].copy_(by_ifg[s]).mul_(own_c[:, :, None])


_forward = Replayed(_forward_steps)
_backward = Replayed(_backward_steps)


def _forward_pass(_: None, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    drive, weight, peephole, h0, c0 = (t.detach() for t in arguments if t is not None)
    networks, steps, batch, _four, cells = drive.shape
    cut = pieces(steps)
    history = drive.new_zeros(1 + cut[-1].stop, networks, batch, _PARTS, cells)
    history[0, :, :, 0], history[0, :, :, 1] = h0, c0
    history[1 : 1 + steps, :, :, 2:] = drive.transpose(0, 1)
    for piece in cut:
        _forward(history[piece.start : piece.stop + 1], weight, peephole)
    kept = history[: 1 + steps].transpose(0, 1)  # (R, 1 + T, B, 6, n)
    return (kept[:, 1:, :, 0].clone(), kept[:, 1:, :, 1].clone()), (kept,)


def _backward_pass(
    _: None, arguments: Arguments, kept: Tensors, grads: Arguments, wanted: Sequence[bool]
) -> Arguments:
    _drive, weight, peephole, *_states = (t.detach() for t in arguments if t is not None)
    networks, steps, batch, _parts, cells = kept[0].shape
    cut = pieces(steps - 1)
    end = cut[-1].stop
    history = kept[0].new_zeros(end + 2, networks, batch, _PARTS, cells)
    history[:steps] = kept[0].transpose(0, 1)
    grad = torch.zeros_like(history[1:])
    for part, given in enumerate(grads):
        if given is not None:
            grad[: steps - 1, :, :, part] = given.transpose(0, 1)
    for piece in reversed(cut):
        some = slice(piece.start, piece.stop + 2)
        _backward(grad[piece.start : piece.stop + 1], history[some], weight, peephole)
    grad_gates = grad[: steps - 1, :, :, 2:].transpose(0, 1).contiguous()  # (R, T, B, 4, n)
    flat = grad_gates.view(networks, -1, 4 * cells)
    before = kept[0][:, :-1, :, 0].reshape(networks, -1, cells)
    old, new = kept[0][:, :-1, :, 1], kept[0][:, 1:, :, 1]
    grad_peephole = peephole_gradient(grad_gates, old, new)
    first, p = grad[0].unbind(2), peephole[:, None].unbind(2)
    grad_h0 = grad_gates[:, 0].flatten(2) @ weight
    grad_c0 = history[1, :, :, 3] * first[1] + p[0] * first[2] + p[1] * first[3]
    return grad_gates, flat.transpose(1, 2) @ before, grad_peephole, grad_h0, grad_c0


_lstm = FastFunction(_forward_pass, _backward_pass, plain, outputs=2)


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As :func:`cwrnn_cli.kernels.reference.lstm`."""
    return lstm_by(_lstm, x, weight_ih, weight_hh, bias, peephole, h0, c0)
