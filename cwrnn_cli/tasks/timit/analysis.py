"""`cwrnn analyse` for task 2: what a module's state tells of a word, and the error without it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ...models.ensemble import Ensemble
from ...models.modules import modules_of
from ...reporting.analysis import (
    ablation,
    ablation_lines,
    draw_ablation,
    module_columns,
    opening,
)
from ...reporting.figures import finish, pyplot, shades
from ...reporting.tables import percent, percent_plus_minus, table
from ...statistics import statistics
from ...training.analysis import Analyser, Analysis, Rows
from ...training.evaluation import Evaluation
from ...training.folder import RunFolder
from ...training.stopping import BestNetworks, all_diverged
from .data import TimitData, error_rate, padded
from .engines import logits_of
from .probe import chosen, fit

TIMES = tuple(tenth / 10 for tenth in range(1, 11))  # of a word's length
READINGS = {
    "word": "the word",
    "beginning": "the word, among those that end alike",
    "ending": "the group of words that end alike",
}
INPUT, ALL = "input", "all"
_TOGETHER = 16  # networks
_SPLIT = "test"


class TimitAnalyser(Analyser[TimitData]):
    """Probes and ablation of all networks that did not diverge, on the test set."""

    def analyse(self, run: RunFolder, data: TimitData, **options: Any) -> Analysis:
        """See :class:`Analyser`."""
        best = BestNetworks.of(run)
        if best.diverged.all():
            raise all_diverged(run)
        parts = best.config, data, _SPLIT, best.epoch, best.ensemble, best.diverged
        about = Evaluation(*parts).heading() | {"split": _SPLIT, "words": data.words}
        networks = best.ensemble.part(torch.from_numpy(np.flatnonzero(~best.diverged)))
        chance = chances(data)
        probes = probe_rows(networks, data)
        errors = ablation(networks, partial(_errors, split=data.test))
        about |= {"chance": chance, "groups": data.groups}
        caption = f"{opening(about, '')[1]}, {len(data.test)} words of the {_SPLIT} set"
        counted = f"{networks.networks} networks"
        figures = {
            "probes": partial(
                draw_probes, rows=probes, chance=chance, caption=f"{caption}; mean of {counted}"
            ),
            "ablation": partial(
                draw_ablation,
                rows=[row | {"percent": 100 * row["mean"]} for row in errors],
                column="percent",
                label="test errors, %, mean",
                caption=f"{caption}; {counted}",
            ),
        }
        text = _text(about, probes, errors, chance)
        return Analysis(about, {"probes": probes, "ablation": errors}, text, figures)


def _errors(networks: Ensemble, split: Split) -> dict[str, Any]:
    """Rate of wrong words over networks."""
    assert split.labels is not None
    wrong = error_rate(logits_of(networks, np.arange(networks.networks), split), split.labels)
    found = statistics(wrong)
    return {name: found[name] for name in ("mean", "std", "median")} | {"networks": len(wrong)}


def states(networks: Ensemble, split: Split) -> tuple[Tensor, Tensor]:
    """What the hidden layer and the input are at :data:`TIMES` of each word.

    The state at a relative time r of a word of T steps is that at step ceil(r T) - 1.

    Returns:
        (R, S, times, D n) outputs of the hidden layer, and (1, S, times, m) frames; float64.
    """
    x, lengths = padded(split, np.arange(len(split)), split.frames)
    at = torch.tensor([[ceil(r * t - 1e-9) - 1 for r in TIMES] for t in lengths.tolist()])
    at = at.clamp(min=0)[None, :, :, None]  # (1, S, times, 1)
    found = []
    for some in torch.split(torch.arange(networks.networks), _TOGETHER):
        part = networks.part(some)
        y = part.hidden(x.expand(len(some), -1, -1, -1), lengths=lengths.expand(len(some), -1))
        found.append(y.gather(2, at.expand(len(some), -1, -1, y.shape[3])))
    return torch.cat(found).double(), x[None].gather(2, at.expand(-1, -1, -1, x.shape[2])).double()


@torch.no_grad()
def probe_rows(networks: Ensemble, data: TimitData) -> Rows:
    """A row per module and time: rates of right test words (mean, std), and the strengths chosen.

    Also of the input frame at that time (one probe), and of all modules together.
    """
    train, test = (states(networks, split) for split in (data.train, data.test))
    labels = [torch.from_numpy(split.labels) for split in (data.train, data.test)]
    rows = []
    for name, columns, which, units in _sources(networks, data):
        for i, time in enumerate(TIMES):
            mine = [part[which][:, :, i, units] for part in (train, test)]
            scores, strengths = _scores(mine[0], labels[0], mine[1], len(data.words))
            row: dict[str, Any] = {"source": name, **columns, "time": time}
            for reading, right in right_words(scores, labels[1].numpy(), data).items():
                found = statistics(right)
                row |= {reading: found["mean"], f"{reading}_std": found["std"]}
            rows.append(row | {"strength_median": float(strengths.median())})
    return rows


def _scores(train: Tensor, labels: Tensor, test: Tensor, classes: int) -> tuple[np.ndarray, Tensor]:
    """(R, S, K) scores of test words, and the (R,) strengths of the probes; features (R, S, k)."""
    scores, strengths = [], []
    parts = (torch.split(features, _TOGETHER) for features in (train, test))
    for some, others in zip(*parts, strict=True):
        strengths.append(chosen(some, labels, classes))
        scores.append(fit(some, labels, classes, strengths[-1])(others))
    return torch.cat(scores).numpy(), torch.cat(strengths)


def _sources(
    networks: Ensemble, data: TimitData
) -> Iterator[tuple[str, dict[str, Any], int, slice]]:
    """Name, columns of the table, whether of hidden layer (0) or input (1), and which units."""
    for module in modules_of(networks.shape):
        yield module.name, module_columns(module), 0, module.units
    nothing: dict[str, Any] = {"module": "", "period": None, "direction": ""}
    width = networks.weight_out.shape[2]
    yield ALL, nothing | {"units": width}, 0, slice(0, width)
    features = data.train.frames.shape[1]
    yield INPUT, nothing | {"units": features}, 1, slice(0, features)


def right_words(scores: np.ndarray, labels: np.ndarray, data: TimitData) -> dict[str, np.ndarray]:
    """Rates at which scores are right, by :data:`READINGS`, for each network.

    ``beginning`` is of the words of groups of several only: of all words that end as the right one
    does, the one with the greatest score. Words of no group are groups of their own.

    Args:
        scores: (R, S, K).
        labels: (S,) right classes.
        data: for its groups.

    Returns:
        Each (R,); a reading that says nothing of these words is not there.
    """
    group = groups_of(data)
    predicted = scores.argmax(axis=2)  # (R, S)
    alike = group[labels][:, None] == group[None]  # (S, K)
    among = np.where(alike, scores, -np.inf).argmax(axis=2) == labels
    several = alike.sum(axis=1) > 1
    found = {"word": (predicted == labels).mean(axis=1)}
    if several.any():
        found["beginning"] = among[:, several].mean(axis=1)
    if len(set(group.tolist())) > 1:
        found["ending"] = (group[predicted] == group[labels]).mean(axis=1)
    return found


def groups_of(data: TimitData) -> np.ndarray:
    """(K,) int64: the group of each word."""
    number = {word: i for i, group in enumerate(data.groups) for word in group}
    more = {w: len(data.groups) + i for i, w in enumerate(data.words) if w not in number}
    return np.array([(number | more)[word] for word in data.words])


def chances(data: TimitData) -> dict[str, float]:
    """The rate at which :func:`right_words` of scores that say nothing are right, by reading."""
    labels, group = data.test.labels, groups_of(data)
    assert labels is not None
    size = (group[labels][:, None] == group[None]).sum(axis=1)  # (S,) words of each one's group
    found = {"word": 1 / len(data.words)}
    if (size > 1).any():
        found["beginning"] = float((1 / size[size > 1]).mean())
    if len(set(group.tolist())) > 1:
        found["ending"] = float((size / len(data.words)).mean())
    return found


def _text(about: Mapping[str, Any], probes: Rows, errors: Rows, chance: Mapping[str, float]) -> str:
    many = f"{errors[0]['networks']} of {about['networks']} networks did not diverge"
    lines = [*opening(about, many), ""]
    header = ("state of module", *(f"at {time:g}" for time in TIMES))
    for reading, guess in chance.items():
        rows = [
            [name, *(percent(row[reading]) for row in probes if row["source"] == name)]
            for name in _names(probes)
        ]
        lines += [
            f"{READINGS[reading]}: right test words in %, mean over the networks; "
            f"chance {percent(guess)}",
            table(header, rows),
            "",
        ]
    lines += [
        "by a ridge regression for each network, module and time (a fraction of the word's "
        "length), fitted to training words; its strength by cross-validation on these",
        "",
    ]
    title = "test errors in % with a module silenced: mean±s.d. over the networks"
    return "\n".join(lines + ablation_lines(errors, percent_plus_minus, title))


def _names(probes: Rows) -> list[str]:
    return list(dict.fromkeys(row["source"] for row in probes))


def draw_probes(path: Path, rows: Rows, chance: Mapping[str, float], caption: str) -> None:
    """A panel per reading: rates of right words by module and time.

    Args:
        path: PNG file to write.
        rows: of :func:`probe_rows`.
        chance: of :func:`chances`.
        caption: data and how it was made.
    """
    names: Sequence[str] = _names(rows)
    plt = pyplot()
    size = (3.4 * len(chance) + 1.2, 0.3 * len(names) + 2)
    figure, axes = plt.subplots(1, len(chance), figsize=size, squeeze=False, sharey=True)
    for axis, (reading, guess) in zip(axes[0], chance.items(), strict=True):
        rates = np.array([[r[reading] for r in rows if r["source"] == name] for name in names])
        axis.imshow(100 * rates, cmap=shades(), vmin=0, vmax=100, aspect="auto")
        for (i, j), rate in np.ndenumerate(100 * rates):
            dark = "white" if rate > 75 else "#222222"
            axis.text(j, i, f"{rate:.0f}", ha="center", va="center", fontsize=6, color=dark)
        axis.set_xticks(range(len(TIMES)), [f"{time:g}" for time in TIMES], fontsize=6)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.set_title(f"{READINGS[reading]}\n(chance {percent(guess)} %)", fontsize=7)
        axis.set_xlabel("time, of the word's length", fontsize=7)
    axes[0, 0].set_ylabel("state of the module of period", fontsize=7)
    finish(figure, path, f"right test words in % by a linear probe; {caption}")
