"""An LSTM layer inside a network that compiled code trains: its weights are in theta.

See :mod:`..numba.parameters` for what theta is.
"""

from typing import NamedTuple

import numpy as np

from ..numba.gates import Rows
from ..numba.parameters import Readout
from ..numba.products import Numbers, Vectors, accumulate, clear, jit, vectors_for
from ..numba.simd import LANES, fma, get, load, put, store
from . import loops

PIECE = 1 << 16  # numbers of the gates that are worked on at a time


class LstmNetwork(NamedTuple):
    """An LSTM.

    Attributes:
        cells: n.
        peepholes: whether there are any.
        cell_output: what squashes a cell: a number of CELL_OUTPUTS.
        weight_ih: place of W_I in theta, in vectors.
        weight_hh: likewise.
        bias: likewise.
        peephole: likewise.
        readout: the output layer, its rows for this layer's cells.
        backward: (4n, width) vectors, W_H as the backward pass wants it, kept equal to theta's.
    """

    cells: int
    peepholes: bool
    cell_output: int
    weight_ih: int
    weight_hh: int
    bias: int
    peephole: int
    readout: Readout
    backward: np.ndarray


@jit
def derive(theta, network):
    """An LstmNetwork's W_H for the backward pass, which is written, from theta's (transposed)."""
    cells, weights = network.cells, network.backward
    lanes = vectors_for(cells) * LANES
    for v in range(cells):
        row = network.weight_hh * LANES + v * 4 * lanes
        for gate in range(4):
            for u in range(cells):
                put(weights, (gate * cells + u) * lanes + v, get(theta, row + gate * lanes + u))


@jit
def peephole_of(theta, network):
    """(3, width) vectors of theta, or empty."""
    first = network.peephole * LANES
    size = 3 * vectors_for(network.cells) * LANES if network.peepholes else 0
    return theta[first : first + size]


@jit
def forward(theta, network, weight_hh, peephole, x, sizes, features, history):
    """All steps of the layer, from zeros.

    Args:
        theta: the network's weights.
        network: an LstmNetwork.
        weight_hh: theta from W_H on.
        peephole: from :func:`peephole_of`.
        x: (T, B, m) numbers.
        sizes: Sizes.
        features: m.
        history: a History, written.
    """
    gates, hidden, cells = history
    width, rows = sizes.width, sizes.steps * sizes.batch
    four = 4 * width
    for row in range(rows):
        for u in range(four):
            store(gates, row * four + u, load(theta, network.bias + u))
    at, x_at = Vectors(0, four), Numbers(0, features, 1)
    accumulate(gates, at, x, x_at, theta, Vectors(network.weight_ih, four), rows, features, four)
    clear(hidden, 0, sizes.batch * width)
    clear(cells, 0, sizes.batch * width)
    loops.forward(history, weight_hh, peephole, sizes, Rows(0, sizes.batch), network.cell_output)


@jit
def backward(theta, network, peephole, x, sizes, features, history, gradients, gradient, clip):
    """The gradients of :func:`forward`.

    Args:
        theta: the network's weights.
        network: an LstmNetwork.
        peephole: from :func:`peephole_of`.
        x: (T, B, m) numbers.
        sizes: Sizes.
        features: m.
        history: what :func:`forward` left; its gates become their gradients.
        gradients: Gradients from outside, to which those from inside are added.
        gradient: (P,) of theta, added to.
        clip: see :func:`.loops.backward`.
    """
    z, y, c = history
    cells, width, steps, batch = sizes
    rows, four, lanes = steps * batch, 4 * width, width * LANES
    loops.backward(
        gradients,
        history,
        network.backward,
        peephole,
        sizes,
        Rows(0, batch),
        network.cell_output,
        clip,
    )
    some = max(PIECE // (four * LANES), 1)  # rows that fit the cache
    for row in range(0, rows, some):
        count = min(some, rows - row)
        z_at = Vectors(row * four, four)
        at, x_at = Vectors(network.weight_ih, four), Numbers(row * features, 1, features)
        accumulate(gradient, at, x, x_at, z, z_at, features, count, four)
        at, y_at = Vectors(network.weight_hh, four), Numbers(row * lanes, 1, lanes)
        accumulate(gradient, at, y, y_at, z, z_at, cells, count, four)
    for row in range(rows):
        for u in range(four):
            i = network.bias + u
            store(gradient, i, load(gradient, i) + load(z, row * four + u))
    if network.peepholes:
        for row in range(rows):
            for u in range(width):
                for gate, line, cell in ((0, 0, row), (1, 1, row), (3, 2, row + batch)):
                    i = network.peephole + line * width + u
                    grad = load(z, row * four + gate * width + u)
                    store(gradient, i, fma(grad, load(c, cell * width + u), load(gradient, i)))
