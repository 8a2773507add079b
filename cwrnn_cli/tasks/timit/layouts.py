"""How the weights of task 2's networks lie in the compiled training loop, and calls of that loop.

See :mod:`cwrnn_cli.kernels.numba.classifier` for the order of things.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ...kernels.clockwork.layout import Weights, clock_layout, packing, select
from ...kernels.clockwork.loops import PIECE
from ...kernels.lstm.layout import CELL_OUTPUTS, Gradients, History
from ...kernels.numba import memory, train_classifier
from ...kernels.numba.classifier import (
    ClockworkBuffers,
    ClockworkNetwork,
    LstmBuffers,
    LstmNetwork,
    Parameters,
    Readout,
    Sequences,
    Updates,
)
from ...kernels.numba.simd import LANES
from ...models import ClockedSpec, LSTMSpec
from ...models.ensemble import Ensemble
from ...training.engine import Weights as State


def _lanes(size: int) -> int:
    """Whole vectors for so many numbers, in numbers."""
    return -(-size // LANES) * LANES


def _longest(split: Split) -> int:
    return int(np.diff(split.offsets).max())


class Layout(ABC):
    """One network's weights as one flat array of P numbers.

    Args:
        ensemble: networks of the shape and precision in question.

    Attributes:
        loop: of :mod:`.train_classifier`, an epoch.
        run: of :mod:`.train_classifier`, the logits.
    """

    loop: ClassVar[Callable[..., tuple[float, float]]]
    run: ClassVar[Callable[..., None]]

    def __init__(self, ensemble: Ensemble) -> None:
        self.shape = ensemble.shape
        self.dtype = ensemble.weight_hh.dtype
        self.classes = self.shape.output_size
        self.wide = _lanes(self.classes)
        self.features = self.shape.input_size

    def _readout(self, state: State, units: Tensor, padded_units: int) -> Tensor:
        """(R, ...) W_O transposed with its rows at the padded places ``units``, then b_O."""
        w, b = state["weight_out"].detach(), state["bias_out"].detach()
        networks = len(w)
        rows = w.new_zeros(networks, padded_units, self.wide)
        rows[:, units, : self.classes] = w.transpose(1, 2)
        bias = w.new_zeros(networks, self.wide)
        bias[:, : self.classes] = b
        return torch.cat([rows.flatten(1), bias], dim=1)

    def _read_readout(self, theta: Tensor, readout: Readout, units: Tensor) -> State:
        first, last = readout.weight * LANES, readout.bias * LANES
        rows = theta[:, first:last].view(len(theta), -1, self.wide)
        return {
            "weight_out": rows[:, units, : self.classes].transpose(1, 2).contiguous(),
            "bias_out": theta[:, last : last + self.classes].clone(),
        }

    def _sequences(self, frames: np.ndarray, split: Split) -> Sequences:
        assert split.labels is not None
        return Sequences(frames, self.features, split.offsets, split.labels)

    def _parameters(self, theta: np.ndarray, velocity: np.ndarray) -> Parameters:
        (gradient,) = self._zeros(theta.size)
        return Parameters(theta, velocity, gradient)

    def _zeros(self, *sizes: int) -> tuple[np.ndarray, ...]:
        return tuple(torch.zeros(size, dtype=self.dtype).numpy() for size in sizes)

    def _scratch(self, *sizes: int) -> tuple[np.ndarray, ...]:
        like = torch.empty(0, dtype=self.dtype)
        return tuple(memory.empty((size,), like).numpy() for size in sizes)

    @abstractmethod
    def pack(self, state: State) -> Tensor:
        """(R, P) of the named weights, or of their momentum."""

    @abstractmethod
    def unpack(self, theta: Tensor) -> State:
        """The reverse of :meth:`pack`."""

    @abstractmethod
    def _network(self, theta: np.ndarray) -> ClockworkNetwork | LstmNetwork:
        """What the loop needs of a network beside theta."""

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
        total, square = self.loop(
            self._sequences(frames, train),
            self._network(theta),
            self._parameters(theta, velocity),
            updates,
            self._buffers(train),
        )
        return total, square**0.5

    def logits(self, frames: np.ndarray, split: Split, theta: np.ndarray) -> np.ndarray:
        """(S, K) float32 of one network."""
        results = np.empty((len(split), self.wide), theta.dtype)
        self.run(
            self._sequences(frames, split),
            self._network(theta),
            theta,
            self._buffers(split),
            results,
        )
        return results[:, : self.classes].astype(np.float32)


class ClockworkLayout(Layout):
    """Of a CW-RNN, or an SRN: one module of period 1."""

    loop = staticmethod(train_classifier.clockwork_epoch)
    run = staticmethod(train_classifier.clockwork_logits)

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__(ensemble)
        cell = self.shape.cell
        assert isinstance(cell, ClockedSpec)
        self.clock = cell.clock.merged()
        self.layout = clock_layout(self.clock).at(cell.origin)
        self.padded = self.layout.padded
        self.packing = packing(self.clock, self.features)
        self.units = self.packing.units  # where each unit is among the padded ones
        packed = len(self.packing.backward)
        self.bias = packed // LANES
        weight = self.bias + self.padded // LANES
        self.readout = Readout(weight, weight + self.padded * self.wide // LANES, self.classes)

    def pack(self, state: State) -> Tensor:
        """See :class:`Layout`."""
        w_ih, w_hh = state["weight_ih"].detach(), state["weight_hh"].detach()
        packed = self.packing.weights(w_ih, w_hh, self.packing.backward)
        bias = select([state["bias"].detach()], self.packing.bias)
        readout = self._readout(state, self.units, self.padded)
        return torch.cat([packed, bias, readout], dim=1).contiguous()

    def unpack(self, theta: Tensor) -> State:
        """See :class:`Layout`."""
        first = self.bias * LANES
        w_ih, w_hh = self.packing.unpacked(theta[:, :first], self.features)
        assert w_ih is not None
        bias = theta[:, first : first + self.padded].index_select(1, self.units)
        readout = self._read_readout(theta, self.readout, self.units)
        return {"weight_ih": w_ih, "weight_hh": w_hh, "bias": bias} | readout

    def _network(self, theta: np.ndarray) -> ClockworkNetwork:
        (values,) = self._zeros(len(self.packing.forward))
        forward = Weights(values, *self.packing.forward_places)
        network = ClockworkNetwork(
            self.layout.clock, forward, self.packing.places, self.bias, self.readout
        )
        train_classifier.derive_clockwork(theta, self.features, network)
        return network

    def _buffers(self, split: Split) -> ClockworkBuffers:
        steps = _longest(split)
        hidden = self.layout.hidden_vectors(steps) * LANES
        contributions = self.layout.contribution_vectors(steps) * LANES
        inputs = max(PIECE, _lanes(self.features))
        scratch = contributions + hidden + inputs
        return ClockworkBuffers(*self._scratch(hidden, scratch, self.padded, LANES, self.wide))


class LstmLayout(Layout):
    """Of an LSTM."""

    loop = staticmethod(train_classifier.lstm_epoch)
    run = staticmethod(train_classifier.lstm_logits)

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__(ensemble)
        cell = self.shape.cell
        assert isinstance(cell, LSTMSpec)
        self.cells, self.peepholes = cell.hidden_size, cell.peepholes
        self.cell_output = CELL_OUTPUTS[cell.cell_output]
        self.width = _lanes(self.cells)
        four = 4 * self.width
        self.units = torch.arange(self.cells)
        w_hh = self.features * four
        bias = w_hh + self.cells * four
        peep = bias + four
        w_out = peep + 3 * self.width * self.peepholes
        b_out = w_out + self.width * self.wide
        self.weight_hh, self.bias, self.peephole = w_hh // LANES, bias // LANES, peep // LANES
        self.readout = Readout(w_out // LANES, b_out // LANES, self.classes)

    def pack(self, state: State) -> Tensor:
        """See :class:`Layout`."""
        networks = len(state["bias"])

        def gates(weight: Tensor) -> Tensor:
            """(R, 4n, c) to flat (R, c, 4, N)."""
            split = weight.detach().view(networks, 4, self.cells, -1).permute(0, 3, 1, 2)
            return torch.nn.functional.pad(split, (0, self.width - self.cells)).flatten(1)

        parts = [gates(state["weight_ih"]), gates(state["weight_hh"]), gates(state["bias"])]
        if self.peepholes:
            peep = state["weight_peephole"].detach()
            parts.append(torch.nn.functional.pad(peep, (0, self.width - self.cells)).flatten(1))
        readout = self._readout(state, self.units, self.width)
        return torch.cat([*parts, readout], dim=1).contiguous()

    def unpack(self, theta: Tensor) -> State:
        """See :class:`Layout`."""
        networks, four = len(theta), 4 * self.width

        def gates(begin: int, rows: int) -> Tensor:
            block = theta[:, begin : begin + rows * four].view(networks, rows, 4, self.width)
            cut = block[..., : self.cells].permute(0, 2, 3, 1)
            return cut.reshape(networks, 4 * self.cells, rows).contiguous()

        state = {
            "weight_ih": gates(0, self.features),
            "weight_hh": gates(self.weight_hh * LANES, self.cells),
            "bias": gates(self.bias * LANES, 1)[..., 0],
        }
        if self.peepholes:
            begin = self.peephole * LANES
            peep = theta[:, begin : begin + 3 * self.width].view(networks, 3, self.width)
            state["weight_peephole"] = peep[..., : self.cells].contiguous()
        return state | self._read_readout(theta, self.readout, self.units)

    def _network(self, theta: np.ndarray) -> LstmNetwork:
        (backward,) = self._zeros(4 * self.cells * self.width)
        network = LstmNetwork(
            cells=self.cells,
            peepholes=self.peepholes,
            cell_output=self.cell_output,
            weight_hh=self.weight_hh,
            bias=self.bias,
            peephole=self.peephole,
            readout=self.readout,
            backward=backward,
        )
        train_classifier.derive_lstm(theta, network)
        return network

    def _buffers(self, split: Split) -> LstmBuffers:
        steps = _longest(split)
        gates, states = 4 * steps * self.width, (1 + steps) * self.width
        history = History(*self._scratch(gates, states, states))
        gradients = Gradients(*self._scratch(states, states))
        return LstmBuffers(history, gradients, *self._scratch(LANES, self.wide))
