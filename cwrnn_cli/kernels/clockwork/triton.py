"""One module's recurrence over all its ticks in one Triton kernel, for the cascade on a GPU.

One program does one network and a few sequences. The module's k x k weights are loaded once and
stay in registers for all ticks, as does the state; per tick only the drive comes in and the output
goes out. Everything else of the cascade is large matrix products, which torch does
(:mod:`.cascade`). Inside, a tile is units x sequences (:mod:`..triton.launch`).
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..autograd import Arguments, FastFunction, Tensors
from ..triton.functions import tanh
from ..triton.launch import launch, variants_of
from ..triton.resources import Variant
from . import WARPS
from .cascade import steps_of

SIZES = ("batch", "units", "ticks")
POINTERS = ("drive", "weight", "initial", "hidden", "grad_hidden", "grad_initial")


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def _forward(
    drive, weight, initial, hidden, batch, units, ticks,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """hidden[s] = tanh(drive[s] + hidden[s - 1] W^T); (R, ticks, B, k) each.

    What the next tick needs is on its way while a tick is computed.
    """
    network = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    u = tl.arange(0, WIDTH)
    inside = (u < units)[:, None] & (b < batch)[None, :]
    square = (u < units)[:, None] & (u < units)[None, :]
    straight = weight + network * units * units + u[:, None] * units + u[None, :]
    w = tl.load(straight, mask=square, other=0.0)
    place = u[:, None] + b[None, :] * units
    y = tl.load(initial + network * batch * units + place, mask=inside, other=0.0)
    drive += network * ticks * batch * units
    hidden += network * ticks * batch * units
    z = tl.load(drive + place, mask=inside, other=0.0)
    s = 1
    while s <= ticks:
        drive += batch * units
        later = tl.load(drive + place, mask=inside & (s < ticks), other=0.0)
        y = tanh(z + tl.dot(w, y, input_precision=PRECISION).to(z.dtype))
        tl.store(hidden + place, y, mask=inside)
        hidden += batch * units
        z = later
        s += 1


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=POINTERS)
def _backward(
    grad_hidden, weight, hidden, grad_initial, batch, units, ticks,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """g[s] = (g[s] + g[s + 1] W) (1 - hidden[s]^2), from the last tick on; g: grad_hidden."""
    network = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    u = tl.arange(0, WIDTH)
    inside = (u < units)[:, None] & (b < batch)[None, :]
    square = (u < units)[:, None] & (u < units)[None, :]
    across = weight + network * units * units + u[:, None] + u[None, :] * units
    w = tl.load(across, mask=square, other=0.0)  # w[c, u] = W[u, c]
    place = u[:, None] + b[None, :] * units
    grad_hidden += ((network + 1) * ticks - 1) * batch * units
    hidden += ((network + 1) * ticks - 1) * batch * units
    from_next = tl.zeros((WIDTH, ROWS), dtype=w.dtype)
    y = tl.load(hidden + place, mask=inside, other=0.0)
    outside = tl.load(grad_hidden + place, mask=inside, other=0.0)
    s = 1
    while s <= ticks:
        hidden -= batch * units
        more = inside & (s < ticks)
        earlier = tl.load(hidden + place, mask=more, other=0.0)
        outside_earlier = tl.load(grad_hidden - batch * units + place, mask=more, other=0.0)
        grad = (outside + from_next) * (1 - y * y)
        tl.store(grad_hidden + place, grad, mask=inside)
        from_next = tl.dot(w, grad, input_precision=PRECISION).to(w.dtype)
        grad_hidden -= batch * units
        y = earlier
        outside = outside_earlier
        s += 1
    tl.store(grad_initial + network * batch * units + place, from_next, mask=inside)


def variants() -> list[Variant]:
    """Every kernel that may be launched, for each width and precision."""
    return [
        *variants_of("clockwork forward", _forward, WARPS, POINTERS),
        *variants_of("clockwork backward", _backward, WARPS, POINTERS),
    ]


def _forward_pass(_: None, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    drive, initial, weight = (t.detach().contiguous() for t in arguments if t is not None)
    networks, ticks, batch, units = drive.shape
    hidden = torch.empty_like(drive)
    launch(_forward, WARPS, (networks, batch, units, ticks), drive, weight, initial, hidden)
    return (hidden,), (hidden.clone(),)  # the user may write to the first


def _backward_pass(
    _: None, arguments: Arguments, kept: Tensors, grads: Arguments, wanted: Sequence[bool]
) -> Arguments:
    _drive, initial, weight = (t.detach().contiguous() for t in arguments if t is not None)
    (hidden,), grad = kept, grads[0]
    assert grad is not None
    networks, ticks, batch, units = hidden.shape
    grad_hidden = grad.contiguous().clone()
    grad_initial = torch.empty_like(initial)
    sizes = networks, batch, units, ticks
    launch(_backward, WARPS, sizes, grad_hidden, weight, hidden, grad_initial)
    before = torch.cat([initial[:, None], hidden[:, :-1]], dim=1)
    flat = grad_hidden.view(networks, -1, units)
    return grad_hidden, grad_initial, flat.transpose(1, 2) @ before.view(networks, -1, units)


def _plain(_: None, arguments: Arguments) -> Tensors:
    drive, initial, weight = arguments
    assert drive is not None and initial is not None and weight is not None
    return (steps_of(drive, initial, weight),)


_scan = FastFunction(_forward_pass, _backward_pass, _plain)


def scan(drive: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
    """As :func:`.cascade.steps_of`, argument for argument, with tanh.

    Products have float32's accuracy, or TF32's where torch's may be in it
    (:func:`..triton.launch.precision_of`).
    """
    (hidden,) = _scan(None, drive, initial, weight)
    return hidden
