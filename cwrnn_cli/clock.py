"""The clock of a clockwork hidden layer: periods, module sizes, who may hear whom.

A leaf: plain Python and numpy.

It stands at the top of the package, not in ``models``, because the kernels need it too and stand
left of the models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .series import parse_series

MAX_DEFAULT_MODULES = 8
UPPER, FULL, LOWER = FEEDS = ("upper", "full", "lower")
MAX_PERIOD = 1 << 31  # longer than any sequence; every backend counts steps exactly up to here


@dataclass(frozen=True)
class Clock:
    """Modules sorted by period, fastest first (Section 3 of the paper), then by offset.

    Attributes:
        periods: clock period T_i of each module, ascending, each at least 1.
        sizes: units k_i of each module, each at least 1.
        offsets: o_i of each module, from 0 to below its period: it ticks at steps t with
            (t - o_i) mod T_i = 0. Where all are 0, as in the paper, ().
        feeds: where W_H may be other than 0. "upper", as in the paper: slow modules feed fast ones;
            "lower": fast ones feed slow ones; "full": every module feeds every module.
    """

    periods: tuple[int, ...]
    sizes: tuple[int, ...]
    offsets: tuple[int, ...] = ()
    feeds: str = UPPER

    def __post_init__(self) -> None:
        """Raises ValueError unless it is as the class says."""
        if not self.periods:
            raise ValueError("periods: empty, expected at least one clock period")
        if len(self.sizes) != len(self.periods):
            raise ValueError(
                f"{len(self.sizes)} module sizes for {len(self.periods)} clock periods"
            )
        for size in self.sizes:
            _whole(size, "a module size")
        for period in self.periods:
            if _whole(period, "a clock period") > MAX_PERIOD:
                raise ValueError(f"a clock period must be at most {MAX_PERIOD}, not {period}")
        offsets = _offsets(self.periods, self.offsets)
        if any(a > b for a, b in pairwise(zip(self.periods, offsets, strict=True))):
            extra = f" with offsets {self.offsets}" if any(offsets) else ""
            raise ValueError(f"periods must ascend, not {self.periods}{extra}")
        if not isinstance(self.feeds, str) or self.feeds not in FEEDS:
            raise ValueError(f"mask {self.feeds!r}: expected one of {', '.join(FEEDS)}")
        object.__setattr__(self, "offsets", tuple(offsets) if any(offsets) else ())

    @classmethod
    def of(
        cls,
        hidden_size: int,
        periods: int | Sequence[int] | None = None,
        module_sizes: Sequence[int] | None = None,
        module_offsets: Sequence[int] | None = None,
        feeds: str = UPPER,
    ) -> "Clock":
        """Build a clock from what a user gives.

        Args:
            hidden_size: n, all units together.
            periods: None: 1, 2, 4 ... for as many modules as fit, at most 8; an int g: g
                exponential modules; a sequence: those, in any order (sizes are sorted along).
            module_sizes: units of each module, in the order of ``periods``; None: as equal as
                possible, the units left over to the fastest modules, one each.
            module_offsets: offset of each module, in the order of ``periods``; None: all 0.
            feeds: of :data:`FEEDS`.

        Raises:
            ValueError: a period or size below 1, a period above :data:`MAX_PERIOD`, sizes that do
                not add up to n, more modules than units, an offset that is not below its period,
                another word for ``feeds``.
        """
        hidden_size = _whole(hidden_size, "hidden_size")
        if periods is None:
            count = min(hidden_size, MAX_DEFAULT_MODULES)
            if module_sizes is not None:
                count = len(module_sizes)
            periods = count
        if isinstance(periods, (int, np.integer)):
            if periods < 1:
                raise ValueError(f"periods: {periods} modules, expected at least 1")
            most = MAX_PERIOD.bit_length()
            if periods > most:
                raise ValueError(
                    f"periods: {periods} exponential modules, expected at most {most} (a clock "
                    f"period may be up to {MAX_PERIOD})"
                )
            chosen = [2**i for i in range(periods)]
        else:
            chosen = [_whole(period, "a clock period") for period in periods]
            if not chosen:
                raise ValueError("periods: empty, expected at least one clock period")
        offsets = _offsets(chosen, module_offsets)
        order = sorted(range(len(chosen)), key=lambda i: (chosen[i], offsets[i]))
        if module_sizes is None:
            if len(chosen) > hidden_size:
                raise ValueError(
                    f"{len(chosen)} modules need at least {len(chosen)} units, not {hidden_size}"
                )
            each, left = divmod(hidden_size, len(chosen))
            sizes = [each + (i < left) for i in range(len(chosen))]
        else:
            sizes = [_whole(size, "a module size") for size in module_sizes]
            if len(sizes) != len(chosen):
                raise ValueError(f"{len(sizes)} module sizes for {len(chosen)} clock periods")
            if sum(sizes) != hidden_size:
                raise ValueError(
                    f"module sizes add up to {sum(sizes)}, not to hidden_size {hidden_size}"
                )
            sizes = [sizes[i] for i in order]
        ordered = (tuple(each[i] for i in order) for each in (chosen, offsets))
        chosen_periods, chosen_offsets = ordered
        return cls(chosen_periods, tuple(sizes), chosen_offsets, feeds)

    @property
    def hidden_size(self) -> int:
        """n, all units together."""
        return sum(self.sizes)

    @property
    def starts(self) -> tuple[int, ...]:
        """First unit of each module, then n: g + 1 numbers."""
        return (0, *accumulate(self.sizes))

    @property
    def unit_periods(self) -> np.ndarray:
        """(n,) int64: the period of each unit's module."""
        return np.repeat(np.array(self.periods, dtype=np.int64), self.sizes)

    @property
    def phases(self) -> tuple[int, ...]:
        """The offset of each module, 0 where there are none: g numbers."""
        return self.offsets or (0,) * len(self.periods)

    @property
    def unit_phases(self) -> np.ndarray:
        """(n,) int64: the offset of each unit's module."""
        return np.repeat(np.array(self.phases, dtype=np.int64), self.sizes)

    @property
    def blocks(self) -> tuple[range, ...]:
        """The modules of each period, fastest first: those of a block hear each other."""
        starts = [i for i, p in enumerate(self.periods) if i == 0 or p != self.periods[i - 1]]
        ends = [*starts[1:], len(self.periods)]
        return tuple(map(range, starts, ends))

    def mask(self) -> np.ndarray:
        """(n, n) bool: where W_H may be other than 0 (eq. 3-4).

        Module j feeds module i only if T_i <= T_j; other masks: :attr:`feeds`.
        """
        periods = self.unit_periods
        allowed: np.ndarray = periods[:, None] <= periods[None, :]
        if self.feeds == UPPER:
            return allowed
        return allowed.T if self.feeds == LOWER else np.ones_like(allowed)

    def recurrent_parameters(self) -> int:
        """Weights of W_H that the mask allows."""
        n, starts = self.hidden_size, self.starts
        if self.feeds == FULL:
            return n * n
        blocks = ((starts[block.start], starts[block.stop]) for block in self.blocks)
        return sum((end - first) * (n - first) for first, end in blocks)

    def merged(self) -> "Clock":
        """Modules that tick together as one: the same network, as few modules as possible."""
        units: dict[tuple[int, int], int] = {}
        for tick, size in zip(zip(self.periods, self.phases, strict=True), self.sizes, strict=True):
            units[tick] = units.get(tick, 0) + size
        periods, offsets = zip(*units, strict=True)
        return Clock(periods, tuple(units.values()), offsets, self.feeds)

    @property
    def cascades(self) -> bool:
        """Whether no fast module feeds a slower one: the slowest can be computed first."""
        return self.feeds == UPPER or self.periods[0] == self.periods[-1]

    @property
    def chained(self) -> bool:
        """Whether module after module can be computed, the slowest first.

        Not where two of one period have different offsets: they hear each other.
        """
        if not self.cascades:
            return False
        return not self.offsets or all(len(block) == 1 for block in self.merged().blocks)

    def __str__(self) -> str:
        """The periods, with the sizes where they are unequal by more than the units left over."""
        text = ", ".join(map(_tick, self.periods, self.phases))
        if max(self.sizes) - min(self.sizes) > 1:
            text += " (units " + ", ".join(map(str, self.sizes)) + ")"
        return text


