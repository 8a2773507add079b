"""Many networks of one shape as one module: every tensor of parameters has a leading axis R.

The paper trains thousands of small networks that differ in their initial weights only. One network
is R = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .cell import CellSpec
from .recurrent import RecurrentLayer, reversed_sequences
from .sizing import network_parameters

SCALED = "scaled"  # weights whose deviation follows from how many inputs their unit has


@dataclass(frozen=True)
class Shape:
    """What one network looks like: one hidden layer, one linear output layer.

    Attributes:
        cell: the hidden layer.
        input_size: m; 0 for none.
        output_size: units of the output layer.
        bidirectional: whether a second set of weights, names ending in ``_reverse``, reads each
            sequence from its end.
    """

    cell: CellSpec
    input_size: int
    output_size: int
    bidirectional: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of each direction's weights end in."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of parameters, without the axis R, as they are drawn."""
        one = self.cell.weights(self.input_size)
        shapes = {name + suffix: size for suffix in self.suffixes for name, size in one.items()}
        read = self.cell.hidden_size * len(self.suffixes)
        return shapes | {"weight_out": (self.output_size, read), "bias_out": (self.output_size,)}

    def fan_in(self, name: str) -> Any:
        """How many inputs each unit has in a tensor of weights, as :meth:`.CellSpec.fan_in`.

        For the output layer's bias: as many as its weights.
        """
        if name in {"weight_out", "bias_out"}:
            return self.weights()["weight_out"][1]
        return self.cell.fan_in(name.removesuffix("_reverse"), self.input_size)

    def parameter_count(self) -> int:
        """Parameters of one network, as the paper counts them."""
        return network_parameters(self.cell, self.input_size, self.output_size, self.bidirectional)


class Ensemble(nn.Module):
    """R networks of one shape, each as in eq. 1-2 with linear output units.

    Args:
        shape: of every network.
        networks: R.
        device: of the weights.
        dtype: of the weights.

    Attributes:
        weight_ih, weight_hh, bias ...: (R, ...), named as by the cell's :meth:`.CellSpec.weights`;
            those of a second direction end in ``_reverse``.
        weight_out: (R, o, n), or (R, o, 2n) where there are two directions.
        bias_out: (R, o).
    """

    weight_hh: nn.Parameter
    bias: nn.Parameter
    weight_out: nn.Parameter
    bias_out: nn.Parameter

    def __init__(self, shape: Shape, networks: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.shape = shape
        self.networks = networks
        for name, size in shape.weights().items():
            weight = torch.zeros((networks, *size), device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(weight))

    @torch.no_grad()
    def draw(self, generators: Sequence[np.random.Generator], std: float | str) -> None:
        """Initial weights from N(0, std^2), each network from its own generator (Section 4).

        Network i gets the same weights whatever else is in the ensemble.

        Args:
            generators: R of them.
            std: of the Gaussian, or :data:`SCALED`: 1 / sqrt(f), f the unit's :meth:`Shape.fan_in`.

        Raises:
            ValueError: another word.
        """
        names = self.shape.weights()
        if isinstance(std, str) and std != SCALED:
            raise ValueError(f"std {std!r}: expected a number or {SCALED!r}")
        stds = {
            name: self.shape.fan_in(name) ** -0.5 if isinstance(std, str) else std for name in names
        }
        for i, generator in enumerate(generators):
            for name, size in names.items():
                drawn = torch.from_numpy(stds[name] * generator.standard_normal(size))
                self.shape.cell.initialise_(name.removesuffix("_reverse"), drawn)
                self.get_parameter(name)[i] = drawn

    def forward(
        self,
        x: Tensor,
        backend: str = "auto",
        lengths: Tensor | None = None,
        delta_clip: float | None = None,
    ) -> Tensor:
        """Outputs of all networks.

        Args:
            x: (R, B, T, m) inputs; m is 0 in task 1.
            backend: see :mod:`cwrnn_cli.kernels`.
            lengths: (R, B) int64 valid steps of each sequence, None: all T. Outputs behind them
                are undefined, and no gradient may come from there.
            delta_clip: what each step's deltas are clipped to within in the backward pass, where
                the cell does that; None: they are not.

        Returns:
            (R, B, T, o).
        """
        return self.readout(self.hidden(x, backend, lengths, delta_clip))

    def hidden(
        self,
        x: Tensor,
        backend: str = "auto",
        lengths: Tensor | None = None,
        delta_clip: float | None = None,
    ) -> Tensor:
        """(R, B, T, n), or 2n, outputs of the hidden layer; arguments as in :meth:`forward`."""
        outputs = []
        more: dict[str, Any] = {} if delta_clip is None else {"delta_clip": delta_clip}
        names = self.shape.cell.weights(self.shape.input_size)
        for suffix in self.shape.suffixes:
            inputs = x if not suffix else _from_the_end(x, lengths)
            weights = {name: self.get_parameter(name + suffix) for name in names}
            y, _ = self.shape.cell.forward(inputs, weights, backend=backend, **more)
            outputs.append(y if not suffix else _from_the_end(y, lengths))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=3)

    def readout(self, y: Tensor) -> Tensor:
        """Eq. 2: (R, ..., n) outputs of the hidden layer to (R, ..., o)."""
        flat = y.flatten(1, -2)  # (R, B T, n)
        out = torch.baddbmm(self.bias_out[:, None], flat, self.weight_out.transpose(1, 2))
        return out.view(*y.shape[:-1], -1)

    def part(self, members: Tensor) -> "Ensemble":
        """A copy of the networks of these indices."""
        like = self.weight_hh
        part = Ensemble(self.shape, len(members), like.device, like.dtype)
        where = members.to(like.device)
        part.load_state_dict({name: w[where] for name, w in self.state_dict().items()})
        return part

    @torch.no_grad()
    def member(self, index: int) -> tuple[RecurrentLayer, nn.Linear]:
        """Network ``index`` as an ordinary layer and output layer, with copies of its weights.

        Returns:
            The cell's layer with ``batch_first=True``, and a linear layer for its outputs.
        """
        shape, like = self.shape, self.weight_hh
        where: dict[str, Any] = {"device": like.device, "dtype": like.dtype}
        layer = shape.cell.layer(
            shape.input_size, batch_first=True, bidirectional=shape.bidirectional, **where
        )
        outputs, inputs = shape.weights()["weight_out"]
        readout = nn.Linear(inputs, outputs, **where)
        for name in shape.weights():
            weight = self.get_parameter(name)[index]
            if name == "weight_out":
                readout.weight.copy_(weight)
            elif name == "bias_out":
                readout.bias.copy_(weight)
            else:
                layer.get_parameter(name).copy_(weight)
        return layer, readout


def _from_the_end(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(R, B, T, m) with each sequence's valid steps in reverse order."""
    flat = None if lengths is None else lengths.flatten()
    return reversed_sequences(x.flatten(0, 1), flat).view(x.shape)
