"""The one trainer: an engine, a rule when to stop, and what a task measures between epochs."""

import json
import sys
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .checkpoints import Checkpoint
from .config import TrainConfig
from .engine import Engine, LargestGradients, TrainState
from .stopping import Measured, StopRule

EACH = "each"  # in metrics.jsonl of a block of a cell: numbers of each of its networks


class EnsembleTrainer(ABC):
    """Networks at some epoch of their training; a subclass says what an epoch was worth.

    Args:
        config: of the run.
        engine: that trains the networks.
        stop: when they stop.
        updates: of an epoch.
        epochs_at_once: that the engine trains between two lines of metrics.jsonl.

    Attributes:
        config: the same.
        engine: the same.
        stop: the same.
        gradients: the longest so far.
        epoch: epochs done.
        at_most: epochs that are trained at once, even if the next line is further away.
    """

    def __init__(
        self,
        config: TrainConfig,
        engine: Engine,
        stop: StopRule,
        updates: int,
        epochs_at_once: int = 1,
    ) -> None:
        self.config, self.engine, self.stop = config, engine, stop
        self.updates, self.epochs_at_once = updates, epochs_at_once
        self.gradients = LargestGradients(config.networks)
        self.epoch, self.at_most = 0, sys.maxsize

    @property
    def finished(self) -> bool:
        """Whether all networks have stopped, or all epochs are done."""
        return self.epoch >= self.config.epochs or not len(self.stop.active)

    @property
    def at_line(self) -> bool:
        """Whether metrics.jsonl gets a line here."""
        return self.finished or not self.epoch % self.epochs_at_once

    def advance(self) -> dict[str, Any]:
        """Train an epoch or a few; the line for metrics.jsonl, with at least ``epoch``."""
        config, active = self.config, self.stop.active
        done_of_chunk = self.epoch % self.epochs_at_once
        count = min(self.epochs_at_once - done_of_chunk, config.epochs - self.epoch, self.at_most)
        first, updates = self.epoch * self.updates, count * self.updates
        losses = self.engine.train(
            active,
            config.rates(first, updates, config.epochs * self.updates),
            config.momenta(first, updates),
        )
        lengths = self.engine.gradient_lengths.reshape(count, -1, len(active)).max(axis=1)
        self.gradients.update(self.epoch, active, lengths)
        self.epoch += count
        found = self.measure(active, losses)
        self.stop.update(self.epoch, active, found, self.engine.weights)
        line = found.line
        if config.part_of:
            line = {EACH: {name: values.tolist() for name, values in found.each.items()}}
        return {"epoch": self.epoch, **line, **self.after_update()}

    @abstractmethod
    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """What the networks are worth after the epochs just trained.

        Args:
            active: (A,) networks that were trained.
            losses: (epochs, A), as the engine gave them.
        """

    def after_update(self) -> dict[str, Any]:
        """More for metrics.jsonl, from :attr:`stop`."""
        return {
            "active": len(self.stop.active),
            "diverged": int((self.stop.diverged_at >= 0).sum()),
        }

    def checkpoint(self) -> Checkpoint:
        """The state now: all that training goes on from, and the networks to evaluate."""
        state = self.engine.state()
        return Checkpoint(
            self.epoch,
            state.weights,
            state.velocity,
            json.dumps(state.generators),
            self.stop.state() | self.gradients.state(),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from an earlier state."""
        self.epoch = checkpoint.epoch
        self.stop.restore(checkpoint.extra)
        self.gradients.restore(checkpoint.extra)
        generators = json.loads(checkpoint.generators)
        updates = self.epoch * self.updates
        self.engine.load(TrainState(checkpoint.weights, checkpoint.velocity, generators, updates))
