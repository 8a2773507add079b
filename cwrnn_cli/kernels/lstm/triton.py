"""An LSTM's recurrence over all steps in one Triton kernel, for ensembles and peepholes on a GPU.

One program does one network and a few sequences; the four n x n blocks of W_H stay in registers for
all steps, 16 rows of them in each piece of the product, which are dealt out to the warps. For one
network without peepholes torch has cuDNN's (:mod:`cwrnn_cli.kernels`). Inside, a tile is cells x
sequences (:mod:`..triton.launch`).
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..autograd import Arguments, FastFunction, Tensors
from ..triton.functions import sigmoid, tanh
from ..triton.launch import launch, variants_of
from ..triton.resources import Variant
from . import WARPS
from .recurrence import lstm as lstm_by
from .recurrence import peephole_gradient, plain

SIZES = ("batch", "cells", "steps")
POINTERS = ("gates", "weight", "peephole", "h", "c", "grad_h", "grad_c")


@triton.jit
def _gates(four, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """(4, WIDTH, ROWS) to the four gates' (WIDTH, ROWS)."""
    pairs = tl.reshape(tl.permute(four, (1, 2, 0)), (WIDTH, ROWS, 2, 2))
    i_g, f_o = tl.split(pairs)
    i, g = tl.split(i_g)
    f, o = tl.split(f_o)
    return i, f, g, o


