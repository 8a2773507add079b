"""Task 1's training on a GPU: what is launched, and what lies where.

The kernels are in :mod:`.train_generator_kernels`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ..lstm.layout import CELL_OUTPUTS
from .resources import Variant
from .train_generator_kernels import TYPES, clockwork_epochs, lstm_epochs

_NEVER = 1 << 30  # a step that no sequence has: later ticks are set to it

# kernel -> WIDTH -> warps of a program, the fewest with which all numbers fit into registers
WARPS: dict[Any, dict[int, int]] = {
    clockwork_epochs: {16: 1, 32: 1, 64: 2},
    lstm_epochs: {16: 1, 32: 4},
}


# what the kernels' constants may be, besides WIDTH
_CONSTANTS: dict[Any, dict[str, tuple[Any, ...]]] = {
    clockwork_epochs: {},
    lstm_epochs: {"CELL_OUTPUT": tuple(CELL_OUTPUTS.values())},
}


def variants() -> list[Variant]:
    """Everything that is ever launched."""
    found = []
    for kernel, options in _CONSTANTS.items():
        for (width, warps), *values in product(WARPS[kernel].items(), *options.values()):
            constants = {"WIDTH": width, **dict(zip(options, values, strict=True))}
            signature = {name: TYPES.get(name, "constexpr") for name in kernel.arg_names}
            name = f"task 1, {kernel.__name__}"
            found.append(Variant(name, width - 1, kernel, signature, constants, warps))
    return found


@dataclass(frozen=True)
class Networks:
    """What a kernel has to know of the networks that it trains.

    Attributes:
        kernel: of WARPS.
        units: n.
        width: of WARPS, above n.
        places: (count,) int64, where a network's weights lie among its P numbers, in the order of
            its tensors.
        used: (count,) bool, which of them are computed with; the others are 0.
        numbers: P.
        history: numbers of a step.
        clock: (n,) int32 tensors that the kernel reads, by name.
        constants: of the kernel, besides WIDTH.
    """

    kernel: Any
    units: int
    width: int
    places: Tensor
    used: Tensor
    numbers: int
    history: int
    clock: Mapping[str, Tensor]
    constants: Mapping[str, Any]


def _width(kernel: Any, units: int) -> int | None:
    """The least that has room for the units and the readout, if any has."""
    return min((width for width in WARPS[kernel] if width > units), default=None)


def clockwork_networks(periods: Tensor, firsts: Tensor) -> Networks | None:
    """CW-RNNs of these units, or None if they are too many.

    Args:
        periods: (n,) int64 clock period of each unit, ascending.
        firsts: (n,) int64 step of each unit's first tick, below its period.
    """
    n = len(periods)
    width = _width(clockwork_epochs, n)
    if width is None:
        return None
    i = torch.arange(n)
    matrix, bias = i[:, None] * width + i, width * width
    places = torch.cat([matrix.flatten(), bias + i, n * width + i, torch.tensor([bias + n])])
    used = torch.ones(len(places), dtype=torch.bool)
    used[: n * n] = (periods[:, None] <= periods).flatten()
    clock = {
        "periods": periods.clamp(max=_NEVER).int(),
        "firsts": firsts.clamp(max=_NEVER - 1).int(),
    }
    numbers = width * (width + 1)
    return Networks(clockwork_epochs, n, width, places, used, numbers, width, clock, {})


def lstm_networks(cells: int, peepholes: bool, cell_output: int) -> Networks | None:
    """LSTMs of these cells, or None if they are too many.

    Args:
        cells: n.
        peepholes: whether the gates see the cells; otherwise peepholes of 0 do nothing.
        cell_output: what squashes a cell: a number of CELL_OUTPUTS.
    """
    width = _width(lstm_epochs, cells)
    if width is None:
        return None
    i = torch.arange(cells)
    block, bias = width * width, 4 * width * width
    matrix = torch.arange(4)[:, None, None] * block + i[:, None] * width + i
    gates = torch.arange(7)[:, None] * width + i  # biases, then peepholes
    readout = [2 * block + cells * width + i, torch.tensor([bias + 2 * width + cells])]
    parts = [matrix, bias + gates[: 7 if peepholes else 4], *readout]
    places = torch.cat([part.flatten() for part in parts])
    return Networks(
        lstm_epochs,
        cells,
        width,
        places,
        torch.ones(len(places), dtype=torch.bool),
        4 * block + 7 * width,
        5 * width,
        {},
        {"CELL_OUTPUT": cell_output},
    )


def train(
    networks: Networks,
    theta: Tensor,
    velocity: Tensor,
    targets: Tensor,
    members: Tensor,
    rates: Tensor,
    momenta: Tensor,
    share: float,
    delta_clip: float | None,
) -> tuple[Tensor, Tensor]:
    """Train some of R networks in place, in one launch; all tensors on one device.

    Args:
        networks: what they are.
        theta: (R, P) weights at their places, 0 elsewhere.
        velocity: (R, P) momentum, likewise.
        targets: (R, T) the sequences to learn.
        members: (A,) int64, the networks to train.
        rates: (A, epochs) learning rates.
        momenta: (epochs,) Nesterov's.
        share: what 1/2 e_t**2 counts in the loss.
        delta_clip: what each step's gradient of the argument of a tanh or a logistic function is
            clipped to within, or None.

    Returns:
        (A, epochs) share/2 sum_t e_t**2 of each epoch, before its step; (A, epochs) float64, the
        square of the gradient's length.
    """
    count, epochs = rates.shape
    steps = targets.shape[1]
    losses = theta.new_empty(count, epochs)
    squares = theta.new_empty(count, epochs, dtype=torch.float64)
    used = torch.zeros(networks.numbers, dtype=torch.int32)
    used[networks.places] = networks.used.int()
    with torch.cuda.device_of(theta):
        networks.kernel[(count,)](
            theta,
            velocity,
            theta.new_empty(count, networks.numbers),
            used.to(theta.device),
            targets,
            members,
            rates,
            momenta,
            theta.new_tensor([share, math.inf if delta_clip is None else delta_clip]),
            *(values.to(theta.device) for values in networks.clock.values()),
            theta.new_empty(count, 1 + steps, networks.history),
            losses,
            squares,
            networks.units,
            networks.numbers,
            steps,
            epochs,
            WIDTH=networks.width,
            **networks.constants,
            num_warps=WARPS[networks.kernel][networks.width],
        )
    return losses, squares
