"""Training of task 2: every network its own order, noise and early stop (Section 4.2)."""

import json
from typing import Any

import numpy as np
import torch

from ..models.ensemble import Ensemble
from ..tasks import words
from .config import TrainConfig
from .folder import Checkpoint
from .words_engines import AutogradEngine, CompiledEngine, Engine

BEST = "best."  # prefix of the names of the weights at each network's best epoch


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
        self._best_weights = self._engine.weights()
        self._lowest = np.full(config.networks, np.inf)
        self._best_epoch = np.zeros(config.networks, np.int64)
        self._stopped_at = np.full(config.networks, -1, np.int64)
        self._diverged_at = np.full(config.networks, -1, np.int64)
        self._train_error = np.ones(config.networks)  # rate of wrong words at the best epoch

    @property
    def finished(self) -> bool:
        """Whether all networks have stopped, or all epochs are done."""
        return self.epoch >= self.config.epochs or not (self._stopped_at < 0).any()

    def advance(self) -> dict[str, Any]:
        """One epoch of the networks that have not stopped."""
        active = np.flatnonzero(self._stopped_at < 0)
        updates = len(self.data.train)
        momenta = self.config.momenta(self.epoch * updates, updates)
        noisy = self._engine.epoch(active, momenta)
        logits = self._engine.logits(active, self.data.train)
        assert self.data.train.labels is not None
        clean = words.cross_entropy(logits, self.data.train.labels)
        wrong = words.error_rate(logits, self.data.train.labels)
        self.epoch += 1
        error = clean if self.config.stop_on == "cross_entropy" else wrong
        better = error < self._lowest[active]  # never, for a NaN
        self._keep(active[better])
        self._lowest[active[better]] = error[better]
        self._best_epoch[active[better]] = self.epoch
        self._train_error[active[better]] = wrong[better]
        diverged = active[~np.isfinite(clean)]
        self._diverged_at[diverged] = self.epoch
        assert self.config.patience is not None
        tired = active[self.epoch - self._best_epoch[active] >= self.config.patience]
        self._stopped_at[tired] = self.epoch
        self._stopped_at[diverged] = self.epoch
        return {
            "epoch": self.epoch,
            "active": int((self._stopped_at < 0).sum()),
            "noisy_cross_entropy": _median(noisy),
            "cross_entropy": _median(clean),
            "train_error": _median(wrong),
            "diverged": int((self._diverged_at >= 0).sum()),
        }

    def _keep(self, members: np.ndarray) -> None:
        """These networks' weights are their best so far."""
        if len(members):
            index = torch.from_numpy(members)
            for name, weight in self._engine.weights().items():
                self._best_weights[name][index] = weight[index]

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        extra = {
            "lowest": self._lowest,
            "best_epoch": self._best_epoch,
            "stopped_at": self._stopped_at,
            "diverged_at": self._diverged_at,
            "train_error": self._train_error,
        }
        states = [generator.bit_generator.state for generator in self._generators]
        return Checkpoint(
            self.epoch,
            self._engine.weights(),
            self._engine.velocity(),
            json.dumps(states),
            {name: torch.from_numpy(values.copy()) for name, values in extra.items()}
            | {BEST + name: weight.clone() for name, weight in self._best_weights.items()},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from an earlier state."""
        self.epoch = checkpoint.epoch
        for generator, state in zip(
            self._generators, json.loads(checkpoint.generators), strict=True
        ):
            generator.bit_generator.state = state
        extra = checkpoint.extra
        self._lowest = extra["lowest"].numpy()
        self._best_epoch = extra["best_epoch"].numpy()
        self._stopped_at = extra["stopped_at"].numpy()
        self._diverged_at = extra["diverged_at"].numpy()
        self._train_error = extra["train_error"].numpy()
        self._best_weights = {name: extra[BEST + name] for name in self._best_weights}
        self._engine.restore(checkpoint.weights, checkpoint.velocity)


def _median(values: np.ndarray) -> float | None:
    sane = values[np.isfinite(values)]
    return float(np.median(sane)) if len(sane) else None
