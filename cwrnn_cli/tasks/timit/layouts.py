"""How the weights of task 2's networks lie in the compiled training loop, and calls of that loop.

See :mod:`cwrnn_cli.kernels.cpu.classification` for the order of things.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ...kernels.cpu import classification, memory
from ...kernels.cpu.clockwork import clock_layout, packing, taken
from ...kernels.cpu.rows import PIECE
from ...kernels.cpu.simd import LANES
from ...models import ClockworkSpec, LSTMSpec, SRNSpec
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
    """

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

    def _read_readout(self, theta: Tensor, at: np.ndarray, units: Tensor) -> State:
        first, last = int(at[1]) * LANES, int(at[2]) * LANES
        rows = theta[:, first:last].view(len(theta), -1, self.wide)
        return {
            "weight_out": rows[:, units, : self.classes].transpose(1, 2).contiguous(),
            "bias_out": theta[:, last : last + self.classes].clone(),
        }

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
    def epoch(
        self,
        frames: np.ndarray,
        train: Split,
        order: np.ndarray,
        theta: np.ndarray,
        velocity: np.ndarray,
        lr: float,
        momenta: np.ndarray,
    ) -> float:
        """Train one network on all sequences once; the sum of their cross entropies.

        Args:
            frames: flat (N, m), noise included.
            train: the training set, for offsets and labels.
            order: (S,) in which the sequences come.
            theta: (P,) weights, changed.
            velocity: (P,) momentum, changed.
            lr: learning rate.
            momenta: (S,), update by update.
        """

    @abstractmethod
    def logits(self, frames: np.ndarray, split: Split, theta: np.ndarray) -> np.ndarray:
        """(S, K) float32 of one network."""


class ClockworkLayout(Layout):
    """Of a CW-RNN, or an SRN: one module of period 1."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__(ensemble)
        cell = self.shape.cell
        assert isinstance(cell, ClockworkSpec | SRNSpec)
        self.clock = cell.clock.merged()
        self.layout = clock_layout(self.clock)
        self.padded = self.layout.padded
        self.packing = packing(self.clock, self.features)
        self.units = self.packing.units  # where each unit is among the padded ones
        packed = len(self.packing.backward)
        ends = np.cumsum([packed, self.padded, self.padded * self.wide])
        self.at = ends // LANES

    def pack(self, state: State) -> Tensor:
        """See :class:`Layout`."""
        w_ih, w_hh = state["weight_ih"].detach(), state["weight_hh"].detach()
        packed = self.packing.weights(w_ih, w_hh, self.packing.backward)
        bias = taken([state["bias"].detach()], self.packing.bias)
        readout = self._readout(state, self.units, self.padded)
        return torch.cat([packed, bias, readout], dim=1).contiguous()

    def unpack(self, theta: Tensor) -> State:
        """See :class:`Layout`."""
        first = int(self.at[0]) * LANES
        w_ih, w_hh = self.packing.unpacked(theta[:, :first], self.features)
        assert w_ih is not None
        bias = theta[:, first : first + self.padded].index_select(1, self.units)
        readout = self._read_readout(theta, self.at, self.units)
        return {"weight_ih": w_ih, "weight_hh": w_hh, "bias": bias} | readout

    def _forward_weights(self, theta: np.ndarray) -> np.ndarray:
        (weights,) = self._zeros(len(self.packing.forward))
        classification.derive_clockwork(
            theta,
            self.packing.places,
            self.layout.clock,
            self.features,
            weights,
            self.packing.forward_places,
        )
        return weights

    def _buffers(self, split: Split) -> tuple[np.ndarray, ...]:
        steps = _longest(split)
        rows = self.layout.rows_per_module(steps)
        said = int(rows @ np.array(self.layout.widths)) * LANES
        heard = int(rows @ self.layout.clock[3, :-1]) * LANES
        seen = max(PIECE, _lanes(self.features))
        return self._scratch(said, heard + said + seen, self.padded, LANES)

    def epoch(
        self,
        frames: np.ndarray,
        train: Split,
        order: np.ndarray,
        theta: np.ndarray,
        velocity: np.ndarray,
        lr: float,
        momenta: np.ndarray,
    ) -> float:
        """See :class:`Layout`."""
        gradient, logits = self._zeros(theta.size, self.wide)
        total: float = classification.clockwork_epoch(
            frames, self.features, train.offsets, train.labels, order, self.classes,
            theta, velocity, gradient, self.packing.places, self._forward_weights(theta),
            self.packing.forward_places, self.layout.clock, self.at, lr, momenta,
            self._buffers(train), logits,
        )  # fmt: skip
        return total

    def logits(self, frames: np.ndarray, split: Split, theta: np.ndarray) -> np.ndarray:
        """See :class:`Layout`."""
        results = np.empty((len(split), self.wide), theta.dtype)
        classification.clockwork_logits(
            frames, self.features, split.offsets, theta, self._forward_weights(theta),
            self.packing.forward_places, self.layout.clock, self.at, self._buffers(split), results,
        )  # fmt: skip
        return results[:, : self.classes].astype(np.float32)


class LstmLayout(Layout):
    """Of an LSTM."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__(ensemble)
        cell = self.shape.cell
        assert isinstance(cell, LSTMSpec)
        self.cells, self.peepholes = cell.hidden_size, cell.peepholes
        self.width = _lanes(self.cells)
        four = 4 * self.width
        self.units = torch.arange(self.cells)
        w_hh = self.features * four
        bias = w_hh + self.cells * four
        peep = bias + four
        w_out = peep + 3 * self.width * self.peepholes
        b_out = w_out + self.width * self.wide
        places = [w_hh, w_out, b_out, bias, peep, self.peepholes * LANES]
        self.at = np.array(places) // LANES

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
            "weight_hh": gates(int(self.at[0]) * LANES, self.cells),
            "bias": gates(int(self.at[3]) * LANES, 1)[..., 0],
        }
        if self.peepholes:
            begin = int(self.at[4]) * LANES
            peep = theta[:, begin : begin + 3 * self.width].view(networks, 3, self.width)
            state["weight_peephole"] = peep[..., : self.cells].contiguous()
        return state | self._read_readout(theta, self.at, self.units)

    def _buffers(self, split: Split) -> tuple[np.ndarray, ...]:
        steps = _longest(split)
        return self._scratch(4 * steps * self.width, *[(1 + steps) * self.width] * 4)

    def epoch(
        self,
        frames: np.ndarray,
        train: Split,
        order: np.ndarray,
        theta: np.ndarray,
        velocity: np.ndarray,
        lr: float,
        momenta: np.ndarray,
    ) -> float:
        """See :class:`Layout`."""
        gradient, weights, logits = self._zeros(theta.size, 4 * self.cells * self.width, self.wide)
        classification.derive_lstm(theta, self.at, self.cells, weights)
        total: float = classification.lstm_epoch(
            frames, self.features, train.offsets, train.labels, order, self.classes,
            theta, velocity, gradient, weights, self.cells, self.at, lr, momenta,
            self._buffers(train), logits,
        )  # fmt: skip
        return total

    def logits(self, frames: np.ndarray, split: Split, theta: np.ndarray) -> np.ndarray:
        """See :class:`Layout`."""
        results = np.empty((len(split), self.wide), theta.dtype)
        classification.lstm_logits(
            frames, self.features, split.offsets, theta, self.cells, self.at,
            self._buffers(split), results,
        )  # fmt: skip
        return results[:, : self.classes].astype(np.float32)
