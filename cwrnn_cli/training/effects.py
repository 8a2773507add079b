"""What a factorial scan says: what each factor does, and what comes nearest to the paper.

A combination is one level of each factor, for all sizes. Its learning rate is the best one, which
has the least mean error over the sizes, by what choices may be made by; never by the test set. The
errors at that rate are then compared, each size with itself: a main effect is the median, over
sizes and all levels of the other factors, of the ratio of the networks' median at a level to that
at the factor's first level. Its interval has networks (the same seeds everywhere) and the others'
combinations resampled together.

How far a combination is from the paper is the largest of |log(median / the paper's median)| over
the sizes, at its best rate and at the published one. A reading is what all models have in common:
one level of each factor that all of them have. It is as far as that model which, with the nearest
levels of its own factors, is furthest. The ends of a distance are those of 95 % of resamples of its
networks: that it was picked as the nearest of many is not in them.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models import CELLS
from ..paper import PROTOCOLS, Protocol
from ..statistics import RESAMPLES, draws, ends, median
from .config import learning_rate
from .rows import MOMENTUM, Rows, word_of

NEAREST = 5  # combinations of each model
_RAMP = {True: "yes", False: "no"}
Level = tuple[str, ...]  # of each factor of a model


def analysis(rows: Rows) -> dict[str, Any]:
    """What scan.json has of a factorial scan.

    Args:
        rows: of every network.

    Returns:
        ``factors`` (factor -> levels), ``metric`` and ``published_on`` of what is compared with the
        paper (None where it has no medians); ``combinations``: of each the settings, and at its
        best and at the published rate the score by which rates are chosen, the distance from the
        paper, and each size's median; ``effects``; ``nearest``, of each model, with intervals; and
        ``readings``, the nearest for all models together.
    """
    models = [_Model(rows, model) for model in dict.fromkeys(cell.model for cell in rows.cells)]
    ramps = list(dict.fromkeys(_RAMP[cell.ramp] for cell in rows.cells))
    factors = {word_of(name): list(levels) for name, levels in rows.factors.items()}
    if len(ramps) > 1:
        factors[word_of(MOMENTUM)] = ramps
    return {
        "factors": factors,
        "metric": rows.about["metric"] or None,
        "published_on": rows.about["published_on"] or None,
        "combinations": [row for model in models for row in model.combinations()],
        "effects": [row for model in models for row in model.effects()],
        "nearest": [row for model in models for row in model.nearest()],
        "readings": _readings([model for model in models if model.paper]),
    }


@dataclass(frozen=True)
class _At:
    """A combination at one of its rates.

    Attributes:
        levels: of each factor.
        which: "best", "published", or "best and published".
        lr: the rate.
        score: by which rates are chosen.
        rows: size -> row of scan.h5.
    """

    levels: Level
    which: str
    lr: float
    score: float
    rows: Mapping[int, int]


class _Model:
    """The combinations of one model."""

    def __init__(self, rows: Rows, model: str) -> None:
        self.rows, self.model = rows, model
        mine = [(i, cell) for i, cell in enumerate(rows.cells) if cell.model == model]
        self.sizes = sorted({cell.params for _, cell in mine})
        own = mine[0][1].settings
        self.factors: dict[str, list[str]] = {n: list(rows.factors[n]) for n in own}
        self.factors[MOMENTUM] = list(dict.fromkeys(_RAMP[cell.ramp] for _, cell in mine))
        self.by_rate: dict[Level, dict[float, dict[int, int]]] = {}
        for row, cell in mine:
            levels = (*cell.settings.values(), _RAMP[cell.ramp])
            self.by_rate.setdefault(levels, {}).setdefault(cell.lr, {})[cell.params] = row
        self.drawn = draws(rows.sequence)

    @property
    def protocol(self) -> Protocol:
        return PROTOCOLS[self.rows.about["task"]]

    @property
    def paper(self) -> dict[int, float]:
        """Size -> the paper's median, of the sizes that there are."""
        if self.rows.published is None:
            return {}
        found = self.protocol.medians.get(self.model, {})
        return {size: found[size] for size in self.sizes if size in found}

    def _score(self, sizes: Mapping[int, int]) -> float:
        mean = float(np.mean([self.rows.error[row].astype(float).mean() for row in sizes.values()]))
        return mean if np.isfinite(mean) else np.inf

    def at_rates(self) -> Iterator[_At]:
        """Every combination at its best rate, if any is finite, and at the published one."""
        published = learning_rate(self.protocol, CELLS[self.model])
        for levels, rates in self.by_rate.items():
            scores = {lr: self._score(sizes) for lr, sizes in rates.items()}
            least = min(scores, key=scores.__getitem__)
            best = least if np.isfinite(scores[least]) else None
            for lr in dict.fromkeys(r for r in (best, published) if r in rates):
                names = [n for n, r in (("best", best), ("published", published)) if r == lr]
                yield _At(levels, " and ".join(names), lr, scores[lr], rates[lr])

    @property
    def varied(self) -> list[str]:
        """The factors that have several levels here."""
        return [name for name, levels in self.factors.items() if len(levels) > 1]

    def settings(self, at: _At, factors: Iterable[str]) -> dict[str, str]:
        """Factor, as it is shown, -> level."""
        levels = dict(zip(self.factors, at.levels, strict=True))
        return {word_of(name): levels[name] for name in factors}

    def _shown(self, at: _At) -> dict[str, Any]:
        settings = self.settings(at, self.varied)
        return {"model": self.model, "settings": settings, "rate": at.which, "lr": at.lr}

    def combinations(self) -> Iterator[dict[str, Any]]:
        """A row for each combination and rate."""
        compared = self._measures()[0][1]
        for at in self.at_rates():
            sizes = {
                str(size): {
                    "median": _number(np.median(compared[row])),
                    "diverged": int(self.rows.diverged[row].sum()),
                    "networks": len(self.rows.sequence),
                }
                for size, row in sorted(at.rows.items())
            }
            more = {"score": _number(at.score), "distance": _number(self.distance(at))}
            yield self._shown(at) | more | {"sizes": sizes}

    def distance(self, at: _At) -> float:
        """From the paper; not finite where it has no such medians."""
        found = [_far(np.median(self._published(at, size)), p) for size, p in self.paper.items()]
        return float(max(found, default=np.inf))

    def _published(self, at: _At, size: int) -> np.ndarray:
        assert self.rows.published is not None
        values: np.ndarray = self.rows.published[at.rows[size]].astype(float)
        return values

    def nearest(self) -> Iterator[dict[str, Any]]:
        """The few combinations and rates that are nearest to the paper."""
        far = [(self.distance(at), at) for at in self.at_rates()]
        finite = sorted((each for each in far if np.isfinite(each[0])), key=lambda each: each[0])
        for distance, at in finite[:NEAREST]:
            low, high = self.ends(self.distances(at))
            more = {"distance": distance, "low": low, "high": high}
            sizes = {
                str(size): median(self._published(at, size), self.rows.sequence) | {"paper": paper}
                for size, paper in self.paper.items()
            }
            yield self._shown(at) | more | {"sizes": sizes}

    def distances(self, at: _At) -> np.ndarray:
        """(RESAMPLES,) distances from the paper, with networks resampled."""
        found: np.ndarray = np.max(
            [
                _far(np.median(self._published(at, size)[self.drawn], axis=1), paper)
                for size, paper in self.paper.items()
            ],
            axis=0,
        )
        return found

    def ends(self, resampled: np.ndarray) -> tuple[float | None, float | None]:
        """Of an interval; (None, None) where there is one network of each sequence only."""
        if (self.drawn == self.drawn[0]).all():
            return None, None
        low, high = ends(resampled)
        return _number(low), _number(high)

    def _measures(self) -> list[tuple[str, np.ndarray]]:
        """What effects are shown on: the paper's metric, and what choices are made by."""
        rows = self.rows
        if rows.published is None:
            return [("error", rows.error)]
        if np.array_equal(rows.published, rows.error, equal_nan=True):
            return [("published", rows.published)]
        return [("published", rows.published), ("error", rows.error)]

    def effects(self) -> Iterator[dict[str, Any]]:
        """A row for each level of each factor, by each measure."""
        best = [at for at in self.at_rates() if at.which.startswith("best")]
        for measure, errors in self._measures():
            medians, resampled = self._grids(best, errors)
            for axis, (name, levels) in enumerate(self.factors.items()):
                if len(levels) > 1:
                    shown = {"model": self.model, "measure": measure, "factor": word_of(name)}
                    for row in self._effect(levels, axis, medians, resampled):
                        yield shown | row

    def _grids(self, best: Sequence[_At], errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Medians (*levels, sizes), and (RESAMPLES, *levels, sizes).

        NaN where there is no such combination, infinite where it has no best rate.
        """
        shape = (*(len(levels) for levels in self.factors.values()), len(self.sizes))
        medians = np.full(shape, np.nan)
        resampled = np.full((*shape, RESAMPLES), np.nan)
        for levels in self.by_rate:
            medians[self._place(levels)] = resampled[self._place(levels)] = np.inf
        for at in best:
            where = self._place(at.levels)
            for size, row in at.rows.items():
                place = (*where, self.sizes.index(size))
                values = errors[row].astype(float)
                medians[place] = np.median(values)
                resampled[place] = np.median(values[self.drawn], axis=1)
        return medians, np.moveaxis(resampled, -1, 0)

    def _place(self, level: Level) -> tuple[int, ...]:
        """The index of a combination's levels."""
        each = zip(self.factors.values(), level, strict=True)
        return tuple(levels.index(own) for levels, own in each)

    def _effect(
        self, levels: Sequence[str], axis: int, medians: np.ndarray, resampled: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """The levels of one factor: medians by size, and the ratio to the first."""
        count = len(self.sizes)
        mine = np.moveaxis(medians, axis, 0).reshape(
            len(levels), -1, count
        )  # (levels, others, sizes)
        again = np.moveaxis(resampled, axis + 1, 1)
        again = again.reshape(RESAMPLES, len(levels), -1, count)
        generator = np.random.default_rng(0)
        for level, name in enumerate(levels):
            row: dict[str, Any] = {"level": name, "ratio": None, "low": None, "high": None}
            ratios = _ratios(mine[level], mine[0])  # (others, sizes)
            there = np.flatnonzero(~np.isnan(ratios).all(axis=1))
            if level and len(there):
                picked = there[generator.integers(len(there), size=(RESAMPLES, len(there)))]
                every = _ratios(again[:, level], again[:, 0])
                drawn = np.take_along_axis(every, picked[:, :, None], axis=1)
                low, high = self.ends(_middle(drawn, (1, 2)))
                row |= {"ratio": _number(_middle(ratios, (0, 1))), "low": low, "high": high}
            middles = _middle(mine[level], 0)
            sizes = {str(size): _number(m) for size, m in zip(self.sizes, middles, strict=True)}
            used = int((~np.isnan(ratios if level else mine[0])).any(axis=1).sum())
            yield row | {"combinations": used, "sizes": sizes}


def _readings(models: Sequence[_Model]) -> list[dict[str, Any]]:
    """The few readings that are nearest to the paper, and which combination of each model it is."""
    if len(models) < 2:
        return []
    shared = [n for n in models[0].varied if all(n in model.varied for model in models)]
    by_reading: dict[tuple[str, ...], dict[str, tuple[float, _Model, _At]]] = {}
    for model in models:
        for at in model.at_rates():
            for rate in at.which.split(" and "):
                key = (rate, *model.settings(at, shared).values())
                own = by_reading.setdefault(key, {})
                mine = (model.distance(at), model, at)
                own[model.model] = min(own.get(model.model, mine), mine, key=lambda each: each[0])
    found = []
    for (rate, *_), own in by_reading.items():
        distance = max(each[0] for each in own.values())
        if len(own) == len(models) and np.isfinite(distance):
            found.append((distance, rate, own))
    rows = []
    for distance, rate, own in sorted(found, key=lambda each: each[0])[:NEAREST]:
        _, first, one = next(iter(own.values()))
        low, high = first.ends(
            np.max([model.distances(at) for _, model, at in own.values()], axis=0)
        )
        rows.append(
            {
                "settings": first.settings(one, shared),
                "rate": rate,
                "distance": distance,
                "low": low,
                "high": high,
                "models": {
                    name: {
                        "settings": model.settings(
                            at, (n for n in model.varied if n not in shared)
                        ),
                        "lr": at.lr,
                        "distance": far,
                    }
                    for name, (far, model, at) in own.items()
                },
            }
        )
    return rows


def _far(value: Any, paper: float) -> Any:
    """|log(value / paper)|; infinite for 0."""
    with np.errstate(divide="ignore"):
        return np.abs(np.log(value / paper))


def _ratios(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where both are 0, both infinite, or one is not there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: np.ndarray = above / below
    return found


def _middle(values: np.ndarray, axes: Any) -> np.ndarray:
    """The median of what is a number; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        found: np.ndarray = np.nanmedian(values, axis=axes)
    return found


def _number(value: Any) -> float | None:
    """For JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None
