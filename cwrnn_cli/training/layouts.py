"""How the weights of networks lie where compiled loops train them whole.

See :mod:`cwrnn_cli.kernels.numba.parameters` for the order of things. What a task's loops need
beside the weights, a subclass in the task's folder adds.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..kernels.clockwork import network as clockwork_network
from ..kernels.clockwork.layout import Weights as Blocks
from ..kernels.clockwork.layout import clock_layout, packing, select
from ..kernels.lstm import network as lstm_network
from ..kernels.lstm.layout import CELL_OUTPUTS
from ..kernels.numba import memory
from ..kernels.numba.parameters import Parameters, Readout
from ..kernels.numba.simd import LANES
from ..models import ClockedSpec, LSTMSpec
from ..models.ensemble import Ensemble
from .engine import Weights


def lanes(size: int) -> int:
    """Whole vectors for so many numbers, in numbers."""
    return -(-size // LANES) * LANES


class Layout(ABC):
    """One network's weights as one flat array of P numbers.

    Args:
        ensemble: networks of the shape and precision in question.
        layer: numbers of one direction's hidden layer.
        padded: its units, with padding.
        units: (n,) where each unit is among those.

    Attributes:
        readouts: of each direction.
    """

    def __init__(self, ensemble: Ensemble, layer: int, padded: int, units: Tensor) -> None:
        self.shape = ensemble.shape
        self.dtype = ensemble.weight_hh.dtype
        self.outputs = self.shape.output_size
        self.wide = lanes(self.outputs)
        self.features = self.shape.input_size
        self.layer, self.padded, self.units = layer, padded, units
        suffixes = self.shape.suffixes
        rows = padded * self.wide // LANES
        first = len(suffixes) * layer // LANES
        bias = first + len(suffixes) * rows
        self.readouts = tuple(
            Readout(first + d * rows, bias, self.outputs) for d in range(len(suffixes))
        )

    def pack(self, state: Weights) -> Tensor:
        """(R, P) of the named weights, or of their momentum."""
        state = {name: weight.detach() for name, weight in state.items()}
        parts = []
        for suffix in self.shape.suffixes:
            names = self.shape.cell.weights(self.features)
            parts.append(self.pack_layer({name: state[name + suffix] for name in names}))
        weight, bias = state["weight_out"], state["bias_out"]
        networks = len(weight)
        for columns in weight.chunk(len(self.shape.suffixes), dim=2):
            rows = weight.new_zeros(networks, self.padded, self.wide)
            rows[:, self.units, : self.outputs] = columns.transpose(1, 2)
            parts.append(rows.flatten(1))
        parts.append(torch.nn.functional.pad(bias, (0, self.wide - self.outputs)))
        return torch.cat(parts, dim=1).contiguous()

    def unpack(self, theta: Tensor) -> Weights:
        """The reverse of :meth:`pack`: copies."""
        theta = theta.clone()  # what has no padding would else be a view of it
        state: Weights = {}
        columns = []
        for d, suffix in enumerate(self.shape.suffixes):
            own = self.unpack_layer(theta[:, d * self.layer : (d + 1) * self.layer])
            state |= {name + suffix: weight for name, weight in own.items()}
            first = self.readouts[d].weight * LANES
            rows = theta[:, first : first + self.padded * self.wide]
            rows = rows.view(len(theta), self.padded, self.wide)
            columns.append(rows[:, self.units, : self.outputs].transpose(1, 2))
        bias = self.readouts[0].bias * LANES
        return state | {
            "weight_out": torch.cat(columns, dim=2).contiguous(),
            "bias_out": theta[:, bias : bias + self.outputs],
        }

    @abstractmethod
    def pack_layer(self, state: Weights) -> Tensor:
        """(R, numbers) of one direction's hidden layer."""

    @abstractmethod
    def unpack_layer(self, theta: Tensor) -> Weights:
        """The reverse of :meth:`pack_layer`."""

    @abstractmethod
    def networks(self, theta: np.ndarray) -> tuple[Any, ...]:
        """What a loop needs of a network beside theta (P,): a NamedTuple for each direction."""

    def parameters(self, theta: np.ndarray, velocity: np.ndarray) -> Parameters:
        """One network's, with a gradient."""
        (gradient,) = self.zeros(theta.size)
        return Parameters(theta, velocity, gradient)

    def zeros(self, *sizes: int) -> tuple[np.ndarray, ...]:
        """Arrays of zeros."""
        return tuple(torch.zeros(size, dtype=self.dtype).numpy() for size in sizes)

    def scratch(self, *sizes: int) -> tuple[np.ndarray, ...]:
        """Arrays of anything."""
        like = torch.empty(0, dtype=self.dtype)
        return tuple(memory.empty((size,), like).numpy() for size in sizes)


