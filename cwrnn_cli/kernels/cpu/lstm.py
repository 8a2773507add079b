"""The LSTM layer as an autograd function over the compiled recurrence.

What is not recurrent is one matrix product: the gates' input over all steps, and in the backward
pass the gradients of the weights. Inside, cells are padded to whole vectors, and time is the outer
axis.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import memory, recurrence
from .announce import announced
from .simd import LANES
from .threads import run_all

_INLINE = 1 << 16  # multiply-adds below which a thread costs more than it saves


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none = torch.empty(0, dtype=dtype).numpy()
    with announced("the LSTM layer"):
        recurrence.lstm_forward(none, none, none, none, none, False, 0, 0, 0, 0, 0, 0)
        recurrence.lstm_backward(none, none, none, none, none, none, False, 0, 0, 0, 0, 0, 0)


def _flat(tensor: Tensor, network: int) -> np.ndarray:
    """One network's part of a contiguous (R, ...) tensor as a flat array."""
    array: np.ndarray = tensor.detach()[network].reshape(-1).numpy()
    return array


def _for_rows(networks: int, batch: int, work: int, call: Callable[[int, int, int], None]) -> None:
    """``call(network, first row, last row)`` for all, on several threads if there is enough to do.

    Args:
        networks: R.
        batch: B.
        work: multiply-adds of one row.
        call: does a range of rows.
    """
    threads = torch.get_num_threads()
    if networks * batch * work < _INLINE or networks * batch == 1:
        threads = 1
    pieces = 1 if networks >= threads else -(-threads // networks)
    size = -(-batch // pieces)
    if size > 4:
        size = -(-size // 4) * 4  # the kernels like rows by four
    items = [
        (network, first, min(first + size, batch))
        for network in range(networks)
        for first in range(0, batch, size)
    ]
    if threads > 1:
        run_all(call, items, threads)
    else:
        for item in items:
            call(*item)


class _Lstm(torch.autograd.Function):
    """See :func:`lstm`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """x, weight_ih, weight_hh, bias, peephole, h0, c0 as in :func:`lstm`."""
        x, weight_ih, weight_hh, bias, peephole, h0, c0 = inputs
        networks, batch, steps, _ = x.shape
        cells = weight_hh.shape[2]
        width = -(-cells // LANES)
        padded = width * LANES
        x = memory.time_first(x)
        w_ih, b = _pad_gates(weight_ih, padded), _pad_gates(bias, padded)
        w_hh = _pad(weight_hh, 2, padded)
        across = _pad_gates(weight_hh, padded)
        assert w_hh is not None and across is not None
        across = across.transpose(1, 2).contiguous()  # (R, n, 4 N)
        peep = _pad(peephole, 2, padded)
        if peep is None:
            peep = w_hh.new_zeros(networks, 0)
        z = memory.empty((networks, steps, batch, 4 * padded), w_hh)
        if w_ih is None:
            z.zero_()
        else:
            rows = x.view(networks, steps * batch, -1)
            torch.bmm(rows, w_ih.transpose(1, 2), out=z.view(networks, -1, 4 * padded))
        if b is not None:
            z += b[:, None, None]
        y, c = (memory.empty((networks, 1 + steps, batch, padded), w_hh) for _ in range(2))
        for buffer, initial in ((y, h0), (c, c0)):
            start = _pad(initial, 2, padded)
            buffer[:, 0] = 0 if start is None else start

        def run(network: int, first: int, last: int) -> None:
            recurrence.lstm_forward(
                _flat(z, network),
                _flat(y, network),
                _flat(c, network),
                _flat(across, network),
                _flat(peep, network),
                peephole is not None,
                width,
                cells,
                steps,
                batch,
                first,
                last,
            )

        _for_rows(networks, batch, 4 * steps * cells * padded, run)
        ctx.save_for_backward(x, w_ih, w_hh, peep)
        ctx.kept, ctx.cells = (z, y, c), cells
        ctx.given = [value is not None for value in inputs]
        outputs = y[:, 1:, :, :cells].transpose(1, 2)
        states = c[:, 1:, :, :cells].transpose(1, 2)
        # copies: the padded originals are kept for the backward pass, which overwrites the gates
        return tuple(memory.empty(part.shape, part).copy_(part) for part in (outputs, states))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything."""
        x, w_ih, w_hh, peep = ctx.saved_tensors
        (z, y, c), cells = ctx.kept, ctx.cells
        z = memory.empty(z.shape, z).copy_(z)  # so that a second backward pass finds it
        networks, steps, batch, _ = x.shape
        padded = y.shape[3]
        width = padded // LANES
        errors = []
        for gradient in gradients:
            error = memory.empty(y.shape, y).zero_()
            error[:, 1:, :, :cells] = gradient.transpose(1, 2)
            errors.append(error)
        d, dc = errors
        has_peepholes = ctx.given[4]

        def run(network: int, first: int, last: int) -> None:
            recurrence.lstm_backward(
                _flat(d, network),
                _flat(dc, network),
                _flat(z, network),
                _flat(c, network),
                _flat(w_hh, network),
                _flat(peep, network),
                has_peepholes,
                width,
                cells,
                steps,
                batch,
                first,
                last,
            )

        _for_rows(networks, batch, 4 * steps * cells * padded, run)
        rows = z.view(networks, steps * batch, 4 * padded)
        before = y[:, :-1].reshape(networks, -1, padded)
        d_hh = torch.bmm(rows.transpose(1, 2), before)
        d_ih = d_x = d_peep = None
        if w_ih is not None:
            d_ih = torch.bmm(rows.transpose(1, 2), x.view(networks, steps * batch, -1))
            if ctx.needs_input_grad[0]:
                d_x = torch.bmm(rows, w_ih).view(x.shape).transpose(1, 2)
        if has_peepholes:
            gates = z.view(networks, steps, batch, 4, padded)
            d_peep = torch.stack(
                [
                    (gates[:, :, :, gate] * cell).sum(dim=(1, 2))
                    for gate, cell in ((0, c[:, :-1]), (1, c[:, :-1]), (3, c[:, 1:]))
                ],
                dim=1,
            )
        return (
            d_x,
            None if d_ih is None else _unpad_gates(d_ih, cells),
            _unpad_gates(d_hh, cells)[..., :cells],
            _unpad_gates(rows.sum(dim=1), cells) if ctx.given[3] else None,
            None if d_peep is None else d_peep[..., :cells],
            d[:, 0, :, :cells] if ctx.given[5] else None,
            dc[:, 0, :, :cells] if ctx.given[6] else None,
        )


def _pad(tensor: Tensor | None, axis: int, size: int) -> Tensor | None:
    """Zeros behind, to ``size`` along one axis; contiguous."""
    if tensor is None or tensor.shape[axis] == size:
        return None if tensor is None else tensor.contiguous()
    shape = list(tensor.shape)
    shape[axis] = size
    padded = tensor.new_zeros(shape)
    padded.narrow(axis, 0, tensor.shape[axis]).copy_(tensor)
    return padded


def _pad_gates(weight: Tensor | None, padded: int) -> Tensor | None:
    """(R, 4n, ...) to (R, 4N, ...), gate by gate."""
    if weight is None:
        return None
    networks, _, *rest = weight.shape
    gates = _pad(weight.reshape(networks, 4, -1, *rest), 2, padded)
    assert gates is not None
    return gates.view(networks, 4 * padded, *rest)


def _unpad_gates(gradient: Tensor, cells: int) -> Tensor:
    """The reverse of :func:`_pad_gates`."""
    networks, _, *rest = gradient.shape
    return gradient.view(networks, 4, -1, *rest)[:, :, :cells].reshape(networks, -1, *rest)


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As :func:`cwrnn_cli.kernels.reference.lstm`, on the CPU, float32 or float64.

    Gradients of gradients are not available.
    """
    _compile(weight_hh.dtype)
    y, c = _Lstm.apply(x, weight_ih, weight_hh, bias, peephole, h0, c0)
    return y, c
