"""The recurrence of a GRU layer, compiled: what is left when all large products are done.

Vectors run over the units (padded to whole vectors), rows over the batch. A call does all steps for
a range of rows; rows are independent, so threads share them out. Arrays are flat and indexed in
vectors of :data:`~..numba.simd.LANES` (:mod:`.layout`, where the types of the arguments are);
nothing is allocated.
"""

from ..numba.products import Numbers, Vectors, accumulate, jit
from ..numba.simd import LANES, broadcast, fma, load, sigmoid, store, tanh


@jit
def forward(history, weight, sizes, rows):
    """All steps of a GRU for some rows.

    Args:
        history: a History: gates as they come from outside, outputs at index 0; the rest is
            written.
        weight: (cells, 3 width) vectors, W_H transposed; columns in the order h, r, z.
        sizes: Sizes.
        rows: Rows.
    """
    gates, y = history
    cells, width, steps, batch = sizes
    four = 4 * width
    lanes = width * LANES
    count = rows.end - rows.begin
    recurrent = Vectors(0, 3 * width)
    for t in range(steps):
        before = t * batch * width  # (B, width) outputs at index t
        now = before + batch * width
        first = before + rows.begin * width
        at, y_at = Vectors(4 * first, four), Numbers(first * LANES, lanes, 1)
        accumulate(gates, at, y, y_at, weight, recurrent, count, cells, 3 * width)
        for b in range(rows.begin, rows.end):
            for u in range(width):
                place = 4 * (before + b * width) + u
                gate_r = sigmoid(load(gates, place + width))
                gate_z = sigmoid(load(gates, place + 2 * width))
                new = tanh(fma(gate_r, load(gates, place), load(gates, place + 3 * width)))
                store(gates, place + width, gate_r)
                store(gates, place + 2 * width, gate_z)
                store(gates, place + 3 * width, new)
                old = load(y, before + b * width + u)
                store(y, now + b * width + u, fma(gate_z, old - new, new))


@jit
def backward(grad_y, history, weight, sizes, rows):
    """The gradients of :func:`forward`, last step first.

    Args:
        grad_y: (1 + T, B, width) vectors: from outside, of each output; what comes from the next
            step is added, index 0 is that of the initial output.
        history: the History that :func:`forward` left; its gates become their gradients.
        weight: (3 cells, width) vectors, W_H itself; rows in the order h, r, z.
        sizes: Sizes.
        rows: Rows.
    """
    gates, y = history
    cells, width, steps, batch = sizes
    four = 4 * width
    count = rows.end - rows.begin
    one = broadcast(y, 1.0)
    for back in range(steps):
        t = steps - 1 - back
        before = t * batch * width  # (B, width) outputs at index t
        now = before + batch * width
        for b in range(rows.begin, rows.end):
            for u in range(width):
                place = 4 * (before + b * width) + u
                earlier = before + b * width + u
                gate_h = load(gates, place)
                gate_r = load(gates, place + width)
                gate_z = load(gates, place + 2 * width)
                new = load(gates, place + 3 * width)
                grad = load(grad_y, now + b * width + u)
                grad_n = grad * (one - gate_z) * (one - new * new)
                store(grad_y, earlier, fma(grad, gate_z, load(grad_y, earlier)))
                store(gates, place, grad_n * gate_r)
                store(gates, place + width, grad_n * gate_h * gate_r * (one - gate_r))
                grad_z = grad * (load(y, earlier) - new) * gate_z * (one - gate_z)
                store(gates, place + 2 * width, grad_z)
                store(gates, place + 3 * width, grad_n)
        for gate in range(3):  # the padding of the gates' rows is passed over
            first = (4 * (before + rows.begin * width) + gate * width) * LANES
            at, g_at = Vectors(before + rows.begin * width, width), Numbers(first, four * LANES, 1)
            w_at = Vectors(gate * cells * width, width)
            accumulate(grad_y, at, gates, g_at, weight, w_at, count, cells, width)
