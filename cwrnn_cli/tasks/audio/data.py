"""Task 1, sequence generation: one network learns one stretch of sound (Section 4.1)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep import store
from data_prep.errors import UserError

from ...training.data import Data

# loss -> what half a step's squared error counts in it, of so many steps
LOSSES: dict[str, Callable[[int], float]] = {
    "half_sum_of_squares": lambda steps: 1.0,
    "half_mean_of_squares": lambda steps: 1.0 / steps,
}
METRICS = ("mse", "nmse", "nmse_paper")
METRIC_NAMES = {"mse": "MSE", "nmse": "MSE/variance", "nmse_paper": "MSE/σ"}
# Targets lie in [-1, 1]: no output in that range can be further off than this in the mean square
DIVERGED_MSE = 4.0


@dataclass(frozen=True)
class AudioData(Data):
    """The prepared sequences.

    Attributes:
        targets: (S, T) float32 in [-1, 1].
        shift: (S,) original sample = target * scale + shift, full scale 1.
        scale: (S,).
        names: S names.
    """

    task = "audio"

    targets: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    names: list[str]

    def signals(self) -> Iterable[np.ndarray]:
        """See :meth:`.Data.signals`; the targets, as there is no input."""
        return self.targets[:, :, None]


def load(path: Path) -> AudioData:
    """Read a file of `cwrnn prepare audio`.

    Raises:
        UserError: it is not such a file (see :func:`data_prep.store.read`).
    """
    corpus = store.read(path, AudioData.task)
    split = corpus.splits.get("train")
    if split is None or len(set(np.diff(split.offsets))) != 1 or split.frames.shape[1] != 1:
        raise UserError(
            f"{path}: expected sequences of one length and one channel; prepare it again"
        )
    return AudioData(
        targets=split.frames.reshape(len(split), -1),
        shift=split.shift[:, 0],
        scale=split.scale[:, 0],
        names=split.names,
        source=corpus.provenance["source"]["name"],
        standin=corpus.standin,
        sha256=corpus.sha256,
        path=Path(path),
        provenance=corpus.provenance,
    )


def silence(networks: int, steps: int, like: Tensor) -> Tensor:
    """The input of this task: none at all, (R, 1, T, 0)."""
    return like.new_empty(networks, 1, steps, 0)


def half_sum_of_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """The protocol's loss, (R,): half the sum over all steps of the squared error; both (R, T).

    A sum, not a mean: the published learning rates work with this one (docs/protocol.md).
    """
    return 0.5 * (outputs - targets).square().sum(dim=1)


def metrics(outputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of each network; outputs and targets are (R, T).

    Returns:
        ``mse``; ``nmse``, MSE over the target's variance (1 is as good as its mean);
        ``nmse_paper``, MSE over the target's standard deviation, the scale of the paper's numbers
        (docs/protocol.md); each (R,).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mse = np.square(outputs.astype(np.float64) - targets).mean(axis=1)
    sigma = deviation(targets)
    return {"mse": mse, "nmse": mse / sigma**2, "nmse_paper": mse / sigma}


def deviation(targets: np.ndarray) -> np.ndarray:
    """σ: standard deviations of (S, T) targets, which is also MSE/σ of the constant mean; (S,)."""
    found: np.ndarray = targets.astype(np.float64).std(axis=1)
    return found


def diverged(mse: np.ndarray) -> np.ndarray:
    """Which networks diverged: worse than any output within [-1, 1] could be, or NaN."""
    return ~(mse <= DIVERGED_MSE)


@torch.no_grad()
def continue_network(layer: torch.nn.Module, readout: torch.nn.Linear, steps: int) -> np.ndarray:
    """Let one network run ``steps`` steps from its start: (steps,) float64."""
    like = readout.weight
    y, _ = layer(like.new_empty(1, steps, 0))
    wave: np.ndarray = readout(y)[0, :, 0].double().numpy()
    return wave