@triton.jit
def _sum(parts, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr):
    """(PARTS, WIDTH, ROWS) to their sum, by halves: `tl.sum` leaves it to each warp as a whole."""
    x = tl.permute(parts, (1, 2, 0))
    for k in tl.static_range(4):
        if PARTS >> k > 1:
            a, b = tl.split(tl.reshape(x, (WIDTH, ROWS, PARTS >> k + 1, 2)))
            x = a + b
    return tl.reshape(x, (WIDTH, ROWS))


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def _forward(
    gates, weight, peephole, h, c, batch, cells, steps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps; gates (R, T, B, 4, n) come as their input and stay as i, f, g, o.

    h and c are (R, 1 + T, B, n), the initial states first. What the next step needs is on its way
    while a step is computed.
    """
    network = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    u = tl.arange(0, WIDTH)
    real = u < cells
    inside = real[:, None] & (b < batch)[None, :]
    place = u[:, None] + b[None, :] * cells
    four = u[:, None] + b[None, :] * 4 * cells
    # 16 rows each of the 4 WIDTH of the weights, all of one gate
    PARTS: tl.constexpr = WIDTH // 4
    part = tl.arange(0, PARTS)
    row = (part * 16 % WIDTH)[:, None] + tl.arange(0, 16)[None, :]
    rows = (part * 16 // WIDTH * cells)[:, None] + row
    at = weight + network * 4 * cells * cells + rows[:, :, None] * cells + u[None, None, :]
    w = tl.load(at, mask=(row < cells)[:, :, None] & real[None, None, :], other=0.0)
    see = peephole + network * 3 * cells + u
    p_i = tl.load(see, mask=real, other=0.0)[:, None]
    p_f = tl.load(see + cells, mask=real, other=0.0)[:, None]
    p_o = tl.load(see + 2 * cells, mask=real, other=0.0)[:, None]
    h += network * (1 + steps) * batch * cells
    c += network * (1 + steps) * batch * cells
    gates += network * steps * batch * 4 * cells
    y = tl.load(h + place, mask=inside, other=0.0)
    cell = tl.load(c + place, mask=inside, other=0.0)
    z = gates + four
    z_i = tl.load(z, mask=inside, other=0.0)
    z_f = tl.load(z + cells, mask=inside, other=0.0)
    z_g = tl.load(z + 2 * cells, mask=inside, other=0.0)
    z_o = tl.load(z + 3 * cells, mask=inside, other=0.0)
    s = 1
    while s <= steps:
        h += batch * cells
        c += batch * cells
        z = gates + four
        gates += batch * 4 * cells
        more = inside & (s < steps)
        later = gates + four
        later_i = tl.load(later, mask=more, other=0.0)
        later_f = tl.load(later + cells, mask=more, other=0.0)
        later_g = tl.load(later + 2 * cells, mask=more, other=0.0)
        later_o = tl.load(later + 3 * cells, mask=more, other=0.0)
        every = tl.broadcast_to(y[None, :, :], (PARTS, WIDTH, ROWS))
        product = tl.dot(w, every, input_precision=PRECISION).to(y.dtype)
        product = tl.reshape(product, (4, WIDTH, ROWS))
        r_i, r_f, r_g, r_o = _gates(product, ROWS, WIDTH)
        i = sigmoid(z_i + r_i + p_i * cell)
        f = sigmoid(z_f + r_f + p_f * cell)
        g = tanh(z_g + r_g)
        cell = f * cell + i * g
        o = sigmoid(z_o + r_o + p_o * cell)
        y = o * tanh(cell)
        tl.store(z, i, mask=inside)
        tl.store(z + cells, f, mask=inside)
        tl.store(z + 2 * cells, g, mask=inside)
        tl.store(z + 3 * cells, o, mask=inside)
        tl.store(h + place, y, mask=inside)
        tl.store(c + place, cell, mask=inside)
        z_i = later_i
        z_f = later_f
        z_g = later_g
        z_o = later_o
        s += 1


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def _backward(
    grad_h, grad_c, gates, weight, peephole, c, batch, cells, steps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps, last first; gates become the gradients of what is in their tanh or sigmoid.

    grad_h and grad_c, (R, 1 + T, B, n), come as the gradients from outside; index 0 becomes the
    initial states'.
    """
    network = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    u = tl.arange(0, WIDTH)
    real = u < cells
    inside = real[:, None] & (b < batch)[None, :]
    place = u[:, None] + b[None, :] * cells
    four = u[:, None] + b[None, :] * 4 * cells
    # 16 rows each of the 4 WIDTH of the weights, transposed; what they give is added up
    PARTS: tl.constexpr = WIDTH // 4
    part = tl.arange(0, PARTS)
    row = (part * 16 % WIDTH)[:, None] + tl.arange(0, 16)[None, :]
    rows = (part * 16 // WIDTH * cells)[:, None] + row
    at = weight + network * 4 * cells * cells + rows[:, None, :] * cells + u[None, :, None]
    w = tl.load(at, mask=(row < cells)[:, None, :] & real[None, :, None], other=0.0)
    see = peephole + network * 3 * cells + u
    p_i = tl.load(see, mask=real, other=0.0)[:, None]
    p_f = tl.load(see + cells, mask=real, other=0.0)[:, None]
    p_o = tl.load(see + 2 * cells, mask=real, other=0.0)[:, None]
    last = (network * (1 + steps) + steps) * batch * cells
    grad_h += last
    grad_c += last
    c += last
    gates += ((network + 1) * steps - 1) * batch * 4 * cells
    from_h = tl.zeros((WIDTH, ROWS), dtype=w.dtype)
    from_c = tl.zeros((WIDTH, ROWS), dtype=w.dtype)
    z = gates + four
    i = tl.load(z, mask=inside, other=0.0)
    f = tl.load(z + cells, mask=inside, other=0.0)
    g = tl.load(z + 2 * cells, mask=inside, other=0.0)
    o = tl.load(z + 3 * cells, mask=inside, other=0.0)
    cell = tl.load(c + place, mask=inside, other=0.0)
    c -= batch * cells
    old = tl.load(c + place, mask=inside, other=0.0)
    s = 1
    while s <= steps:
        z = gates + four
        gates -= batch * 4 * cells
        c -= batch * cells
        more = inside & (s < steps)
        earlier = gates + four
        earlier_i = tl.load(earlier, mask=more, other=0.0)
        earlier_f = tl.load(earlier + cells, mask=more, other=0.0)
        earlier_g = tl.load(earlier + 2 * cells, mask=more, other=0.0)
        earlier_o = tl.load(earlier + 3 * cells, mask=more, other=0.0)
        older = tl.load(c + place, mask=more, other=0.0)
        now = tanh(cell)
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
        every = tl.join(tl.join(grad_zi, grad_zg), tl.join(grad_zf, grad_zo))
        every = tl.permute(tl.reshape(every, (WIDTH, ROWS, 4)), (2, 0, 1))
        every = tl.reshape(every, (PARTS, 16, ROWS))
        product = tl.dot(w, every, input_precision=PRECISION).to(grad.dtype)
        from_h = _sum(product, ROWS, WIDTH, PARTS)
        grad_h -= batch * cells
        grad_c -= batch * cells
        i = earlier_i
        f = earlier_f
        g = earlier_g
        o = earlier_o
        cell = old
        old = older
        s += 1
    tl.store(grad_h + place, from_h, mask=inside)
    tl.store(grad_c + place, from_c, mask=inside)


def variants() -> list[Variant]:
    """Every kernel that may be launched, for each width and precision."""
    return [
        *variants_of("lstm forward", _forward, WARPS, POINTERS),
        *variants_of("lstm backward", _backward, WARPS, POINTERS),
    ]


def _forward_pass(_: None, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    drive, weight, peephole, h0, c0 = (t.detach().contiguous() for t in arguments if t is not None)
    networks, steps, batch, _four, cells = drive.shape
    gates = drive.clone()
    h, c = (drive.new_empty(networks, 1 + steps, batch, cells) for _ in range(2))
    h[:, 0], c[:, 0] = h0, c0
    launch(_forward, WARPS, (networks, batch, cells, steps), gates, weight, peephole, h, c)
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
    networks, steps, batch, _four, cells = gates.shape
    sizes = networks, batch, cells, steps
    launch(_backward, WARPS, sizes, grad_h, grad_c, grad_gates, weight, peephole, c)
    flat = grad_gates.view(networks, steps * batch, 4 * cells)
    before = h[:, :-1].reshape(networks, -1, cells)
    grad_peephole = peephole_gradient(grad_gates, c[:, :-1], c[:, 1:])
    return grad_gates, flat.transpose(1, 2) @ before, grad_peephole, grad_h[:, 0], grad_c[:, 0]


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
    """As :func:`cwrnn_cli.kernels.reference.lstm`; float32 on a GPU, cells that fit on chip.

    Products have float32's accuracy, or TF32's where torch's may be in it
    (:func:`..triton.launch.precision_of`).
    """
    return lstm_by(_lstm, x, weight_ih, weight_hh, bias, peephole, h0, c0)
