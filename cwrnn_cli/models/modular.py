"""What cells of modules, each with a clock period, have in common."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ..clock import (
    FEEDS,
    SPECTRUM,
    UPPER,
    Clock,
    apart,
    by_energy,
    parse_periods,
    parse_shares,
    shared_out,
)
from ..kernels.clockwork import slow_input
from ..kernels.clockwork.slow_input import KINDS, MOST, SAMPLE, coefficients
from ..kernels.sequences import one_start
from ..option import Option
from ..paper import Protocol
from ..series import SERIES
from .cell import State
from .clocked import Clocked


def _origin(text: str) -> int:
    if text not in {"0", "1"}:
        raise ValueError(f"{text}: expected 0 or 1")
    return int(text)


@dataclass(frozen=True)
class ModularSpec(Clocked):
    """A cell of modules, each with a clock period.

    Attributes:
        periods: clock period of each module, ascending.
        module_sizes: units of each module.
        clock_origin: the number of a sequence's first step: at 0 all modules run, at 1 those of
            period 1, and period T first at step T.
        module_offsets: the offset of each module, () if all are 0: it ticks at the steps whose
            number is the offset, and every period from there on. The paper has none.
        mask: who feeds whom, :attr:`.Clock.feeds`; "upper" in the paper (eq. 3-4).
        slow_input: what a slow module reads of the input since its last tick
            (:mod:`cwrnn_cli.kernels.clockwork.slow_input`); "sample" in the paper.
    """

    periods: tuple[int, ...] = field(metadata={"absent": ()}, kw_only=True)
    module_sizes: tuple[int, ...] = field(metadata={"absent": ()}, kw_only=True)
    clock_origin: int = field(default=0, metadata={"absent": 0}, kw_only=True)
    module_offsets: tuple[int, ...] = field(default=(), metadata={"absent": ()}, kw_only=True)
    mask: str = field(default=UPPER, metadata={"absent": UPPER}, kw_only=True)
    slow_input: str = field(default=SAMPLE, metadata={"absent": SAMPLE}, kw_only=True)

    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "periods",
            "Clock periods: 1,2,4,8; 8@2 is 8 with offset 2; a number of exponential modules; or "
            f"a series, NAME:MODULES[:LOWEST[:SEED]], by NAME: {', '.join(SERIES)}.",
            parse=parse_periods,
            only="only a clockwork model has clock periods",
            of_protocol=lambda protocol: _in_short(protocol.periods),
        ),
        Option(
            "module_shares",
            "Ratio of the module sizes, in the order of the periods: 4,2,1,1; spectrum: that of "
            "the training data's energy in each module's band.",
            parse=parse_shares,
            only="only a clockwork model has modules",
            default="equal",
        ),
        Option(
            "clock_origin",
            "Number of the first step, 0 or 1; at 0 all modules run.",
            parse=_origin,
            only="only a clockwork model has a clock",
            of_protocol=lambda protocol: str(protocol.clock_origin),
        ),
        Option(
            "mask",
            "Which modules feed which: upper, slow ones fast ones; lower, the reverse; full, all.",
            FEEDS,
            only="only a clockwork model has a mask",
            default=UPPER,
        ),
        Option(
            "slow_input",
            "What a slow module reads of the input since its last tick: a sample, the mean, an "
            "exponentially weighted one, or two Haar wavelets.",
            KINDS,
            only="only a clockwork model has slow modules",
            default=SAMPLE,
        ),
    )

    def __post_init__(self) -> None:
        """Raises ValueError for modules that do not fit n or are not sorted, and other values."""
        super().__post_init__()
        if type(self.clock_origin) is not int or self.clock_origin not in {0, 1}:
            raise ValueError(f"clock_origin must be 0 or 1, not {self.clock_origin!r}")
        for name in ("periods", "module_sizes", "module_offsets"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name} must be whole numbers, not {getattr(self, name)!r}")
        if self.clock.hidden_size != self.hidden_size:
            raise ValueError(
                f"module sizes add up to {self.clock.hidden_size}, not to hidden_size "
                f"{self.hidden_size}"
            )
        object.__setattr__(self, "module_offsets", self.clock.offsets)
        if self.slow_input not in KINDS:
            raise ValueError(f"slow_input {self.slow_input!r}: expected one of {', '.join(KINDS)}")
        if self.buffered and self.periods[-1] > MOST:
            raise ValueError(f"slow_input {self.slow_input}: periods of at most {MOST} only")

    @property
    def buffered(self) -> bool:
        """Whether slow modules read more than one input."""
        return self.slow_input != SAMPLE and self.periods[-1] > 1

    @property
    def kept(self) -> int:
        """Inputs that go from one piece of a sequence to the next."""
        return self.periods[-1] - 1 if self.buffered else 0

    @property
    def in_loops(self) -> bool:
        """See :meth:`CellSpec.in_loops`; they read samples."""
        return super().in_loops and not self.buffered

    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`CellSpec.weights`; a column for each number that a slow module reads."""
        times = coefficients(self.slow_input) if self.buffered else 1
        return super().weights(times * input_size)  # type: ignore[safe-super]  # the cell's

    def fan_in(self, name: str, input_size: int) -> int | np.ndarray:
        """See :meth:`CellSpec.fan_in`."""
        if name == "weight_ih" and self.buffered:
            columns: np.ndarray = self._columns(input_size).sum(axis=1, keepdims=True)
            return columns
        return super().fan_in(name, input_size)

    def _columns(self, input_size: int) -> np.ndarray:
        """(G n, q m) bool: columns of W_I that are read; modules of period 1 have no detail."""
        shape = self.weights(input_size)["weight_ih"]
        slow = np.tile(self.clock.unit_periods > 1, self.gates)[:, None]
        found: np.ndarray = slow | (np.arange(shape[1]) < input_size)
        return found

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
        """See :meth:`CellSpec.forward`.

        Where slow modules read more than a sample, the last of the states is (R, B, K m), the K
        inputs before the first step, and there is one start for all sequences.
        """
        if not self.buffered or not x.shape[3]:
            return self.run(x, weights, state, lengths, backend, start, delta_clip)
        first = one_start(start)
        if first is None:
            raise ValueError(f"slow_input {self.slow_input!r} takes one start for all sequences")
        shape = (*x.shape[:2], self.kept, x.shape[3])
        memory = x.new_zeros(shape) if state is None else state[-1].reshape(shape)
        others = dict(weights)
        inputs = others.pop("weight_ih")
        drive = slow_input.drive(
            x, inputs, self.clock, self.slow_input, memory, first + self.origin
        )
        before = None if state is None else state[:-1]
        y, last = self.run(drive, others, before, lengths, backend, first, delta_clip)
        return y, (*last, slow_input.remembered(x, memory, lengths).flatten(2))

    @abstractmethod
    def run(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None,
        lengths: Tensor | None,
        backend: str,
        start: int | Tensor,
        delta_clip: float | None,
    ) -> tuple[Tensor, State]:
        """As :meth:`CellSpec.forward`; without W_I, x (R, B, T, G n) is what enters the gates."""

    @classmethod
    def clock_of(cls, hidden_size: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of this class, by name.

        Options: ``periods`` and ``module_sizes`` as :meth:`cwrnn_cli.clock.Clock.of` takes them,
        the former also with offsets, as pairs; ``module_shares``, the ratio of the sizes, instead
        of the latter, or ``module_energies``, for :func:`.by_energy`, fastest module first;
        ``clock_origin``; ``mask``.
        """
        sizes, shares = options.get("module_sizes"), options.get("module_shares")
        if shares:
            sizes = shared_out(hidden_size, shares)
        periods, offsets = apart(options.get("periods"))
        clock = Clock.of(hidden_size, periods, sizes, offsets, options.get("mask") or UPPER)
        if energies := options.get("module_energies"):
            clock = replace(clock, sizes=by_energy(hidden_size, energies))
        others = {"clock_origin": options.get("clock_origin") or 0}
        others["slow_input"] = options.get("slow_input") or SAMPLE
        return _fields_of(clock) | others

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`. Options: those of :meth:`clock_of`."""
        return cls(hidden_size, **cls.clock_of(hidden_size, options))

    @classmethod
    def of_clock(cls, clock: Clock, **others: Any) -> Self:
        """The cell with this clock, and other fields of its class."""
        return cls(clock.hidden_size, **_fields_of(clock), **others)

    @classmethod
    def smallest(cls, options: Mapping[str, Any]) -> int:
        """A unit per module, or as many as the ratio of the sizes needs."""
        periods, shares = options.get("periods"), options.get("module_shares")
        if shares:
            return int(-(-sum(shares) // min(shares)))
        return periods or 1 if periods is None or isinstance(periods, int) else len(periods)

    @classmethod
    def from_data(
        cls,
        protocol: Protocol,
        given: Mapping[str, Any],
        energies: Callable[[Sequence[int]], tuple[float, ...]],
    ) -> dict[str, Any]:
        """And modules as large as the energy in their bands asks for."""
        own = super().from_data(protocol, given, energies)
        if own.get("module_shares") == SPECTRUM:
            del own["module_shares"]
            options = cls.published(protocol) | own
            periods, offsets = apart(options["periods"])
            clock = Clock.of(cls.smallest(options), periods, None, offsets)
            own["module_energies"] = energies(clock.periods)
        return own

    @classmethod
    def published(cls, protocol: Protocol) -> dict[str, Any]:
        """And the periods; modules are as equal as possible; where the clock begins."""
        own = {"periods": protocol.periods, "clock_origin": protocol.clock_origin}
        return super().published(protocol) | own

    @classmethod
    def resizes(cls, given: Mapping[str, Any]) -> bool:
        """Other modules count other parameters."""
        names = ("periods", "module_shares", "module_energies", "mask", "slow_input")
        return any(given.get(name) for name in names)

    @classmethod
    def refusal(cls, protocol: Protocol, given: Mapping[str, Any]) -> str | None:
        """Shares that do not fit the periods."""
        if given.get("slow_input", SAMPLE) != SAMPLE and not protocol.input_size:
            return f"--slow-input {given['slow_input']}: task {protocol.task} has no input"
        shares, periods = given.get("module_shares"), given.get("periods", protocol.periods)
        if not shares or shares == SPECTRUM:
            return None
        option = f"--module-shares {','.join(map(str, shares))}"
        modules = periods if isinstance(periods, int) else len(periods)
        if len(shares) != modules:
            return f"{option}: {len(shares)} shares for {modules} clock periods"
        if not isinstance(periods, int) and list(periods) != sorted(periods):
            return f"{option}: with it, --periods must be given fastest first"
        return None

    def deviations(self, protocol: Protocol) -> dict[str, tuple[Any, Any]]:
        """And modules that are not as equal as possible, offsets, another mask."""
        found = super().deviations(protocol)
        if self.module_offsets:
            found["module_offsets"] = ((), self.module_offsets)
        if self.mask != UPPER:
            found["mask"] = (UPPER, self.mask)
        if self.slow_input != SAMPLE:
            found["slow_input"] = (SAMPLE, self.slow_input)
        if self.module_sizes != Clock.of(self.hidden_size, self.periods).sizes:
            found["module_sizes"] = ("equal", self.module_sizes)
        return found

    @property
    def clock(self) -> Clock:
        """Periods and sizes, and what follows from them."""
        return Clock(self.periods, self.module_sizes, self.module_offsets, self.mask)

    @property
    def origin(self) -> int:
        """See :attr:`ClockedSpec.origin`."""
        return self.clock_origin

    def parameter_count(self, input_size: int, directions: int = 1) -> int:
        """Of W_H only what the mask allows; each period once, whatever the directions."""
        n = self.hidden_size
        forbidden = self.gates * (n * n - self.clock.recurrent_parameters())
        if self.buffered and input_size:
            forbidden += int((~self._columns(input_size)).sum())
        every = super().parameter_count(input_size, directions)
        return every - directions * forbidden + len(self.periods)

    def initialise_(self, name: str, drawn: Tensor) -> None:
        """What the mask forbids is 0."""
        super().initialise_(name, drawn)
        if name == "weight_hh":
            forbidden = torch.from_numpy(~self.clock.mask()).repeat(self.gates, 1)
            drawn.masked_fill_(forbidden, 0)
        if name == "weight_ih" and self.buffered:
            columns = self._columns(drawn.shape[1] // coefficients(self.slow_input))
            drawn.masked_fill_(torch.from_numpy(~columns), 0)

    @property
    def layer_options(self) -> dict[str, Any]:
        """Options of a :class:`.ModularLayer` of this clock."""
        return {
            "periods": self.periods,
            "module_sizes": self.module_sizes,
            "clock_origin": self.clock_origin,
            "module_offsets": self.module_offsets or None,
            "mask": self.mask,
            "slow_input": self.slow_input,
        }


def _fields_of(clock: Clock) -> dict[str, Any]:
    """Fields of a :class:`ModularSpec`, by name."""
    return {
        "periods": clock.periods,
        "module_sizes": clock.sizes,
        "module_offsets": clock.offsets,
        "mask": clock.feeds,
    }


def _in_short(periods: tuple[int, ...]) -> str:
    """Periods as a help text has room for: 1,2,4 ... 256."""
    if len(periods) <= 4:
        return ",".join(map(str, periods))
    return f"{','.join(map(str, periods[:3]))} ... {periods[-1]}"
