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

from ..clock import Clock
from ..kernels.clockwork import clockwork
from ..kernels.lstm import lstm
from .clockwork import SRN, ClockworkRNN
from .lstm import LSTM
from .recurrent import RecurrentLayer, reversed_sequences


@dataclass(frozen=True)
class Shape:
    """What one network looks like: one hidden layer, one linear output layer.

    Attributes:
        model: "cw", "srn" or "lstm".
        input_size: m; 0 for none.
        hidden_size: n.
        output_size: units of the output layer.
        periods: of a CW-RNN; () for the others.
        module_sizes: of a CW-RNN; () for the others.
        peepholes: of an LSTM.
        bidirectional: whether a second set of weights, names ending in ``_reverse``, reads each
            sequence from its end.
    """

    model: str
    input_size: int
    hidden_size: int
    output_size: int
    periods: tuple[int, ...] = ()
    module_sizes: tuple[int, ...] = ()
    peepholes: bool = False
    bidirectional: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of each direction's weights end in."""
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def clock(self) -> Clock:
        """The clock of the hidden layer; an SRN's has one module of period 1."""
        if self.model == "cw":
            return Clock(self.periods, self.module_sizes)
        return Clock((1,), (self.hidden_size,))

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of parameters, without the axis R, as they are drawn."""
        n, m = self.hidden_size, self.input_size
        rows = 4 * n if self.model == "lstm" else n
        shapes: dict[str, tuple[int, ...]] = {}
        for suffix in self.suffixes:
            if m:
                shapes["weight_ih" + suffix] = (rows, m)
            shapes |= {"weight_hh" + suffix: (rows, n), "bias" + suffix: (rows,)}
            if self.peepholes:
                shapes["weight_peephole" + suffix] = (3, n)
        seen = n * len(self.suffixes)
        return shapes | {"weight_out": (self.output_size, seen), "bias_out": (self.output_size,)}


class Ensemble(nn.Module):
    """R networks of one shape, each as in eq. 1-2 with linear output units.

    Args:
        shape: of every network.
        networks: R.
        device: of the weights.
        dtype: of the weights.

    Attributes:
        weight_ih: (R, n, m), LSTM (R, 4n, m); absent if there is no input.
        weight_hh: (R, n, n), LSTM (R, 4n, n).
        bias: (R, n), LSTM (R, 4n).
        weight_peephole: (R, 3, n), if the LSTM has them.
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
    def draw(
        self,
        generators: Sequence[np.random.Generator],
        std: float,
        forget_bias: float | None = None,
    ) -> None:
        """Initial weights from N(0, std^2), each network from its own generator (Section 4).

        Network i gets the same weights whatever else is in the ensemble.

        Args:
            generators: R of them.
            std: of the Gaussian.
            forget_bias: if given, what an LSTM's forget gates' biases are set to.
        """
        forbidden = torch.from_numpy(~self.shape.clock.mask())
        n = self.shape.hidden_size
        for i, generator in enumerate(generators):
            for name, size in self.shape.weights().items():
                drawn = torch.from_numpy(std * generator.standard_normal(size))
                kind = name.removesuffix("_reverse")
                if kind == "weight_hh" and self.shape.model == "cw":
                    drawn.masked_fill_(forbidden, 0)
                if kind == "bias" and self.shape.model == "lstm" and forget_bias is not None:
                    drawn[n : 2 * n] = forget_bias
                self.get_parameter(name)[i] = drawn

    def forward(self, x: Tensor, backend: str = "auto", lengths: Tensor | None = None) -> Tensor:
        """Outputs of all networks.

        Args:
            x: (R, B, T, m) inputs; m is 0 in task 1.
            backend: see :mod:`cwrnn_cli.kernels`.
            lengths: (R, B) int64 valid steps of each sequence, None: all T. Outputs behind them
                are undefined, and no gradient may come from there.

        Returns:
            (R, B, T, o).
        """
        return self.readout(self.hidden(x, backend, lengths))

    def hidden(self, x: Tensor, backend: str = "auto", lengths: Tensor | None = None) -> Tensor:
        """(R, B, T, n), or 2n, outputs of the hidden layer; arguments as in :meth:`forward`."""
        outputs = []
        for suffix in self.shape.suffixes:
            seen = x if not suffix else _from_the_end(x, lengths)
            w_ih = getattr(self, "weight_ih" + suffix, None)
            w_hh, bias = (self.get_parameter(name + suffix) for name in ("weight_hh", "bias"))
            if self.shape.model == "lstm":
                peephole = getattr(self, "weight_peephole" + suffix, None)
                y, _, _ = lstm(seen, w_ih, w_hh, bias, peephole, backend=backend)
            else:
                y = clockwork(seen, w_ih, w_hh, bias, None, self.shape.clock, backend)
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
            A :class:`ClockworkRNN`, :class:`SRN` or :class:`LSTM` with ``batch_first=True``, and a
            linear layer.
        """
        shape, like = self.shape, self.weight_hh
        options: dict[str, Any] = {
            "batch_first": True,
            "bidirectional": shape.bidirectional,
            "device": like.device,
            "dtype": like.dtype,
        }
        layer: RecurrentLayer
        if shape.model == "cw":
            layer = ClockworkRNN(
                shape.input_size, shape.hidden_size, shape.periods, shape.module_sizes, **options
            )
        elif shape.model == "srn":
            layer = SRN(shape.input_size, shape.hidden_size, **options)
        else:
            layer = LSTM(shape.input_size, shape.hidden_size, peepholes=shape.peepholes, **options)
        readout = nn.Linear(
            shape.hidden_size * len(shape.suffixes),
            shape.output_size,
            device=like.device,
            dtype=like.dtype,
        )
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
