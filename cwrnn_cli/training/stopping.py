"""Early stopping, network by network, and the weights of each network's best epoch."""

import numpy as np
import torch

from ..models.ensemble import Ensemble
from .autograd import State
from .config import TrainConfig
from .folder import RunFolder

_BEST = "best."  # prefix of the names of the weights at each network's best epoch


class EarlyStop:
    """Which networks have stopped, and what they were worth at their best.

    A network stops once its error has not been lower than ever before for ``patience`` epochs, or
    at once when it diverges. A NaN is never lower.

    Args:
        networks: R.
        patience: epochs.
        weights: all networks' at the start, (R, ...) each; kept.

    Attributes:
        lowest: (R,) float64 error at the best epoch; infinite before the first.
        best_epoch: (R,) int64, 0 before the first.
        stopped_at: (R,) int64 epoch, or -1.
        diverged_at: (R,) int64 epoch, or -1.
        weights: of each network at its best epoch.
    """

    def __init__(self, networks: int, patience: int | None, weights: State) -> None:
        assert patience is not None
        self.patience = patience
        self.lowest = np.full(networks, np.inf)
        self.best_epoch = np.zeros(networks, np.int64)
        self.stopped_at = np.full(networks, -1, np.int64)
        self.diverged_at = np.full(networks, -1, np.int64)
        self.weights = weights

    @property
    def active(self) -> np.ndarray:
        """Indices of the networks that have not stopped."""
        return np.flatnonzero(self.stopped_at < 0)

    def update(
        self, epoch: int, active: np.ndarray, error: np.ndarray, diverged: np.ndarray, now: State
    ) -> np.ndarray:
        """Note an epoch.

        Args:
            epoch: epochs done.
            active: (A,) networks that were trained.
            error: (A,) theirs.
            diverged: (A,) bool.
            now: all networks' weights.

        Returns:
            (A,) bool: those that have never been better.
        """
        better: np.ndarray = (error < self.lowest[active]) & ~diverged
        index = torch.from_numpy(active[better])
        for name, weight in now.items():
            self.weights[name][index] = weight[index]
        self.lowest[active[better]] = error[better]
        self.best_epoch[active[better]] = epoch
        self.diverged_at[active[diverged]] = epoch
        tired = epoch - self.best_epoch[active] >= self.patience
        self.stopped_at[active[tired | diverged]] = epoch
        return better

    def state(self) -> State:
        """For :attr:`cwrnn_cli.training.folder.Checkpoint.extra`."""
        found = {name: torch.from_numpy(getattr(self, name).copy()) for name in self._arrays}
        return found | {_BEST + name: weight.clone() for name, weight in self.weights.items()}

    def restore(self, extra: State) -> None:
        """Go on from an earlier state."""
        for name in self._arrays:
            setattr(self, name, extra[name].numpy())
        self.weights = {name: extra[_BEST + name] for name in self.weights}

    _arrays = ("lowest", "best_epoch", "stopped_at", "diverged_at")


def best_networks(folder: RunFolder) -> tuple[TrainConfig, Ensemble, State, int]:
    """A run's networks at their best epochs.

    Returns:
        The configuration, the ensemble, the checkpoint's ``extra``, and the epochs trained.

    Raises:
        UserError: no such run, or no checkpoint.
    """
    config, last = folder.config(), folder.checkpoint()
    ensemble = Ensemble(config.shape, config.networks)
    ensemble.load_state_dict({name: last.extra[_BEST + name] for name in config.shape.weights()})
    return config, ensemble, last.extra, last.epoch
