"""The gated recurrent unit on the clock, which the paper has not: its cell, and its layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ..kernels.clockwork.gated import Arguments, clocked
from ..kernels.reference import gru_step
from ..kernels.sequences import last_valid
from .cell import State
from .gru import GRUSpec
from .modular import ModularSpec
from .modular_layer import ModularLayer, clocks_of


def _step(
    drive: Tensor, heard: Tensor, state: tuple[Tensor, ...], own: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return (gru_step(drive, heard, state[0], own[0] if own else None),)


def _layer(
    drive: Tensor,
    heard: Tensor,
    weight: Tensor,
    own: tuple[Tensor, ...],
    state: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    from ..kernels.gru.compiled import gru as run  # noqa: PLC0415  (imports Numba)

    return (run(drive, None, weight, None, own[0][:, 0] if own else None, state[0], heard),)


@dataclass(frozen=True)
class ClockworkGRUSpec(ModularSpec, GRUSpec):
    """A GRU in modules with clock periods, which :class:`ClockworkGRU` gives."""

    name: ClassVar[str] = "cwgru"
    label: ClassVar[str] = "CW-GRU"
    colour: ClassVar[str] = "#8a6d1f"
    backends: ClassVar[tuple[str, ...]] = ("compiled", "cascade", "reference")
    peer: ClassVar[type[nn.Module] | None] = None

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
        """See :meth:`.ModularSpec.run`; it clips no deltas."""
        assert delta_clip is None
        if state is None:
            state = (x.new_zeros(*x.shape[:2], self.hidden_size),)
        (y,) = clocked(
            backend,
            Arguments(
                x,
                weights.get("weight_ih"),
                weights["weight_hh"],
                weights.get("bias"),
                tuple(weights[name][:, None] for name in ("bias_hn",) if name in weights),
                state,
                self.clock,
                _step,
                start + self.origin,
                _layer,
            ),
        )
        return y, (last_valid(y, lengths),)

    def layer(self, input_size: int, **options: Any) -> "ClockworkGRU":
        """See :meth:`CellSpec.layer`."""
        return ClockworkGRU(input_size, self.hidden_size, **self.layer_options, **options)


class ClockworkGRU(ModularLayer):
    r"""GRU layers on the clock: modules as of :class:`.ClockworkRNN`, gates as of :class:`.GRU`.

    At step t only the modules whose clock ticks compute :class:`.GRU`'s equations, in their rows of
    every gate; all other units keep their output. In each gate slow modules feed fast ones only.

    Args:
        input_size: m, features of an input step. 0: no input; pass (T, B, 0).
        hidden_size: n, units of one direction.
        periods: as of :class:`.ClockworkRNN`, and so are the other options of the clock.
        module_sizes: units of each module.
        num_layers: L, layers one on top of the other.
        bias: whether there are biases.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second network reads each sequence from its last valid step, where its
            clock starts.
        device: of the weights.
        dtype: of the weights.
        clock_origin: the number of a sequence's first step, 0 or 1.
        module_offsets: an offset for each module.
        mask: "upper", "lower" or "full".
        slow_input: "sample", "mean", "ema" or "haar"; then there is a state more, the last.

    Inputs, outputs: as of :class:`.ClockworkRNN`.

    Attributes:
        weight_ih: (3n, m), rows in the order r, z, n; absent (None) if `input_size` is 0.
        weight_hh: (3n, n), with the clock's mask in each gate.
        bias, bias_hn: as of :class:`.GRU`.
        backend: "auto", "reference", "cascade", "compiled" or "exported"; may be set at any
            time.

    All weights start from U(-1/sqrt(n), 1/sqrt(n)), as in `torch.nn.GRU`.

    Raises:
        TypeError, ValueError, RuntimeError: as of :class:`.ClockworkRNN`.

    Example:
        >>> output, h_n = ClockworkGRU(13, 20, periods=[1, 2, 4, 8])(torch.randn(100, 5, 13))
    """

    optional_weights = ("weight_ih", "bias", "bias_hn")

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
        device: Any = None,
        dtype: Any = None,
        clock_origin: int = 0,
        module_offsets: Sequence[int] | Sequence[Sequence[int]] | None = None,
        mask: str = "upper",
        slow_input: str = "sample",
    ) -> None:
        clocks = clocks_of(hidden_size, num_layers, periods, module_sizes, module_offsets, mask)
        own: dict[str, Any] = {"clock_origin": clock_origin, "slow_input": slow_input}
        cells = [ClockworkGRUSpec.of_clock(clock, **own) for clock in clocks]
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()
