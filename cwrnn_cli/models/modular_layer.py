"""What the layers of cells of modules have in common."""

from collections.abc import Sequence
from typing import Any

import torch

from ..clock import UPPER, Clock
from ..kernels.clockwork.slow_input import SAMPLE
from .clocked import ClockedLayer
from .modular import ModularSpec
from .recurrent import suffix, whole


class ModularLayer(ClockedLayer):
    """Layers of cells of modules. Arguments as of :class:`.RecurrentLayer`."""

    cells: tuple[ModularSpec, ...]

    def __init__(self, cells: Sequence[ModularSpec], input_size: int, *options: Any) -> None:
        if cells[0].buffered and len(cells) > 1:
            raise ValueError(f"{self._name}: slow_input {cells[0].slow_input!r} needs num_layers=1")
        if cells[0].buffered and input_size:
            self.states = type(self).states + 1
        super().__init__(cells, input_size, *options)

    @property
    def slow_input(self) -> str:
        """What a slow module reads; see :class:`.ClockworkRNN`."""
        return self.cells[0].slow_input

    @property
    def _state_sizes(self) -> tuple[int, ...]:
        sizes = (self.hidden_size,) * type(self).states
        return (*sizes, self.cells[0].kept * self.input_size)[: self.states]

    def reset_parameters(self) -> None:
        """See :class:`.ClockedLayer`; and columns that nothing is read by are 0."""
        super().reset_parameters()
        for layer, direction in self._places():
            weight = getattr(self, "weight_ih" + suffix(layer, direction))
            if weight is not None:
                with torch.no_grad():
                    self.cells[layer].initialise_("weight_ih", weight)

    @property
    def clock_origin(self) -> int:
        """The number of a sequence's first step."""
        return self.cells[0].origin

    @property
    def module_offsets(self) -> tuple[int, ...]:
        """The offset of each module of the first layer."""
        return self.clock.phases

    @property
    def mask(self) -> str:
        """Who feeds whom; see :class:`.ClockworkRNN`."""
        return self.clock.feeds

    _usual = {"nonlinearity": "tanh", "mask": UPPER, "slow_input": SAMPLE, "clock_origin": 0}

    def extra_repr(self) -> str:
        """Sizes and periods, and whatever is not the default."""
        first, *others = super().extra_repr().split(", ")[1:]
        same = len(set(self.clocks)) == 1
        clocks = self.clocks[:1] if same else self.clocks
        texts = [f"[{clock}]" for clock in clocks]
        periods = texts[0] if same else f"[{', '.join(texts)}]"
        for name, usual in self._usual.items():
            value = getattr(self, name, usual)
            if value != usual:
                others.insert(0, f"{name}={value}")
        return ", ".join([str(self.input_size), first, f"periods={periods}", *others])


def clocks_of(
    hidden_size: int,
    num_layers: int,
    periods: Any,
    module_sizes: Any,
    module_offsets: Any,
    mask: str,
) -> list[Clock]:
    """The clock of each layer, of what its layers are given."""
    whole(hidden_size, "hidden_size", at_least=1)
    count = whole(num_layers, "num_layers", at_least=1)
    return [
        Clock.of(hidden_size, *own, mask)
        for own in zip(
            _per_layer(periods, count, "periods"),
            _per_layer(module_sizes, count, "module_sizes"),
            _per_layer(module_offsets, count, "module_offsets"),
            strict=True,
        )
    ]


def _per_layer(given: Any, layers: int, name: str) -> list[Any]:
    """What each layer gets: all the same, or each its own of a sequence of sequences."""
    own = isinstance(given, (list, tuple)) and any(isinstance(p, Sequence) for p in given)
    if not own:
        return [given] * layers
    if len(given) != layers:
        raise ValueError(f"{name} of {len(given)} layers given, num_layers is {layers}")
    return list(given)
