"""Training of task 1: chunks of epochs of one ensemble, one sequence per network."""

from typing import Any

import numpy as np
import torch

from ...models.ensemble import Ensemble
from ...training.config import TrainConfig
from ...training.engine import Engine
from ...training.stopping import AtTheEnd, Measured
from ...training.trainer import EnsembleTrainer
from .data import AudioData, diverged
from .engines import LOOPS, CompiledEngine, SilenceEngine

LOG_LINES = 100  # of metrics.jsonl per run


def make_engine(config: TrainConfig, data: AudioData) -> Engine:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    ensemble = Ensemble(config.shape, config.networks)
    generators = config.generators()
    ensemble.draw(generators, config.weight_std)
    targets = torch.from_numpy(np.tile(data.targets, (config.runs, 1)))
    if config.device == "cpu" and type(config.cell) in LOOPS:
        return CompiledEngine(ensemble, targets, generators)
    return SilenceEngine(ensemble.to(config.device), targets, generators)


class AudioTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    All networks take all epochs; one whose error is worse than any output within [-1, 1] could have
    has diverged.

    Args:
        config: of the run.
        data: the sequences.
    """

    def __init__(self, config: TrainConfig, data: AudioData) -> None:
        chunk = max(config.epochs // LOG_LINES, 1)
        engine = make_engine(config, data)
        super().__init__(config, engine, AtTheEnd(config.networks), 1, chunk)

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """MSE of the last epoch's forward pass over the networks that are still numbers."""
        mse = losses.astype(np.float64) * (2 / self.config.length)  # (epochs, R)
        worse = diverged(mse)
        begun = self.epoch - len(mse)
        since = np.where(worse.any(axis=0), begun + worse.argmax(axis=0), -1)
        finite = mse[-1][~worse[-1]]
        quartiles = np.quantile(finite, (0.25, 0.5, 0.75)) if len(finite) else [None] * 3
        line = {
            "mse_q25": quartiles[0],
            "mse_median": quartiles[1],
            "mse_q75": quartiles[2],
            "diverged": int(worse[-1].sum()),
        }
        return Measured(mse[-1], worse[-1], line, since=since)

    def after_update(self) -> dict[str, Any]:
        """Nothing: no network stops before the end."""
        return {}
