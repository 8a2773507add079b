"""Figure 3 over many sounds: where is the CW-RNN ahead, and what sort of sound is that?

Medians are over all networks of a cell: one that diverged counts as one that gives the constant
mean (``as_constant`` of :func:`cwrnn_cli.statistics.conventions`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...models import ClockworkSpec, LSTMSpec
from ...paper import AUDIO
from ...statistics import median, share, spearman
from ...training.results import Key
from ...training.survey import Survey, SurveyRows
from . import sounds_report
from .data import AudioData, deviation
from .descriptions import DESCRIPTIONS
from .evaluate import AudioEvaluation

_FULL = 32767  # a target of 1, as it is kept
NEAR = (1.5, 2.0)  # factors
EVEN = 1.1  # a ratio of medians that is hardly one
NEAREST = 5  # sounds that are listed
Medians = Mapping[Key, np.ndarray]  # of each sound, (P,)


class SoundsSurvey(Survey[AudioData, AudioEvaluation]):
    """Of each network its MSE, of each sound its sequences; all else follows from these."""

    corpora: ClassVar[str] = "sounds"

    def arrays(self, evaluation: AudioEvaluation) -> dict[str, np.ndarray]:
        """``mse`` and ``diverged`` of network ``run * S + sequence``."""
        return {"mse": evaluation.metrics["mse"], "diverged": evaluation.diverged}

    def of_corpus(self, data: AudioData) -> dict[str, np.ndarray]:
        """``targets``: (S, T) int16, 32767 is 1."""
        return {"targets": np.round(data.targets * _FULL).astype(np.int16)}

    def errors(self, rows: SurveyRows, key: Key) -> np.ndarray:
        """MSE/σ."""
        mse = rows.cells[key]["mse"].astype(float)
        found: np.ndarray = mse / _sigma(rows, mse.shape[1])
        return found

    def comparison(self, rows: SurveyRows) -> dict[str, Any]:
        """See :class:`.Survey`."""
        scales = medians(rows)
        described = descriptions(rows)
        papers = scales["nmse_paper"]
        first = next(iter(rows.configs.values()))
        factors = {n: factors_of(papers, keys) for n, keys in _parts(papers).items() if keys}
        return {
            "task": rows.task,
            "runs": first["runs"],
            "sequences": first["sequences"],
            "epochs": first["epochs"],
            "files": len({corpus["data"]["name"] for corpus in rows.corpora}),
            "sounds": [
                {
                    "name": name,
                    "medians": {s: _by_cell(values, i) for s, values in scales.items()},
                    "diverged": {
                        f"{model}/{params}": int(arrays["diverged"][i].sum())
                        for (model, params), arrays in rows.cells.items()
                    },
                    "descriptions": {n: _short(values[i]) for n, values in described.items()},
                    "factors": {part: _short(each.largest[i]) for part, each in factors.items()},
                }
                for i, name in enumerate(rows.names)
            ],
            "ahead": {scale: ahead(rows, values) for scale, values in scales.items()},
            "correlations": correlations(rows, papers, described),
            "distance": {part: distance(rows.names, each) for part, each in factors.items()},
        }

    def text(self, rows: SurveyRows) -> str:
        """See :class:`.Survey`."""
        return sounds_report.text(rows, self.comparison(rows))

    def figures(self, out: Path, rows: SurveyRows, caption: str) -> list[Path]:
        """See :class:`.Survey`."""
        found = medians(rows)["nmse_paper"]
        return [sounds_report.figure(out / "figure.png", rows, found, caption)]


def sequences(rows: SurveyRows) -> np.ndarray:
    """(P, S, T) float64 in [-1, 1]."""
    found: np.ndarray = rows.of_corpora["targets"] / _FULL
    return found


def medians(rows: SurveyRows) -> dict[str, dict[Key, np.ndarray]]:
    """``nmse_paper`` (MSE/σ) and ``nmse`` (MSE/σ²) -> (model, parameters) -> (P,) medians."""
    found: dict[str, dict[Key, np.ndarray]] = {"nmse_paper": {}, "nmse": {}}
    for key, arrays in rows.cells.items():
        mse = arrays["mse"].astype(float)  # (P, R)
        sigma = _sigma(rows, mse.shape[1])
        counted = np.where(arrays["diverged"], sigma**2, mse)
        found["nmse_paper"][key] = np.median(counted / sigma, axis=1)
        found["nmse"][key] = np.median(counted / sigma**2, axis=1)
    return found


def _sigma(rows: SurveyRows, networks: int) -> np.ndarray:
    """(P, R) σ of the sequence that each network learnt."""
    each = np.stack([deviation(sound) for sound in sequences(rows)])
    return np.tile(each, networks // each.shape[1])


def descriptions(rows: SurveyRows) -> dict[str, np.ndarray]:
    """Name -> (P,) means over a sound's sequences of :data:`.descriptions.DESCRIPTIONS`."""
    return {
        name: np.array([each.of(sound).mean() for sound in sequences(rows)])
        for name, each in DESCRIPTIONS.items()
    }


