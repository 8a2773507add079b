"""An LSTM's recurrence over all steps in one Triton kernel, for ensembles and peepholes on a GPU.

One program does one network and a tile of the batch; the four n x n blocks of W_H stay on chip for
all steps. For one network without peepholes torch has cuDNN's (:mod:`cwrnn_cli.kernels`).
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import reference
from ..autograd import Arguments, FastFunction, Tensors
from ..clockwork.triton import TILE, precision_of
from ..triton.functions import sigmoid, tanh


@triton.jit
def _forward(
    gates, weight, peephole, h, c, batch, cells, steps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps; gates (R, T, B, 4, n) come as their input and stay as i, f, g, o.

    h and c are (R, 1 + T, B, n), the initial states first.
    """
    network = tl.program_id(0)
    b = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    u = tl.arange(0, WIDTH)
    real = u < cells
    inside = (b < batch)[:, None] & real[None, :]
    square = real[:, None] & real[None, :]
    block = cells * cells
    across = weight + network * 4 * block + u[:, None] + u[None, :] * cells
    w_i = tl.load(across, mask=square, other=0.0)  # w[c, u] = W[u, c]
    w_f = tl.load(across + block, mask=square, other=0.0)
    w_g = tl.load(across + 2 * block, mask=square, other=0.0)
    w_o = tl.load(across + 3 * block, mask=square, other=0.0)
    see = peephole + network * 3 * cells + u
    p_i = tl.load(see, mask=real, other=0.0)[None, :]
    p_f = tl.load(see + cells, mask=real, other=0.0)[None, :]
    p_o = tl.load(see + 2 * cells, mask=real, other=0.0)[None, :]
    place = network * (1 + steps) * batch * cells + b[:, None] * cells + u[None, :]
    z = gates + network * steps * batch * 4 * cells + b[:, None] * 4 * cells + u[None, :]
    y = tl.load(h + place, mask=inside, other=0.0)
    cell = tl.load(c + place, mask=inside, other=0.0)
    s = 0
    while s < steps:
        place += batch * cells
        z_i = tl.load(z, mask=inside, other=0.0)
        z_f = tl.load(z + cells, mask=inside, other=0.0)
        z_g = tl.load(z + 2 * cells, mask=inside, other=0.0)
        z_o = tl.load(z + 3 * cells, mask=inside, other=0.0)
        z_i += tl.dot(y, w_i, input_precision=PRECISION).to(y.dtype) + p_i * cell
        z_f += tl.dot(y, w_f, input_precision=PRECISION).to(y.dtype) + p_f * cell
        z_g += tl.dot(y, w_g, input_precision=PRECISION).to(y.dtype)
        z_o += tl.dot(y, w_o, input_precision=PRECISION).to(y.dtype)
        i = sigmoid(z_i)
        f = sigmoid(z_f)
        g = tanh(z_g)
        cell = f * cell + i * g
        o = sigmoid(z_o + p_o * cell)
        y = o * tanh(cell)
        tl.store(z, i, mask=inside)
        tl.store(z + cells, f, mask=inside)
        tl.store(z + 2 * cells, g, mask=inside)
        tl.store(z + 3 * cells, o, mask=inside)
        tl.store(h + place, y, mask=inside)
        tl.store(c + place, cell, mask=inside)
        z += batch * 4 * cells
        s += 1


