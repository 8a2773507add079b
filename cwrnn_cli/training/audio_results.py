"""What a run of task 1 is worth: errors of every network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.errors import UserError

from ..models.ensemble import Ensemble
from ..tasks import audio
from .config import TrainConfig
from .folder import RunFolder
from .results import check_data, heading, statistics


@dataclass(frozen=True)
class Evaluation:
    """A run's networks after training.

    Attributes:
        config: of the run.
        data: the sequences.
        epoch: epochs trained.
        ensemble: the networks.
        outputs: (R, T) float32, network ``run * S + sequence``.
        metrics: name -> (R,) float64, as :func:`cwrnn_cli.tasks.audio.metrics`.
        diverged: (R,) bool; their metrics are no results.
        diverged_at: (R,) int64, the epoch of the first excursion, or -1.
    """

    config: TrainConfig
    data: audio.AudioData
    epoch: int
    ensemble: Ensemble
    outputs: np.ndarray
    metrics: dict[str, np.ndarray]
    diverged: np.ndarray
    diverged_at: np.ndarray

    def sequence_of(self) -> np.ndarray:
        """(R,) index of each network's sequence."""
        return np.arange(self.config.networks) % self.config.sequences

    def best(self, sequence: int) -> int:
        """Index of the network with the least error on a sequence.

        Raises:
            UserError: all that learnt it diverged.
        """
        mine = np.flatnonzero((self.sequence_of() == sequence) & ~self.diverged)
        if not len(mine):
            raise UserError(
                f"sequence {sequence + 1}: every network diverged; train with a lower --lr"
            )
        return int(mine[self.metrics["mse"][mine].argmin()])


def evaluate(
    folder: RunFolder, data_path: Path | None = None, split: str | None = None
) -> Evaluation:
    """Run every network of a run once.

    Raises:
        UserError: no such run, no checkpoint, or other data than it was trained on; a split other
            than "train".
    """
    if split not in (None, "train"):
        raise UserError(f"--split {split}: task audio has one split, train")
    config = folder.config()
    data = audio.load(data_path or Path(config.data_path))
    check_data(config, data)
    last = folder.checkpoint()
    return judge(config, data, last.weights, last.epoch, last.extra["diverged_at"].numpy())


@torch.no_grad()
def judge(
    config: TrainConfig,
    data: audio.AudioData,
    weights: dict[str, torch.Tensor],
    epoch: int,
    diverged_at: np.ndarray,
) -> Evaluation:
    """Run every network once, given its weights; arguments as the fields of :class:`Evaluation`."""
    ensemble = Ensemble(config.shape, config.networks)
    ensemble.load_state_dict(weights)
    x = audio.silence(config.networks, config.length, ensemble.weight_hh)
    outputs = ensemble(x)[:, 0, :, 0].numpy()
    metrics = audio.metrics(outputs, np.tile(data.targets, (config.runs, 1)))
    return Evaluation(
        config,
        data,
        epoch,
        ensemble,
        outputs,
        metrics,
        audio.diverged(metrics["mse"]),
        diverged_at,
    )


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The JSON of `cwrnn eval`: overall and per sequence."""
    config, sane = evaluation.config, ~evaluation.diverged
    sequences = []
    for index, name in enumerate(evaluation.data.names):
        mine = evaluation.sequence_of() == index
        sequences.append(
            {
                "name": name,
                "diverged": int((mine & ~sane).sum()),
                "metrics": {
                    metric: statistics(values[mine & sane])
                    for metric, values in evaluation.metrics.items()
                },
            }
        )
    return heading(config, evaluation.epoch, evaluation.diverged) | {
        "metrics": {
            metric: statistics(values[sane]) for metric, values in evaluation.metrics.items()
        },
        "sequences": sequences,
    }


def collect(group: Any, evaluation: Evaluation) -> None:
    """A cell's part of results.h5: a row per network, and each sequence's best wave.

    Args:
        group: h5py group of the cell.
        evaluation: of the cell.
    """
    config = evaluation.config
    group["run"] = (np.arange(config.networks) // config.sequences).astype(np.int32)
    group["sequence"] = evaluation.sequence_of().astype(np.int32)
    group["diverged"] = evaluation.diverged
    group["diverged_at"] = evaluation.diverged_at.astype(np.int32)
    for name, values in evaluation.metrics.items():
        group[name] = np.where(evaluation.diverged, np.nan, values).astype(np.float32)
    group["best"] = _best_waves(evaluation)
    if "targets" not in group.file:
        group.file["targets"] = evaluation.data.targets


def _best_waves(evaluation: Evaluation) -> np.ndarray:
    """(S, T) output of the best network of each sequence; NaN where all diverged."""
    waves = np.full(evaluation.data.targets.shape, np.nan, np.float32)
    for sequence in range(len(waves)):
        try:
            waves[sequence] = evaluation.outputs[evaluation.best(sequence)]
        except UserError:
            continue
    return waves
