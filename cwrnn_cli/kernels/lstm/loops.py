"""The recurrence of an LSTM layer, compiled: what is left when all large products are done.

Vectors run over the cells (padded to whole vectors), rows over the batch. A call does all steps for
a range of rows; rows are independent, so threads share them out. Arrays are flat and indexed in
vectors of :data:`~..numba.simd.LANES` (:mod:`.layout`, where the types of the arguments are);
nothing is allocated.
"""

import numpy as np

from ..numba.products import Numbers, Vectors, accumulate, inline, jit
from ..numba.simd import LANES, broadcast, clamp, fma, load, put, sigmoid, store, tanh
from .layout import SIGMOID, TWICE_TANH


@inline
def squash(cell, cell_output):
    """What a cell gives out, as of :data:`.reference.CELL_OUTPUTS`, and its derivative."""
    one = broadcast(cell, 1.0)
    if cell_output == SIGMOID:
        value = sigmoid(cell)
        return value, value * (one - value)
    value = tanh(cell)
    slope = one - value * value
    if cell_output == TWICE_TANH:
        return value + value, slope + slope
    return value, slope


@jit
def forward(history, weight, peephole, sizes, rows, cell_output):
    """All steps of an LSTM for some rows.

    Args:
        history: a History: gates as they come from outside, outputs and cells at index 0; the rest
            is written.
        weight: (cells, 4 width) vectors, W_H transposed.
        peephole: (3, width) vectors for i, f, o, or empty.
        sizes: Sizes.
        rows: Rows.
        cell_output: of :mod:`.layout`.
    """
    z, y, c = history
    peepholes = peephole.size > 0
    cells, width, steps, batch = sizes
    four = 4 * width
    lanes = width * LANES
    count = rows.end - rows.begin
    recurrent = Vectors(0, four)
    for t in range(steps):
        before = t * batch * width  # (B, width) outputs and cells at index t
        now = before + batch * width
        gates = 4 * before  # (B, 4 width)
        first = before + rows.begin * width
        at, y_at = Vectors(gates + rows.begin * four, four), Numbers(first * LANES, lanes, 1)
        accumulate(z, at, y, y_at, weight, recurrent, count, cells, four)
        for b in range(rows.begin, rows.end):
            for u in range(width):
                at = gates + b * four + u
                old = load(c, before + b * width + u)
                zi = load(z, at)
                zf = load(z, at + width)
                if peepholes:
                    zi = fma(load(peephole, u), old, zi)
                    zf = fma(load(peephole, width + u), old, zf)
                gate_i = sigmoid(zi)
                gate_f = sigmoid(zf)
                gate_g = tanh(load(z, at + 2 * width))
                cell = fma(gate_f, old, gate_i * gate_g)
                zo = load(z, at + 3 * width)
                if peepholes:
                    zo = fma(load(peephole, 2 * width + u), cell, zo)
                gate_o = sigmoid(zo)
                store(z, at, gate_i)
                store(z, at + width, gate_f)
                store(z, at + 2 * width, gate_g)
                store(z, at + 3 * width, gate_o)
                store(c, now + b * width + u, cell)
                store(y, now + b * width + u, gate_o * squash(cell, cell_output)[0])
            if cell_output == SIGMOID:  # whose padding is not 0 by itself
                for u in range(cells, lanes):
                    put(y, (now + b * width) * LANES + u, 0.0)


@jit
def backward(gradients, history, weight, peephole, sizes, rows, cell_output, delta_clip):
    """The gradients of :func:`forward`, last step first.

    Args:
        gradients: Gradients from outside, to which those from inside are added.
        history: the History that :func:`forward` left; its gates become their gradients.
        weight: (4 cells, width) vectors, W_H itself.
        peephole: (3, width) vectors for i, f, o, or empty.
        sizes: Sizes.
        rows: Rows.
        cell_output: of :mod:`.layout`.
        delta_clip: what each step's gradient of what is in a gate, and in the cell's input, is
            clipped to within; infinite: it is not.
    """
    z, _, c = history
    grad_y, grad_c = gradients
    peepholes = peephole.size > 0
    cells, width, steps, batch = sizes
    four = 4 * width
    count = rows.end - rows.begin
    one = broadcast(c, 1.0)
    clips, limit = delta_clip < np.inf, broadcast(c, delta_clip)
    for back in range(steps):
        t = steps - 1 - back
        before = t * batch * width  # (B, width) outputs and cells at index t
        now = before + batch * width
        gates = 4 * before  # (B, 4 width)
        for b in range(rows.begin, rows.end):
            for u in range(width):
                at = gates + b * four + u
                here = now + b * width + u
                old = load(c, before + b * width + u)
                gate_i = load(z, at)
                gate_f = load(z, at + width)
                gate_g = load(z, at + 2 * width)
                gate_o = load(z, at + 3 * width)
                squashed, slope = squash(load(c, here), cell_output)
                grad = load(grad_y, here)
                grad_zo = grad * squashed * gate_o * (one - gate_o)
                if clips:
                    grad_zo = clamp(grad_zo, limit)
                grad_cell = fma(grad * gate_o, slope, load(grad_c, here))
                if peepholes:
                    grad_cell = fma(load(peephole, 2 * width + u), grad_zo, grad_cell)
                store(grad_c, here, grad_cell)
                grad_zi = grad_cell * gate_g * gate_i * (one - gate_i)
                grad_zf = grad_cell * old * gate_f * (one - gate_f)
                grad_zg = grad_cell * gate_i * (one - gate_g * gate_g)
                if clips:
                    grad_zi = clamp(grad_zi, limit)
                    grad_zf = clamp(grad_zf, limit)
                    grad_zg = clamp(grad_zg, limit)
                grad_old = grad_cell * gate_f
                if peepholes:
                    grad_old = fma(load(peephole, u), grad_zi, grad_old)
                    grad_old = fma(load(peephole, width + u), grad_zf, grad_old)
                earlier = before + b * width + u
                store(grad_c, earlier, load(grad_c, earlier) + grad_old)
                store(z, at, grad_zi)
                store(z, at + width, grad_zf)
                store(z, at + 2 * width, grad_zg)
                store(z, at + 3 * width, grad_zo)
        for gate in range(4):  # the padding of the gates' rows is passed over
            first = (gates + (4 * rows.begin + gate) * width) * LANES
            at, z_at = Vectors(before + rows.begin * width, width), Numbers(first, four * LANES, 1)
            w_at = Vectors(gate * cells * width, width)
            accumulate(grad_y, at, z, z_at, weight, w_at, count, cells, width)
