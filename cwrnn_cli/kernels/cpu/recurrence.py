"""The recurrences of a layer, compiled: what is left when all large products are done.

Vectors run over the units of a module (padded to whole vectors), rows over the batch. A call does
all ticks of one module, or all steps of an LSTM, for a range of rows; rows are independent, so
threads share them out. Arrays are flat views, indexed in vectors of :data:`~.simd.LANES`; nothing
is allocated.

Callers: :mod:`.clockwork` and :mod:`.lstm`, which do the products before, between and after.
"""

import numpy as np

from .products import accumulate, jit
from .simd import LANES, broadcast, fma, load, sigmoid, store, tanh


@jit
def module_forward(
    said,
    said_at,
    weight,
    bias,
    heard,
    heard_at,
    periods,
    offsets,
    i,
    units,
    ticks,
    batch,
    first,
    last,
):
    """All ticks of module ``i`` for the rows from ``first`` to ``last``, in place.

    Args:
        said: of every module j, from vector ``said_at[j]`` on, (1 + its ticks, B, its width)
            vectors: the initial state, then per tick what drives the module from its input, which
                becomes its
            output.
        said_at: (g,).
        weight: flat (units, width) vectors, the transposed diagonal block of W_H.
        bias: flat (N / LANES,) vectors.
        heard: of every module j, from vector ``heard_at[j]`` on, (1 + its ticks, B, offsets[j])
            vectors: its outputs times its columns of W_H, for all faster modules' units; index 0 is
                of the
            initial state. Only the slower modules' are read.
        heard_at: (g,).
        periods: (g,), of all modules.
        offsets: (g + 1,), first vector of each module.
        i: this module.
        units: of this module.
        ticks: of this module.
        batch: B.
        first: first row.
        last: behind the last row.
    """
    modules = len(periods)
    width = offsets[i + 1] - offsets[i]
    row = batch * width
    place = np.empty(modules, np.int64)
    for s in range(ticks):
        now = said_at[i] + (s + 1) * row
        accumulate(said, now, width, said, now - row, width, weight, 0, units, first, last)
        t = s * periods[i]
        for j in range(i + 1, modules):
            place[j] = heard_at[j] + ((t - 1) // periods[j] + 1) * batch * offsets[j] + offsets[i]
        for b in range(first, last):
            for u in range(width):
                at = now + b * width + u
                z = load(said, at) + load(bias, offsets[i] + u)
                for j in range(i + 1, modules):
                    z = z + load(heard, place[j] + b * offsets[j] + u)
                store(said, at, tanh(z))


@jit
def module_backward(
    d, said, said_at, weight, told, told_at, periods, offsets, i, units, ticks, batch, first, last
):
    """The errors of module ``i``, last tick first, in place; see :func:`module_forward`.

    Args:
        d: like ``said``: the error of each output from outside the module, which becomes the error
            at its input; index 0 gets that of the initial state added.
        said: the modules' outputs, as :func:`module_forward` left them.
        said_at: (g,).
        weight: flat (units, width) vectors, the diagonal block of W_H itself.
        told: like ``heard``: the errors are added where the outputs were read.
        told_at: (g,).
        periods: (g,), of all modules.
        offsets: (g + 1,), first vector of each module.
        i: this module.
        units: of this module.
        ticks: of this module.
        batch: B.
        first: first row.
        last: behind the last row.
    """
    modules = len(periods)
    width = offsets[i + 1] - offsets[i]
    row = batch * width
    one = broadcast(said, 1.0)
    place = np.empty(modules, np.int64)
    for back in range(ticks):
        s = ticks - 1 - back
        now = said_at[i] + (s + 1) * row
        t = s * periods[i]
        for j in range(i + 1, modules):
            place[j] = told_at[j] + ((t - 1) // periods[j] + 1) * batch * offsets[j] + offsets[i]
        for b in range(first, last):
            for u in range(width):
                at = now + b * width + u
                value = load(said, at)
                error = load(d, at) * (one - value * value)
                store(d, at, error)
                for j in range(i + 1, modules):
                    p = place[j] + b * offsets[j] + u
                    store(told, p, load(told, p) + error)
        accumulate(d, now - row, width, d, now, width, weight, 0, units, first, last)


@jit
def hold(said, said_at, periods, offsets, starts, output, steps, batch, first, last):
    """Write every unit's output at every step: (T, B, n), row after row.

    Args:
        said: as in :func:`module_forward`.
        said_at: (g,).
        periods: (g,).
        offsets: (g + 1,), first vector of each module.
        starts: (g + 1,), first unit of each module, unpadded, then n.
        output: flat (T, B, n).
        steps: T.
        batch: B.
        first: first row.
        last: behind the last row.
    """
    modules = len(periods)
    n = starts[modules]
    for t in range(steps):
        for b in range(first, last):
            o = (t * batch + b) * n
            for i in range(modules):
                width = offsets[i + 1] - offsets[i]
                a = (said_at[i] + ((t // periods[i] + 1) * batch + b) * width) * LANES - starts[i]
                for u in range(starts[i], starts[i + 1]):
                    output[o + u] = said[a + u]


@jit
def sum_held(d, said_at, periods, offsets, starts, gradient, steps, batch, first, last):
    """The reverse of :func:`hold`: each tick gets the sum of the gradient while it was held.

    The initial states at index 0, and the padding, get 0.
    """
    modules = len(periods)
    n = starts[modules]
    for i in range(modules):
        width = offsets[i + 1] - offsets[i]
        for at in range(said_at[i] + first * width, said_at[i] + last * width):
            store(d, at, broadcast(d, 0.0))
    for t in range(steps):
        for b in range(first, last):
            o = (t * batch + b) * n
            for i in range(modules):
                width = offsets[i + 1] - offsets[i]
                begin = said_at[i] + ((t // periods[i] + 1) * batch + b) * width
                a = begin * LANES - starts[i]
                if t % periods[i] == 0:
                    store(d, begin + width - 1, broadcast(d, 0.0))
                    for u in range(starts[i], starts[i + 1]):
                        d[a + u] = gradient[o + u]
                else:
                    for u in range(starts[i], starts[i + 1]):
                        d[a + u] += gradient[o + u]


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
        accumulate(z, gates, 4 * width, y, before, width, weight, 0, cells, first, last)
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
                before,
                width,
                z,
                gates + gate * width,
                4 * width,
                weight,
                gate * cells * width,
                cells,
                first,
                last,
            )
