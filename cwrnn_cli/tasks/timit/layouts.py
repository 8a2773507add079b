"""What the compiled training loops of task 2 need beside a network's weights, and calls of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from data_prep.store import Split

from ...kernels.clockwork.inputs import PIECE
from ...kernels.lstm.layout import Gradients, History
from ...kernels.numba import train_classifier
from ...kernels.numba.classifier import ClockworkBuffers, LstmBuffers, Sequences, Updates
from ...kernels.numba.simd import LANES
from ...training.layouts import ClockworkLayout, Layout, LstmLayout, lanes


def _longest(split: Split) -> int:
    return int(np.diff(split.offsets).max())


class Words(Layout, ABC):
    """Networks that learn words.

    Attributes:
        loop: of :mod:`.train_classifier`, an epoch.
        run: of :mod:`.train_classifier`, the logits.
    """

    loop: ClassVar[Callable[..., tuple[float, float]]]
    run: ClassVar[Callable[..., None]]

    def _sequences(self, frames: np.ndarray, split: Split) -> Sequences:
        assert split.labels is not None
        return Sequences(frames, self.features, split.offsets, split.labels)

    @abstractmethod
    def _buffers(self, split: Split) -> ClockworkBuffers | LstmBuffers:
        """Memory for the longest sequence of a split."""

    def epoch(
        self,
        frames: np.ndarray,
        train: Split,
        updates: Updates,
        theta: np.ndarray,
        velocity: np.ndarray,
    ) -> tuple[float, float]:
        """Train one network on all sequences once.

        Args:
            frames: flat (N, m), noise included.
            train: the training set, for offsets and labels.
            updates: how.
            theta: (P,) weights, changed.
            velocity: (P,) momentum, changed.

        Returns:
            The sum of the sequences' cross entropies, and the length of the longest gradient.
        """
        (network,) = self.networks(theta)
        total, square = self.loop(
            self._sequences(frames, train),
            network,
            self.parameters(theta, velocity),
            updates,
            self._buffers(train),
        )
        return total, square**0.5

    def logits(self, frames: np.ndarray, split: Split, theta: np.ndarray) -> np.ndarray:
        """(S, K) float32 of one network."""
        results = np.empty((len(split), self.wide), theta.dtype)
        (network,) = self.networks(theta)
        self.run(self._sequences(frames, split), network, theta, self._buffers(split), results)
        return results[:, : self.outputs].astype(np.float32)


class ClockworkWords(ClockworkLayout, Words):
    """CW-RNNs, or SRNs."""

    loop = staticmethod(train_classifier.clockwork_epoch)
    run = staticmethod(train_classifier.clockwork_logits)

    def _buffers(self, split: Split) -> ClockworkBuffers:
        steps = _longest(split)
        hidden = self.layout.hidden_vectors(steps) * LANES
        contributions = self.layout.contribution_vectors(steps) * LANES
        scratch = contributions + hidden + max(PIECE, lanes(self.features))
        return ClockworkBuffers(*self.scratch(hidden, scratch, self.padded, LANES, self.wide))


class LstmWords(LstmLayout, Words):
    """LSTMs."""

    loop = staticmethod(train_classifier.lstm_epoch)
    run = staticmethod(train_classifier.lstm_logits)

    def _buffers(self, split: Split) -> LstmBuffers:
        steps = _longest(split)
        gates, states = 4 * steps * self.width, (1 + steps) * self.width
        history = History(*self.scratch(gates, states, states))
        gradients = Gradients(*self.scratch(states, states))
        return LstmBuffers(history, gradients, *self.scratch(LANES, self.wide))
