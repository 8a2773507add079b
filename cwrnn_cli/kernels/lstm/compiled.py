"""The LSTM layer as a fast function of autograd over the compiled recurrence of :mod:`.loops`.

What is not recurrent is one matrix product: the gates' input over all steps, and in the backward
pass the gradients of the weights. Without W_I the inputs enter the gates as they are, as modules on
a clock want it. Inside, cells are padded to whole vectors, and time is the outer axis.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

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
from .layout import CELL_OUTPUTS, Gradients, History


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none = np.empty(0, memory.NUMPY[dtype])
    history, sizes, rows = History(none, none, none), Sizes(0, 0, 0, 0), Rows(0, 0)
    with log_compilation("the LSTM layer"):
        loops.forward(history, none, none, sizes, rows, 0)
        loops.backward(Gradients(none, none), history, none, none, sizes, rows, 0, np.inf)


class _Settings(NamedTuple):
    """Of a call.

    Attributes:
        cell_output: of :data:`.layout.CELL_OUTPUTS`.
        delta_clip: see :func:`.reference.lstm`; infinite: none.
    """

    cell_output: str
    delta_clip: float = np.inf


class _Padded(NamedTuple):
    """Weights with cells padded to N, contiguous; see :mod:`.layout`."""

    weight_ih: Tensor | None  # (R, 4N, m)
    weight_hh: Tensor  # (R, 4n, N)
    bias: Tensor | None  # (R, 4N)
    peephole: Tensor  # (R, 3, N), or (R, 0)

    @classmethod
    def of(
        cls,
        weight_ih: Tensor | None,
        weight_hh: Tensor,
        bias: Tensor | None,
        peephole: Tensor | None,
        padded: int,
    ) -> "_Padded":
        """Those of :func:`lstm`, padded."""
        w_hh, peep = pad(weight_hh, 2, padded), pad(peephole, 2, padded)
        assert w_hh is not None
        if peep is None:
            peep = w_hh.new_zeros(len(w_hh), 0)
        return cls(pad_gates(weight_ih, 4, padded), w_hh, pad_gates(bias, 4, padded), peep)


def _sizes(x: Tensor, weight_hh: Tensor) -> Sizes:
    _, steps, batch, _ = x.shape
    cells = weight_hh.shape[2]
    return Sizes(cells, -(-cells // LANES), steps, batch)


def _forward(settings: _Settings, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    """Outputs and cells (R, T, B, n) of x (R, T, B, m) and the rest as in :func:`lstm`."""
    x, weight_ih, weight_hh, bias, peephole, h0, c0 = arguments
    assert x is not None and weight_hh is not None
    _compile(weight_hh.dtype)
    cells, width, steps, batch = sizes = _sizes(x, weight_hh)
    networks, padded = len(x), width * LANES
    inputs = x if weight_ih is None else memory.contiguous(x)
    weights = _Padded.of(weight_ih, weight_hh, bias, peephole, padded)
    across = pad_gates(weight_hh, 4, padded)
    assert across is not None
    across = across.transpose(1, 2).contiguous()  # (R, n, 4N)
    gates = memory.empty((networks, steps, batch, 4 * padded), weight_hh)
    if weights.weight_ih is None:
        gates.zero_()
        if x.shape[3]:
            apart(gates, 4)[..., :cells] = apart(x, 4)
    else:
        flat = inputs.flatten(1, 2)
        into = gates.view(networks, steps * batch, 4 * padded)
        torch.bmm(flat, weights.weight_ih.transpose(1, 2), out=into)
    if weights.bias is not None:
        gates += weights.bias[:, None, None]
    y, c = (memory.empty((networks, 1 + steps, batch, padded), weight_hh) for _ in range(2))
    cell_output = CELL_OUTPUTS[settings.cell_output]
    for buffer, initial in ((y, h0), (c, c0)):
        start = pad(initial, 2, padded)
        buffer[:, 0] = 0 if start is None else start

    def run(network: int, rows: Rows) -> None:
        loops.forward(
            History(numbers_of(gates, network), numbers_of(y, network), numbers_of(c, network)),
            numbers_of(across, network),
            numbers_of(weights.peephole, network),
            sizes,
            rows,
            cell_output,
        )

    for_rows(networks, batch, 4 * steps * cells * padded, run)
    # copies: the padded originals are kept for the backward pass
    results = (y[:, 1:, :, :cells], c[:, 1:, :, :cells])
    outputs = tuple(memory.empty(part.shape, part).copy_(part) for part in results)
    kept = (gates, y, c)
    return outputs, kept if weight_ih is None or x.is_contiguous() else (*kept, inputs)


def _backward(
    settings: _Settings,
    arguments: Arguments,
    kept: Tensors,
    grads: Arguments,
    wanted: Sequence[bool],
) -> Arguments:
    """Gradients of everything."""
    x, weight_ih, weight_hh, bias, peephole, h0, c0 = arguments
    assert x is not None and weight_hh is not None
    gates, y, c, *copied = kept
    inputs = copied[0] if copied else x  # (R, T, B, m)
    cells, width, steps, batch = sizes = _sizes(x, weight_hh)
    networks, padded = len(x), width * LANES
    weights = _Padded.of(weight_ih, weight_hh, bias, peephole, padded)
    # so that a second backward pass finds the gates
    grad_gates = memory.empty(gates.shape, gates).copy_(gates)
    padded_gradients = []
    for gradient in grads:
        buffer = memory.empty(y.shape, y).zero_()  # (R, 1 + T, B, N)
        if gradient is not None:
            buffer[:, 1:, :, :cells] = gradient
        padded_gradients.append(buffer)
    grad_y, grad_c = padded_gradients
    cell_output = CELL_OUTPUTS[settings.cell_output]

    def run(network: int, rows: Rows) -> None:
        loops.backward(
            Gradients(numbers_of(grad_y, network), numbers_of(grad_c, network)),
            History(
                numbers_of(grad_gates, network), numbers_of(y, network), numbers_of(c, network)
            ),
            numbers_of(weights.weight_hh, network),
            numbers_of(weights.peephole, network),
            sizes,
            rows,
            cell_output,
            settings.delta_clip,
        )

    for_rows(networks, batch, 4 * steps * cells * padded, run)
    flat = grad_gates.view(networks, steps * batch, 4 * padded)
    before = y[:, :-1].reshape(networks, steps * batch, padded)
    grad_hh = torch.bmm(flat.transpose(1, 2), before)  # (R, 4N, N)
    grad_ih = grad_peep = None
    grad_x = torch.zeros_like(inputs) if wanted[0] else None
    if weights.weight_ih is None:
        if wanted[0] and x.shape[3]:
            grad_x = apart(grad_gates, 4)[..., :cells].flatten(3)
    else:
        grad_ih = torch.bmm(flat.transpose(1, 2), inputs.flatten(1, 2))
        grad_ih = unpad_gates(grad_ih, 4, cells)
        if wanted[0]:
            grad_x = torch.bmm(flat, weights.weight_ih).view(inputs.shape)
    if peephole is not None:
        by_gate = apart(grad_gates, 4)
        grad_peep = torch.stack(
            [
                (by_gate[:, :, :, gate] * cell).sum(dim=(1, 2))
                for gate, cell in ((0, c[:, :-1]), (1, c[:, :-1]), (3, c[:, 1:]))
            ],
            dim=1,
        )[..., :cells]
    return (
        grad_x,
        grad_ih,
        unpad_gates(grad_hh, 4, cells)[..., :cells],
        None if bias is None else unpad_gates(flat.sum(dim=1), 4, cells),
        grad_peep,
        None if h0 is None else grad_y[:, 0, :, :cells],
        None if c0 is None else grad_c[:, 0, :, :cells],
    )


def _plain(settings: _Settings, arguments: Arguments) -> Tensors:
    x, weight_ih, weight_hh, bias, peephole, h0, c0 = arguments
    assert x is not None and weight_hh is not None
    limit = settings.delta_clip if settings.delta_clip < np.inf else None
    inputs = (x.transpose(1, 2), weight_ih, weight_hh, bias, peephole, h0, c0)
    outputs = reference.lstm(*inputs, settings.cell_output, limit)
    return tuple(output.transpose(1, 2) for output in outputs)


def _shapes(arguments: Arguments, cell_output: str) -> Tensors:
    """Empty tensors like those that :func:`_forward` gives."""
    x, _, weight_hh, *_ = arguments
    assert x is not None and weight_hh is not None
    networks, steps, batch, _ = x.shape
    cells = weight_hh.shape[2]
    padded = -(-cells // LANES) * LANES
    outputs = [weight_hh.new_empty(networks, steps, batch, cells) for _ in range(2)]
    gates = weight_hh.new_empty(networks, steps, batch, 4 * padded)
    kept = [weight_hh.new_empty(networks, 1 + steps, batch, padded) for _ in range(2)]
    return (*outputs, gates, *kept)


_lstm = FastFunction(_forward, _backward, _plain, outputs=2)
_operator = as_operator(
    "lstm",
    _lstm,
    ("Tensor", "Tensor?", "Tensor", "Tensor?", "Tensor?", "Tensor?", "Tensor?"),
    "str cell_output",
    _Settings,
    _shapes,
)


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
    """As :func:`cwrnn_cli.kernels.reference.lstm`, on the CPU, float32 or float64."""
    x = x.transpose(1, 2)
    weights = (weight_ih, weight_hh, bias, peephole)
    if compiling():
        y, c = _operator((x, *weights, h0, c0), cell_output)
    else:
        settings = _Settings(cell_output, np.inf if delta_clip is None else delta_clip)
        y, c = _lstm(settings, x, *weights, h0, c0)
    return y.transpose(1, 2), c.transpose(1, 2)
