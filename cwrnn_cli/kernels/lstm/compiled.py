"""The LSTM layer as an autograd function over the compiled recurrence of :mod:`.loops`.

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

from ..numba import memory
from ..numba.cache import log_compilation
from ..numba.simd import LANES
from ..numba.threads import run_all
from . import loops
from .layout import Gradients, History, Rows, Sizes

_INLINE = 1 << 16  # multiply-adds below which a thread costs more than it saves


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none = torch.empty(0, dtype=dtype).numpy()
    history, sizes, rows = History(none, none, none), Sizes(0, 0, 0, 0), Rows(0, 0)
    with log_compilation("the LSTM layer"):
        loops.forward(history, none, none, sizes, rows)
        loops.backward(Gradients(none, none), history, none, none, sizes, rows)


def _flat(tensor: Tensor, network: int) -> np.ndarray:
    """One network's part of a contiguous (R, ...) tensor as a flat array."""
    array: np.ndarray = tensor.detach()[network].reshape(-1).numpy()
    return array


def _for_rows(networks: int, batch: int, work: int, call: Callable[[int, Rows], None]) -> None:
    """``call(network, rows)`` for all rows, on several threads if there is enough to do.

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
        (network, Rows(first, min(first + size, batch)))
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
        sizes = Sizes(cells, width, steps, batch)
        x = memory.time_first(x)  # (R, T, B, m)
        w_ih, b = _pad_gates(weight_ih, padded), _pad_gates(bias, padded)  # (R, 4N, m), (R, 4N)
        w_hh = _pad(weight_hh, 2, padded)  # (R, 4n, N)
        across = _pad_gates(weight_hh, padded)
        assert w_hh is not None and across is not None
        across = across.transpose(1, 2).contiguous()  # (R, n, 4N)
        peep = _pad(peephole, 2, padded)  # (R, 3, N)
        if peep is None:
            peep = w_hh.new_zeros(networks, 0)
        gates = memory.empty((networks, steps, batch, 4 * padded), w_hh)
        if w_ih is None:
            gates.zero_()
        else:
            flat = x.view(networks, steps * batch, -1)
            torch.bmm(flat, w_ih.transpose(1, 2), out=gates.view(networks, -1, 4 * padded))
        if b is not None:
            gates += b[:, None, None]
        y, c = (memory.empty((networks, 1 + steps, batch, padded), w_hh) for _ in range(2))
        for buffer, initial in ((y, h0), (c, c0)):
            start = _pad(initial, 2, padded)
            buffer[:, 0] = 0 if start is None else start

        def run(network: int, rows: Rows) -> None:
            loops.forward(
                History(_flat(gates, network), _flat(y, network), _flat(c, network)),
                _flat(across, network),
                _flat(peep, network),
                sizes,
                rows,
            )

        _for_rows(networks, batch, 4 * steps * cells * padded, run)
        ctx.save_for_backward(x, w_ih, w_hh, peep)
        ctx.history, ctx.sizes = (gates, y, c), sizes
        ctx.has_bias, ctx.has_peepholes = bias is not None, peephole is not None
        ctx.has_h0, ctx.has_c0 = h0 is not None, c0 is not None
        outputs = y[:, 1:, :, :cells].transpose(1, 2)
        states = c[:, 1:, :, :cells].transpose(1, 2)
        # copies: the padded originals are kept for the backward pass, which overwrites the gates
        return tuple(memory.empty(part.shape, part).copy_(part) for part in (outputs, states))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything."""
        x, w_ih, w_hh, peep = ctx.saved_tensors
        (gates, y, c), sizes = ctx.history, ctx.sizes
        cells, _, steps, batch = sizes
        networks, padded = len(y), y.shape[3]
        # so that a second backward pass finds the gates
        grad_gates = memory.empty(gates.shape, gates).copy_(gates)
        padded_gradients = []
        for gradient in gradients:
            buffer = memory.empty(y.shape, y).zero_()  # (R, 1 + T, B, N)
            buffer[:, 1:, :, :cells] = gradient.transpose(1, 2)
            padded_gradients.append(buffer)
        grad_y, grad_c = padded_gradients

        def run(network: int, rows: Rows) -> None:
            loops.backward(
                Gradients(_flat(grad_y, network), _flat(grad_c, network)),
                History(_flat(grad_gates, network), _flat(y, network), _flat(c, network)),
                _flat(w_hh, network),
                _flat(peep, network),
                sizes,
                rows,
            )

        _for_rows(networks, batch, 4 * steps * cells * padded, run)
        flat = grad_gates.view(networks, steps * batch, 4 * padded)
        before = y[:, :-1].reshape(networks, -1, padded)
        grad_hh = torch.bmm(flat.transpose(1, 2), before)  # (R, 4N, N)
        grad_ih = grad_x = grad_peep = None
        if w_ih is not None:
            grad_ih = torch.bmm(flat.transpose(1, 2), x.view(networks, steps * batch, -1))
            if ctx.needs_input_grad[0]:
                grad_x = torch.bmm(flat, w_ih).view(x.shape).transpose(1, 2)
        if ctx.has_peepholes:
            by_gate = grad_gates.view(networks, steps, batch, 4, padded)
            grad_peep = torch.stack(
                [
                    (by_gate[:, :, :, gate] * cell).sum(dim=(1, 2))
                    for gate, cell in ((0, c[:, :-1]), (1, c[:, :-1]), (3, c[:, 1:]))
                ],
                dim=1,
            )
        return (
            grad_x,
            None if grad_ih is None else _unpad_gates(grad_ih, cells),
            _unpad_gates(grad_hh, cells)[..., :cells],
            _unpad_gates(flat.sum(dim=1), cells) if ctx.has_bias else None,
            None if grad_peep is None else grad_peep[..., :cells],
            grad_y[:, 0, :, :cells] if ctx.has_h0 else None,
            grad_c[:, 0, :, :cells] if ctx.has_c0 else None,
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
