"""What is launched to train task 2's networks on a GPU, and how their arrays are padded for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OUTPUTS = (32, 64)  # at the most


@dataclass(frozen=True)
class Epoch:
    """A kernel and how it is launched.

    Attributes:
        kernel: of :mod:`.train_classifier`.
        gates: rows of W_H per unit.
        warps: units at the most -> warps of a program.
    """

    kernel: Any
    gates: int
    warps: Mapping[int, int]

    @property
    def units(self) -> int:
        """More than these do not fit on chip."""
        return max(self.warps)


@dataclass(frozen=True)
class Sizes:
    """How the arrays of a kernel are padded.

    Attributes:
        gates: rows of W_H per unit.
        N: units.
        F: inputs and a 1 for the bias, a multiple of 16.
        K: outputs.
        rows: steps of the longest sequence, and a tile more.
    """

    gates: int
    N: int
    F: int
    K: int
    rows: int

    @classmethod
    def of(cls, epoch: Epoch, units: int, inputs: int, outputs: int, steps: int) -> "Sizes":
        """For networks that fit, and sequences of so many steps at the most."""
        width = min(width for width in epoch.warps if width >= units)
        padded = min(size for size in OUTPUTS if size >= outputs)
        return cls(epoch.gates, width, (inputs + 16) // 16 * 16, padded, steps + 16)

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each part of a network's row of theta, in their order."""
        n, gates = self.N, self.gates
        return {
            "weight_hh": (n, gates, n),
            "weight_x": (self.F, n, gates),
            "weight_out": (self.K, n),
            "bias_out": (self.K,),
            "peephole": (3, n),
        }

    @property
    def stride(self) -> int:
        """Numbers of a network in theta."""
        return sum(math.prod(shape) for shape in self.parts.values())

    @property
    def room(self) -> int:
        """Numbers of a network's scratch, a multiple of 16 (:func:`.classifier.scratch_of`)."""
        columns = self.gates * self.N
        used = self.N * columns + self.rows * (columns + 3 * self.N + self.K + self.F)
        return (used + 15) // 16 * 16
