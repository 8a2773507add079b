"""What every recurrent layer here shares with `torch.nn.RNN`: shapes, packing, directions."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Direction(Protocol):
    """What a layer asks of its cell; :class:`.CellSpec` has it."""

    @property
    def hidden_size(self) -> int:
        """n, units of one direction."""

    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of each tensor of parameters of one direction."""

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: tuple[Tensor, ...] | None,
        lengths: Tensor | None,
        backend: str,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run one direction: (R, B, T, n) outputs, and the last valid state."""


class RecurrentLayer(nn.Module):
    """One hidden layer of a cell, in one or two directions.

    Args:
        cell: what a direction computes.
        input_size: m, features of an input step; 0 for none.
        bias: whether there is a bias.
        batch_first: (B, T, m) instead of (T, B, m).
        bidirectional: a second set of weights, names ending in ``_reverse``, reads each sequence
            from its end.
    """

    states = 1  # tensors of a state: 1 (hidden) or 2 (hidden, cell)
    optional_weights: tuple[str, ...] = ("weight_ih", "bias")  # None where there are none
    weight_hh: nn.Parameter

    def __init__(
        self,
        cell: Direction,
        input_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(input_size, int) or input_size < 0:
            raise ValueError(f"input_size must be a whole number of at least 0, not {input_size!r}")
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = cell.hidden_size
        self.has_bias = bias
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.backend = "auto"  # see cwrnn_cli.kernels
        shapes = cell.weights(input_size)
        if not bias:
            shapes = {name: size for name, size in shapes.items() if not name.startswith("bias")}
        for suffix in self._suffixes():
            for name in dict.fromkeys((*cell.weights(input_size), *self.optional_weights)):
                weight = None
                if name in shapes:
                    weight = nn.Parameter(torch.empty(shapes[name], device=device, dtype=dtype))
                self.register_parameter(name + suffix, weight)

    @property
    def num_directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)), as `torch.nn.RNN` does.

        The paper's experiments draw from N(0, 0.1^2) instead: `cwrnn_cli.models.ensemble`.
        """
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def _direction(
        self, suffix: str, x: Tensor, state: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, T, m) and a state of (B, n) tensors to outputs (B, T, n) and the last valid state."""
        named = {name: getattr(self, name + suffix) for name in self.cell.weights(self.input_size)}
        weights = {name: weight[None] for name, weight in named.items() if weight is not None}
        own = None if state is None else tuple(s[None] for s in state)
        y, last = self.cell.forward(x[None], weights, own, lengths, self.backend)
        return y.squeeze(0), tuple(s.squeeze(0) for s in last)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Run the layer; arguments, results and errors as in the class's documentation."""
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{self._name}: expected input of 2 or 3 dimensions, got {input.dim()}"
            )
        batched = input.dim() == 3
        if not batched:
            x = input[None]
        else:
            x = input if self.batch_first else input.transpose(0, 1)
        state = self._check(x, hx, batched)
        y, last = self._both(x, state, None)
        if not batched:
            return y[0], self._give(tuple(s[:, 0] for s in last))
        return (y if self.batch_first else y.transpose(0, 1)), self._give(last)

    def _packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        plain = PackedSequence(packed.data, packed.batch_sizes)  # in order of length, as it lies
        x, lengths = pad_packed_sequence(plain, batch_first=True)
        state = self._check(x, hx, True)
        if state is not None and packed.sorted_indices is not None:
            state = tuple(s.index_select(1, packed.sorted_indices) for s in state)
        y, last = self._both(x, state, lengths)
        data = pack_padded_sequence(y, lengths, batch_first=True).data
        if packed.unsorted_indices is not None:
            last = tuple(s.index_select(1, packed.unsorted_indices) for s in last)
        return packed._replace(data=data), self._give(last)

    def _both(
        self, x: Tensor, state: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, lasts = [], []
        for direction, suffix in enumerate(self._suffixes()):
            own = None if state is None else tuple(s[direction] for s in state)
            inputs = x if direction == 0 else reversed_sequences(x, lengths)
            y, last = self._direction(suffix, inputs, own, lengths)
            outputs.append(y if direction == 0 else reversed_sequences(y, lengths))
            lasts.append(last)
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
        return y, tuple(torch.stack(same) for same in zip(*lasts, strict=True))

    def _check(self, x: Tensor, hx: Any, batched: bool) -> tuple[Tensor, ...] | None:
        """The state as a tuple of (directions, B, n), or None; errors as torch raises them."""
        batch, steps, features = x.shape
        if features != self.input_size:
            raise RuntimeError(
                f"{self._name}: input has {features} features, input_size is {self.input_size}"
            )
        if steps == 0:
            raise RuntimeError(f"{self._name}: expected at least one step")
        if x.dtype != self.weight_hh.dtype:
            raise ValueError(
                f"{self._name}: input is {x.dtype}, the weights are {self.weight_hh.dtype}"
            )
        if hx is None:
            return None
        state = (hx,) if self.states == 1 else tuple(hx)
        shape: tuple[int, ...] = (self.num_directions, batch, self.hidden_size)
        if not batched:
            shape = (self.num_directions, self.hidden_size)
        if len(state) != self.states:
            raise RuntimeError(
                f"{self._name}: expected {self.states} initial states, got {len(state)}"
            )
        for tensor in state:
            if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
                got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
                raise RuntimeError(f"{self._name}: expected an initial state {shape}, got {got}")
        return state if batched else tuple(s[:, None] for s in state)

    def _give(self, state: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return state[0] if self.states == 1 else state

    @property
    def _name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Sizes, and whatever is not the default."""
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.has_bias:
            text += ", bias=False"
        if self.batch_first:
            text += ", batch_first=True"
        if self.bidirectional:
            text += ", bidirectional=True"
        return text


def reversed_sequences(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, m) with each sequence's valid steps in reverse order; what is behind them stays."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)[None]  # (1, T)
    ends = lengths.to(x.device)[:, None]  # (B, 1)
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))
