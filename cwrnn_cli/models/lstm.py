"""The LSTM that the paper compares with: its cell, and its torch layer."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from ..kernels.lstm import lstm
from ..kernels.reference import CELL_OUTPUTS
from ..option import Option, short
from ..paper import Protocol
from .cell import CellSpec, State
from .recurrent import RecurrentLayer, suffix, whole
from .torch_peer import TorchPeer


@dataclass(frozen=True)
class LSTMSpec(CellSpec):
    """An LSTM with forget gates, whose equations :class:`LSTM` gives.

    Attributes:
        peepholes: whether the gates see their cell.
        forget_bias: what the forget gates' biases start at; None: drawn like all weights.
        cell_output: what squashes a cell's output: "tanh", "2tanh" (twice that) or "sigmoid".
    """

    peepholes: bool = field(default=False, metadata={"absent": False})
    forget_bias: float | None = field(default=None, metadata={"absent": None})
    cell_output: str = field(default="tanh", metadata={"absent": "tanh"})

    name: ClassVar[str] = "lstm"
    label: ClassVar[str] = "LSTM"
    unit: ClassVar[str] = "cells"
    colour: ClassVar[str] = "#3a7ca5"
    clips_deltas: ClassVar[bool] = True
    backends: ClassVar[tuple[str, ...]] = ("compiled",)
    peer: ClassVar[type[nn.Module] | None] = nn.LSTM
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "peepholes",
            "Of the LSTM.",
            bool,
            only="only an LSTM has peepholes",
            of_protocol=lambda protocol: "yes" if protocol.peepholes else "no",
        ),
        Option(
            "forget_bias",
            "Of the LSTM, at the start.",
            float,
            only="only an LSTM has forget gates",
            of_protocol=lambda protocol: (
                "drawn" if protocol.forget_bias is None else short(protocol.forget_bias)
            ),
        ),
        Option(
            "cell_output",
            "What squashes the output of an LSTM's cell.",
            tuple(CELL_OUTPUTS),
            only="only an LSTM has cells",
            of_protocol=lambda protocol: protocol.cell_output,
        ),
    )

    def __post_init__(self) -> None:
        """Raises ValueError for another squash, or a field of another kind."""
        super().__post_init__()
        if not isinstance(self.peepholes, bool):
            raise ValueError(f"peepholes must be true or false, not {self.peepholes!r}")
        bias = self.forget_bias
        if bias is not None and (isinstance(bias, bool) or not isinstance(bias, int | float)):
            raise ValueError(f"forget_bias must be a number or none, not {bias!r}")
        if bias is not None and not abs(bias) <= sys.float_info.max:  # a whole number may be more
            raise ValueError("forget_bias must be finite")
        if not isinstance(self.cell_output, str) or self.cell_output not in CELL_OUTPUTS:
            expected = ", ".join(map(repr, CELL_OUTPUTS))
            raise ValueError(f"cell_output {self.cell_output!r}: expected one of {expected}")

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`. Options: the fields."""
        return cls(
            hidden_size,
            bool(options.get("peepholes")),
            options.get("forget_bias"),
            options.get("cell_output") or "tanh",
        )

    @classmethod
    def published(cls, protocol: Protocol) -> dict[str, Any]:
        """Peepholes where Table 1's counts fit them; the "crucial" forget bias of tasks 1 and 2."""
        return {
            "peepholes": protocol.peepholes,
            "forget_bias": protocol.forget_bias,
            "cell_output": protocol.cell_output,
        }

    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`CellSpec.weights`; rows in the order i, f, g, o."""
        n, m = self.hidden_size, input_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (4 * n, m)} if m else {}
        shapes |= {"weight_hh": (4 * n, n), "bias": (4 * n,)}
        return shapes | ({"weight_peephole": (3, n)} if self.peepholes else {})

    def initialise_(self, name: str, drawn: Tensor) -> None:
        """The forget gates' biases, where they are given."""
        if name == "bias" and self.forget_bias is not None:
            drawn[self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None = None,
        lengths: Tensor | None = None,
        backend: str = "auto",
        start: int | Tensor = 0,
        delta_clip: float | None = None,
    ) -> tuple[Tensor, State]:
        """See :meth:`CellSpec.forward`."""
        h0, c0 = (None, None) if state is None else state
        y, h, c = lstm(
            x,
            weights.get("weight_ih"),
            weights["weight_hh"],
            weights.get("bias"),
            weights.get("weight_peephole"),
            h0,
            c0,
            lengths,
            backend,
            self.cell_output,
            delta_clip,
        )
        return y, (h, c)

    def layer(self, input_size: int, **options: Any) -> RecurrentLayer:
        """See :meth:`CellSpec.layer`."""
        return LSTM(
            input_size,
            self.hidden_size,
            peepholes=self.peepholes,
            forget_bias=self.forget_bias,
            cell_output=self.cell_output,
            **options,
        )


