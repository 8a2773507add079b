"""What a search may look for: a number, or one of some words, of one model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError

from .config import TrainConfig
from .configure import configure
from .data import Data

if TYPE_CHECKING:  # of the extra `search`
    from optuna.distributions import BaseDistribution

_DIGITS = 3  # significant, of a number that is tried: as people type them


class Searched(ABC):
    """Something to look for.

    Attributes:
        sets: options of `cwrnn train` that it decides.
        by_default: whether it is looked for unless others are named.
    """

    sets: tuple[str, ...]
    by_default: bool

    @property
    @abstractmethod
    def text(self) -> str:
        """Where it is looked for, for help texts."""

    @abstractmethod
    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> "Bound":
        """The same for one model and task.

        Args:
            base: what is trained with the published values.
            data: the corpus.
            fixed: options, as for :func:`.configure`, that are the same in all trials.
        """


@dataclass(frozen=True)
class Tried:
    """What one trial tries of it.

    Attributes:
        value: as tables show it; None: the option is not given.
        options: of `cwrnn train`.
    """

    value: Any
    options: dict[str, Any]


class Bound(ABC):
    """Something to look for, of one model.

    Attributes:
        published: what the protocol has, and its values in the study.
    """

    published: tuple[Tried, dict[str, Any]]

    @abstractmethod
    def distributions(self) -> "dict[str, BaseDistribution]":
        """Optuna's, by their names in the study."""

    @abstractmethod
    def tried(self, values: Mapping[str, Any]) -> tuple[Tried, dict[str, Any]]:
        """What to try for what the sampler says, and what the study notes of it.

        Args:
            values: by the names in the study, those of others among them.
        """

    @abstractmethod
    def to_json(self) -> Any:
        """Where it is looked for."""


@dataclass(frozen=True)
class LogRange(Searched):
    """A number, log-uniform.

    Attributes:
        option: that it is.
        low: the least.
        high: the most; what an option counts as that is not given.
        of_published: both are multiples of the published value.
        below_one: both are of 1 - the number, so that what comes near to 1 is looked at closely.
        by_default: see the class.
    """

    option: str
    low: float
    high: float
    of_published: bool = False
    below_one: bool = False
    by_default: bool = False

    @property
    def sets(self) -> tuple[str, ...]:  # type: ignore[override]
        """Itself."""
        return (self.option,)

    @property
    def text(self) -> str:
        """See the class."""
        if self.of_published:
            return f"the published value times {self.low:g} to {self.high:g}"
        low, high = self.low, self.high
        if self.below_one:
            return f"{_below(high):g} to {_below(low):g}, 1 - value log-uniform"
        return f"{low:g} to {high:g}"

    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> "BoundRange":
        """See the class."""
        published = getattr(base, self.option)
        factor = published if self.of_published else 1.0
        low, high = (float(f"{factor * end:.12g}") for end in (self.low, self.high))
        return BoundRange(self, low, high, published)


@dataclass(frozen=True)
class BoundRange(Bound):
    """A :class:`LogRange` with its ends.

    Attributes:
        range: it.
        low: least number of the study.
        high: largest.
        value: the published one; None: the option is not given.
    """

    range: LogRange
    low: float
    high: float
    value: float | None

    @property
    def label(self) -> str:
        """Its name in the study, with what is done to the number."""
        return f"1 - {self.range.option}" if self.range.below_one else self.range.option

    @property
    def published(self) -> tuple[Tried, dict[str, Any]]:  # type: ignore[override]
        """Exactly; the study has it at the end that is nearest, if it lies outside."""
        if self.value is None:
            return Tried(None, {}), {self.label: self.high}
        noted = _below(self.value) if self.range.below_one else self.value
        return self._of(self.value), {self.label: min(max(noted, self.low), self.high)}

    def distributions(self) -> "dict[str, BaseDistribution]":
        """See the class."""
        from optuna.distributions import FloatDistribution  # noqa: PLC0415

        return {self.label: FloatDistribution(self.low, self.high, log=True)}

    def tried(self, values: Mapping[str, Any]) -> tuple[Tried, dict[str, Any]]:
        """Rounded, so that nobody has to type 17 digits."""
        noted = min(max(float(f"{values[self.label]:.{_DIGITS}g}"), self.low), self.high)
        return self._of(_below(noted) if self.range.below_one else noted), {self.label: noted}

    def _of(self, value: float) -> Tried:
        return Tried(value, {self.range.option: value})

    def to_json(self) -> dict[str, Any]:
        """See the class."""
        return {"of": self.label, "low": self.low, "high": self.high, "scale": "log"}


def _below(value: float) -> float:
    """1 - value, in decimal digits."""
    return round(1 - value, 12)


def fits(data: Data, fixed: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether there is a network with these options: parameters enough, an input to look at."""
    try:
        configure(data, **{**fixed, **options})
    except UserError:
        return False
    return True


@dataclass(frozen=True)
class Word(Searched):
    """One of an option's words.

    Attributes:
        option: that it is.
        words: those.
        by_default: see the class.
    """

    option: str
    words: Sequence[str]
    by_default: bool = False

    @property
    def sets(self) -> tuple[str, ...]:  # type: ignore[override]
        """Itself."""
        return (self.option,)

    @property
    def text(self) -> str:
        """See the class."""
        return ", ".join(self.words)

    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> "BoundChoice":
        """See the class."""
        first = base.cell.to_json()[self.option]
        choices = {w: {} if w == first else {self.option: w} for w in self.words}
        possible = {w: options for w, options in choices.items() if fits(data, fixed, options)}
        return BoundChoice(self.option, first, possible)


@dataclass(frozen=True)
class BoundChoice(Bound):
    """One of some sets of options.

    Attributes:
        label: its name in the study.
        first: name of the published one.
        choices: name -> options.
    """

    label: str
    first: str
    choices: Mapping[str, dict[str, Any]]

    @property
    def published(self) -> tuple[Tried, dict[str, Any]]:  # type: ignore[override]
        """See the class."""
        return self.tried({self.label: self.first})

    def distributions(self) -> "dict[str, BaseDistribution]":
        """See the class."""
        from optuna.distributions import CategoricalDistribution  # noqa: PLC0415

        return {self.label: CategoricalDistribution(list(self.choices))}

    def tried(self, values: Mapping[str, Any]) -> tuple[Tried, dict[str, Any]]:
        """See the class."""
        name = values[self.label]
        return Tried(name, self.choices[name]), {self.label: name}

    def to_json(self) -> dict[str, Any]:
        """See the class."""
        return dict(self.choices)
