"""The recurrence of an LSTM layer, compiled: what is left when all large products are done.

Vectors run over the cells (padded to whole vectors), rows over the batch. A call does all steps for
a range of rows; rows are independent, so threads share them out. Arrays are flat views, indexed in
vectors of :data:`~.simd.LANES`; nothing is allocated.
"""

from .products import accumulate, jit
from .simd import LANES, broadcast, fma, load, sigmoid, store, tanh


@jit
def lstm_forward(z, y, c, weight, peephole, peepholes, width, cells, steps, batch, first, last):
    """All steps of an LSTM for the rows from ``first`` to ``last``.

    Args:
        z: flat (T, B, 4 width) vectors: the gates' input from outside, which becomes the gates i,
            f, g, o.
        y: flat (1 + T, B, width) vectors: the initial outputs at index 0; the others are written.
        c: flat (1 + T, B, width) vectors: likewise the cells.
        weight: flat (cells, 4 width) vectors, W_H transposed.
        peephole: flat (3, width) vectors for i, f, o.
        peepholes: whether they count.
        width: vectors per row.
        cells: n.
        steps: T.
        batch: B.
        first: first row.
        last: behind the last row.
    """
    for t in range(steps):
        before = t * batch * width
        now = before + batch * width
        gates = 4 * before
        a, b = gates + first * 4 * width, (before + first * width) * LANES
        four = 4 * width
        accumulate(z, a, four, y, b, width * LANES, 1, weight, 0, four, four, cells, last - first)
        for b in range(first, last):
            for u in range(width):
                at = gates + b * 4 * width + u
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
                store(y, now + b * width + u, gate_o * tanh(cell))


@jit
def lstm_backward(
    d, dc, z, c, weight, peephole, peepholes, width, cells, steps, batch, first, last
):
    """The errors of an LSTM, last step first; arguments as in :func:`lstm_forward`.

    Args:
        d: flat (1 + T, B, width) vectors: the error of each output from outside; index 0 gets that
            of the initial output added.
        dc: flat (1 + T, B, width) vectors: the error of each cell from outside; they become the
            errors of the cells, index 0 that of the initial ones.
        z: the gates, which become the errors at their inputs.
        c: the cells.
        weight: flat (4 cells, width) vectors, W_H itself.
        peephole: flat (3, width) vectors for i, f, o.
        peepholes: whether they count.
        width: vectors per row.
        cells: n.
        steps: T.
        batch: B.
        first: first row.
        last: behind the last row.
    """
    one = broadcast(c, 1.0)
    for back in range(steps):
        t = steps - 1 - back
        before = t * batch * width
        now = before + batch * width
        gates = 4 * before
        for b in range(first, last):
            for u in range(width):
                at = gates + b * 4 * width + u
                here = now + b * width + u
                old = load(c, before + b * width + u)
                gate_i = load(z, at)
                gate_f = load(z, at + width)
                gate_g = load(z, at + 2 * width)
                gate_o = load(z, at + 3 * width)
                squashed = tanh(load(c, here))
                error = load(d, here)
                do = error * squashed * gate_o * (one - gate_o)
                e = fma(error * gate_o, one - squashed * squashed, load(dc, here))
                if peepholes:
                    e = fma(load(peephole, 2 * width + u), do, e)
                store(dc, here, e)
                di = e * gate_g * gate_i * (one - gate_i)
                df = e * old * gate_f * (one - gate_f)
                down = e * gate_f
                if peepholes:
                    down = fma(load(peephole, u), di, down)
                    down = fma(load(peephole, width + u), df, down)
                earlier = before + b * width + u
                store(dc, earlier, load(dc, earlier) + down)
                store(z, at, di)
                store(z, at + width, df)
                store(z, at + 2 * width, e * gate_i * (one - gate_g * gate_g))
                store(z, at + 3 * width, do)
        for gate in range(4):  # the padding of the gates' rows is passed over
            accumulate(
                d,
                before + first * width,
                width,
                z,
                (gates + (4 * first + gate) * width) * LANES,
                4 * width * LANES,
                1,
                weight,
                gate * cells * width,
                width,
                width,
                cells,
                last - first,
            )
