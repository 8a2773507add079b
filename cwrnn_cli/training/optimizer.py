"""torch's optimisers, for what autograd trains; docs/extending.md adds one.

The compiled loops have Nesterov's step inside (:mod:`cwrnn_cli.kernels.numba.nesterov`), tested
against torch's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Optimizer:
    """How networks take a step with their gradients.

    Attributes:
        make: torch's optimiser for these weights, in one group; its rate is set before each step.
        settings: from a momentum to the group's settings.
        buffers: key of a weight's tensor in torch's state -> what its name in a checkpoint ends in,
            behind the weight's.
        ramps: whether its momentum may rise as in Sutskever et al. (2013).
    """

    make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    settings: Callable[[float], Mapping[str, Any]]
    buffers: Mapping[str, str]
    ramps: bool


OPTIMIZERS: dict[str, Optimizer] = {
    # the paper's
    "nesterov": Optimizer(
        make=lambda weights: torch.optim.SGD(weights, lr=1.0, momentum=0.9, nesterov=True),
        settings=lambda momentum: {"momentum": momentum},
        buffers={"momentum_buffer": ""},
        ramps=True,
    ),
    # the momentum is beta 1
    "adam": Optimizer(
        make=torch.optim.Adam,
        settings=lambda momentum: {"betas": (momentum, 0.999)},
        buffers={"exp_avg": "", "exp_avg_sq": ".square"},
        ramps=False,
    ),
}
PUBLISHED = "nesterov"
