"""How a GRU layer lies in memory when its loops are compiled.

Units are padded to whole vectors of :data:`~..numba.simd.LANES`, gate by gate: n units become
``width`` vectors. Time is the outer axis. Arrays are flat. The gates are in the order h, r, z, n,
where h is what the reset gate r scales: so outputs enter the first three, and inputs the last.
"""

from typing import NamedTuple

import numpy as np


class History(NamedTuple):
    """All steps of a layer.

    Attributes:
        gates: (T, B, 4 width) vectors: before a step is computed, what h, r, z, n get from outside;
            then h, the gates r and z, and n; in the backward pass at last the gradients of what is
            in them.
        hidden: (1 + T, B, width) vectors, the initial outputs first.
    """

    gates: np.ndarray
    hidden: np.ndarray
