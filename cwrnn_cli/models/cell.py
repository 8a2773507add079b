"""What a recurrent cell is to everybody else, and the registry of cells.

A cell is one file: its layer for users, and its :class:`CellSpec` for ensembles, training, reports
and the command line, none of which knows a cell by name. docs/extending.md adds one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn

from ..option import Option
from ..paper import Protocol
from .recurrent import RecurrentLayer

State = tuple[Tensor, ...]
MOST_UNITS = 1 << 16  # of a layer: its recurrent weights then take 16 GiB


@dataclass(frozen=True)
class CellSpec(ABC):
    """One kind of hidden layer at one size; a subclass's fields are what else defines it.

    A field with ``metadata={"absent": X}`` stands in every config.json: X for other cells.

    Attributes:
        hidden_size: n, units of one direction.
        name: in the registry, in files and on the command line.
        label: in tables and figures.
        unit: what its units are called.
        colour: in figures.
        like: the cell of the paper whose learning rates it takes; None: the paper has its own.
        options: that `cwrnn train` has for it.
        clips_deltas: whether :meth:`forward` takes ``delta_clip``.
        backends: that `cwrnn bench layer` measures.
        peer: torch's own layer of this kind, to measure beside ours.
    """

    hidden_size: int

    name: ClassVar[str]
    label: ClassVar[str]
    unit: ClassVar[str] = "hidden units"
    colour: ClassVar[str]
    like: ClassVar[str | None] = None
    options: ClassVar[tuple[Option, ...]] = ()
    clips_deltas: ClassVar[bool] = False
    backends: ClassVar[tuple[str, ...]] = ("auto",)
    peer: ClassVar[type[nn.Module] | None] = None

    def __post_init__(self) -> None:
        """Raises ValueError if n is no whole number from 1 to :data:`MOST_UNITS`."""
        n = self.hidden_size
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError(f"hidden_size must be a whole number of at least 1, not {n!r}")
        if n > MOST_UNITS:
            raise ValueError(f"hidden_size must be at most {MOST_UNITS}, not {n}")

    @classmethod
    @abstractmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """The cell with n units.

        Args:
            hidden_size: n.
            options: values of its options, by name; those it has not are passed over, and one that
                is not there or None has its default.

        Raises:
            ValueError: options that do not fit n.
        """

    @classmethod
    def smallest(cls, options: Mapping[str, Any]) -> int:
        """The least n that these options allow."""
        return 1

    @classmethod
    def published(cls, protocol: Protocol) -> dict[str, Any]:
        """What the paper's protocol, or our reading of it, gives for fields beside the size."""
        return {}

    @classmethod
    def from_data(
        cls,
        protocol: Protocol,
        given: Mapping[str, Any],
        energies: Callable[[Sequence[int]], tuple[float, ...]],
    ) -> dict[str, Any]:
        """Options that are given, those that follow from the training data with their values.

        Args:
            protocol: of the task.
            given: by name.
            energies: of the data, of the bands below the Nyquist frequencies of such clock periods
                (:func:`cwrnn_cli.training.spectrum.energies`).
        """
        return dict(given)

    @classmethod
    def resizes(cls, given: Mapping[str, Any]) -> bool:
        """Whether options that the user gave make Table 1's sizes another number of parameters."""
        return False

    @classmethod
    def refusal(cls, protocol: Protocol, given: Mapping[str, Any]) -> str | None:
        """Why the options that the user gave do not fit each other, if they do not."""
        return None

    def deviations(self, protocol: Protocol) -> dict[str, tuple[Any, Any]]:
        """Name -> (the paper's value, ours) wherever they differ; here those published."""
        return {
            name: (value, getattr(self, name))
            for name, value in self.published(protocol).items()
            if getattr(self, name) != value
        }

    @abstractmethod
    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of each tensor of parameters of one direction, in the order of drawing.

        ``weight_ih`` is not there if m is 0. All shapes of the cell come from here.
        """

    @property
    def modules(self) -> tuple[tuple[int, int], ...]:
        """Period and number of units of each module, in the order of the units; here one of all."""
        return ((1, self.hidden_size),)

    @property
    def in_loops(self) -> bool:
        """Whether the compiled loops that train cells of its type can do this one, too."""
        return True

    def parameter_count(self, input_size: int, directions: int = 1) -> int:
        """Parameters as the paper counts them (Section 4), without the output layer."""
        return directions * sum(prod(shape) for shape in self.weights(input_size).values())

    def fan_in(self, name: str, input_size: int) -> int | np.ndarray:
        """How many inputs, or hidden units, feed each unit through a tensor of weights.

        Args:
            name: of :meth:`weights`; for a bias or a peephole, the unit's count of ``weight_hh``.
            input_size: m.

        Returns:
            One number for all, or an array that broadcasts to the tensor's shape.
        """
        return input_size if name == "weight_ih" else self.hidden_size

    def initialise_(self, name: str, drawn: Tensor) -> None:  # noqa: B027 (optional)
        """Change freshly drawn weights in place: a mask, a forget bias.

        Args:
            name: of :meth:`weights`.
            drawn: of that shape.
        """

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None = None,
        lengths: Tensor | None = None,
        backend: str = "auto",
        start: int | Tensor = 0,
    ) -> tuple[Tensor, State]:
        """Run R such layers in one direction.

        Args:
            x: (R, B, T, m) inputs.
            weights: by name, with the leading axis R; a bias that is not there is 0.
            state: tensors (R, B, n) before the first step; None: zeros.
            lengths: (B,) int64 valid steps, whose last one gives the state; None: all T. Outputs
                behind them are undefined.
            backend: how (:mod:`cwrnn_cli.kernels`).
            start: the number of the first step, one for all or (B,) int64; for cells with a clock.

        A cell that says so (:attr:`clips_deltas`) also takes ``delta_clip``, a number or None: what
        each step's gradients of the arguments of its nonlinearities are clipped to within.

        Returns:
            (R, B, T, n) outputs, and the last valid state.

        Raises:
            ValueError: a backend that cannot do this.
        """

    @abstractmethod
    def layer(self, input_size: int, **options: Any) -> RecurrentLayer:
        """An ordinary layer of this cell; options as of `torch.nn.RNN`."""

    def to_json(self) -> dict[str, Any]:
        """For config.json: the name, this cell's fields, and other cells' as absent."""
        absent = {
            f.name: f.metadata["absent"]
            for cell in CELLS.values()
            for f in fields(cell)
            if "absent" in f.metadata
        }
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"model": self.name} | absent | own

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "CellSpec":
        """Back from config.json.

        Raises:
            KeyError: no such cell, or a field that has no default is missing.
        """
        name = values["model"]
        if not isinstance(name, str) or name not in CELLS:
            raise KeyError(f"model {name!r}")
        cell = CELLS[name]
        missing = {f.name for f in fields(cell) if f.default is MISSING} - set(values)
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        own = {f.name: values[f.name] for f in fields(cell) if f.name in values}
        lists = {name: tuple(value) for name, value in own.items() if isinstance(value, list)}
        return cell(**(own | lists))


CELLS: dict[str, type[CellSpec]] = {}  # filled by cwrnn_cli.models, in the order of tables


def cell_named(name: str) -> type[CellSpec]:
    """A cell of the registry.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in CELLS:
        *others, last = CELLS
        raise ValueError(f"model {name!r}: expected {', '.join(others)} or {last}")
    return CELLS[name]


def has_loop(loops: Mapping[type[CellSpec], Any], cell: CellSpec) -> bool:
    """Whether a table of compiled loops has one for a cell; else autograd trains it."""
    return type(cell) in loops and cell.in_loops


def option_owners() -> dict[str, list[type[CellSpec]]]:
    """Option -> the cells that have it."""
    found: dict[str, list[type[CellSpec]]] = {}
    for cell in CELLS.values():
        for option in cell.options:
            found.setdefault(option.name, []).append(cell)
    return found
