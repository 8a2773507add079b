"""One network's weights as one flat array while compiled code trains it.

A network is one flat array theta of P numbers, its parts one behind the other, each padded to whole
vectors; padding is 0 and stays 0. First the hidden layer, once for each direction:

    clockwork  the backward blocks, bias (N)
    LSTM       W_I transposed (m, 4 width), W_H transposed (n, 4 width), bias (4 width),
               peepholes (3 width) if there are any

then W_O transposed (N, K), once for each direction, and b_O (K), with N the hidden units and K the
outputs, both padded.
"""

from typing import NamedTuple

import numpy as np


class Parameters(NamedTuple):
    """What training changes.

    Attributes:
        theta: (P,) the weights.
        velocity: (P,) their momentum.
        gradient: (P,) for training's own use.
    """

    theta: np.ndarray
    velocity: np.ndarray
    gradient: np.ndarray


class Readout(NamedTuple):
    """The output layer's place in theta, in vectors.

    Attributes:
        weight: W_O transposed.
        bias: b_O.
        classes: how many, without padding.
    """

    weight: int
    bias: int
    classes: int
