"""One line of handwriting, read: the text, where each character was read, what the modules did."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.iamondb import PathOptions, frames_of
from data_prep.standardise import apply

from ...models.ensemble import Ensemble
from ...training.config import TrainConfig
from ...training.folder import RunFolder
from ...training.stopping import BestNetworks
from .data import BLANK, IamondbData, best_path


@dataclass(frozen=True)
class Reading:
    """What a network makes of a line of T frames.

    Attributes:
        text: by best path.
        path: (T,) the likeliest unit at each step; 0 is the blank.
        probability: (T,) float32, that unit's.
        activity: (directions, g, T) float32, each module's mean absolute output; between its ticks
            a module's output is held.
    """

    text: str
    path: np.ndarray
    probability: np.ndarray
    activity: np.ndarray

    def characters(self, alphabet: str) -> list[tuple[str, int, float]]:
        """Character, first step and probability there, of each of :attr:`text`."""
        before = np.concatenate([[BLANK], self.path[:-1]])
        steps = np.flatnonzero((self.path != before) & (self.path != BLANK))
        return [(alphabet[self.path[t] - 1], int(t), float(self.probability[t])) for t in steps]


@dataclass(frozen=True)
class Reader:
    """The best network (on the validation set) of a run, and what its lines went through.

    Attributes:
        config: of the run.
        data: that it was trained on: its characters, and how lines are standardised.
        network: an ensemble of one.
        valid_cer: its character error rate on the validation set.
    """

    config: TrainConfig
    data: IamondbData
    network: Ensemble
    valid_cer: float

    @classmethod
    def of(cls, run: RunFolder, data: IamondbData) -> Self:
        """Read a run.

        Raises:
            UserError: no checkpoint, or all its networks diverged.
        """
        best = BestNetworks.of(run)
        index = best.best()
        network = best.ensemble.part(torch.tensor([index]))
        return cls(best.config, data, network, float(best.extra["lowest"][index]))

    @property
    def path_options(self) -> PathOptions:
        """How strokes become frames."""
        return PathOptions(**self.data.options)

    @torch.no_grad()
    def read(self, strokes: np.ndarray) -> Reading:
        """Read a line.

        Args:
            strokes: (N, 4) as of :func:`data_prep.iamondb_files.read_strokes`, N at least 1.

        Raises:
            UserError: the network's outputs are no numbers.
        """
        train = self.data.train
        frames = apply(frames_of(strokes, self.path_options), train.shift, train.scale)
        x = torch.from_numpy(frames)[None, None]  # (1, 1, T, 4)
        hidden = self.network.hidden(x)
        logits = self.network.readout(hidden)[0]  # (1, T, units)
        if not logits.isfinite().all():
            raise UserError("the network has diverged; train with a lower --lr")
        (units,) = best_path(logits, torch.tensor([x.shape[2]]))
        probability, path = logits[0].softmax(dim=1).max(dim=1)
        return Reading(
            self.data.decode(units), path.numpy(), probability.numpy(), self._activity(hidden[0, 0])
        )

    def _activity(self, hidden: torch.Tensor) -> np.ndarray:
        """(directions, g, T) of the (T, directions * n) outputs of the hidden layer."""
        shape = self.network.shape
        sizes = [units for _, units in shape.cell.modules]
        ends = np.cumsum(sizes * len(shape.suffixes))
        starts = ends - np.diff(ends, prepend=0)
        means = np.add.reduceat(hidden.abs().numpy(), starts, axis=1) / np.diff(ends, prepend=0)
        activity: np.ndarray = means.T.reshape(len(shape.suffixes), len(sizes), -1)
        return activity.astype(np.float32)
