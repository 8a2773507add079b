"""What every recurrent layer here shares with `torch.nn.RNN`: shapes, packing, directions."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..kernels.backend import traced

_START = 1 << 62  # what a start is below: steps are counted in int64


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
        start: int | Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run one direction: (R, B, T, n) outputs, and the last valid state."""


class RecurrentLayer(nn.Module):
    """Hidden layers of a cell, one on top of the other, in one or two directions.

    Args:
        cells: what a direction computes, a cell for each layer, of one size.
        input_size: m, features of an input step; 0 for none.
        bias: whether there is a bias.
        batch_first: (B, T, m) instead of (T, B, m).
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second set of weights, names ending in ``_reverse``, reads each sequence
            from its end.
        device: of the weights.
        dtype: of the weights.

    The weights of layer l > 0 have names with ``_l1``, ``_l2`` ... behind the cell's.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: one that is out of range.
    """

    states = 1  # tensors of a state: 1 (hidden) or 2 (hidden, cell)
    optional_weights: tuple[str, ...] = ("weight_ih", "bias")  # None where there are none

    def __init__(
        self,
        cells: Sequence[Direction],
        input_size: int,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = whole(input_size, "input_size", at_least=0)
        for name, value in (
            ("bias", bias),
            ("batch_first", batch_first),
            ("bidirectional", bidirectional),
        ):
            if not isinstance(value, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)):
            raise TypeError(f"dropout should be a number, got: {type(dropout).__name__}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout should be a probability in [0, 1], got: {dropout}")
        if dropout and len(cells) == 1:
            warnings.warn(
                f"dropout={dropout} does nothing in a single layer: it works between layers",
                stacklevel=3,
            )
        self.cells = tuple(cells)
        self.hidden_size = cells[0].hidden_size
        self.num_layers = len(cells)
        self.has_bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.backend = "auto"  # see cwrnn_cli.kernels
        for layer, direction in self._places():
            shapes = self.cells[layer].weights(self._features(layer))
            for name in dict.fromkeys((*shapes, *self.optional_weights)):
                weight = None
                if name in shapes and (bias or not name.startswith("bias")):
                    weight = nn.Parameter(torch.empty(shapes[name], device=device, dtype=dtype))
                self.register_parameter(name + suffix(layer, direction), weight)

    @property
    def num_directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    def _features(self, layer: int) -> int:
        """Features of the steps that a layer reads."""
        return self.num_directions * self.hidden_size if layer else self.input_size

    def _places(self) -> list[tuple[int, int]]:
        """Layer after layer, direction after direction."""
        return [(a, b) for a in range(self.num_layers) for b in range(self.num_directions)]

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as of `torch.nn.RNN`."""
        found = []
        for layer, direction in self._places():
            names = self.cells[layer].weights(self._features(layer))
            weights = [getattr(self, name + suffix(layer, direction)) for name in names]
            found.append([weight for weight in weights if weight is not None])
        return found

    def flatten_parameters(self) -> None:
        """Does nothing: the weights need no common memory. Code written for torch calls it."""

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)), as `torch.nn.RNN` does.

        The paper's experiments draw from N(0, 0.1^2) instead: `cwrnn_cli.models.ensemble`.
        """
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def _weights(self, layer: int, direction: int) -> dict[str, Tensor]:
        """Of one direction, by the cell's names."""
        end = suffix(layer, direction)
        named = {
            name: getattr(self, name + end)
            for name in self.cells[layer].weights(self._features(layer))
        }
        return {name: weight for name, weight in named.items() if weight is not None}

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        start: int | Sequence[int] | Tensor = 0,
    ) -> tuple[Any, Any]:
        """Run the layer; arguments, results and errors as in the class's documentation."""
        if torch.onnx.is_in_onnx_export() and torch._C._is_tracing():
            raise RuntimeError(f"{self._name}: only torch.onnx.export(..., dynamo=True) is right")
        packed = input if isinstance(input, PackedSequence) else None
        data = packed.data if packed is not None else input
        if not isinstance(data, Tensor):
            raise TypeError(f"{self._name}: expected a tensor, got {type(data).__name__}")
        weights = [self._weights(layer, direction) for layer, direction in self._places()]
        like = weights[0]["weight_hh"]
        kind = like.device.type
        narrowed = kind != "meta" and like.dtype != torch.float64  # as torch has it
        if not (narrowed and torch.is_autocast_enabled(kind)):
            return self._forward(input, hx, start, weights)
        # as torch's layers do, the results have autocast's type; computed is in the weights' own
        narrow = torch.get_autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            results = self._forward(_cast(input, like.dtype), _cast(hx, like.dtype), start, weights)
            output, state = _cast(results, narrow)
        return output, state

    def _forward(
        self, input: Any, hx: Any, start: Any, weights: list[dict[str, Tensor]]
    ) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, start, weights)
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{self._name}: expected input of 2 or 3 dimensions, got {input.dim()}"
            )
        batched = input.dim() == 3
        if not batched:
            x = input[:, None]
        else:
            x = input.transpose(0, 1) if self.batch_first else input
        state = self._check(x, hx, batched, weights[0]["weight_hh"])
        y, last = self._layers(x, state, None, self._start(start, x.shape[1]), weights)
        if not batched:
            return y[:, 0], self._give(tuple(s[:, 0] for s in last))
        return (y.transpose(0, 1) if self.batch_first else y.contiguous()), self._give(last)

    def _packed(
        self, packed: PackedSequence, hx: Any, start: Any, weights: list[dict[str, Tensor]]
    ) -> tuple[PackedSequence, Any]:
        plain = PackedSequence(packed.data, packed.batch_sizes)  # in order of length, as it lies
        x, lengths = pad_packed_sequence(plain)
        state = self._check(x, hx, True, weights[0]["weight_hh"])
        first = self._start(start, x.shape[1])
        if packed.sorted_indices is not None:
            if state is not None:
                state = tuple(s.index_select(1, packed.sorted_indices) for s in state)
            if isinstance(first, Tensor):
                first = first.to(packed.sorted_indices.device)[packed.sorted_indices]
        y, last = self._layers(x, state, lengths, first, weights)
        data = pack_padded_sequence(y, lengths).data
        if packed.unsorted_indices is not None:
            last = tuple(s.index_select(1, packed.unsorted_indices) for s in last)
        return packed._replace(data=data), self._give(last)

    def _layers(
        self,
        x: Tensor,
        state: tuple[Tensor, ...] | None,
        lengths: Tensor | None,
        start: int | Tensor,
        weights: list[dict[str, Tensor]],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(T, B, m) through all layers: outputs (T, B, D n), last states (L D, B, n)."""
        lasts: list[tuple[Tensor, ...]] = []
        for layer, cell in enumerate(self.cells):
            if layer and self.dropout:
                x = nn.functional.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.num_directions):
                named = {name: weight[None] for name, weight in weights[len(lasts)].items()}
                own = None if state is None else tuple(s[None, len(lasts)] for s in state)
                inputs = x.transpose(0, 1)  # (B, T, m)
                if direction:
                    inputs = reversed_sequences(inputs, lengths)
                y, last = cell.forward(inputs[None], named, own, lengths, self.backend, start)
                y = y.squeeze(0)
                if direction:
                    y = reversed_sequences(y, lengths)
                outputs.append(y.transpose(0, 1))
                lasts.append(tuple(s.squeeze(0) for s in last))
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
        return x, tuple(torch.stack(same) for same in zip(*lasts, strict=True))

    def _check(
        self, x: Tensor, hx: Any, batched: bool, weight: Tensor
    ) -> tuple[Tensor, ...] | None:
        """The state as a tuple of (L D, B, n), or None; errors as torch raises them."""
        steps, batch, features = x.shape
        if features != self.input_size:
            raise RuntimeError(
                f"{self._name}: input has {features} features, input_size is {self.input_size}"
            )
        if steps == 0:
            raise RuntimeError(f"{self._name}: expected at least one step")
        if x.dtype != weight.dtype:
            raise ValueError(
                f"{self._name}: input is {x.dtype}, the weights are {weight.dtype}; convert the "
                f"input, input.to({weight.dtype}), or the layer, layer.to({x.dtype})"
            )
        if x.device != weight.device:
            raise RuntimeError(
                f"{self._name}: input is on {x.device}, the weights are on {weight.device}"
            )
        if hx is None:
            return None
        count = self.num_layers * self.num_directions
        if self.states == 1:
            state = (hx,)
        elif isinstance(hx, (tuple, list)):
            state = tuple(hx)
        else:
            raise TypeError(
                f"{self._name}: expected hx to be a tuple of {self.states} tensors, "
                f"got {type(hx).__name__}"
            )
        if len(state) != self.states:
            raise RuntimeError(
                f"{self._name}: expected {self.states} initial states, got {len(state)}"
            )
        for tensor, size in zip(state, self._state_sizes, strict=True):
            shape = (count, batch, size) if batched else (count, size)
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"{self._name}: expected an initial state that is a tensor, "
                    f"got {type(tensor).__name__}"
                )
            if tuple(tensor.shape) != shape:
                raise RuntimeError(
                    f"{self._name}: expected an initial state {shape}, got {tuple(tensor.shape)}"
                )
            if (tensor.dtype, tensor.device) != (weight.dtype, weight.device):
                raise RuntimeError(
                    f"{self._name}: the initial state is {tensor.dtype} on {tensor.device}, "
                    f"the weights are {weight.dtype} on {weight.device}"
                )
        return state if batched else tuple(s[:, None] for s in state)

    def _start(self, start: Any, batch: int) -> int | Tensor:
        """The number of the first step: one, or (B,) int64."""
        if isinstance(start, int) and not isinstance(start, bool):
            first: int | Tensor = start
            outside = not 0 <= start < _START
        else:
            try:
                first = start if isinstance(start, Tensor) else torch.tensor(start, device="cpu")
            except (TypeError, ValueError, RuntimeError, OverflowError) as error:
                raise TypeError(
                    f"{self._name}: start should be whole numbers, got: {start!r}"
                ) from error
            if first.is_floating_point() or first.is_complex() or first.dtype == torch.bool:
                raise TypeError(f"{self._name}: start should be whole numbers, got: {first.dtype}")
            if first.dim() > 1 or first.shape not in ((), (batch,)):
                raise RuntimeError(
                    f"{self._name}: expected one start or one per sequence, {(batch,)}, "
                    f"got {tuple(first.shape)}"
                )
            first = first.to(torch.int64)
            seen = not traced()
            outside = seen and bool(((first < 0) | (first >= _START)).any())
            if first.dim() == 0:
                first = int(first) if seen else first.expand(batch)
            elif seen and not first.any():
                first = 0
        if outside:
            raise ValueError(
                f"{self._name}: start counts steps from 0 and is below 2**62, got: {start}"
            )
        if self.bidirectional and not (isinstance(first, int) and first == 0):
            raise ValueError(
                f"{self._name}: a bidirectional layer needs whole sequences, so start must be 0"
            )
        return first

    def _give(self, state: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return state[0] if self.states == 1 else state

    @property
    def _state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size,) * self.states

    @property
    def _name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Sizes, and whatever is not the default; as torch writes it."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.has_bias:
            text += ", bias=False"
        if self.batch_first:
            text += ", batch_first=True"
        if self.dropout:
            text += f", dropout={self.dropout:g}"
        if self.bidirectional:
            text += ", bidirectional=True"
        return text


def suffix(layer: int, direction: int) -> str:
    """What the names of a layer's weights end in; nothing for the first, forward."""
    return (f"_l{layer}" if layer else "") + ("_reverse" if direction else "")


def whole(value: Any, name: str, at_least: int) -> int:
    """A size as an int; errors as torch raises them.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
    if value < at_least:
        raise ValueError(f"{name} should be at least {at_least}, got: {value}")
    return value


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Tensors, packed or in tuples, as another floating type."""
    if isinstance(value, PackedSequence):
        return value._replace(data=_cast(value.data, dtype))
    if isinstance(value, (tuple, list)):
        return tuple(_cast(each, dtype) for each in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def reversed_sequences(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, m) with each sequence's valid steps in reverse order; what is behind them stays."""
    if lengths is None:  # over the first axis: inductor (2.11) fixes the strides of another's flip
        return x.transpose(0, 1).flip(0).transpose(0, 1)
    steps = torch.arange(x.shape[1], device=x.device)[None]  # (1, T)
    ends = lengths.to(x.device)[:, None]  # (B, 1)
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))
