"""The LSTM layer as an autograd function over the compiled recurrence; see :mod:`.clockwork`."""

from typing import Any

import torch
from torch import Tensor

from ...clock import Clock
from . import memory, recurrence
from .layout import Layout, compile_all, flat, for_rows, layout_of, pad, time_first, unpad
from .simd import LANES


class Lstm(torch.autograd.Function):
    """See :func:`lstm`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """x, weight_ih, weight_hh, bias, peephole, h0, c0 as in :func:`lstm`."""
        x, weight_ih, weight_hh, bias, peephole, h0, c0 = inputs
        networks, batch, steps, _ = x.shape
        cells = weight_hh.shape[2]
        layout = layout_of(Clock((1,), (cells,)))
        padded, width = layout.padded, layout.padded // LANES
        x = time_first(x)
        w_ih, b = _pad_gates(weight_ih, layout), _pad_gates(bias, layout)
        w_hh = pad(weight_hh, layout, 2)
        across = _pad_gates(weight_hh, layout)
        assert w_hh is not None and across is not None
        across = across.transpose(1, 2).contiguous()  # (R, n, 4 N)
        peep = pad(peephole, layout, 2)
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
            start = pad(initial, layout, 2)
            buffer[:, 0] = 0 if start is None else start

        def run(network: int, first: int, last: int) -> None:
            recurrence.lstm_forward(
                flat(z, network),
                flat(y, network),
                flat(c, network),
                flat(across, network),
                flat(peep, network),
                peephole is not None,
                width,
                cells,
                steps,
                batch,
                first,
                last,
            )

        for_rows(networks, batch, 4 * steps * cells * padded, run)
        ctx.save_for_backward(x, w_ih, w_hh, peep)
        ctx.kept, ctx.layout, ctx.cells = (z, y, c), layout, cells
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
        (z, y, c), layout, cells = ctx.kept, ctx.layout, ctx.cells
        z = memory.empty(z.shape, z).copy_(z)  # so that a second backward pass finds it
        networks, steps, batch, _ = x.shape
        padded, width = layout.padded, layout.padded // LANES
        errors = []
        for gradient in gradients:
            error = memory.empty(y.shape, y).zero_()
            error[:, 1:, :, :cells] = gradient.transpose(1, 2)
            errors.append(error)
        d, dc = errors
        has_peepholes = ctx.given[4]

        def run(network: int, first: int, last: int) -> None:
            recurrence.lstm_backward(
                flat(d, network),
                flat(dc, network),
                flat(z, network),
                flat(c, network),
                flat(w_hh, network),
                flat(peep, network),
                has_peepholes,
                width,
                cells,
                steps,
                batch,
                first,
                last,
            )

        for_rows(networks, batch, 4 * steps * cells * padded, run)
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
            _unpad_gates(d_ih, layout),
            unpad(_unpad_gates(d_hh, layout), layout, 2),
            _unpad_gates(rows.sum(dim=1), layout) if ctx.given[3] else None,
            unpad(d_peep, layout, 2),
            unpad(d[:, 0], layout, 2) if ctx.given[5] else None,
            unpad(dc[:, 0], layout, 2) if ctx.given[6] else None,
        )


def _pad_gates(weight: Tensor | None, layout: Layout) -> Tensor | None:
    """(R, 4n, ...) to (R, 4N, ...), gate by gate."""
    if weight is None:
        return None
    gates = weight.reshape(weight.shape[0], 4, -1, *weight.shape[2:])
    padded = pad(gates, layout, 2)
    assert padded is not None
    return padded.reshape(weight.shape[0], 4 * layout.padded, *weight.shape[2:])


def _unpad_gates(gradient: Tensor | None, layout: Layout) -> Tensor | None:
    if gradient is None:
        return None
    networks, _, *rest = gradient.shape
    gates = unpad(gradient.view(networks, 4, layout.padded, *rest), layout, 2)
    assert gates is not None
    return gates.reshape(networks, -1, *rest)


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
    compile_all(weight_hh.dtype)
    y, c = Lstm.apply(x, weight_ih, weight_hh, bias, peephole, h0, c0)
    return y, c
