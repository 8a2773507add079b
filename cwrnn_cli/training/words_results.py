"""What a run of task 2 is worth: errors of every network, by group of words, and confusions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.features import FeatureOptions, read_word

from ..models.ensemble import Ensemble
from ..tasks import words
from .config import TrainConfig
from .folder import RunFolder
from .results import check_data, heading, statistics
from .stopping import best_networks
from .words_engines import logits_of


@dataclass(frozen=True)
class Evaluation:
    """A run's networks after training, each with the weights of its best epoch.

    Attributes:
        config: of the run.
        data: the words.
        split: "test" or "train".
        epoch: epochs that the last network took.
        ensemble: the networks.
        predicted: (R, S) int64 classes.
        error: (R,) float64 rate of wrong words.
        cross_entropy: (R,) float64.
        diverged: (R,) bool; their errors are no results.
        best_epoch: (R,) int64, whose weights are judged.
        stopped_at: (R,) int64, or -1 for those that ``epochs`` cut short.
        train_error: (R,) float64 rate of wrong training words at that epoch, without noise.
    """

    config: TrainConfig
    data: words.WordsData
    split: str
    epoch: int
    ensemble: Ensemble
    predicted: np.ndarray
    error: np.ndarray
    cross_entropy: np.ndarray
    diverged: np.ndarray
    best_epoch: np.ndarray
    stopped_at: np.ndarray
    train_error: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(S,) right classes."""
        labels = self.data.split(self.split).labels
        assert labels is not None
        return labels

    def confusion(self) -> np.ndarray:
        """(K, K) int64: how often the networks that did not diverge heard column for row."""
        count = len(self.data.words)
        right = np.broadcast_to(self.labels, self.predicted.shape)[~self.diverged]
        pairs = right * count + self.predicted[~self.diverged]
        return np.bincount(pairs.ravel(), minlength=count**2).reshape(count, count)

    def group_errors(self, group: list[str]) -> np.ndarray:
        """(R,) rate of wrong words among those of a group."""
        classes = [self.data.words.index(word) for word in group]
        mine = np.isin(self.labels, classes)
        rate: np.ndarray = (self.predicted[:, mine] != self.labels[mine]).mean(axis=1)
        return rate


def evaluate(
    folder: RunFolder, data_path: Path | None = None, split: str | None = None
) -> Evaluation:
    """Run every network of a run over a split (default: test), without noise.

    Raises:
        UserError: no such run, no checkpoint, or other data than it was trained on; no such split.
    """
    split = split or "test"
    if split not in ("train", "test"):
        raise UserError(f"--split {split}: task timit has the splits train and test")
    config, ensemble, extra, epoch = best_networks(folder)
    data = words.load(data_path or Path(config.data_path))
    check_data(config, data)
    part = data.split(split)
    assert part.labels is not None
    logits = logits_of(ensemble, np.arange(config.networks), part)
    return Evaluation(
        config=config,
        data=data,
        split=split,
        epoch=epoch,
        ensemble=ensemble,
        predicted=logits.argmax(axis=2),
        error=words.error_rate(logits, part.labels),
        cross_entropy=words.cross_entropy(logits, part.labels),
        diverged=extra["diverged_at"].numpy() >= 0,
        best_epoch=extra["best_epoch"].numpy(),
        stopped_at=extra["stopped_at"].numpy(),
        train_error=extra["train_error"].numpy(),
    )


def recognise(
    folder: RunFolder, file: Path, data_path: Path | None = None
) -> list[tuple[str, float]]:
    """The words of one sound file, the likeliest first, with their probabilities.

    The mean over the run's networks (those that did not diverge).

    Raises:
        UserError: see :func:`evaluate` and :func:`data_prep.features.read_word`; or all diverged.
    """
    config, ensemble, extra, _ = best_networks(folder)
    data = words.load(data_path or Path(config.data_path))
    check_data(config, data)
    options = FeatureOptions(**data.features)
    frames = (read_word(file, options) - data.train.shift) / data.train.scale
    sane = extra["diverged_at"] < 0
    if not sane.any():
        raise UserError(f"{folder.path}: every network diverged; train with a lower --lr")
    x = torch.from_numpy(frames.astype(np.float32)).expand(config.networks, 1, -1, -1)
    with torch.no_grad():
        logits = ensemble.readout(ensemble.hidden(x)[:, 0, -1:])[:, 0]
    likely = logits[sane].double().softmax(dim=1).mean(dim=0)
    order = likely.argsort(descending=True).tolist()
    return [(data.words[i], float(likely[i])) for i in order]


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The JSON of `cwrnn eval`: overall, per group of words, and the confusions."""
    config, sane = evaluation.config, ~evaluation.diverged
    groups = [
        {
            "words": group,
            "metrics": {"error": statistics(evaluation.group_errors(group)[sane])},
        }
        for group in evaluation.data.groups
    ]
    return heading(config, evaluation.epoch, evaluation.diverged) | {
        "split": evaluation.split,
        "sequences": len(evaluation.labels),
        "metrics": {
            "error": statistics(evaluation.error[sane]),
            "cross_entropy": statistics(evaluation.cross_entropy[sane]),
            "train_error": statistics(evaluation.train_error[sane]),
            "best_epoch": statistics(evaluation.best_epoch[sane].astype(np.float64)),
        },
        "cut_short": int((evaluation.stopped_at < 0).sum()),
        "groups": groups,
        "words": evaluation.data.words,
        "confusion": evaluation.confusion().tolist(),
    }


def collect(group: Any, evaluation: Evaluation) -> None:
    """A cell's part of results.h5: a row per network.

    Args:
        group: h5py group of the cell.
        evaluation: of the cell.
    """
    group["error"] = evaluation.error.astype(np.float32)
    group["cross_entropy"] = evaluation.cross_entropy.astype(np.float32)
    group["predicted"] = evaluation.predicted.astype(np.int16)
    group["diverged"] = evaluation.diverged
    group["best_epoch"] = evaluation.best_epoch.astype(np.int32)
    group["stopped_at"] = evaluation.stopped_at.astype(np.int32)
    group["train_error"] = evaluation.train_error.astype(np.float32)
    if "labels" not in group.file:
        group.file["labels"] = evaluation.labels
