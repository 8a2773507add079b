"""Training of task 1: chunks of epochs of one ensemble, one sequence per network."""

import json
from typing import Any

import numpy as np
import torch

from ..models.ensemble import Ensemble
from ..tasks import audio
from .audio_engines import AutogradEngine, CompiledEngine, Engine
from .config import TrainConfig
from .folder import Checkpoint

LOG_LINES = 100  # of metrics.jsonl per run


def make_engine(
    config: TrainConfig, data: audio.AudioData
) -> tuple[Engine, list[np.random.Generator]]:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    ensemble = Ensemble(config.shape, config.networks)
    generators = config.generators()
    ensemble.draw(generators, config.weight_std, config.forget_bias)
    targets = torch.from_numpy(np.tile(data.targets, (config.runs, 1)))
    rates = torch.full((config.networks,), config.lr)
    if config.device == "cpu":
        return CompiledEngine(ensemble, targets, rates), generators
    return AutogradEngine(ensemble.to(config.device), targets, rates), generators


class AudioTrainer:
    """See :class:`cwrnn_cli.training.loop.Trainer`.

    Args:
        config: of the run.
        data: the sequences.
    """

    def __init__(self, config: TrainConfig, data: audio.AudioData) -> None:
        self.config = config
        self.epoch = 0
        self._engine, generators = make_engine(config, data)
        self._states = json.dumps([generator.bit_generator.state for generator in generators])
        self._diverged_at = np.full(config.networks, -1, np.int64)
        self._chunk = max(config.epochs // LOG_LINES, 1)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.epochs

    def advance(self) -> dict[str, Any]:
        """Train to the next line of metrics.jsonl."""
        count = min(self._chunk - self.epoch % self._chunk, self.config.epochs - self.epoch)
        losses = self._engine.run(self.config.momenta(self.epoch, count))
        mse = losses.astype(np.float64) * (2 / self.config.length)
        worse = audio.diverged(mse)
        first = np.where(worse.any(axis=0), self.epoch + worse.argmax(axis=0), -1)
        self._diverged_at = np.where(self._diverged_at < 0, first, self._diverged_at)
        self.epoch += count
        return _summary(self.epoch, mse[-1])

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        return Checkpoint(
            self.epoch,
            self._engine.weights(),
            self._engine.velocity(),
            self._states,
            {"diverged_at": torch.from_numpy(self._diverged_at)},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from an earlier state."""
        self.epoch, self._states = checkpoint.epoch, checkpoint.generators
        self._diverged_at = checkpoint.extra["diverged_at"].numpy()
        self._engine.restore(checkpoint.weights, checkpoint.velocity)


def _summary(epoch: int, mse: np.ndarray) -> dict[str, Any]:
    """MSE of the epoch's forward pass over the networks that are still numbers."""
    sane = mse[~audio.diverged(mse)]
    quartiles = np.quantile(sane, (0.25, 0.5, 0.75)) if len(sane) else [None] * 3
    return {
        "epoch": epoch,
        "mse_q25": quartiles[0],
        "mse_median": quartiles[1],
        "mse_q75": quartiles[2],
        "diverged": len(mse) - len(sane),
    }
