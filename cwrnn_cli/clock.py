"""The clock of a clockwork hidden layer: periods, module sizes, who may hear whom.

A leaf: plain Python and numpy.

It stands at the top of the package, not in ``models``, because the kernels need it too and stand
left of the models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

MAX_DEFAULT_MODULES = 8
MAX_PERIOD = 1 << 31  # longer than any sequence; every backend counts steps exactly up to here


@dataclass(frozen=True)
class Clock:
    """Modules sorted by period, fastest first (Section 3 of the paper).

    Attributes:
        periods: clock period T_i of each module, ascending, each at least 1.
        sizes: units k_i of each module, each at least 1.
    """

    periods: tuple[int, ...]
    sizes: tuple[int, ...]

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
        if any(a > b for a, b in pairwise(self.periods)):
            raise ValueError(f"periods must ascend, not {self.periods}")

    @classmethod
    def of(
        cls,
        hidden_size: int,
        periods: int | Sequence[int] | None = None,
        module_sizes: Sequence[int] | None = None,
    ) -> "Clock":
        """Build a clock from what a user gives.

        Args:
            hidden_size: n, all units together.
            periods: None: 1, 2, 4 ... for as many modules as fit, at most 8; an int g: g
                exponential modules; a sequence: those, in any order (sizes are sorted along).
            module_sizes: units of each module, in the order of ``periods``; None: as equal as
                possible, the units left over to the fastest modules, one each.

        Raises:
            ValueError: a period or size below 1, a period above :data:`MAX_PERIOD`, sizes that do
                not add up to n, more modules than units.
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
        if module_sizes is None:
            if len(chosen) > hidden_size:
                raise ValueError(
                    f"{len(chosen)} modules need at least {len(chosen)} units, not {hidden_size}"
                )
            chosen.sort()
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
            order = sorted(range(len(chosen)), key=chosen.__getitem__)
            chosen = [chosen[i] for i in order]
            sizes = [sizes[i] for i in order]
        return cls(tuple(chosen), tuple(sizes))

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

    def mask(self) -> np.ndarray:
        """(n, n) bool: where W_H may be other than 0 (eq. 3-4).

        Module j feeds module i only if T_i <= T_j.
        """
        periods = self.unit_periods
        allowed: np.ndarray = periods[:, None] <= periods[None, :]
        return allowed

    def recurrent_parameters(self) -> int:
        """Weights of W_H that the mask allows."""
        clock = self.merged()
        behind = (clock.hidden_size - start for start in clock.starts)
        return sum(size * fed_by for size, fed_by in zip(clock.sizes, behind, strict=False))

    def merged(self) -> "Clock":
        """Neighbours of one period as one module: the same network, as few modules as possible."""
        units: dict[int, int] = {}
        for period, size in zip(self.periods, self.sizes, strict=True):
            units[period] = units.get(period, 0) + size
        return Clock(tuple(units), tuple(units.values()))

    def __str__(self) -> str:
        """The periods, with the sizes where they are unequal by more than the units left over."""
        text = ", ".join(map(str, self.periods))
        if max(self.sizes) - min(self.sizes) > 1:
            text += " (units " + ", ".join(map(str, self.sizes)) + ")"
        return text


def shared_out(units: int, shares: Sequence[int]) -> tuple[int, ...]:
    """Units as module sizes in the ratio of ``shares``, those left over to the first, one each."""
    sizes = [units * share // sum(shares) for share in shares]
    left = units - sum(sizes)
    return tuple(size + (i < left) for i, size in enumerate(sizes))


def _whole(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{what} must be a whole number of at least 1, not {value!r}")
    return int(value)


def parse_periods(text: str) -> int | tuple[int, ...]:
    """``--periods``: a number of exponential modules, or the periods with commas.

    Raises:
        ValueError: anything else.
    """
    numbers = _numbers(text)
    if not numbers:
        raise ValueError(
            f"{text!r}: expected periods such as 1,2,4,8, or a number of exponential modules"
        )
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers


def parse_shares(text: str) -> tuple[int, ...]:
    """``--module-shares``: whole numbers with commas, one per module.

    Raises:
        ValueError: anything else.
    """
    numbers = _numbers(text)
    if not numbers:
        raise ValueError(f"{text!r}: expected whole numbers of at least 1, such as 4,2,1,1")
    return numbers


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1 with commas between, or () if it is anything else."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        return ()
    return numbers if numbers and min(numbers) >= 1 else ()
