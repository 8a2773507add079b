"""How an LSTM layer lies in memory when its loops are compiled.

Cells are padded to whole vectors of :data:`~..numba.simd.LANES`, gate by gate: n cells become
``width`` vectors. Time is the outer axis. Arrays are flat.
"""

from typing import NamedTuple

import numpy as np

TANH, TWICE_TANH, SIGMOID = range(3)  # what squashes a cell's output
CELL_OUTPUTS = {"tanh": TANH, "2tanh": TWICE_TANH, "sigmoid": SIGMOID}


class History(NamedTuple):
    """All steps of a layer.

    Attributes:
        gates: (T, B, 4 width) vectors: before a step is computed, what its gates get from outside;
            then the gates i, f, g, o; in the backward pass at last the gradients of what is in
            their tanh or logistic function.
        hidden: (1 + T, B, width) vectors, the initial outputs first.
        cells: (1 + T, B, width) vectors, the initial cells first.
    """

    gates: np.ndarray
    hidden: np.ndarray
    cells: np.ndarray


class Gradients(NamedTuple):
    """Of the outputs and cells.

    Attributes:
        hidden: (1 + T, B, width) vectors: from outside, of each output; what comes from the next
            step is added, index 0 is that of the initial output.
        cells: (1 + T, B, width) vectors: likewise of the cells.
    """

    hidden: np.ndarray
    cells: np.ndarray