class ClockworkLayout(Layout):
    """Of a CW-RNN, or an SRN: one module of period 1.

    Args:
        ensemble: see :class:`Layout`.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        cell, features = ensemble.shape.cell, ensemble.shape.input_size
        assert isinstance(cell, ClockedSpec)
        clock = cell.clock.merged()
        self.layout = clock_layout(clock).at(cell.origin)
        self.packing = packing(clock, features)
        self.bias = len(self.packing.backward)
        padded = self.layout.padded
        super().__init__(ensemble, self.bias + padded, padded, self.packing.units)

    def pack_layer(self, state: Weights) -> Tensor:
        """See :class:`Layout`."""
        packed = self.packing.weights(state["weight_ih"], state["weight_hh"], self.packing.backward)
        return torch.cat([packed, select([state["bias"]], self.packing.bias)], dim=1)

    def unpack_layer(self, theta: Tensor) -> Weights:
        """See :class:`Layout`."""
        w_ih, w_hh = self.packing.unpacked(theta[:, : self.bias], self.features)
        assert w_ih is not None
        bias = theta[:, self.bias :].index_select(1, self.units)
        return {"weight_ih": w_ih, "weight_hh": w_hh, "bias": bias}

    def networks(self, theta: np.ndarray) -> tuple[clockwork_network.ClockworkNetwork, ...]:
        """See :class:`Layout`."""
        found = []
        for d, readout in enumerate(self.readouts):
            first = d * self.layer // LANES
            (values,) = self.zeros(len(self.packing.forward))
            network = clockwork_network.ClockworkNetwork(
                self.layout.clock,
                Blocks(values, *self.packing.forward_places),
                self.packing.places.behind(first),
                first + self.bias // LANES,
                readout,
            )
            clockwork_network.derive(theta, self.features, network)
            found.append(network)
        return tuple(found)


class LstmLayout(Layout):
    """Of an LSTM.

    Args:
        ensemble: see :class:`Layout`.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        cell, features = ensemble.shape.cell, ensemble.shape.input_size
        assert isinstance(cell, LSTMSpec)
        self.cells, self.peepholes = cell.hidden_size, cell.peepholes
        self.cell_output = CELL_OUTPUTS[cell.cell_output]
        self.width = lanes(self.cells)
        four = 4 * self.width
        self.weight_hh = features * four
        self.bias = self.weight_hh + self.cells * four
        self.peephole = self.bias + four
        layer = self.peephole + 3 * self.width * self.peepholes
        super().__init__(ensemble, layer, self.width, torch.arange(self.cells))

    def pack_layer(self, state: Weights) -> Tensor:
        """See :class:`Layout`."""
        networks = len(state["bias"])

        def gates(weight: Tensor) -> Tensor:
            """(R, 4n, c) to flat (R, c, 4, N)."""
            split = weight.reshape(networks, 4, self.cells, -1).permute(0, 3, 1, 2)
            return torch.nn.functional.pad(split, (0, self.width - self.cells)).flatten(1)

        parts = [gates(state["weight_ih"]), gates(state["weight_hh"]), gates(state["bias"])]
        if self.peepholes:
            peep = state["weight_peephole"]
            parts.append(torch.nn.functional.pad(peep, (0, self.width - self.cells)).flatten(1))
        return torch.cat(parts, dim=1)

    def unpack_layer(self, theta: Tensor) -> Weights:
        """See :class:`Layout`."""
        networks, four = len(theta), 4 * self.width

        def gates(begin: int, rows: int) -> Tensor:
            block = theta[:, begin : begin + rows * four].reshape(networks, rows, 4, self.width)
            cut = block[..., : self.cells].permute(0, 2, 3, 1)
            return cut.reshape(networks, 4 * self.cells, rows).contiguous()

        state = {
            "weight_ih": gates(0, self.features),
            "weight_hh": gates(self.weight_hh, self.cells),
            "bias": gates(self.bias, 1)[..., 0],
        }
        if self.peepholes:
            peep = theta[:, self.peephole :].reshape(networks, 3, self.width)
            state["weight_peephole"] = peep[..., : self.cells].contiguous()
        return state

    def networks(self, theta: np.ndarray) -> tuple[lstm_network.LstmNetwork, ...]:
        """See :class:`Layout`."""
        found = []
        for d, readout in enumerate(self.readouts):
            (backward,) = self.zeros(4 * self.cells * self.width)
            first = d * self.layer
            network = lstm_network.LstmNetwork(
                cells=self.cells,
                peepholes=self.peepholes,
                cell_output=self.cell_output,
                weight_ih=first // LANES,
                weight_hh=(first + self.weight_hh) // LANES,
                bias=(first + self.bias) // LANES,
                peephole=(first + self.peephole) // LANES,
                readout=readout,
                backward=backward,
            )
            lstm_network.derive(theta, network)
            found.append(network)
        return tuple(found)
