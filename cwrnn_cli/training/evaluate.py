"""What a trained run is worth: errors of every network, and their statistics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.errors import UserError

from ..models.ensemble import Ensemble
from ..paper import PROTOCOLS
from ..tasks import audio
from .config import TrainConfig
from .folder import RunFolder


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


def load_data(config: TrainConfig, path: Path | None = None) -> audio.AudioData:
    """The data that a run was trained on.

    Raises:
        UserError: it is gone, or not the same any more.
    """
    data = audio.load(path or Path(config.data_path))
    if data.sha256 != config.data_sha256:
        raise UserError(
            f"{path or config.data_path}: not the data of this run (sha256 {data.sha256[:12]}, "
            f"expected {config.data_sha256[:12]}); name the right file with --data"
        )
    return data


def evaluate(folder: RunFolder, data_path: Path | None = None) -> Evaluation:
    """Run every network of a run once.

    Raises:
        UserError: no such run, no checkpoint, or other data than it was trained on.
    """
    config = folder.config()
    data = load_data(config, data_path)
    checkpoint = folder.checkpoint()
    return judge(config, data, checkpoint.weights, checkpoint.epoch, checkpoint.diverged_at.numpy())


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


def statistics(values: np.ndarray) -> dict[str, float | None]:
    """mean, std (of a sample), median, q25, q75, min and max; None where undefined."""
    names = ("mean", "std", "median", "q25", "q75", "min", "max")
    if not len(values):
        return dict.fromkeys(names)
    q25, median, q75 = np.quantile(values, (0.25, 0.5, 0.75))
    numbers = (
        values.mean(),
        values.std(ddof=1) if len(values) > 1 else None,
        median,
        q25,
        q75,
        values.min(),
        values.max(),
    )
    return {n: None if v is None else float(v) for n, v in zip(names, numbers, strict=True)}


def published(config: TrainConfig) -> dict[str, Any] | None:
    """What the paper reports for this model and size, or None if it has no such network."""
    protocol = PROTOCOLS[config.task]
    if protocol.hidden_sizes.get(config.params, {}).get(config.model) != config.hidden_size:
        return None
    found: dict[str, Any] = {"metric": protocol.metric}
    median = protocol.medians.get(config.model, {}).get(config.params)
    if median is not None:
        found["median"] = median
    if config.params == max(protocol.hidden_sizes):
        result = protocol.results[config.model]
        found |= {"mean": result.mean, "std": result.std}
    return found


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
    return {
        "task": config.task,
        "model": config.model,
        "params": config.params,
        "parameter_count": config.parameter_count(),
        "hidden_size": config.hidden_size,
        "runs": config.runs,
        "networks": config.networks,
        "epochs": evaluation.epoch,
        "lr": config.lr,
        "diverged": int(evaluation.diverged.sum()),
        "standin": config.standin,
        "data": {"name": config.data_name, "sha256": config.data_sha256},
        "metrics": {
            metric: statistics(values[sane]) for metric, values in evaluation.metrics.items()
        },
        "paper": published(config),
        "deviations": config.deviations(),
        "sequences": sequences,
    }
