"""What a run's networks are worth: the skeleton that every task's evaluation fills."""

from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from ..models.ensemble import Ensemble
from .config import TrainConfig
from .data import D


@dataclass(frozen=True)
class Evaluation(Generic[D]):
    """A run's networks after training, run over a split.

    Attributes:
        config: of the run.
        data: the corpus.
        split: what they were run over.
        epoch: epochs trained, by the network that took the most.
        ensemble: the networks.
        diverged: (R,) bool; their errors are no results.
    """

    config: TrainConfig
    data: D
    split: str
    epoch: int
    ensemble: Ensemble
    diverged: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        """(R,) bool: the networks that did not diverge."""
        return ~self.diverged

    def heading(self) -> dict[str, Any]:
        """What the JSON of `cwrnn eval` begins with."""
        config = self.config
        return {
            "task": config.task,
            "model": config.model,
            "params": config.params,
            "parameter_count": config.parameter_count(),
            "hidden_size": config.hidden_size,
            "runs": config.runs,
            "networks": config.networks,
            "epochs": self.epoch,
            "lr": config.lr,
            "diverged": int(self.diverged.sum()),
            "standin": config.standin,
            "data": {"name": config.data_name, "sha256": config.data_sha256},
            "paper": published(config),
            "deviations": config.deviations(),
        }


def published(config: TrainConfig) -> dict[str, Any] | None:
    """What the paper reports for this model and size, or None if it has no such network."""
    protocol = config.protocol
    if protocol.hidden_sizes.get(config.params, {}).get(config.model) != config.hidden_size:
        return None
    found: dict[str, Any] = {"metric": protocol.metric}
    median = protocol.medians.get(config.model, {}).get(config.params)
    if median is not None:
        found["median"] = median
    if config.params in protocol.table:
        found["mean"] = protocol.table[config.params][config.model]
    if config.params == max(protocol.hidden_sizes) and protocol.results:
        result = protocol.results[config.model]
        found |= {"mean": result.mean, "std": result.std}
    return found
