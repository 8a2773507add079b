"""The gated recurrent unit (Cho et al., 2014), which the paper has not: its cell, and its layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..kernels.gru import gru
from ..kernels.sequences import last_valid
from .cell import CellSpec, State
from .lstm import LSTMSpec
from .recurrent import RecurrentLayer, whole
from .torch_peer import TorchPeer


@dataclass(frozen=True)
class GRUSpec(CellSpec):
    """A GRU with torch's equations, which :class:`GRU` gives; autograd trains it."""

    name: ClassVar[str] = "gru"
    label: ClassVar[str] = "GRU"
    colour: ClassVar[str] = "#e0a030"
    like: ClassVar[str | None] = LSTMSpec.name
    backends: ClassVar[tuple[str, ...]] = ("compiled", "torch", "reference")
    peer: ClassVar[type[nn.Module] | None] = nn.GRU

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`; it has no options."""
        return cls(hidden_size)

    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`CellSpec.weights`; rows in the order r, z, n."""
        n, m = self.hidden_size, input_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (3 * n, m)} if m else {}
        return shapes | {"weight_hh": (3 * n, n), "bias": (3 * n,), "bias_hn": (n,)}

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None = None,
        lengths: Tensor | None = None,
        backend: str = "auto",
        start: int | Tensor = 0,
    ) -> tuple[Tensor, State]:
        """See :meth:`CellSpec.forward`."""
        y = gru(
            x,
            weights.get("weight_ih"),
            weights["weight_hh"],
            weights.get("bias"),
            weights.get("bias_hn"),
            None if state is None else state[0],
            backend,
        )
        return y, (last_valid(y, lengths),)

    def layer(self, input_size: int, **options: Any) -> RecurrentLayer:
        """See :meth:`CellSpec.layer`."""
        return GRU(input_size, self.hidden_size, **options)


class GRU(TorchPeer):
    r"""GRU layers, as `torch.nn.GRU`; the paper has none.

    .. math::
        r_t &= \sigma(W_r y_{t-1} + V_r x_t + b_r) \\
        z_t &= \sigma(W_z y_{t-1} + V_z x_t + b_z) \\
        n_t &= \tanh(r_t \odot (W_n y_{t-1} + b_{hn}) + V_n x_t + b_n) \\
        y_t &= (1 - z_t) \odot n_t + z_t \odot y_{t-1}

    Args:
        input_size: m, features of an input step. 0: no input; pass (T, B, 0).
        hidden_size: n, units of one direction.
        num_layers: L, layers one on top of the other.
        bias: whether there are biases.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second network reads each sequence from its last valid step.
        device: of the weights.
        dtype: of the weights.

    Inputs:
        - **input**: (T, B, m), or (B, T, m) if `batch_first`, or (T, m) unbatched, or a
          `PackedSequence`.
        - **hx**: (L D, B, n), or (L D, n) unbatched; default: zeros.
        - **start**: as of :class:`.ClockworkRNN`; here it changes nothing.

    Outputs:
        - **output**: (T, B, D n), or as the input was given.
        - **h_n**: (L D, B, n), or (L D, n) unbatched, at each sequence's last valid step.

    Attributes:
        weight_ih: (3n, m), rows in the order r, z, n; absent (None) if `input_size` is 0.
        weight_hh: (3n, n).
        bias: (3n,), the sum of torch's two where torch only ever adds them; or None.
        bias_hn: (n,), the one that the reset gate scales, or None.
        weight_ih_reverse, ...: the second direction's, if bidirectional.
        weight_ih_l1, ...: those of the layers above the first.
        backend: "auto", "reference", "compiled", "exported" or "torch"; may be set at any time.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.GRU`.

    Raises:
        TypeError: arguments of the wrong type.
        ValueError: sizes or dtypes that do not fit; a backend that cannot do this.
        RuntimeError: shapes that do not fit, as `torch.nn.GRU` raises it.

    Example:
        >>> output, h_n = GRU(13, 20)(torch.randn(100, 5, 13))
    """

    optional_weights = ("weight_ih", "bias", "bias_hn")
    cells: tuple[GRUSpec, ...]
    peer = nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        whole(hidden_size, "hidden_size", at_least=1)
        cells = [GRUSpec(hidden_size)] * whole(num_layers, "num_layers", at_least=1)
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()

    def _join_biases(self, bias_ih: Tensor, bias_hh: Tensor) -> dict[str, Tensor]:
        n = self.hidden_size
        added = torch.cat([bias_hh[: 2 * n], torch.zeros_like(bias_hh[2 * n :])])
        return {"bias": bias_ih + added, "bias_hn": bias_hh[2 * n :]}

    def _split_biases(self, end: str) -> tuple[Tensor, Tensor]:
        bias, own = getattr(self, "bias" + end), getattr(self, "bias_hn" + end)
        return bias, torch.cat([torch.zeros_like(bias[: 2 * self.hidden_size]), own])