@triton.jit
def _backward(
    grad_h, grad_c, gates, weight, peephole, c, batch, cells, steps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps, last first; gates become the gradients of what is in their tanh or sigmoid.

    grad_h and grad_c, (R, 1 + T, B, n), come as the gradients from outside; index 0 becomes the
    initial states'.
    """
    network = tl.program_id(0)
    b = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    u = tl.arange(0, WIDTH)
    real = u < cells
    inside = (b < batch)[:, None] & real[None, :]
    square = real[:, None] & real[None, :]
    block = cells * cells
    straight = weight + network * 4 * block + u[:, None] * cells + u[None, :]
    w_i = tl.load(straight, mask=square, other=0.0)
    w_f = tl.load(straight + block, mask=square, other=0.0)
    w_g = tl.load(straight + 2 * block, mask=square, other=0.0)
    w_o = tl.load(straight + 3 * block, mask=square, other=0.0)
    see = peephole + network * 3 * cells + u
    p_i = tl.load(see, mask=real, other=0.0)[None, :]
    p_f = tl.load(see + cells, mask=real, other=0.0)[None, :]
    p_o = tl.load(see + 2 * cells, mask=real, other=0.0)[None, :]
    first = network * (1 + steps) * batch * cells + b[:, None] * cells + u[None, :]
    place = first + steps * batch * cells
    z = gates + (network + 1) * steps * batch * 4 * cells - batch * 4 * cells
    z += b[:, None] * 4 * cells + u[None, :]
    from_h = tl.zeros((ROWS, WIDTH), dtype=w_i.dtype)
    from_c = tl.zeros((ROWS, WIDTH), dtype=w_i.dtype)
    s = 0
    while s < steps:
        i = tl.load(z, mask=inside, other=0.0)
        f = tl.load(z + cells, mask=inside, other=0.0)
        g = tl.load(z + 2 * cells, mask=inside, other=0.0)
        o = tl.load(z + 3 * cells, mask=inside, other=0.0)
        now = tanh(tl.load(c + place, mask=inside, other=0.0))
        old = tl.load(c + place - batch * cells, mask=inside, other=0.0)
        grad = tl.load(grad_h + place, mask=inside, other=0.0) + from_h
        grad_zo = grad * now * o * (1 - o)
        grad = grad * o * (1 - now * now) + p_o * grad_zo + from_c  # of the cell
        grad += tl.load(grad_c + place, mask=inside, other=0.0)
        grad_zi = grad * g * i * (1 - i)
        grad_zf = grad * old * f * (1 - f)
        grad_zg = grad * i * (1 - g * g)
        from_c = grad * f + p_i * grad_zi + p_f * grad_zf
        tl.store(z, grad_zi, mask=inside)
        tl.store(z + cells, grad_zf, mask=inside)
        tl.store(z + 2 * cells, grad_zg, mask=inside)
        tl.store(z + 3 * cells, grad_zo, mask=inside)
        from_h = tl.dot(grad_zi, w_i, input_precision=PRECISION).to(grad.dtype)
        from_h += tl.dot(grad_zf, w_f, input_precision=PRECISION).to(grad.dtype)
        from_h += tl.dot(grad_zg, w_g, input_precision=PRECISION).to(grad.dtype)
        from_h += tl.dot(grad_zo, w_o, input_precision=PRECISION).to(grad.dtype)
        place -= batch * cells
        z -= batch * 4 * cells
        s += 1
    tl.store(grad_h + first, from_h, mask=inside)
    tl.store(grad_c + first, from_c, mask=inside)


def _launch(kernel: Any, shape: tuple[int, ...], *tensors: Any) -> None:
    networks, steps, batch, _, cells = shape
    width = max(16, triton.next_power_of_2(cells))
    kernel[(networks, triton.cdiv(batch, TILE))](
        *tensors, batch, cells, steps, ROWS=TILE, WIDTH=width, PRECISION=precision_of()
    )


def _forward_pass(_: None, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    drive, weight, peephole, h0, c0 = (t.detach().contiguous() for t in arguments if t is not None)
    networks, steps, batch, _four, cells = drive.shape
    gates = drive.clone()
    h, c = (drive.new_empty(networks, 1 + steps, batch, cells) for _ in range(2))
    h[:, 0], c[:, 0] = h0, c0
    _launch(_forward, drive.shape, gates, weight, peephole, h, c)
    return (h[:, 1:].clone(), c[:, 1:].clone()), (gates, h, c)


def _backward_pass(
    _: None, arguments: Arguments, kept: Tensors, grads: Arguments, wanted: Sequence[bool]
) -> Arguments:
    _drive, weight, peephole, *_states = (
        t.detach().contiguous() for t in arguments if t is not None
    )
    gates, h, c = kept
    grad_gates = gates.clone()
    grad_h, grad_c = torch.zeros_like(h), torch.zeros_like(c)
    for into, grad in ((grad_h, grads[0]), (grad_c, grads[1])):
        if grad is not None:
            into[:, 1:] = grad
    _launch(_backward, gates.shape, grad_h, grad_c, grad_gates, weight, peephole, c)
    networks, steps, batch, _four, cells = gates.shape
    flat = grad_gates.view(networks, steps * batch, 4 * cells)
    before = h[:, :-1].reshape(networks, -1, cells)
    grad_peephole = torch.stack(
        [
            (grad_gates[:, :, :, gate] * cell).sum(dim=(1, 2))
            for gate, cell in ((0, c[:, :-1]), (1, c[:, :-1]), (3, c[:, 1:]))
        ],
        dim=1,
    )
    return grad_gates, flat.transpose(1, 2) @ before, grad_peephole, grad_h[:, 0], grad_c[:, 0]


def _plain(_: None, arguments: Arguments) -> Tensors:
    drive, weight, peephole, h0, c0 = arguments
    assert drive is not None and weight is not None
    x = drive.flatten(3).transpose(1, 2)  # (R, B, T, 4n): its own input weights are 1
    one = torch.eye(x.shape[3], dtype=x.dtype, device=x.device)
    outputs = reference.lstm(x, one.expand(len(x), -1, -1), weight, None, peephole, h0, c0)
    return tuple(output.transpose(1, 2) for output in outputs)


_lstm = FastFunction(_forward_pass, _backward_pass, _plain, outputs=2)


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As :func:`cwrnn_cli.kernels.reference.lstm`; float32 on a GPU, cells that fit on chip.

    Products are exact (IEEE) unless `torch.backends.cuda.matmul.allow_tf32` is set.
    """
    networks, batch, steps, _ = x.shape
    cells = weight_hh.shape[2]
    drive = weight_hh.new_zeros(networks, steps, batch, 4 * cells)
    if weight_ih is not None:
        drive = drive + x.transpose(1, 2) @ weight_ih[:, None].transpose(2, 3)
    if bias is not None:
        drive = drive + bias[:, None, None]
    zeros = weight_hh.new_zeros(networks, batch, cells)
    y, c = _lstm(
        None,
        drive.view(networks, steps, batch, 4, cells),
        weight_hh,
        weight_hh.new_zeros(networks, 3, cells) if peephole is None else peephole,
        zeros if h0 is None else h0,
        zeros if c0 is None else c0,
    )
    return y.transpose(1, 2), c.transpose(1, 2)
