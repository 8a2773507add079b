"""Training of task 2: every network its own order, noise and early stop (Section 4.2)."""

import json
from typing import Any

import numpy as np
import torch

from ..models.ensemble import Ensemble
from ..tasks import words
from .config import TrainConfig
from .folder import Checkpoint
from .stopping import EarlyStop
from .words_engines import AutogradEngine, CompiledEngine, Engine


class WordsTrainer:
    """See :class:`cwrnn_cli.training.loop.Trainer`.

    A network stops once its error on the training set without noise (cross entropy, or the rate of
    wrong words: ``config.stop_on``) has not been lower than before for ``config.patience`` epochs;
    the weights at its lowest are what it is judged by. One whose error is no number has diverged.

    Args:
        config: of the run.
        data: the words.
    """

    def __init__(self, config: TrainConfig, data: words.WordsData) -> None:
        self.config, self.data = config, data
        self.epoch = 0
        ensemble = Ensemble(config.shape, config.networks)
        self._generators = config.generators()
        ensemble.draw(self._generators, config.weight_std, config.forget_bias)
        options = (data.train, config.lr, config.noise, self._generators)
        self._engine: Engine
        if config.device == "cpu":
            self._engine = CompiledEngine(ensemble, *options)
        else:
            self._engine = AutogradEngine(ensemble.to(config.device), *options)
        self._stop = EarlyStop(config.networks, config.patience, self._engine.weights())
        self._train_error = np.ones(config.networks)  # rate of wrong words at the best epoch

    @property
    def finished(self) -> bool:
        """Whether all networks have stopped, or all epochs are done."""
        return self.epoch >= self.config.epochs or not len(self._stop.active)

    def advance(self) -> dict[str, Any]:
        """One epoch of the networks that have not stopped."""
        active = self._stop.active
        updates = len(self.data.train)
        momenta = self.config.momenta(self.epoch * updates, updates)
        noisy = self._engine.epoch(active, momenta)
        logits = self._engine.logits(active, self.data.train)
        assert self.data.train.labels is not None
        clean = words.cross_entropy(logits, self.data.train.labels)
        wrong = words.error_rate(logits, self.data.train.labels)
        self.epoch += 1
        error = clean if self.config.stop_on == "cross_entropy" else wrong
        better = self._stop.update(
            self.epoch, active, error, ~np.isfinite(clean), self._engine.weights()
        )
        self._train_error[active[better]] = wrong[better]
        return {
            "epoch": self.epoch,
            "active": len(self._stop.active),
            "noisy_cross_entropy": _median(noisy),
            "cross_entropy": _median(clean),
            "train_error": _median(wrong),
            "diverged": int((self._stop.diverged_at >= 0).sum()),
        }

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        states = [generator.bit_generator.state for generator in self._generators]
        return Checkpoint(
            self.epoch,
            self._engine.weights(),
            self._engine.velocity(),
            json.dumps(states),
            self._stop.state() | {"train_error": torch.from_numpy(self._train_error.copy())},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from an earlier state."""
        self.epoch = checkpoint.epoch
        for generator, state in zip(
            self._generators, json.loads(checkpoint.generators), strict=True
        ):
            generator.bit_generator.state = state
        self._stop.restore(checkpoint.extra)
        self._train_error = checkpoint.extra["train_error"].numpy()
        self._engine.restore(checkpoint.weights, checkpoint.velocity)


def _median(values: np.ndarray) -> float | None:
    sane = values[np.isfinite(values)]
    return float(np.median(sane)) if len(sane) else None
