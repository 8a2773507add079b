"""When networks stop: one by one, or all at the end; and the weights of each one's best epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from data_prep.errors import UserError

from ..models.ensemble import Ensemble
from .checkpoints import Checkpoint
from .config import TrainConfig
from .contents import BEST
from .engine import Weights
from .folder import RunFolder

Now = Callable[[], Weights]


@dataclass(frozen=True)
class Measured:
    """What an epoch, or a few, came to.

    Attributes:
        error: (A,) what a network stops by.
        diverged: (A,) bool.
        line: for metrics.jsonl.
        at_best: name -> (A,) numbers to keep of each network's best epoch.
        since: (A,) epoch of the first excursion, or -1, where several were measured at once;
            default: now.
        excursions: (A,) number of epochs, of those measured, in which it was diverged, where
            several were measured at once; default: of the one.
        each: name -> (A,) numbers of which :attr:`.Task.blocks` makes ``line``; a block of a cell
            notes these, so that the cell's line can be made when all blocks are there.
    """

    error: np.ndarray
    diverged: np.ndarray
    line: Mapping[str, object]
    at_best: Mapping[str, np.ndarray] = field(default_factory=dict)
    since: np.ndarray | None = None
    excursions: np.ndarray | None = None
    each: Mapping[str, np.ndarray] = field(default_factory=dict)


class StopRule(Protocol):
    """Which networks train on.

    Attributes:
        active: (A,) indices of the networks that have not stopped.
        diverged_at: (R,) int64 epoch, or -1.
    """

    diverged_at: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """See the class."""

    def update(self, epoch: int, active: np.ndarray, found: Measured, now: Now) -> None:
        """Note what was found when ``epoch`` epochs were done; ``now``: gives all weights."""

    def state(self) -> Weights:
        """For :attr:`cwrnn_cli.training.folder.Checkpoint.extra`."""

    def restore(self, extra: Weights) -> None:
        """Go on from an earlier state."""


class AtTheEnd:
    """All networks take all epochs; when each one first diverged is noted, and how often.

    Args:
        networks: R.

    Attributes:
        diverged_at: (R,) int64 epoch, or -1.
        excursions: (R,) int64 number of epochs in which it was diverged; -1 if unknown, in the
            checkpoints of earlier versions.
    """

    def __init__(self, networks: int) -> None:
        self.active = np.arange(networks)
        self.diverged_at = np.full(networks, -1, np.int64)
        self.excursions = np.zeros(networks, np.int64)

    def update(self, epoch: int, active: np.ndarray, found: Measured, now: Now) -> None:
        """See :class:`StopRule`."""
        since = np.where(found.diverged, epoch, -1) if found.since is None else found.since
        self.diverged_at = np.where(self.diverged_at < 0, since, self.diverged_at)
        more = found.diverged if found.excursions is None else found.excursions
        self.excursions = np.where(self.excursions < 0, -1, self.excursions + more)

    def state(self) -> Weights:
        """See :class:`StopRule`."""
        return {
            "diverged_at": torch.from_numpy(self.diverged_at),
            "excursions": torch.from_numpy(self.excursions),
        }

    def restore(self, extra: Weights) -> None:
        """See :class:`StopRule`."""
        self.diverged_at = extra["diverged_at"].numpy()
        unknown = torch.full_like(extra["diverged_at"], -1)
        self.excursions = extra.get("excursions", unknown).numpy()


class EarlyStop:
    """Which networks have stopped, and what they were worth at their best.

    A network stops once its error has not been lower than ever before for ``patience`` epochs, or
    at once when it diverges. A NaN is never lower.

    Args:
        networks: R.
        patience: epochs; None: no end to it.
        weights: all networks' at the start, (R, ...) each; kept.
        at_best: name -> (R,) numbers to keep of each network's best epoch, as before the first.

    Attributes:
        lowest: (R,) float64 error at the best epoch; infinite before the first.
        best_epoch: (R,) int64, 0 before the first.
        stopped_at: (R,) int64 epoch, or -1.
        diverged_at: (R,) int64 epoch, or -1.
        weights: of each network at its best epoch.
    """

    def __init__(
        self,
        networks: int,
        patience: int | None,
        weights: Weights,
        at_best: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.patience = np.inf if patience is None else patience
        self.lowest = np.full(networks, np.inf)
        self.best_epoch = np.zeros(networks, np.int64)
        self.stopped_at = np.full(networks, -1, np.int64)
        self.diverged_at = np.full(networks, -1, np.int64)
        self.weights = weights
        self.at_best = dict(at_best or {})

    @property
    def active(self) -> np.ndarray:
        """Indices of the networks that have not stopped."""
        return np.flatnonzero(self.stopped_at < 0)

    def update(self, epoch: int, active: np.ndarray, found: Measured, now: Now) -> None:
        """See :class:`StopRule`."""
        error, diverged = found.error, found.diverged
        better: np.ndarray = (error < self.lowest[active]) & ~diverged
        if better.any():
            index = torch.from_numpy(active[better])
            for name, weight in now().items():
                self.weights[name][index] = weight[index]
        for name, values in found.at_best.items():
            self.at_best[name][active[better]] = values[better]
        self.lowest[active[better]] = error[better]
        self.best_epoch[active[better]] = epoch
        self.diverged_at[active[diverged]] = epoch
        out_of_patience = epoch - self.best_epoch[active] >= self.patience
        self.stopped_at[active[out_of_patience | diverged]] = epoch

    def state(self) -> Weights:
        """See :class:`StopRule`."""
        own = {name: getattr(self, name) for name in self._arrays} | self.at_best
        found = {name: torch.from_numpy(values.copy()) for name, values in own.items()}
        return found | {BEST + name: weight.clone() for name, weight in self.weights.items()}

    def restore(self, extra: Weights) -> None:
        """See :class:`StopRule`."""
        for name in self._arrays:
            setattr(self, name, extra[name].numpy())
        self.at_best = {name: of_each(extra, name) for name in self.at_best}
        self.weights = {name: extra[BEST + name] for name in self.weights}

    _arrays = ("lowest", "best_epoch", "stopped_at", "diverged_at")


@dataclass(frozen=True)
class BestNetworks:
    """A run's networks at their best epochs.

    Attributes:
        run: where they were trained.
        config: of the run.
        ensemble: the networks.
        epoch: epochs trained.
        extra: of the checkpoint.
    """

    run: RunFolder
    config: TrainConfig
    ensemble: Ensemble
    epoch: int
    extra: Weights

    @property
    def diverged(self) -> np.ndarray:
        """(R,) bool."""
        found: np.ndarray = self.extra["diverged_at"].numpy() >= 0
        return found

    def best(self) -> int:
        """Index of the network that stopped at the lowest error.

        Raises:
            UserError: all diverged.
        """
        if self.diverged.all():
            raise all_diverged(self.run)
        return int(np.where(self.diverged, np.inf, self.extra["lowest"].numpy()).argmin())

    @classmethod
    def of(cls, folder: RunFolder) -> "BestNetworks":
        """Read them.

        Raises:
            UserError: no such run, or no checkpoint.
        """
        config, last = folder.config(), folder.checkpoint()
        ensemble = Ensemble(config.shape, config.networks)
        ensemble.load_state_dict({n: last.extra[BEST + n] for n in config.shape.weights()})
        return cls(folder, config, ensemble, last.epoch, last.extra)


def of_each(extra: Weights, name: str) -> np.ndarray:
    """(R,) numbers that a checkpoint has of each network; UserError if it has none."""
    if name not in extra:
        raise UserError(f"the checkpoint has no {name}; train again into another --out")
    found: np.ndarray = extra[name].numpy()
    return found


def last_networks(config: TrainConfig, last: Checkpoint) -> Ensemble:
    """A run's networks as they are in its last checkpoint.

    Raises:
        UserError: it has only those of their best epochs.
    """
    if not last.weights:
        raise UserError("the checkpoint has no weights of its last epoch; train again")
    ensemble = Ensemble(config.shape, config.networks)
    ensemble.load_state_dict(last.weights)
    return ensemble


def all_diverged(run: RunFolder) -> UserError:
    """What to say where there is no network to choose."""
    return UserError(f"{run.path}: every network diverged; train with a lower --lr")
