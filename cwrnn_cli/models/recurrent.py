"""What every recurrent layer here shares with `torch.nn.RNN`: shapes, packing, directions."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..kernels.sequences import last_valid


class RecurrentLayer(nn.Module):
    """One hidden layer, one or two directions; subclasses say what a direction computes.

    Args:
        input_size: m, features of an input step; 0 for none.
        hidden_size: n, units of one direction.
        bias: whether there is a bias.
        batch_first: (B, T, m) instead of (T, B, m).
        bidirectional: a second set of weights, names ending in ``_reverse``, reads each sequence
            from its end.
    """

    states = 1  # tensors of a state: 1 (hidden) or 2 (hidden, cell)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(hidden_size, int) or hidden_size < 1:
            raise ValueError(
                f"hidden_size must be a whole number of at least 1, not {hidden_size!r}"
            )
        if not isinstance(input_size, int) or input_size < 0:
            raise ValueError(f"input_size must be a whole number of at least 0, not {input_size!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.has_bias = bias
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.backend = "auto"  # see cwrnn_cli.kernels

    @property
    def num_directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    def _add_weights(self, gates: int, device: Any, dtype: Any) -> None:
        """weight_ih, weight_hh and bias of each direction, with ``gates`` rows per unit."""
        rows, n = gates * self.hidden_size, self.hidden_size
        for suffix in self._suffixes():
            for name, shape in (
                ("weight_ih", (rows, self.input_size) if self.input_size else None),
                ("weight_hh", (rows, n)),
                ("bias", (rows,) if self.has_bias else None),
            ):
                weight = None
                if shape is not None:
                    weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(name + suffix, weight)

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
        raise NotImplementedError

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
            seen = x if direction == 0 else reversed_sequences(x, lengths)
            y, last = self._direction(suffix, seen, own, lengths)
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

    def _stacked(self, name: str) -> Tensor | None:
        """A weight with the leading axis R = 1 that the kernels want."""
        weight = getattr(self, name)
        return None if weight is None else weight[None]

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _last(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, n) of (1, B, T, n)."""
        return last_valid(y, lengths)[0]

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
