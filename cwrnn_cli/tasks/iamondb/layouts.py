"""What the compiled training loop of task 3 needs beside a network's weights, and calls of it."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ...clock import Clock
from ...kernels.clockwork.inputs import PIECE
from ...kernels.clockwork.layout import ClockTable, clock_layout
from ...kernels.lstm.layout import Gradients, History
from ...kernels.numba import train_transcriber
from ...kernels.numba.ctc import ctc_buffers
from ...kernels.numba.simd import LANES
from ...kernels.numba.transcriber import (
    ClockworkBuffers,
    Direction,
    Lines,
    LstmBuffers,
    OutputBuffers,
    Updates,
)
from ...training.layouts import ClockworkLayout, Layout, LstmLayout, lanes


class Transcribers(Layout, ABC):
    """Networks that learn to write lines down."""

    @property
    @abstractmethod
    def clock(self) -> ClockTable:
        """When the modules of a direction tick."""

    @abstractmethod
    def _layers(self, steps: int, rows: int) -> tuple[Any, ...]:
        """Memory of each direction for so many rows of so many steps."""

    def _directions(self, theta: np.ndarray) -> tuple[Direction, ...]:
        found = []
        for network in self.networks(theta):
            (columns,) = self.zeros(self.outputs * self.padded)
            found.append(Direction(network, columns, self.clock))
        directions = tuple(found)
        train_transcriber.derive(theta, self.features, directions)
        return directions

    def _outputs(self, lines: Lines, rows: int) -> OutputBuffers:
        steps, longest = _longest(lines.offsets), _longest(lines.text_offsets)
        clock = self.clock
        ticks = sum(1 + (steps - clock.firsts + clock.periods - 1) // clock.periods)
        x = steps * rows * self.features * len(self.readouts)
        inputs, contributions, logits = self.scratch(
            x, ticks * rows * self.wide, steps * rows * self.wide
        )
        return OutputBuffers(inputs, contributions, logits, ctc_buffers(steps, longest))

    def epoch(
        self, lines: Lines, updates: Updates, theta: np.ndarray, velocity: np.ndarray
    ) -> tuple[float, float]:
        """Train one network on all lines once.

        Args:
            lines: the training set.
            updates: how.
            theta: (P,) weights, changed.
            velocity: (P,) momentum, changed.

        Returns:
            The sum of the lines' losses, and the length of the longest gradient.
        """
        total, longest = train_transcriber.epoch(
            lines,
            self._directions(theta),
            self.parameters(theta, velocity),
            updates,
            self._layers(_longest(lines.offsets), updates.rows),
            self._outputs(lines, updates.rows),
        )
        return total, longest

    def best_paths(self, lines: Lines, rows: int, theta: np.ndarray) -> np.ndarray:
        """(frames,) int64: one network's likeliest unit at each step, ``rows`` lines at a time."""
        path = np.zeros(int(lines.offsets[-1]), np.int64)
        train_transcriber.best_paths(
            lines,
            self._directions(theta),
            theta,
            np.argsort(np.diff(lines.offsets), kind="stable"),
            rows,
            self._layers(_longest(lines.offsets), rows),
            self._outputs(lines, rows),
            path,
        )
        return path


def _longest(offsets: np.ndarray) -> int:
    return int(np.diff(offsets).max())


class ClockworkTranscribers(ClockworkLayout, Transcribers):
    """CW-RNNs, or SRNs."""

    @property
    def clock(self) -> ClockTable:
        """See :class:`Transcribers`."""
        return self.layout.clock

    def _layers(self, steps: int, rows: int) -> tuple[ClockworkBuffers, ...]:
        hidden = self.layout.hidden_vectors(steps) * LANES * rows
        contributions = self.layout.contribution_vectors(steps) * LANES * rows
        inputs = max(PIECE, rows * lanes(self.features))
        scratch, grad_h0 = self.scratch(contributions + hidden + inputs, rows * self.layout.units)
        each = self.scratch(*(hidden for _ in self.readouts))
        return tuple(ClockworkBuffers(own, scratch, grad_h0) for own in each)


class LstmTranscribers(LstmLayout, Transcribers):
    """LSTMs."""

    @property
    def clock(self) -> ClockTable:
        """See :class:`Transcribers`."""
        return clock_layout(Clock((1,), (self.cells,))).clock

    def _layers(self, steps: int, rows: int) -> tuple[LstmBuffers, ...]:
        gates, states = 4 * steps * rows * self.width, (1 + steps) * rows * self.width
        gradients = Gradients(*self.scratch(states, states))
        return tuple(
            LstmBuffers(History(*self.scratch(gates, states, states)), gradients)
            for _ in self.readouts
        )
