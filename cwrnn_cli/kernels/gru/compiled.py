"""The GRU layer as a fast function of autograd over the compiled recurrence of :mod:`.loops`.

What is not recurrent is one matrix product: the gates' input over all steps, and in the backward
pass the gradients of the weights. Without W_I the inputs enter the gates as they are, and what
other units' outputs contribute may enter, too: as modules on a clock want it. Inside, units are
padded to whole vectors, and time is the outer axis.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .. import reference
from ..autograd import Arguments, FastFunction, Tensors
from ..backend import compiling
from ..numba import memory
from ..numba.cache import log_compilation
from ..numba.gates import (
    Rows,
    Sizes,
    apart,
    for_rows,
    numbers_of,
    pad,
    pad_gates,
    unpad_gates,
)
from ..numba.simd import LANES
from ..operator import as_operator
from . import loops
from .layout import History


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none = np.empty(0, memory.NUMPY[dtype])
    history, sizes, rows = History(none, none), Sizes(0, 0, 0, 0), Rows(0, 0)
    with log_compilation("the GRU layer"):
        loops.forward(history, none, sizes, rows)
        loops.backward(none, history, none, sizes, rows)


def _rolled(weight: Tensor, by: int) -> Tensor:
    """(R, 3n, ...) in the order r, z, n to h, r, z, h being what r scales, by 1; back by -1."""
    networks, _, *rest = weight.shape
    return weight.reshape(networks, 3, -1, *rest).roll(by, 1).flatten(1, 2)


def _sizes(x: Tensor, weight_hh: Tensor) -> Sizes:
    _, steps, batch, _ = x.shape
    cells = weight_hh.shape[2]
    return Sizes(cells, -(-cells // LANES), steps, batch)


def _forward(_: None, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    """Outputs (R, T, B, n) of x (R, T, B, m), heard (R, T, B, 3n), the rest as in :func:`gru`."""
    x, weight_ih, weight_hh, bias, bias_hn, heard, h0 = arguments
    assert x is not None and weight_hh is not None
    _compile(weight_hh.dtype)
    cells, width, steps, batch = sizes = _sizes(x, weight_hh)
    networks, padded = len(x), width * LANES
    inputs = x if weight_ih is None else memory.contiguous(x)
    w_ih, across = (pad_gates(each, 3, padded) for each in (weight_ih, _rolled(weight_hh, 1)))
    assert across is not None
    across = across.transpose(1, 2).contiguous()  # (R, n, 3N)
    gates = memory.empty((networks, steps, batch, 4 * padded), weight_hh).zero_()
    by_gate = apart(gates, 4)[..., :cells]
    if w_ih is not None:
        entering = inputs.flatten(1, 2) @ w_ih.transpose(1, 2)
        gates[..., padded:] = entering.view(networks, steps, batch, 3 * padded)
    elif x.shape[3]:
        by_gate[..., 1:, :] = apart(x, 3)
    if bias is not None:
        by_gate[..., 1:, :] += apart(bias, 3)[:, None, None]
    if bias_hn is not None:
        by_gate[..., 0, :] += bias_hn[:, None, None]
    if heard is not None:
        by_gate[..., :3, :] += apart(heard, 3).roll(1, 3)
    y = memory.empty((networks, 1 + steps, batch, padded), weight_hh)
    start = pad(h0, 2, padded)
    y[:, 0] = 0 if start is None else start

    def run(network: int, rows: Rows) -> None:
        history = History(numbers_of(gates, network), numbers_of(y, network))
        loops.forward(history, numbers_of(across, network), sizes, rows)

    for_rows(networks, batch, 3 * steps * cells * padded, run)
    result = y[:, 1:, :, :cells]  # a copy: the padded original is kept for the backward pass
    outputs = (memory.empty(result.shape, result).copy_(result),)
    kept = (gates, y)
    return outputs, kept if weight_ih is None or x.is_contiguous() else (*kept, inputs)


def _backward(
    _: None,
    arguments: Arguments,
    kept: Tensors,
    grads: Arguments,
    wanted: Sequence[bool],
) -> Arguments:
    """Gradients of everything."""
    x, weight_ih, weight_hh, bias, bias_hn, heard, h0 = arguments
    assert x is not None and weight_hh is not None
    gates, y, *copied = kept
    inputs = copied[0] if copied else x  # (R, T, B, m)
    cells, width, steps, batch = sizes = _sizes(x, weight_hh)
    networks, padded = len(x), width * LANES
    weight = pad(_rolled(weight_hh, 1), 2, padded)
    assert weight is not None
    # so that a second backward pass finds the gates
    grad_gates = memory.empty(gates.shape, gates).copy_(gates)
    grad_y = memory.empty(y.shape, y).zero_()  # (R, 1 + T, B, N)
    if grads[0] is not None:
        grad_y[:, 1:, :, :cells] = grads[0]

    def run(network: int, rows: Rows) -> None:
        history = History(numbers_of(grad_gates, network), numbers_of(y, network))
        weights = numbers_of(weight, network)
        loops.backward(numbers_of(grad_y, network), history, weights, sizes, rows)

    for_rows(networks, batch, 3 * steps * cells * padded, run)
    flat = grad_gates.view(networks, steps * batch, 4 * padded)
    own, outer = flat[..., : 3 * padded], flat[..., padded:]  # of h, r, z, and of r, z, n
    by_gate = apart(grad_gates, 4)[..., :cells]
    before = y[:, :-1].reshape(networks, steps * batch, padded)
    grad_hh = unpad_gates(torch.bmm(own.transpose(1, 2), before), 3, cells)[..., :cells]
    grad_x, grad_ih = torch.zeros_like(inputs) if wanted[0] else None, None
    if weight_ih is None:
        if wanted[0] and x.shape[3]:
            grad_x = by_gate[..., 1:, :].flatten(3)
    else:
        grad_ih = torch.bmm(outer.transpose(1, 2), inputs.flatten(1, 2))
        grad_ih = unpad_gates(grad_ih, 3, cells)
        if wanted[0]:
            padded_ih = pad_gates(weight_ih, 3, padded)
            assert padded_ih is not None
            grad_x = torch.bmm(outer, padded_ih).view(inputs.shape)
    return (
        grad_x,
        grad_ih,
        _rolled(grad_hh, -1),
        None if bias is None else unpad_gates(outer.sum(dim=1), 3, cells),
        None if bias_hn is None else flat[..., :cells].sum(dim=1),
        None if heard is None else by_gate[..., :3, :].roll(-1, 3).flatten(3),
        None if h0 is None else grad_y[:, 0, :, :cells],
    )


def _plain(_: None, arguments: Arguments) -> Tensors:
    x, weight_ih, weight_hh, bias, bias_hn, heard, h0 = arguments
    assert x is not None and weight_hh is not None
    other = None if heard is None else heard.transpose(1, 2)
    inputs = (x.transpose(1, 2), weight_ih, weight_hh, bias, bias_hn, h0)
    return (reference.gru(*inputs, other).transpose(1, 2),)


def _shapes(arguments: Arguments) -> Tensors:
    """Empty tensors like those that :func:`_forward` gives."""
    x, _, weight_hh, *_ = arguments
    assert x is not None and weight_hh is not None
    networks, steps, batch, _ = x.shape
    cells = weight_hh.shape[2]
    padded = -(-cells // LANES) * LANES
    return (
        weight_hh.new_empty(networks, steps, batch, cells),
        weight_hh.new_empty(networks, steps, batch, 4 * padded),
        weight_hh.new_empty(networks, 1 + steps, batch, padded),
    )


_gru = FastFunction(_forward, _backward, _plain)
_optional = ("Tensor?",) * 4
_operator = as_operator(
    "gru", _gru, ("Tensor", "Tensor?", "Tensor", *_optional), "", lambda: None, _shapes
)


def gru(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None,
    h0: Tensor | None,
    heard: Tensor | None = None,
) -> Tensor:
    """As :func:`cwrnn_cli.kernels.reference.gru`, on the CPU, float32 or float64."""
    x = x.transpose(1, 2)
    other = None if heard is None else heard.transpose(1, 2)
    arguments = (x, weight_ih, weight_hh, bias, bias_hn, other, h0)
    (y,) = _operator(arguments) if compiling() else _gru(None, *arguments)
    return y.transpose(1, 2)
