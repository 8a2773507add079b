"""The Clockwork RNN: its cell, and its torch layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .cell import State
from .clocked import ClockedSpec
from .modular import ModularSpec
from .modular_layer import ModularLayer, clocks_of


@dataclass(frozen=True)
class ClockworkSpec(ModularSpec, ClockedSpec):
    """The cell of the paper (Section 3, eq. 1)."""

    name: ClassVar[str] = "cw"
    label: ClassVar[str] = "CW-RNN"
    colour: ClassVar[str] = "#2a9d5c"
    backends: ClassVar[tuple[str, ...]] = ("compiled", "cascade", "reference")

    def run(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None,
        lengths: Tensor | None,
        backend: str,
        start: int | Tensor,
        delta_clip: float | None,
    ) -> tuple[Tensor, State]:
        """See :meth:`.ModularSpec.run`."""
        if x.shape[3] and "weight_ih" not in weights:  # every backend has an input's weights
            one = torch.eye(self.hidden_size, dtype=x.dtype, device=x.device)
            weights = {**weights, "weight_ih": one.expand(len(x), -1, -1)}
        return ClockedSpec.forward(self, x, weights, state, lengths, backend, start, delta_clip)

    def layer(self, input_size: int, **options: Any) -> "ClockworkRNN":
        """See :meth:`CellSpec.layer`."""
        own = {"nonlinearity": self.nonlinearity} | self.layer_options
        return ClockworkRNN(input_size, self.hidden_size, **own, **options)


class ClockworkRNN(ModularLayer):
    r"""Clockwork RNN layers (Koutník et al., ICML 2014, Section 3, eq. 1).

    The hidden layer is cut into modules, each with a clock period :math:`T_i`. At step t only the
    modules with :math:`t \bmod T_i = 0` (where they have an offset :math:`o_i`,
    :math:`(t - o_i) \bmod T_i = 0`) compute

    .. math:: y_t = \tanh(W_{hh} y_{t-1} + W_{ih} x_t + b)

    in their rows; all other units keep their last output. Module j feeds module i only if
    :math:`T_i \le T_j`: slow drives fast, so `weight_hh` is block-upper triangular (eq. 3-4), and
    modules of one period feed each other, whatever their offsets. **The
    first step of a call has the number** `start` **(and** `clock_origin` **more), 0 if nothing is
    said: a sequence in pieces needs** `start` **as well as the state**, or :class:`.Stream`, which
    carries both.

    Args:
        input_size: m, features of an input step. 0: no input; pass a tensor of shape (T, B, 0), it
            carries the steps and the batch.
        hidden_size: n, units of one direction.
        periods: clock periods. None: 1, 2, 4 ... for as many modules as fit, at most 8; an int g: g
            exponential modules; a sequence: those. They need neither be powers of two nor divide
            each other, and the lowest may be above 1 (a low-pass network). A sequence of sequences:
            those of each layer.
        module_sizes: units of each module, in the order of `periods`. None: as equal as possible,
            the units left over to the fastest modules, one each, as in the paper. A sequence of
            sequences: those of each layer.
        clock_origin: the number of a sequence's first step. 0: all modules run there, as in the
            paper. 1: only those of period 1 do, and a module of period T runs at step T first.
        module_offsets: an offset for each module, in the order of `periods`, each below its period:
            a module of period T runs where step - offset is a multiple of T. So several modules of
            one period can take turns. None: all 0, as in the paper. (`clock_origin=1` is one offset
            for all modules, T - 1.) A sequence of sequences: those of each layer.
        mask: where `weight_hh` may be other than 0. "upper": slow modules feed fast ones, as in the
            paper (eq. 3-4); "lower": the reverse; "full": all feed all. Only the reference computes
            the other two.
        slow_input: what a slow module reads at a tick. "sample": the input there, as in the paper;
            or what it missed since its last tick: "mean"; "ema", an exponentially weighted mean;
            "haar", the mean and half the difference of its newer and older half, so that
            `weight_ih` is (n, 2 m). Inputs before the sequence count as 0. It is of the input only:
            faster modules' outputs may not feed a slow one. It needs one layer, and one `start` for
            all sequences; `hx` and `h_n` are then (h, k), the last max(periods) - 1 inputs k
            (D, B, ·) with it.
        num_layers: L, layers one on top of the other; the paper has one.
        nonlinearity: "tanh", or "relu" instead of it.
        bias: whether there is a bias.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second network reads each sequence from its last valid step, where its
            clock starts.
        device: of the weights.
        dtype: of the weights.

    All but the sizes are given by keyword: what would be `num_layers` in `torch.nn.RNN` must not
    become a clock.

    Inputs:
        - **input**: (T, B, m), or (B, T, m) if `batch_first`, or (T, m) unbatched, or a
          `PackedSequence`.
        - **hx**: outputs before the first step, (L D, B, n), or (L D, n) unbatched; D is 2 if
          bidirectional, else 1; layer by layer, forward first. Default: zeros. All modules run at
          step 0, so this is what they read there; at a later start, or with an offset, what they
          hold until they tick.
        - **start**: the number of the first step, an int, or one for each sequence: B ints, or an
          int64 tensor (B,). Default: 0.

    Outputs:
        - **output**: (T, B, D n), or as the input was given. The held units are in it, too.
        - **h_n**: (L D, B, n), or (L D, n) unbatched: the outputs at each sequence's last valid
          step.

    Attributes:
        weight_ih: (n, m), absent (None) if `input_size` is 0.
        weight_hh: (n, n), modules sorted by period, fastest first. The blocks below the diagonal
            are never computed with, and their gradients are exactly 0. They are 0 at first, when
            loaded and when saved (shards of FSDP2 excepted); an optimiser that writes to weights
            without a gradient (Muon) changes nothing but what is read there in between. A
            parametrisation that fills them (orthogonal) is refused.
        bias: (n,), or None.
        weight_ih_reverse, weight_hh_reverse, bias_reverse: the second direction's, if
            bidirectional.
        weight_ih_l1, ..., weight_ih_l1_reverse, ...: those of the layers above the first.
        clock: the periods and sizes of the first layer.
        clocks: those of each layer; `state_dict` has them, too, and weights under another clock are
            refused.
        backend: "auto", "reference", "cascade", "compiled", "triton", "graph", "exported" or
            "torch" (:mod:`cwrnn_cli.kernels`); may be set at any time.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.RNN`.

    Raises:
        TypeError: arguments of the wrong type, or a clock that is not given by keyword.
        ValueError: periods, sizes, dtypes or a nonlinearity that do not fit; a negative start, or
            one of a bidirectional layer; a backend that cannot do this; a parametrisation that
            fills forbidden blocks.
        RuntimeError: shapes that do not fit, as `torch.nn.RNN` raises it.

    Example:
        >>> layer = ClockworkRNN(13, 40, periods=[1, 2, 4, 8])
        >>> output, h_n = layer(torch.randn(100, 5, 13))
        >>> output.shape, h_n.shape
        (torch.Size([100, 5, 40]), torch.Size([1, 5, 40]))
        >>> more, h_n = layer(torch.randn(20, 5, 13), h_n, start=100)
    """

    cells: tuple[ClockworkSpec, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *positional: Any,
        periods: int | Sequence[int] | Sequence[Sequence[int]] | None = None,
        module_sizes: Sequence[int] | Sequence[Sequence[int]] | None = None,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        clock_origin: int = 0,
        module_offsets: Sequence[int] | Sequence[Sequence[int]] | None = None,
        mask: str = "upper",
        slow_input: str = "sample",
    ) -> None:
        if positional:
            third = positional[0]
            meant = f"periods={third!r}"
            if isinstance(third, int):
                meant = f"num_layers={third!r}, torch's third argument, or periods={third!r}"
            raise TypeError(
                f"ClockworkRNN takes only input_size and hidden_size without a name, "
                f"not {third!r}: say {meant}"
            )
        clocks = clocks_of(hidden_size, num_layers, periods, module_sizes, module_offsets, mask)
        own: dict[str, Any] = {"clock_origin": clock_origin, "slow_input": slow_input}
        cells = [
            ClockworkSpec.of_clock(clock, nonlinearity=nonlinearity, **own) for clock in clocks
        ]
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()

    @property
    def nonlinearity(self) -> str:
        """Tanh or relu, as of `torch.nn.RNN`."""
        return self.cells[0].nonlinearity
