"""What runs under a clock: the part that the CW-RNN and the SRN share."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..clock import FEEDS, UPPER, Clock
from ..kernels.backend import traced
from ..kernels.clockwork import clockwork
from ..kernels.clockwork.slow_input import KINDS, SAMPLE
from ..kernels.reference import NONLINEARITIES
from ..kernels.sequences import last_valid
from ..paper import Protocol
from .cell import CellSpec, State
from .recurrent import RecurrentLayer, suffix

_ORIGIN = 0  # stands for a period in a row that says where a layer's clock begins
_OFFSET = -1  # likewise of module 0's offset, -2 of module 1's ...
_FEEDS = -(1 << 40)  # likewise of the mask
_SLOW = -(1 << 41)  # likewise of what slow modules read


@dataclass(frozen=True)
class Clocked(CellSpec):
    """What runs under a clock, whatever its equations: weights of G gates, one below the other."""

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """Periods and sizes, and what follows from them."""

    @property
    def gates(self) -> int:
        """G, rows of the recurrent weights for each unit."""
        return self.weights(0)["weight_hh"][0] // self.hidden_size

    @property
    def modules(self) -> tuple[tuple[int, int], ...]:
        """See :meth:`CellSpec.modules`; the clock's."""
        return tuple(zip(self.clock.periods, self.clock.sizes, strict=True))

    @property
    def origin(self) -> int:
        """The number of a sequence's first step, 0 or 1."""
        return 0

    slow_input = SAMPLE  # what a slow module reads of the input

    @property
    def in_loops(self) -> bool:
        """See :meth:`CellSpec.in_loops`; they run module after module."""
        return self.clock.chained

    def fan_in(self, name: str, input_size: int) -> int | np.ndarray:
        """See :meth:`CellSpec.fan_in`; a module is fed by those that the mask lets."""
        if name == "weight_ih":
            return input_size
        feeding: np.ndarray = self.clock.mask().sum(axis=1)
        shape = self.weights(input_size)[name]
        if name == "weight_hh":
            return np.tile(feeding, self.gates)[:, None]
        return np.tile(feeding, shape[0] // self.hidden_size) if len(shape) == 1 else feeding


@dataclass(frozen=True)
class ClockedSpec(Clocked):
    """What runs under a clock: one matrix of each kind.

    Attributes:
        nonlinearity: "tanh", as in the paper, or "relu".
    """

    nonlinearity: str = field(default="tanh", kw_only=True)

    clips_deltas: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises ValueError for another nonlinearity."""
        super().__post_init__()
        if not isinstance(self.nonlinearity, str) or self.nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"Unknown nonlinearity {self.nonlinearity!r}. Select from 'tanh' or 'relu'."
            )

    @classmethod
    def published(cls, protocol: Protocol) -> dict[str, Any]:
        """See :meth:`CellSpec.published`; eq. 1's nonlinearity."""
        return {"nonlinearity": "tanh"}

    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`CellSpec.weights`."""
        n, m = self.hidden_size, input_size
        return ({"weight_ih": (n, m)} if m else {}) | {"weight_hh": (n, n), "bias": (n,)}

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None = None,
        lengths: Tensor | None = None,
        backend: str = "auto",
        start: int | Tensor = 0,
        delta_clip: float | None = None,
    ) -> tuple[Tensor, State]:
        """See :meth:`CellSpec.forward`."""
        y = clockwork(
            x,
            weights.get("weight_ih"),
            weights["weight_hh"],
            weights.get("bias"),
            None if state is None else state[0],
            self.clock,
            backend,
            start + self.origin,
            self.nonlinearity,
            delta_clip,
        )
        return y, (last_valid(y, lengths),)


class ClockedLayer(RecurrentLayer):
    """Layers of cells under a clock: their weights are masked, their clocks saved beside them.

    Arguments as of :class:`.RecurrentLayer`.
    """

    cells: tuple[Clocked, ...]

    @property
    def clock(self) -> Clock:
        """The periods and sizes of the first layer."""
        return self.clocks[0]

    @property
    def clocks(self) -> tuple[Clock, ...]:
        """The periods and sizes of each layer."""
        return tuple(cell.clock for cell in self.cells)

    @property
    def periods(self) -> tuple[int, ...]:
        """Clock period of each module of the first layer, ascending."""
        return self.clock.periods

    @property
    def module_sizes(self) -> tuple[int, ...]:
        """Units of each module of the first layer, fastest first."""
        return self.clock.sizes

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)); those that the mask forbids are 0."""
        super().reset_parameters()
        for name, forbidden in self._forbidden():
            with torch.no_grad():
                weight = getattr(self, name)
                allowed = (~forbidden).to(weight)
                if hasattr(weight, "device_mesh"):  # a shard of it, by FSDP2
                    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415

                    allowed = distribute_tensor(allowed, weight.device_mesh, weight.placements)
                weight.mul_(allowed)

    def _forbidden(self) -> list[tuple[str, Tensor]]:
        """Name of each recurrent weight that the mask restricts; (G n, n) where it must be 0."""
        return [
            (
                "weight_hh" + suffix(layer, direction),
                torch.from_numpy(~cell.clock.mask()).repeat(cell.gates, 1),
            )
            for layer, cell in enumerate(self.cells)
            if len(set(cell.clock.periods)) > 1
            for direction in range(self.num_directions)
        ]

    def _weights(self, layer: int, direction: int) -> dict[str, Tensor]:
        weights = super()._weights(layer, direction)
        if parametrize.is_parametrized(self):
            self._refuse_filled(weights["weight_hh"], "weight_hh" + suffix(layer, direction))
        return weights

    def _refuse_filled(self, weight: Tensor, name: str) -> None:
        """A parametrisation must leave the forbidden blocks exactly 0."""
        forbidden = dict(self._forbidden()).get(name)
        if forbidden is None or not parametrize.is_parametrized(self, name) or traced():
            return
        if bool(weight.detach()[forbidden.to(weight.device)].any()):
            kind = type(self.parametrizations[name][-1]).__name__  # type: ignore[index]
            raise ValueError(
                f"{self._name}: the parametrisation {kind} of {name} fills blocks that the clock "
                f"forbids; what it promises of the matrix would not hold for what is computed"
            )

    def get_extra_state(self) -> Tensor:
        """The clocks, for `state_dict`: a row per module, (layer, period, units) int64.

        And a row (layer, 0, 1) for each layer whose first step is number 1, (layer, -1 - i, o) for
        each module i with an offset o, (layer, -2**40, k) for word k > 0 of :data:`.FEEDS`, and
        (layer, -2**41, k) for word k > 0 of :data:`.slow_input.KINDS`.
        """
        rows = [
            (layer, period, size)
            for layer, cell in enumerate(self.cells)
            for period, size in [
                *zip(cell.clock.periods, cell.clock.sizes, strict=True),
                *[(_ORIGIN, cell.origin)] * cell.origin,
                *[(_OFFSET - i, offset) for i, offset in enumerate(cell.clock.offsets) if offset],
                *[(_FEEDS, FEEDS.index(cell.clock.feeds))] * (cell.clock.feeds != UPPER),
                *[(_SLOW, KINDS.index(cell.slow_input))] * (cell.slow_input != SAMPLE),
            ]
        ]
        return torch.from_numpy(np.array(rows, np.int64))

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing: that the clocks are the same is checked before anything is loaded."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if keep_vars:
            return  # the parameters themselves
        for name, forbidden in self._forbidden():
            _mask(destination, prefix + name, forbidden)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """Refuses weights of another clock, and masks dense ones."""
        own, error_msgs = self.get_extra_state(), arguments[-1]
        # files of earlier versions have none
        loaded = state_dict.setdefault(prefix + "_extra_state", own)
        if not isinstance(loaded, Tensor):
            kind = type(loaded).__name__
            error_msgs.append(f"{self._name}: _extra_state is no tensor of clocks, but {kind}")
            return
        # where the widths differ, torch says so
        if not loaded.is_meta and _widths(loaded) == _widths(own) and not loaded.cpu().equal(own):
            error_msgs.append(
                f"{self._name}: the weights were saved under another clock, "
                f"{_described(loaded)}; this layer has {_described(own)}"
            )
            return
        for name, forbidden in self._forbidden():
            _mask(state_dict, prefix + name, forbidden)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _mask(state: dict[str, Any], key: str, forbidden: Tensor) -> None:
    """Zeros in the forbidden blocks of a tensor of a state; the tensor itself is left alone."""
    weight = state.get(key)
    # a shard of a distributed tensor stays as it is: nothing is ever computed with these blocks
    if type(weight) not in {Tensor, nn.Parameter}:
        return
    assert isinstance(weight, Tensor)
    if weight.shape == forbidden.shape and not weight.is_meta:
        masked = weight.masked_fill(forbidden.to(weight.device), 0)
        state[key] = masked if not torch.equal(masked, weight) else weight


def _widths(rows: Tensor) -> dict[int, int]:
    """Units of each layer."""
    found: dict[int, int] = {}
    for layer, period, units in rows.tolist():
        found[layer] = found.get(layer, 0) + units * (period > _ORIGIN)
    return found


def _described(rows: Tensor) -> str:
    """The clocks of :meth:`ClockedLayer.get_extra_state` in words."""
    layers: dict[int, list[tuple[int, int]]] = {}
    for layer, period, size in rows.tolist():
        layers.setdefault(layer, []).append((period, size))
    texts = []
    for own in layers.values():
        periods, sizes = zip(*((p, size) for p, size in own if p > _ORIGIN), strict=True)
        text = f"periods {list(periods)} with {list(sizes)} units"
        extras = {period: value for period, value in own if period <= _ORIGIN}
        text += ", from step 1 on" * extras.pop(_ORIGIN, 0)
        if feeds := extras.pop(_FEEDS, 0):
            text += f", mask {FEEDS[feeds]}"
        if kind := extras.pop(_SLOW, 0):
            text += f", slow input {KINDS[kind]}"
        if extras:
            text += f", offsets {[extras.get(_OFFSET - i, 0) for i in range(len(periods))]}"
        texts.append(text)
    return " / ".join(texts)