class LSTM(TorchPeer):
    r"""LSTM layers with forget gates, and peepholes on request.

    .. math::
        i_t &= \sigma(W_i y_{t-1} + V_i x_t + b_i + p_i \odot c_{t-1}) \\
        f_t &= \sigma(W_f y_{t-1} + V_f x_t + b_f + p_f \odot c_{t-1}) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tanh(W_g y_{t-1} + V_g x_t + b_g) \\
        o_t &= \sigma(W_o y_{t-1} + V_o x_t + b_o + p_o \odot c_t) \\
        y_t &= o_t \odot \tanh(c_t)

    What stands for the last tanh is `cell_output`.

    Args:
        input_size: m, features of an input step. 0: no input; pass (T, B, 0).
        hidden_size: n, cells of one direction.
        num_layers: L, layers one on top of the other.
        bias: whether there are biases (one per gate, not torch's two).
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second network reads each sequence from its last valid step.
        peepholes: whether the gates see their cell (p above; the paper's Table 1 fits them best in
            task 1).
        forget_bias: if given, what b_f starts at (the paper: 5.0, "crucial", in tasks 1 and 2).
        cell_output: what squashes the output of a cell: "tanh"; "2tanh", twice that; or "sigmoid",
            as in the library that the paper's authors worked with.
        device: of the weights.
        dtype: of the weights.

    Inputs:
        - **input**: (T, B, m), or (B, T, m) if `batch_first`, or (T, m) unbatched, or a
          `PackedSequence`.
        - **hx**: (h_0, c_0), each (L D, B, n), or (L D, n) unbatched; default: zeros.
        - **start**: as of :class:`.ClockworkRNN`; here it changes nothing.

    Outputs:
        - **output**: (T, B, D n), or as the input was given.
        - **(h_n, c_n)**: each (L D, B, n), or (L D, n) unbatched, at each sequence's last valid
          step.

    Attributes:
        weight_ih: (4n, m), rows in the order i, f, g, o; absent (None) if `input_size` is 0.
        weight_hh: (4n, n).
        bias: (4n,), or None.
        weight_peephole: (3, n) for i, f, o, or None.
        weight_ih_reverse, ...: the second direction's, if bidirectional.
        weight_ih_l1, ...: those of the layers above the first.
        backend: "auto", "reference", "compiled", "triton", "graph", "exported" or
            "torch" (:mod:`cwrnn_cli.kernels`);
            may be set at any time.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.LSTM`.

    Raises:
        TypeError: arguments of the wrong type.
        ValueError: dtypes or a squash that do not fit; a forget bias without biases; a backend that
            cannot do this.
        RuntimeError: shapes that do not fit, as `torch.nn.LSTM` raises it.

    Example:
        >>> output, (h_n, c_n) = LSTM(13, 15, peepholes=True)(torch.randn(100, 5, 13))
    """

    states = 2
    optional_weights = ("weight_ih", "bias", "weight_peephole")
    cells: tuple[LSTMSpec, ...]
    peer = nn.LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        peepholes: bool = False,
        forget_bias: float | None = None,
        cell_output: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if forget_bias is not None and not bias:
            raise ValueError("LSTM: forget_bias needs bias=True")
        whole(hidden_size, "hidden_size", at_least=1)
        cells = [LSTMSpec(hidden_size, peepholes, forget_bias, cell_output)]
        cells *= whole(num_layers, "num_layers", at_least=1)
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()

    @property
    def peepholes(self) -> bool:
        """Whether the gates see their cell."""
        return self.cells[0].peepholes

    @property
    def forget_bias(self) -> float | None:
        """What the forget gates' biases start at."""
        return self.cells[0].forget_bias

    @property
    def cell_output(self) -> str:
        """What squashes the output of a cell."""
        return self.cells[0].cell_output

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)), but the forget biases if given."""
        super().reset_parameters()
        set_forget_biases(self, self.forget_bias)

    def to_torch(self) -> nn.RNNBase:
        """See :meth:`.TorchPeer.to_torch`."""
        if self.peepholes:
            raise ValueError("LSTM.to_torch: torch has no LSTM with peepholes")
        if self.cell_output != "tanh":
            raise ValueError(f"LSTM.to_torch: torch's cells give out tanh, not {self.cell_output}")
        return super().to_torch()

    def extra_repr(self) -> str:
        """Sizes, and whatever is not the default."""
        text = super().extra_repr()
        if self.peepholes:
            text += ", peepholes=True"
        if self.forget_bias is not None:
            text += f", forget_bias={self.forget_bias:g}"
        if self.cell_output != "tanh":
            text += f", cell_output={self.cell_output}"
        return text


def set_forget_biases(module: RecurrentLayer, value: float | None) -> None:
    """In place, of a layer with an LSTM's gates; None: they stay as they are."""
    if value is None:
        return
    n = module.hidden_size
    for layer in range(module.num_layers):
        for direction in range(module.num_directions):
            getattr(module, "bias" + suffix(layer, direction)).data[n : 2 * n] = value
