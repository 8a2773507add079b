"""A clockwork layer inside a network that compiled code trains: its weights are in theta.

See :mod:`..numba.parameters` for what theta is.
"""

from typing import NamedTuple

from ..numba.parameters import Readout
from ..numba.products import jit, vectors_for
from ..numba.simd import LANES, get, put
from .layout import ClockTable, Places, Weights


class ClockworkNetwork(NamedTuple):
    """A CW-RNN, or an SRN: one module of period 1.

    Attributes:
        clock: its modules.
        forward: the forward blocks, kept equal to theta's.
        places: of the backward blocks in theta.
        bias: its place in theta, in vectors.
        readout: the output layer, its rows for this layer's units.
    """

    clock: ClockTable
    forward: Weights
    places: Places
    bias: int
    readout: Readout


@jit
def derive(theta, features, network):
    """The forward blocks of a ClockworkNetwork, which are written, from theta's (transposed)."""
    units, starts, offsets = network.clock.units, network.clock.starts, network.clock.offsets
    source_places, target_places = network.places, network.forward
    weights = target_places.values
    m_lanes = vectors_for(features) * LANES
    for i in range(units.size):
        lanes = (offsets[i + 1] - offsets[i]) * LANES
        k = units[i]
        source, target = source_places.inputs[i] * LANES, target_places.inputs[i] * LANES
        for u in range(k):
            for c in range(features):
                put(weights, target + c * lanes + u, get(theta, source + u * m_lanes + c))
        source, target = source_places.own[i] * LANES, target_places.own[i] * LANES
        for u in range(k):
            for v in range(k):
                put(weights, target + v * lanes + u, get(theta, source + u * lanes + v))
        source, target = source_places.columns[i] * LANES, target_places.columns[i] * LANES
        wide = offsets[i] * LANES
        for j in range(i):
            for u in range(units[j]):
                row, column = source + (starts[j] + u) * lanes, target + offsets[j] * LANES + u
                for v in range(k):
                    put(weights, column + v * wide, get(theta, row + v))
