"""What inputs add to a module's drive, and the gradients of that: at all its ticks at once.

``x`` and ``grad_x`` are (T, B, m), ``inputs`` is scratch memory of at least :data:`PIECE` numbers
and those of a tick, (rows, m padded), ``every`` are all ticks of the module, and other arguments
are those of :mod:`.loops`.
"""

from ..numba.products import Numbers, Vectors, accumulate, clear, inline, jit, vectors_for
from ..numba.simd import LANES, get, load, load_some, put, store, store_some
from .layout import Ticks

PIECE = 1 << 16  # numbers of the input, or of outputs, that are worked on at a time
ROWS = 8  # that fill the registers of a product: then a tick's inputs need not wait for others


@inline
def _first(sizes, rows, ticks):
    """Place in x of the first row at the first of these ticks."""
    step = ticks.begin + ticks.first * ticks.period
    return (step * sizes.batch + rows.first) * sizes.features


@inline
def _stride(sizes, rows, ticks):
    """Numbers of x from row to row, through all ticks; 0: that is irregular."""
    if rows.size == 1:
        return ticks.period * sizes.batch * sizes.features
    return sizes.features if ticks.period == 1 and rows.size == sizes.batch else 0


@inline
def _at_a_time(sizes, rows):
    """How many ticks."""
    return max(PIECE // (rows.size * vectors_for(sizes.features) * LANES), 1)


@inline
def _gather(x, sizes, rows, ticks, inputs):
    """The inputs at some ticks, to (ticks, rows, m padded), padded with 0."""
    features = sizes.features
    whole, rest = features // LANES, features % LANES
    width = vectors_for(features)
    for s in range(ticks.size):
        source = _first(sizes, rows, Ticks(ticks.period, ticks.begin, ticks.first + s, 1))
        for target in range(s * rows.size * width, (s + 1) * rows.size * width, width):
            for u in range(whole):
                store(inputs, target + u, load_some(x, source + u * LANES, LANES))
            if rest > 0:
                store(inputs, target + whole, load_some(x, source + whole * LANES, rest))
            source += features


@inline
def add_inputs(x, sizes, rows, every, inputs, weights, w_at, y, drive, width):
    """To the drives (ticks, rows, width) in ``y``, weights (m, width) Vectors."""
    features, count = sizes.features, rows.size
    padded = vectors_for(features) * LANES
    stride = _stride(sizes, rows, every)
    if stride > 0:
        at, x_at = Vectors(drive, width), Numbers(_first(sizes, rows, every), stride, 1)
        accumulate(y, at, x, x_at, weights, w_at, every.size * count, features, width)
        return
    for start in range(0, every.size, _at_a_time(sizes, rows)):
        size = min(_at_a_time(sizes, rows), every.size - start)
        _gather(x, sizes, rows, Ticks(every.period, every.begin, start, size), inputs)
        at = Vectors(drive + start * count * width, width)
        x_at = Numbers(0, padded, 1)
        accumulate(y, at, inputs, x_at, weights, w_at, size * count, features, width)


@jit
def add_weight_gradient(
    x, sizes, rows, every, inputs, grad, drive, width, grad_weights, w_at, units
):
    """To (units, m padded) Vectors, from the drives' gradients in ``grad``."""
    features, count = sizes.features, rows.size
    padded = vectors_for(features)
    if width == 1 and count >= ROWS and features * LANES <= PIECE:
        # transposed: the inputs need not be gathered, and no row of units is left over
        clear(inputs, 0, features)
        for s in range(every.size):
            first = _first(sizes, rows, Ticks(every.period, every.begin, s, 1))
            x_at, at = Numbers(first, 1, features), Vectors(drive + s * count, 1)
            accumulate(inputs, Vectors(0, 1), x, x_at, grad, at, features, count, 1)
        for u in range(units):
            first = (w_at.first + u * w_at.stride) * LANES
            for c in range(features):
                total = get(grad_weights, first + c) + get(inputs, c * LANES + u)
                put(grad_weights, first + c, total)
        return
    stride = _stride(sizes, rows, every) if features % LANES == 0 else 0
    for start in range(0, every.size, _at_a_time(sizes, rows)):
        size = min(_at_a_time(sizes, rows), every.size - start)
        ticks = Ticks(every.period, every.begin, start, size)
        place = (drive + start * count * width) * LANES
        grad_at, depth = Numbers(place, 1, width * LANES), size * count  # transposed
        if stride > 0:
            x_at = Vectors(_first(sizes, rows, ticks) // LANES, stride // LANES)
            accumulate(grad_weights, w_at, grad, grad_at, x, x_at, units, depth, padded)
        else:
            _gather(x, sizes, rows, ticks, inputs)
            x_at = Vectors(0, padded)
            accumulate(grad_weights, w_at, grad, grad_at, inputs, x_at, units, depth, padded)


@jit
def add_input_gradient(
    grad_x, sizes, rows, every, inputs, grad, drive, width, weights, w_at, units
):
    """To ``grad_x``, from the drives' gradients in ``grad`` and weights (units, m padded)."""
    features, count = sizes.features, rows.size
    padded = vectors_for(features)
    for start in range(0, every.size, _at_a_time(sizes, rows)):
        size = min(_at_a_time(sizes, rows), every.size - start)
        clear(inputs, 0, size * count * padded)
        grad_at = Numbers((drive + start * count * width) * LANES, width * LANES, 1)
        to = Vectors(0, padded)
        accumulate(inputs, to, grad, grad_at, weights, w_at, size * count, units, padded)
        source = 0
        for s in range(start, start + size):
            first = _first(sizes, rows, Ticks(every.period, every.begin, s, 1))
            for target in range(first, first + count * features, features):
                for c in range(0, features, LANES):
                    some = min(LANES, features - c)
                    total = load_some(grad_x, target + c, some) + load(inputs, source)
                    store_some(grad_x, target + c, some, total)
                    source += 1