def shared_out(units: int, shares: Sequence[int]) -> tuple[int, ...]:
    """Units as module sizes in the ratio of ``shares``, those left over to the first, one each."""
    sizes = [units * share // sum(shares) for share in shares]
    left = units - sum(sizes)
    return tuple(size + (i < left) for i, size in enumerate(sizes))


def _tick(period: int, offset: int) -> str:
    """As ``--periods`` takes it: 8@2."""
    return f"{period}@{offset}" if offset else str(period)


def _offsets(periods: Sequence[int], given: Sequence[int] | None) -> list[int]:
    """One for each period.

    Raises:
        ValueError: not as many, or one that is not below its period.
    """
    if not given:
        return [0] * len(periods)
    if len(given) != len(periods):
        raise ValueError(f"{len(given)} module offsets for {len(periods)} clock periods")
    for period, offset in zip(periods, given, strict=True):
        whole = isinstance(offset, (int, np.integer)) and not isinstance(offset, bool)
        if not whole or not 0 <= offset < period:
            raise ValueError(
                f"the offset of a module of period {period} must be a whole number from 0 to "
                f"{period - 1}, not {offset!r}"
            )
    return [int(offset) for offset in given]


def by_energy(units: int, energies: Sequence[float]) -> tuple[int, ...]:
    """Units as module sizes: one each, and the others in the ratio of the energies.

    Those that do not come out whole go where the largest parts are left over.

    Raises:
        ValueError: more modules than units.
    """
    left = units - len(energies)
    if left < 0:
        raise ValueError(
            f"{len(energies)} modules need at least {len(energies)} units, not {units}"
        )
    every = np.asarray(energies, np.float64)
    total = every.sum()
    parts = left * (every / total if total > 0 else np.full(len(every), 1 / len(every)))
    sizes = np.floor(parts).astype(int)
    rest = np.argsort(sizes - parts, kind="stable")[: left - sizes.sum()]
    sizes[rest] += 1
    return tuple(int(size) + 1 for size in sizes)


def _whole(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{what} must be a whole number of at least 1, not {value!r}")
    return int(value)


Ticks = tuple[int, ...] | tuple[tuple[int, int], ...]  # periods, or periods with their offsets


def parse_periods(text: str) -> int | Ticks:
    """``--periods``: a number of exponential modules, or the periods with commas, or 8@0,8@2.

    Or a series: :func:`.parse_series`.

    Raises:
        ValueError: anything else.
    """
    if ":" in text:
        return parse_series(text)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    ticks = [part.partition("@") for part in parts]
    numbers = _numbers(",".join(period for period, *_ in ticks))
    if not numbers or any(at and not offset.isdecimal() for _, at, offset in ticks):
        raise ValueError(
            f"{text!r}: expected periods such as 1,2,4,8, with offsets 8@0,8@2, a series such as "
            "fib:9, or a number of exponential modules"
        )
    if "@" in text:
        offsets = [int(offset or 0) for *_, offset in ticks]
        return tuple(zip(numbers, offsets, strict=True))
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers


def apart(periods: Any) -> tuple[Any, tuple[int, ...] | None]:
    """What :func:`parse_periods` gives as the periods and the offsets of :meth:`Clock.of`."""
    if not isinstance(periods, Sequence) or not any(isinstance(p, Sequence) for p in periods):
        return periods, None
    numbers, offsets = zip(*periods, strict=True)
    return numbers, offsets


SPECTRUM = "spectrum"


def parse_shares(text: str) -> tuple[int, ...] | str:
    """``--module-shares``: whole numbers with commas, one per module, or :data:`SPECTRUM`.

    Raises:
        ValueError: anything else.
    """
    if text.strip() == SPECTRUM:
        return SPECTRUM
    numbers = _numbers(text)
    if not numbers:
        raise ValueError(
            f"{text!r}: expected whole numbers of at least 1, such as 4,2,1,1, or {SPECTRUM}"
        )
    return numbers


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1 with commas between, or () if it is anything else."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        return ()
    return numbers if numbers and min(numbers) >= 1 else ()
