"""What a run of task 1 is worth: errors of every network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from data_prep.errors import UserError

from ...statistics import conventions, statistics, within
from ...training.checkpoints import Checkpoint
from ...training.config import TrainConfig
from ...training.engine import LargestGradients
from ...training.evaluation import Evaluation
from ...training.stopping import AtTheEnd, last_networks
from . import data as audio

_MAIN = "nmse_paper"  # the paper's scale


@dataclass(frozen=True)
class AudioEvaluation(Evaluation[audio.AudioData]):
    """A run's networks after training.

    Attributes:
        outputs: (R, T) float32, network ``run * S + sequence``.
        metrics: name -> (R,) float64, as :func:`.data.metrics`.
        diverged_at: (R,) int64, the epoch of the first excursion, or -1.
        excursions: (R,) int64, in how many epochs its MSE was as if it had diverged.
        gradients: the longest in training.
    """

    outputs: np.ndarray
    metrics: dict[str, np.ndarray]
    diverged_at: np.ndarray
    excursions: np.ndarray
    gradients: LargestGradients

    def sequence_of(self) -> np.ndarray:
        """(R,) index of each network's sequence."""
        return np.arange(self.config.networks) % self.config.sequences

    def best(self, sequence: int) -> int:
        """Index of the network with the least error on a sequence.

        Raises:
            UserError: all that learnt it diverged.
        """
        mine = np.flatnonzero((self.sequence_of() == sequence) & self.finite)
        if not len(mine):
            raise UserError(
                f"sequence {sequence + 1}: every network diverged; train with a lower --lr"
            )
        return int(mine[self.metrics["mse"][mine].argmin()])


@torch.no_grad()
def evaluate_networks(
    config: TrainConfig, data: audio.AudioData, last: Checkpoint
) -> AudioEvaluation:
    """Run every network of a run once, as they are in its last checkpoint."""
    ensemble = last_networks(config, last)
    stop = AtTheEnd(config.networks)
    stop.restore(last.extra)
    x = audio.silence(config.networks, config.length, ensemble.weight_hh)
    outputs = ensemble(x)[:, 0, :, 0].numpy()
    metrics = audio.metrics(outputs, np.tile(data.targets, (config.runs, 1)))
    return AudioEvaluation(
        config=config,
        data=data,
        split="train",
        epoch=last.epoch,
        ensemble=ensemble,
        diverged=audio.diverged(metrics["mse"]),
        outputs=outputs,
        metrics=metrics,
        diverged_at=stop.diverged_at,
        excursions=stop.excursions,
        gradients=LargestGradients.of(last.extra, config.networks),
    )


def numbers(
    about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], shared: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """See :meth:`cwrnn_cli.training.task.Task.numbers`: errors, overall and per sequence."""
    # MSE/σ of a network that gives the constant mean
    constant = audio.deviation(shared["targets"])[arrays["sequence"]]

    errors = {name: arrays[name].astype(float) for name in audio.METRICS}

    def of(mine: np.ndarray) -> dict[str, Any]:
        diverged, finite = arrays["diverged"][mine], mine & ~arrays["diverged"]
        return {
            "diverged": int(diverged.sum()),
            "metrics": {name: statistics(errors[name][finite]) for name in audio.METRICS},
            "medians": conventions(
                errors[_MAIN][mine], diverged, constant[mine], arrays["sequence"][mine]
            ),
        }

    every, finite = np.ones_like(arrays["diverged"]), ~arrays["diverged"]
    return of(every) | {
        "within": within(errors[_MAIN][finite], arrays["sequence"][finite]),
        "sequences": [
            {"name": sequence["name"]} | of(arrays["sequence"] == index)
            for index, sequence in enumerate(about["sequences"])
        ],
    }


def arrays(evaluation: AudioEvaluation) -> dict[str, np.ndarray]:
    """A cell's part of results.h5: a row per network, and each sequence's best wave.

    Errors are what they are, those of diverged networks too: infinite or no number at all.
    """
    config = evaluation.config
    return {
        "run": (np.arange(config.networks) // config.sequences).astype(np.int32),
        "sequence": evaluation.sequence_of().astype(np.int32),
        "diverged": evaluation.diverged,
        "diverged_at": evaluation.diverged_at.astype(np.int32),
        "excursions": evaluation.excursions.astype(np.int32),
        **evaluation.gradients.arrays(),
        **_single(evaluation.metrics),
        "best": _best_waves(evaluation),
    }


def _single(errors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Errors in single precision, as the networks are; too large ones are infinite."""
    with np.errstate(over="ignore"):
        return {name: values.astype(np.float32) for name, values in errors.items()}


def _best_waves(evaluation: AudioEvaluation) -> np.ndarray:
    """(S, T) output of the best network of each sequence; NaN where all diverged."""
    waves = np.full(evaluation.data.targets.shape, np.nan, np.float32)
    for sequence in range(len(waves)):
        try:
            waves[sequence] = evaluation.outputs[evaluation.best(sequence)]
        except UserError:
            continue
    return waves