def ahead(rows: SurveyRows, values: Medians) -> dict[str, dict[str, Any]]:
    """Parameters -> other model -> on how many sounds the CW-RNN's median is below the other's.

    Returns:
        Of each: ``sounds``, ``ahead``, ``share`` with its exact interval ``low``, ``high`` (over
        sounds, as if they were independent); ``ratio`` of the other's median to ours, its median
        over sounds with a bootstrap interval; ``least`` and ``most`` of it; ``not_ahead``: names;
        ``even``: of those that are ahead by less than :data:`EVEN`.
    """
    found: dict[str, dict[str, Any]] = {}
    for params in rows.sizes:
        for other, ratio in _ratios(rows, values, params).items():
            won = ratio > 1
            found.setdefault(str(params), {})[other] = {
                "sounds": len(won),
                "ahead": int(won.sum()),
                **share(int(won.sum()), len(won)),
                "ratio": median(ratio),
                "least": float(ratio.min()),
                "most": float(ratio.max()),
                "not_ahead": _which(rows, ~won),
                "even": _which(rows, won & (ratio < EVEN)),
            }
    return found


def _which(rows: SurveyRows, chosen: np.ndarray) -> list[str]:
    return [name for name, yes in zip(rows.names, chosen, strict=True) if yes]


def _ratios(rows: SurveyRows, values: Medians, params: int) -> dict[str, np.ndarray]:
    """Other model -> (P,) its medians over the CW-RNN's."""
    ours = ClockworkSpec.name
    if (ours, params) not in values:
        return {}
    return {
        model: values[model, params] / values[ours, params]
        for model in rows.models
        if model != ours and (model, params) in values
    }


def correlations(
    rows: SurveyRows, values: Medians, described: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Description -> parameters -> model, or MODEL_over_cw -> Spearman's over sounds.

    It is the same for medians and for their logarithms.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, each in described.items():
        for params in rows.sizes:
            pairs = {m: v for (m, p), v in values.items() if p == params}
            for other, ratio in _ratios(rows, values, params).items():
                pairs[f"{other}_over_{ClockworkSpec.name}"] = ratio
            found.setdefault(name, {})[str(params)] = {
                what: spearman(each, those) for what, those in pairs.items()
            }
    return found


def _parts(values: Medians) -> dict[str, list[Key]]:
    """What is compared with the paper: all of Figure 3, a row of it, a column."""
    every = [(m, p) for m, p in values if p in AUDIO.medians.get(m, {})]
    largest = max((p for _, p in every), default=0)
    return {
        "all": every,
        LSTMSpec.name: [key for key in every if key[0] == LSTMSpec.name],
        ClockworkSpec.name: [key for key in every if key[0] == ClockworkSpec.name],
        str(largest): [key for key in every if key[1] == largest],
    }


@dataclass(frozen=True)
class Factors:
    """How far each sound is from the paper's Figure 3.

    Attributes:
        cells: (K,) that count.
        logs: (K, P) of our median over the paper's.
    """

    cells: Sequence[Key]
    logs: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """(P,) the largest factor, either way, by which any cell's median differs."""
        found: np.ndarray = np.exp(np.abs(self.logs).max(axis=0))
        return found


def factors_of(values: Medians, cells: Sequence[Key]) -> Factors:
    """Medians of MSE/σ against the paper's."""
    ratios = [values[m, p] / AUDIO.medians[m][p] for m, p in cells]
    return Factors(cells, np.log(np.array(ratios)))


def distance(names: Sequence[str], factors: Factors) -> dict[str, Any]:
    """Which sounds are nearest to the paper.

    Args:
        names: (P,) of the sounds.
        factors: theirs.

    Returns:
        ``cells``: how many count; ``nearest`` sounds: ``name``, ``factor`` (the largest of its
        cells), ``furthest`` (that cell), ``above``: whether ours is above the paper's there;
        ``within``: factor -> names of the sounds that are within it in all cells.
    """
    largest, worst = factors.largest, np.abs(factors.logs).argmax(axis=0)
    nearest = []
    for i in largest.argsort(kind="stable")[:NEAREST]:
        model, params = factors.cells[worst[i]]
        row = {"name": names[i], "factor": _short(largest[i]), "furthest": f"{model}/{params}"}
        nearest.append(row | {"above": bool(factors.logs[worst[i], i] > 0)})
    within = {
        f"{f:g}": [n for n, each in zip(names, largest, strict=True) if each <= f] for f in NEAR
    }
    return {"cells": len(factors.cells), "nearest": nearest, "within": within}


def _by_cell(values: Medians, index: int) -> dict[str, float]:
    return {f"{model}/{params}": _short(each[index]) for (model, params), each in values.items()}


def _short(value: float) -> float:
    """To six digits: there are many."""
    return float(f"{value:.6g}")
