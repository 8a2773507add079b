"""The Clockwork RNN: its cell, and its torch layer."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..clock import Clock, parse_periods, parse_shares, shared_out
from ..kernels.clockwork import clockwork
from ..kernels.sequences import last_valid
from ..option import Option
from ..paper import Protocol
from .cell import CellSpec, State
from .recurrent import RecurrentLayer


@dataclass(frozen=True)
class ClockedSpec(CellSpec):
    """What runs under a clock: one matrix of each kind, tanh."""

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """Periods and sizes, and what follows from them."""

    def weights(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """See :meth:`CellSpec.weights`."""
        n, m = self.hidden_size, input_size
        return ({"weight_ih": (n, m)} if m else {}) | {"weight_hh": (n, n), "bias": (n,)}

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        state: State | None = None,
        lengths: Tensor | None = None,
        backend: str = "auto",
    ) -> tuple[Tensor, State]:
        """See :meth:`CellSpec.forward`."""
        y = clockwork(
            x,
            weights.get("weight_ih"),
            weights["weight_hh"],
            weights.get("bias"),
            None if state is None else state[0],
            self.clock,
            backend,
        )
        return y, (last_valid(y, lengths),)


@dataclass(frozen=True)
class ClockworkSpec(ClockedSpec):
    """The cell of the paper (Section 3, eq. 1).

    Attributes:
        periods: clock period of each module, ascending.
        module_sizes: units of each module.
    """

    periods: tuple[int, ...] = field(metadata={"absent": ()})
    module_sizes: tuple[int, ...] = field(metadata={"absent": ()})

    name: ClassVar[str] = "cw"
    label: ClassVar[str] = "CW-RNN"
    colour: ClassVar[str] = "#2a9d5c"
    backends: ClassVar[tuple[str, ...]] = ("compiled", "cascade", "reference")
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "periods",
            "Clock periods: 1,2,4,8 or a number of exponential modules.",
            parse=parse_periods,
            only="only a CW-RNN has clock periods",
            of_protocol=lambda protocol: _in_short(protocol.periods),
        ),
        Option(
            "module_shares",
            "Ratio of the module sizes, in the order of the periods: 4,2,1,1.",
            parse=parse_shares,
            only="only a CW-RNN has modules",
            default="equal",
        ),
    )

    def __post_init__(self) -> None:
        """Raises ValueError if the modules do not fit n or are not sorted."""
        super().__post_init__()
        if Clock.of(self.hidden_size, self.periods, self.module_sizes) != self.clock:
            raise ValueError(f"periods must ascend, not {self.periods}")

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`.

        Options: ``periods`` and ``module_sizes`` as :meth:`cwrnn_cli.clock.Clock.of` takes them;
        ``module_shares``, the ratio of the sizes, instead of the latter.
        """
        sizes, shares = options.get("module_sizes"), options.get("module_shares")
        if shares:
            sizes = shared_out(hidden_size, shares)
        return cls.of_clock(Clock.of(hidden_size, options.get("periods"), sizes))

    @classmethod
    def of_clock(cls, clock: Clock) -> Self:
        """The cell with this clock."""
        return cls(clock.hidden_size, clock.periods, clock.sizes)

    @classmethod
    def smallest(cls, options: Mapping[str, Any]) -> int:
        """A unit per module, or as many as the ratio of the sizes needs."""
        periods, shares = options.get("periods"), options.get("module_shares")
        if shares:
            return int(-(-sum(shares) // min(shares)))
        return periods or 1 if periods is None or isinstance(periods, int) else len(periods)

    @classmethod
    def published(cls, protocol: Protocol) -> dict[str, Any]:
        """The periods; modules are as equal as possible."""
        return {"periods": protocol.periods}

    @classmethod
    def resizes(cls, given: Mapping[str, Any]) -> bool:
        """Other modules count other parameters."""
        return "periods" in given or bool(given.get("module_shares"))

    @classmethod
    def refusal(cls, protocol: Protocol, given: Mapping[str, Any]) -> str | None:
        """Shares that do not fit the periods."""
        shares, periods = given.get("module_shares"), given.get("periods", protocol.periods)
        if not shares:
            return None
        option = f"--module-shares {','.join(map(str, shares))}"
        modules = periods if isinstance(periods, int) else len(periods)
        if len(shares) != modules:
            return f"{option}: {len(shares)} shares for {modules} clock periods"
        if not isinstance(periods, int) and list(periods) != sorted(periods):
            return f"{option}: with it, --periods must be given fastest first"
        return None

    def deviations(self, protocol: Protocol) -> dict[str, tuple[Any, Any]]:
        """Other periods, or modules that are not as equal as possible."""
        found: dict[str, tuple[Any, Any]] = {}
        if self.periods != protocol.periods:
            found["periods"] = (protocol.periods, self.periods)
        if self.module_sizes != Clock.of(self.hidden_size, self.periods).sizes:
            found["module_sizes"] = ("equal", self.module_sizes)
        return found

    @property
    def clock(self) -> Clock:
        """Periods and sizes, and what follows from them."""
        return Clock(self.periods, self.module_sizes)

    def parameter_count(self, input_size: int, directions: int = 1) -> int:
        """Of W_H only what the mask allows; each period once, whatever the directions."""
        n = self.hidden_size
        forbidden = n * n - self.clock.recurrent_parameters()
        every = super().parameter_count(input_size, directions)
        return every - directions * forbidden + len(self.periods)

    def initialise_(self, name: str, drawn: Tensor) -> None:
        """What the mask forbids is 0."""
        if name == "weight_hh":
            drawn.masked_fill_(torch.from_numpy(~self.clock.mask()), 0)

    def layer(self, input_size: int, **options: Any) -> "ClockworkRNN":
        """See :meth:`CellSpec.layer`."""
        return ClockworkRNN(
            input_size, self.hidden_size, self.periods, self.module_sizes, **options
        )


def _in_short(periods: tuple[int, ...]) -> str:
    """Periods as a help text has room for: 1,2,4 ... 256."""
    if len(periods) <= 4:
        return ",".join(map(str, periods))
    return f"{','.join(map(str, periods[:3]))} ... {periods[-1]}"


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

    cell: ClockworkSpec

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
        cell = ClockworkSpec.of_clock(Clock.of(hidden_size, periods, module_sizes))
        super().__init__(cell, input_size, bias, batch_first, bidirectional, device, dtype)
        self.register_buffer(
            "_forbidden", torch.from_numpy(~self.clock.mask()).to(device), persistent=False
        )
        self._forbidden: Tensor
        self.register_state_dict_pre_hook(_clear_before_saving)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_clear_after_loading)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    @property
    def clock(self) -> Clock:
        """The periods and sizes."""
        return self.cell.clock

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
        self, suffix: str, x: Tensor, state: State | None, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        self._clear_forbidden()
        return super()._direction(suffix, x, state, lengths)

    def extra_repr(self) -> str:
        """Sizes and periods, and whatever is not the default."""
        text = super().extra_repr().split(", ")
        return ", ".join([*text[:2], f"periods=[{self.clock}]", *text[2:]])


def _clear_before_saving(layer: ClockworkRNN, prefix: str, keep_vars: bool) -> None:
    layer._clear_forbidden()


def _clear_after_loading(layer: ClockworkRNN, incompatible_keys: Any) -> None:
    layer._clear_forbidden()
