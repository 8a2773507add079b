"""What a run of task 2 is worth: errors of every network, by group of words, and confusions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.features import FeatureOptions, read_word
from data_prep.standardise import apply

from ...statistics import conventions, statistics
from ...training.engine import LargestGradients
from ...training.evaluation import Evaluation
from ...training.folder import RunFolder
from ...training.stopping import BestNetworks, all_diverged, of_each
from .data import TimitData, cross_entropy, error_rate
from .engines import logits_of


@dataclass(frozen=True)
class TimitEvaluation(Evaluation[TimitData]):
    """A run's networks after training, each with the weights of its best epoch.

    Attributes:
        predicted: (R, S) int64 classes.
        error: (R,) float64 rate of wrong words.
        cross_entropy: (R,) float64.
        best_epoch: (R,) int64, whose weights are evaluated.
        stopped_at: (R,) int64, or -1 for those that ``epochs`` cut short.
        train_error: (R,) float64 rate of wrong training words at that epoch, without noise.
        lowest: (R,) float64, at that epoch, of what the network stops by.
        gradients: the longest in training.
    """

    predicted: np.ndarray
    error: np.ndarray
    cross_entropy: np.ndarray
    best_epoch: np.ndarray
    stopped_at: np.ndarray
    train_error: np.ndarray
    lowest: np.ndarray
    gradients: LargestGradients

    @property
    def labels(self) -> np.ndarray:
        """(S,) right classes."""
        labels = self.data.split(self.split).labels
        assert labels is not None
        return labels


def evaluate(run: RunFolder, data: TimitData, split: str) -> TimitEvaluation:
    """Run every network of a run over a split, without noise."""
    best = BestNetworks.of(run)
    part = data.split(split)
    assert part.labels is not None
    logits = logits_of(best.ensemble, np.arange(best.config.networks), part)
    return TimitEvaluation(
        config=best.config,
        data=data,
        split=split,
        epoch=best.epoch,
        ensemble=best.ensemble,
        diverged=best.diverged,
        predicted=logits.argmax(axis=2),
        error=error_rate(logits, part.labels),
        cross_entropy=cross_entropy(logits, part.labels),
        best_epoch=best.extra["best_epoch"].numpy(),
        stopped_at=best.extra["stopped_at"].numpy(),
        train_error=of_each(best.extra, "train_error"),
        lowest=best.extra["lowest"].numpy(),
        gradients=LargestGradients.of(best.extra, best.config.networks),
    )


def recognise(run: RunFolder, data: TimitData, file: Path) -> list[tuple[str, float]]:
    """The words of one sound file, the likeliest first, with their probabilities.

    The mean over the run's networks (those that did not diverge).

    Raises:
        UserError: no checkpoint, or see :func:`data_prep.features.read_word`; or all diverged.
    """
    best = BestNetworks.of(run)
    options = FeatureOptions(**data.features)
    frames = apply(read_word(file, options), data.train.shift, data.train.scale)
    x = torch.from_numpy(frames).expand(best.config.networks, 1, -1, -1)
    with torch.no_grad():
        logits = best.ensemble.readout(best.ensemble.hidden(x)[:, 0, -1:])[:, 0]
    finite = torch.from_numpy(~best.diverged) & logits.isfinite().all(dim=1)
    if not finite.any():
        raise all_diverged(run)
    likely = logits[finite].double().softmax(dim=1).mean(dim=0)
    order = likely.argsort(descending=True).tolist()
    return [(data.words[i], float(likely[i])) for i in order]


def about(evaluation: TimitEvaluation) -> dict[str, Any]:
    """See :meth:`cwrnn_cli.training.task.Task.about`."""
    return {
        "split": evaluation.split,
        "sequences": len(evaluation.labels),
        "groups": [{"words": group} for group in evaluation.data.groups],
        "words": evaluation.data.words,
    }


def numbers(
    about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], shared: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """See :meth:`cwrnn_cli.training.task.Task.numbers`: overall, per group, and the confusions."""
    finite, labels, words = ~arrays["diverged"], shared["labels"], about["words"]
    wrong = arrays["predicted"] != labels  # (R, S)
    groups = []
    for group in about["groups"]:
        mine = np.isin(labels, [words.index(word) for word in group["words"]])
        error = statistics(wrong[finite][:, mine].mean(axis=1))
        groups.append(group | {"metrics": {"error": error}})
    measured = ("error", "cross_entropy", "train_error", "best_epoch")
    return {
        "metrics": {name: statistics(arrays[name][finite].astype(float)) for name in measured},
        "medians": conventions(arrays["error"], arrays["diverged"], 1 - 1 / len(words)),
        "cut_short": int((arrays["stopped_at"] < 0).sum()),
        "groups": groups,
        "confusion": confusion(labels, arrays["predicted"][finite], len(words)).tolist(),
    }


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) int64: how often row was taken for column.

    Args:
        labels: (S,) right classes.
        predicted: (R, S) of each network.
        classes: K.
    """
    pairs = np.broadcast_to(labels, predicted.shape) * classes + predicted
    return np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)


def arrays(evaluation: TimitEvaluation) -> dict[str, np.ndarray]:
    """A cell's part of results.h5: a row per network."""
    return {
        "error": evaluation.error,
        "cross_entropy": evaluation.cross_entropy,
        "predicted": evaluation.predicted.astype(np.int16),
        "diverged": evaluation.diverged,
        "best_epoch": evaluation.best_epoch.astype(np.int32),
        "stopped_at": evaluation.stopped_at.astype(np.int32),
        "train_error": evaluation.train_error,
        **evaluation.gradients.arrays(),
    }
