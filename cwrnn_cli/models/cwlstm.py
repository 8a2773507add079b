"""The LSTM on the clock, which the paper has not: its cell, and its layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from ..kernels.backend import compiling
from ..kernels.clockwork.gated import Arguments, clocked
from ..kernels.reference import CELL_OUTPUTS, lstm_step
from ..kernels.sequences import last_valid
from ..option import Option
from .cell import State
from .lstm import LSTMSpec, set_forget_biases
from .modular import ModularSpec
from .modular_layer import ModularLayer, clocks_of


def _step(
    drive: Tensor,
    heard: Tensor,
    state: tuple[Tensor, ...],
    own: tuple[Tensor, ...],
    cell_output: str,
    delta_clip: float | None,
) -> tuple[Tensor, ...]:
    peephole = own[0] if own else None
    return lstm_step(drive + heard, state[1], peephole, CELL_OUTPUTS[cell_output], delta_clip)


def _layer(
    drive: Tensor,
    heard: Tensor,
    weight: Tensor,
    own: tuple[Tensor, ...],
    state: tuple[Tensor, ...],
    cell_output: str,
    delta_clip: float | None,
) -> tuple[Tensor, ...]:
    from ..kernels.lstm.compiled import lstm as run  # noqa: PLC0415  (imports Numba)

    peephole, (y, c) = own[0] if own else None, state
    return run(drive + heard, None, weight, None, peephole, y, c, cell_output, delta_clip)


@dataclass(frozen=True)
class ClockworkLSTMSpec(ModularSpec, LSTMSpec):
    """An LSTM in modules with clock periods, which :class:`ClockworkLSTM` gives."""

    name: ClassVar[str] = "cwlstm"
    label: ClassVar[str] = "CW-LSTM"
    colour: ClassVar[str] = "#1b4f8f"
    like: ClassVar[str | None] = LSTMSpec.name
    backends: ClassVar[tuple[str, ...]] = ("compiled", "cascade", "reference")
    peer: ClassVar[type[nn.Module] | None] = None
    options: ClassVar[tuple[Option, ...]] = (*ModularSpec.options, *LSTMSpec.options)

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`. Options: those of its two parents."""
        cell = LSTMSpec.of_size(hidden_size, options)
        return cls(
            hidden_size,
            cell.peepholes,
            cell.forget_bias,
            cell.cell_output,
            **cls.clock_of(hidden_size, options),
        )

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
        if state is None:
            state = (x.new_zeros(*x.shape[:2], self.hidden_size),) * 2
        settings: dict[str, Any] = {"cell_output": self.cell_output, "delta_clip": delta_clip}
        # an operator of torch.compile clips none
        has_layer = delta_clip is None or not compiling()
        y, c = clocked(
            backend,
            Arguments(
                x,
                weights.get("weight_ih"),
                weights["weight_hh"],
                weights.get("bias"),
                tuple(weights[name] for name in ("weight_peephole",) if name in weights),
                state,
                self.clock,
                partial(_step, **settings),
                start + self.origin,
                partial(_layer, **settings) if has_layer else None,
            ),
        )
        return y, (last_valid(y, lengths), last_valid(c, lengths))

    def layer(self, input_size: int, **options: Any) -> "ClockworkLSTM":
        """See :meth:`CellSpec.layer`."""
        return ClockworkLSTM(
            input_size,
            self.hidden_size,
            peepholes=self.peepholes,
            forget_bias=self.forget_bias,
            cell_output=self.cell_output,
            **self.layer_options,
            **options,
        )


class ClockworkLSTM(ModularLayer):
    r"""LSTM layers on the clock: modules as of :class:`.ClockworkRNN`, gates as of :class:`.LSTM`.

    At step t only the modules whose clock ticks compute :class:`.LSTM`'s equations, in their rows
    of every gate; the gates, cells and outputs of all other units hold. In each gate slow modules
    feed fast ones only.

    Args:
        input_size: m, features of an input step. 0: no input; pass (T, B, 0).
        hidden_size: n, cells of one direction.
        periods: as of :class:`.ClockworkRNN`, and so are the other options of the clock.
        module_sizes: cells of each module.
        num_layers: L, layers one on top of the other.
        bias: whether there are biases.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second network reads each sequence from its last valid step, where its
            clock starts.
        peepholes: whether the gates see their cell.
        forget_bias: if given, what the forget gates' biases start at.
        cell_output: as of :class:`.LSTM`.
        device: of the weights.
        dtype: of the weights.
        clock_origin: the number of a sequence's first step, 0 or 1.
        module_offsets: an offset for each module.
        mask: "upper", "lower" or "full".
        slow_input: "sample", "mean", "ema" or "haar"; then there is a state more, the last.

    Inputs, outputs: as of :class:`.LSTM`, with `start` as of :class:`.ClockworkRNN`.

    Attributes:
        weight_ih: (4n, m), rows in the order i, f, g, o; absent (None) if `input_size` is 0.
        weight_hh: (4n, n), with the clock's mask in each gate.
        bias, weight_peephole: as of :class:`.LSTM`.
        backend: "auto", "reference", "cascade", "compiled" or "exported"; may be set at any
            time.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.LSTM`.

    Raises:
        TypeError, ValueError, RuntimeError: as of :class:`.ClockworkRNN` and :class:`.LSTM`.

    Example:
        >>> layer = ClockworkLSTM(13, 20, periods=[1, 2, 4, 8])
        >>> output, (h_n, c_n) = layer(torch.randn(100, 5, 13))
    """

    states = 2
    optional_weights = ("weight_ih", "bias", "weight_peephole")
    cells: tuple[ClockworkLSTMSpec, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        periods: int | Sequence[int] | Sequence[Sequence[int]] | None = None,
        module_sizes: Sequence[int] | Sequence[Sequence[int]] | None = None,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        peepholes: bool = False,
        forget_bias: float | None = None,
        cell_output: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        clock_origin: int = 0,
        module_offsets: Sequence[int] | Sequence[Sequence[int]] | None = None,
        mask: str = "upper",
        slow_input: str = "sample",
    ) -> None:
        if forget_bias is not None and not bias:
            raise ValueError("ClockworkLSTM: forget_bias needs bias=True")
        clocks = clocks_of(hidden_size, num_layers, periods, module_sizes, module_offsets, mask)
        own: dict[str, Any] = {"clock_origin": clock_origin, "slow_input": slow_input}
        own |= {"peepholes": peepholes, "forget_bias": forget_bias, "cell_output": cell_output}
        cells = [ClockworkLSTMSpec.of_clock(clock, **own) for clock in clocks]
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All weights anew from U(-1/sqrt(n), 1/sqrt(n)), but the forget biases if given."""
        super().reset_parameters()
        set_forget_biases(self, self.cells[0].forget_bias)
