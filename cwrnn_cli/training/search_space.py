"""What `cwrnn search` may look for, and where: one table, the same for every model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError

from ..models.cell import option_owners
from ..series import series
from .config import TrainConfig
from .configure import configure
from .data import Data
from .registry import TASKS, AnyTask

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
        label: its name in the study.
        published: what the protocol has, and its value in the study.
    """

    label: str
    published: tuple[Tried, Any]

    @abstractmethod
    def distribution(self) -> "BaseDistribution":
        """Optuna's."""

    @abstractmethod
    def tried(self, value: Any) -> tuple[Tried, Any]:
        """What to try for what the sampler says, and what the study notes of it."""

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
    def label(self) -> str:  # type: ignore[override]
        """With what is done to the number."""
        return f"1 - {self.range.option}" if self.range.below_one else self.range.option

    @property
    def published(self) -> tuple[Tried, float]:  # type: ignore[override]
        """Exactly; the study has it at the end that is nearest, if it lies outside."""
        if self.value is None:
            return Tried(None, {}), self.high
        noted = _below(self.value) if self.range.below_one else self.value
        return self._of(self.value), min(max(noted, self.low), self.high)

    def distribution(self) -> "BaseDistribution":
        """See the class."""
        from optuna.distributions import FloatDistribution  # noqa: PLC0415

        return FloatDistribution(self.low, self.high, log=True)

    def tried(self, value: float) -> tuple[Tried, float]:
        """Rounded, so that nobody has to type 17 digits."""
        noted = min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)
        return self._of(_below(noted) if self.range.below_one else noted), noted

    def _of(self, value: float) -> Tried:
        return Tried(value, {self.range.option: value})

    def to_json(self) -> dict[str, Any]:
        """See the class."""
        return {"of": self.label, "low": self.low, "high": self.high, "scale": "log"}


def _below(value: float) -> float:
    """1 - value, in decimal digits."""
    return round(1 - value, 12)


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

    def bound(self, base: TrainConfig, data: Data, fixed: Mapping[str, Any]) -> "BoundClocks":
        """See the class; clocks that need more parameters than there are, are not among them."""
        chosen: dict[str, dict[str, Any]] = {PUBLISHED_CLOCK: {}}
        for modules in range(self.least, self.most + 1):
            exponential = series("exp", modules)
            for name, shares in _SHARES.items():
                options: dict[str, Any] = {"periods": modules}
                if shares:
                    options["module_shares"] = shares(modules)
                elif base.cell.to_json()["periods"] == exponential:
                    continue
                try:
                    configure(data, **{**fixed, **options})
                except UserError:
                    continue
                chosen[f"{modules}-{name}"] = options
        return BoundClocks(chosen)


PUBLISHED_CLOCK = "published"


@dataclass(frozen=True)
class BoundClocks(Bound):
    """Clocks of one size of network.

    Attributes:
        choices: name -> options.
    """

    choices: Mapping[str, dict[str, Any]]
    label: str = "clock"

    @property
    def published(self) -> tuple[Tried, str]:  # type: ignore[override]
        """None of its options given."""
        return self.tried(PUBLISHED_CLOCK)

    def distribution(self) -> "BaseDistribution":
        """See the class."""
        from optuna.distributions import CategoricalDistribution  # noqa: PLC0415

        return CategoricalDistribution(list(self.choices))

    def tried(self, value: str) -> tuple[Tried, str]:
        """See the class."""
        return Tried(value, self.choices[value]), value

    def to_json(self) -> dict[str, Any]:
        """See the class."""
        return dict(self.choices)


SEARCHED: Mapping[str, Searched] = {
    "lr": LogRange("lr", 0.1, 10, of_published=True, by_default=True),
    "momentum": LogRange("momentum", 0.01, 0.5, below_one=True, by_default=True),
    "clip": LogRange("clip", 1, 100, by_default=True),
    "weight-std": LogRange("weight_std", 0.02, 0.5),
    "clock": Clocks(3, 9),
}


def described() -> str:
    """What can be looked for, and where, for help texts."""
    return "; ".join(f"{name}: {searched.text}" for name, searched in SEARCHED.items())


def searchable(task: AnyTask, model: str) -> list[str]:
    """Names of what a task and a model have."""
    cells = {name: {cell.name for cell in owners} for name, owners in option_owners().items()}
    tasks: dict[str, set[str]] = {}
    for each in TASKS.values():
        for option in each.train_options:
            tasks.setdefault(option.name, set()).add(each.name)
    return [
        name
        for name, searched in SEARCHED.items()
        if all(
            model in cells.get(option, {model}) and task.name in tasks.get(option, {task.name})
            for option in searched.sets
        )
    ]


def chosen(
    names: Sequence[str] | None, task: AnyTask, model: str, given: Iterable[str]
) -> list[str]:
    """What is looked for.

    Args:
        names: as typed; None: by default, without what is given.
        task: to train.
        model: name of a cell.
        given: options with a fixed value.

    Raises:
        UserError: something that the task or the model has not, or that has a fixed value.
    """
    known, fixed = searchable(task, model), set(given)
    if names is None:
        free = (n for n in known if SEARCHED[n].by_default)
        found = [n for n in free if not fixed.intersection(SEARCHED[n].sets)]
        if not found:
            flags = (f"--{n}" for n in known if SEARCHED[n].by_default)
            raise UserError(
                f"nothing to search: {', '.join(flags)} are given; name something else of "
                f"{', '.join(known)} with --search"
            )
        return found
    wanted = [name.strip().replace("_", "-") for name in names]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"--search {name}: --task {task.name} with --model {model} can search "
                f"{', '.join(known)}"
            )
        if twice := fixed.intersection(SEARCHED[name].sets):
            flag = "--" + sorted(twice)[0].replace("_", "-")
            raise UserError(f"--search {name}: {flag} is given already")
    return [name for name in known if name in wanted]
