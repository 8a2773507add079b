"""Clocks that a search may look for: the paper chose its own by hand (Section 6)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..series import SERIES, series
from .config import TrainConfig
from .data import Data
from .search_bounds import Bound, BoundChoice, Searched, Tried, fits

if TYPE_CHECKING:  # of the extra `search`
    from optuna.distributions import BaseDistribution

PUBLISHED_CLOCK = "published"
_OF_A_CLOCK = ("periods", "module_shares")


def halving(modules: int) -> tuple[int, ...]:
    """Shares of modules, fastest first, each twice the next; the last two alike: 4, 2, 1, 1."""
    return (*(2**i for i in range(modules - 2, -1, -1)), 1)


_SHARES = {"equal": None, "fast-first": halving}


@dataclass(frozen=True)
class Clocks(Searched):
    """A clock of exponential periods: how many modules, and how large each of them is.

    Attributes:
        least: modules.
        most: modules.
    """

    least: int
    most: int
    by_default: bool = False
    sets: tuple[str, ...] = ("periods", "module_shares")

    @property
    def text(self) -> str:
        """See the class."""
        shares = ",".join(map(str, halving(4)))
        return (
            f"{self.least} to {self.most} exponential modules, of equal size or fast ones larger "
            f"({shares}), as far as the parameters allow"
        )

    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> BoundChoice:
        """See the class; clocks that need more parameters than there are, are not among them."""
        chosen: dict[str, dict[str, Any]] = {}
        for modules in range(self.least, self.most + 1):
            exponential = series("exp", modules)
            for name, shares in _SHARES.items():
                options: dict[str, Any] = {"periods": modules}
                if shares:
                    options["module_shares"] = shares(modules)
                elif base.cell.to_json()["periods"] == exponential:
                    continue
                chosen[f"{modules}-{name}"] = options
        return _possible("clock", chosen, data, fixed)


def _possible(
    label: str, clocks: Mapping[str, dict[str, Any]], data: Data, fixed: Mapping[str, Any]
) -> BoundChoice:
    """The published clock, and those of some for which the parameters are enough."""
    possible = {n: options for n, options in clocks.items() if fits(data, fixed, options)}
    return BoundChoice(label, PUBLISHED_CLOCK, {PUBLISHED_CLOCK: {}, **possible})


@dataclass(frozen=True)
class Series(Searched):
    """A series of periods, of as many modules of equal size as the published clock has.

    Attributes:
        lowest: periods to begin with; above 1 the network is a low-pass filter.
    """

    lowest: tuple[int, ...]
    by_default: bool = False
    sets: tuple[str, ...] = _OF_A_CLOCK

    @property
    def text(self) -> str:
        """See the class."""
        lowest = ", ".join(map(str, self.lowest))
        return f"as many periods as published, {', '.join(SERIES)}, from {lowest} on"

    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> BoundChoice:
        """See the class."""
        published = tuple(base.cell.to_json()["periods"])
        found = {
            f"{name}-{lowest}": {"periods": series(name, len(published), lowest)}
            for name in SERIES
            for lowest in self.lowest
        }
        others = {n: options for n, options in found.items() if options["periods"] != published}
        return _possible("series", others, data, fixed)


@dataclass(frozen=True)
class Ticks(Searched):
    """Any clock: how many modules, the period of each, its share of the units, and its offset.

    Attributes:
        most: modules.
        longest: period.
        offsets: whether modules have offsets.
    """

    most: int
    longest: int
    offsets: bool = False
    by_default: bool = False
    sets: tuple[str, ...] = _OF_A_CLOCK

    @property
    def text(self) -> str:
        """See the class."""
        with_offsets = "with any offset, " if self.offsets else ""
        return (
            f"2 to {self.most} modules of any periods up to {self.longest}, log-uniform, "
            f"{with_offsets}1, 2, 4 or 8 shares of the units each, if the parameters allow it"
        )

    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> "BoundTicks":
        """See the class."""
        cell = base.cell.to_json()

        def possible(options: Mapping[str, Any]) -> bool:
            return fits(data, fixed, options)

        most = self.most
        while most > 1 and not possible({"periods": tuple(range(1, most + 1))}):
            most -= 1
        return BoundTicks(self, most, tuple(cell["periods"]), possible)


@dataclass(frozen=True)
class BoundTicks(Bound):
    """:class:`Ticks` of one size of network.

    Attributes:
        of: it.
        most: modules, at that size.
        periods: the published ones.
        fits: whether there are parameters enough for a clock.
    """

    of: Ticks
    most: int
    periods: tuple[int, ...]
    fits: Callable[[Mapping[str, Any]], bool]

    @property
    def published(self) -> tuple[Tried, dict[str, Any]]:  # type: ignore[override]
        """None of its options given; the study has it as far as it can be said there."""
        noted: dict[str, Any] = {"modules": min(max(len(self.periods), 2), self.most)}
        for i in range(self.most):
            period = self.periods[min(i, len(self.periods) - 1)]
            noted |= {f"period {i}": min(period, self.of.longest), f"share {i}": 0}
            noted |= {f"offset {i}": 0.0} if self.of.offsets else {}
        return Tried(PUBLISHED_CLOCK, {}), noted

    def distributions(self) -> "dict[str, BaseDistribution]":
        """The same whatever the number of modules, so that the sampler compares all trials."""
        from optuna.distributions import FloatDistribution, IntDistribution  # noqa: PLC0415

        found: dict[str, BaseDistribution] = {"modules": IntDistribution(2, self.most)}
        for i in range(self.most):
            found[f"period {i}"] = IntDistribution(1, self.of.longest, log=True)
            found[f"share {i}"] = IntDistribution(0, 3)
            if self.of.offsets:
                found[f"offset {i}"] = FloatDistribution(0, 1)
        return found

    def tried(self, values: Mapping[str, Any]) -> tuple[Tried, dict[str, Any]]:
        """Fastest first; of equal periods the later ones are longer by 1 until none is equal."""
        drawn = [
            (
                int(values[f"period {i}"]),
                2 ** int(values[f"share {i}"]),
                float(values[f"offset {i}"]) if self.of.offsets else 0.0,
            )
            for i in range(int(values["modules"]))
        ]
        drawn.sort(key=lambda module: module[0])
        ticks: list[tuple[int, int]] = []
        for period, _, at in drawn:
            longer = max(period, ticks[-1][0] + 1 if ticks else 1)
            ticks.append((longer, min(int(at * longer), longer - 1)))
        options: dict[str, Any] = {"periods": tuple(period for period, _ in ticks)}
        if any(offset for _, offset in ticks):
            options["periods"] = tuple(ticks)
        shares = tuple(share for _, share, _ in drawn)
        if len(set(shares)) > 1 and self.fits({**options, "module_shares": shares}):
            options["module_shares"] = shares
        noted = {name: values[name] for name in self.distributions()}
        return Tried(_in_words(options), options), noted

    def to_json(self) -> dict[str, Any]:
        """See the class."""
        return {"modules": [2, self.most], "longest": self.of.longest, "offsets": self.of.offsets}


def _in_words(options: Mapping[str, Any]) -> str:
    """A clock as one types it, periods and shares."""
    periods = ",".join(
        f"{each[0]}@{each[1]}" if isinstance(each, tuple) else str(each)
        for each in options["periods"]
    )
    shares = options.get("module_shares")
    return periods if shares is None else f"{periods} of {':'.join(map(str, shares))}"
