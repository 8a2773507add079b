"""The LSTM that the paper compares with, as a torch layer."""

from typing import Any

import torch
from torch import Tensor

from ..kernels.lstm import lstm
from .recurrent import RecurrentLayer


class LSTM(RecurrentLayer):
    r"""An LSTM layer with forget gates, and peepholes on request.

    .. math::
        i_t &= \sigma(W_i y_{t-1} + V_i x_t + b_i + p_i \odot c_{t-1}) \\
        f_t &= \sigma(W_f y_{t-1} + V_f x_t + b_f + p_f \odot c_{t-1}) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tanh(W_g y_{t-1} + V_g x_t + b_g) \\
        o_t &= \sigma(W_o y_{t-1} + V_o x_t + b_o + p_o \odot c_t) \\
        y_t &= o_t \odot \tanh(c_t)

    Args:
        input_size: m, features of an input step. 0: no input; pass (T, B, 0).
        hidden_size: n, cells of one direction.
        bias: whether there are biases (one per gate, not torch's two).
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        bidirectional: a second network reads each sequence from its last valid step.
        peepholes: whether the gates see their cell (p above; the paper's Table 1 fits them best in
            task 1).
        forget_bias: if given, what b_f starts at (the paper: 5.0, "crucial", in tasks 1 and 2).
        device: of the weights.
        dtype: of the weights.

    Inputs:
        - **input**: (T, B, m), or (B, T, m) if `batch_first`, or (T, m) unbatched, or a
          `PackedSequence`.
        - **hx**: (h_0, c_0), each (D, B, n), or (D, n) unbatched; default: zeros.

    Outputs:
        - **output**: (T, B, D n), or as the input was given.
        - **(h_n, c_n)**: each (D, B, n), or (D, n) unbatched, at each sequence's last valid step.

    Attributes:
        weight_ih: (4n, m), rows in the order i, f, g, o; absent (None) if `input_size` is 0.
        weight_hh: (4n, n).
        bias: (4n,), or None.
        weight_peephole: (3, n) for i, f, o, or None.
        weight_ih_reverse, ...: the second direction's, if bidirectional.
        backend: "auto", "reference", "compiled" or "torch" (:mod:`cwrnn_cli.kernels`); may be set
            at any time. "auto" may take the compiled one on a CPU, which has no second derivatives.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.LSTM`.

    Raises:
        ValueError: dtypes that do not fit; a forget bias without biases; a backend that cannot do
            this.
        RuntimeError: shapes that do not fit, as `torch.nn.LSTM` raises it.

    Example:
        >>> output, (h_n, c_n) = LSTM(13, 15, peepholes=True)(torch.randn(100, 5, 13))
    """

    states = 2
    weight_hh: torch.nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        peepholes: bool = False,
        forget_bias: float | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, bidirectional)
        if forget_bias is not None and not bias:
            raise ValueError("LSTM: forget_bias needs bias=True")
        self.peepholes = peepholes
        self.forget_bias = forget_bias
        self._add_weights(4, device, dtype)
        for suffix in self._suffixes():
            weight = None
            if peepholes:
                weight = torch.nn.Parameter(torch.empty(3, hidden_size, device=device, dtype=dtype))
            self.register_parameter("weight_peephole" + suffix, weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)), but the forget biases if given."""
        super().reset_parameters()
        if self.forget_bias is not None:
            n = self.hidden_size
            for suffix in self._suffixes():
                getattr(self, "bias" + suffix).data[n : 2 * n] = self.forget_bias

    def _direction(
        self, suffix: str, x: Tensor, state: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        weight_hh = self._stacked("weight_hh" + suffix)
        assert weight_hh is not None
        y, h, c = lstm(
            x[None],
            self._stacked("weight_ih" + suffix),
            weight_hh,
            self._stacked("bias" + suffix),
            self._stacked("weight_peephole" + suffix),
            None if state is None else state[0][None],
            None if state is None else state[1][None],
            lengths,
            self.backend,
        )
        return y.squeeze(0), (h.squeeze(0), c.squeeze(0))

    def extra_repr(self) -> str:
        """Sizes, and whatever is not the default."""
        text = super().extra_repr()
        if self.peepholes:
            text += ", peepholes=True"
        if self.forget_bias is not None:
            text += f", forget_bias={self.forget_bias:g}"
        return text
