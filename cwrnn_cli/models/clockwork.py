"""The Clockwork RNN and its one-module case, the simple recurrent network, as torch layers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..clock import Clock
from ..kernels.clockwork import clockwork
from .recurrent import RecurrentLayer


class ClockworkRNN(RecurrentLayer):
    r"""A Clockwork RNN layer (Koutník et al., ICML 2014, Section 3, eq. 1).

    The hidden layer is cut into modules, each with a clock period :math:`T_i`. At step t, counted
    from 0, only the modules with :math:`t \bmod T_i = 0` compute

    .. math:: y_t = \tanh(W_{hh} y_{t-1} + W_{ih} x_t + b)

    in their rows; all other units keep their last output. Module j feeds module i only if
    :math:`T_i \le T_j`: slow drives fast, so `weight_hh` is block-upper triangular (eq. 3-4).

    Args:
        input_size: m, features of an input step. 0: no input; pass a tensor of shape (T, B, 0), it
            carries the steps and the batch.
        hidden_size: n, units of one direction.
        periods: clock periods. None: 1, 2, 4 ... for as many modules as fit, at most 8; an int g: g
            exponential modules; a sequence: those. They need neither be powers of two nor divide
            each other, and the lowest may be above 1 (a low-pass network).
        module_sizes: units of each module, in the order of `periods`. None: as equal as possible,
            the units left over to the fastest modules, one each, as in the paper.
        bias: whether there is a bias.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        bidirectional: a second network reads each sequence from its last valid step, where its
            clock starts.
        device: of the weights.
        dtype: of the weights.

    Inputs:
        - **input**: (T, B, m), or (B, T, m) if `batch_first`, or (T, m) unbatched, or a
          `PackedSequence`.
        - **hx**: outputs before step 0, (D, B, n), or (D, n) unbatched; D is 2 if bidirectional,
          else 1. Default: zeros. All modules run at step 0, so this is what they read there.

    Outputs:
        - **output**: (T, B, D n), or as the input was given. The held units are in it, too.
        - **h_n**: (D, B, n), or (D, n) unbatched: the outputs at each sequence's last valid step.

    Attributes:
        weight_ih: (n, m), absent (None) if `input_size` is 0.
        weight_hh: (n, n), modules sorted by period, fastest first; the blocks below the diagonal
            are exactly 0 and stay so under any optimiser that leaves a weight with zero gradient at
            0. One that does not (Muon) is undone at the next forward pass or `state_dict()`, and
            its trespass is never computed with.
        bias: (n,), or None.
        weight_ih_reverse, weight_hh_reverse, bias_reverse: the second direction's, if
            bidirectional.
        clock: the periods and sizes.
        backend: "auto", "reference", "cascade" or "compiled" (:mod:`cwrnn_cli.kernels`); may be
            set at any time. "auto" takes the compiled one on a CPU, which has no second
            derivatives.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.RNN`.

    Raises:
        ValueError: periods, sizes or dtypes that do not fit.
        RuntimeError: shapes that do not fit, as `torch.nn.RNN` raises it.

    Example:
        >>> layer = ClockworkRNN(13, 40, periods=[1, 2, 4, 8])
        >>> output, h_n = layer(torch.randn(100, 5, 13))
        >>> output.shape, h_n.shape
        (torch.Size([100, 5, 40]), torch.Size([1, 5, 40]))
    """

    weight_hh: torch.nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        periods: int | Sequence[int] | None = None,
        module_sizes: Sequence[int] | None = None,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, bidirectional)
        self.clock = Clock.of(hidden_size, periods, module_sizes)
        self._add_weights(1, device, dtype)
        self.register_buffer(
            "_forbidden", torch.from_numpy(~self.clock.mask()).to(device), persistent=False
        )
        self._forbidden: Tensor
        self.register_state_dict_pre_hook(_clear_before_saving)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_clear_after_loading)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    @property
    def periods(self) -> tuple[int, ...]:
        """Clock period of each module, ascending."""
        return self.clock.periods

    @property
    def module_sizes(self) -> tuple[int, ...]:
        """Units of each module, fastest first."""
        return self.clock.sizes

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)); those that the mask forbids are 0."""
        super().reset_parameters()
        self._clear_forbidden()

    def _clear_forbidden(self) -> None:
        if len(set(self.clock.periods)) == 1:
            return
        for suffix in self._suffixes():
            # .data: what is cleared is never computed with, so no saved tensor goes stale
            getattr(self, "weight_hh" + suffix).data.masked_fill_(self._forbidden, 0)

    def _direction(
        self, suffix: str, x: Tensor, state: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        self._clear_forbidden()
        weight_hh = self._stacked("weight_hh" + suffix)
        assert weight_hh is not None
        y = clockwork(
            x[None],
            self._stacked("weight_ih" + suffix),
            weight_hh,
            self._stacked("bias" + suffix),
            None if state is None else state[0][None],
            self.clock,
            self.backend,
        )
        return y.squeeze(0), (self._last(y, lengths),)

    def extra_repr(self) -> str:
        """Sizes and periods, and whatever is not the default."""
        text = super().extra_repr().split(", ")
        return ", ".join([*text[:2], f"periods=[{self.clock}]", *text[2:]])


def _clear_before_saving(layer: ClockworkRNN, prefix: str, keep_vars: bool) -> None:
    layer._clear_forbidden()


def _clear_after_loading(layer: ClockworkRNN, incompatible_keys: Any) -> None:
    layer._clear_forbidden()


class SRN(ClockworkRNN):
    """A simple recurrent network (Elman, 1990): a Clockwork RNN of one module with period 1.

    As `torch.nn.RNN` with one layer and tanh, but with one bias instead of two and with the
    parameter names of :class:`ClockworkRNN`, whose documentation holds here for all but `periods`
    and `module_sizes`.

    Example:
        >>> output, h_n = SRN(13, 40)(torch.randn(100, 5, 13))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            periods=(1,),
            bias=bias,
            batch_first=batch_first,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )

    def extra_repr(self) -> str:
        """Sizes, and whatever is not the default; the one period goes without saying."""
        return super().extra_repr().replace(", periods=[1]", "")
