"""The Clockwork RNN: its cell, and its torch layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..clock import Clock, apart, parse_periods, parse_shares, shared_out
from ..option import Option
from ..paper import Protocol
from .clocked import ClockedLayer, ClockedSpec
from .recurrent import whole


def _origin(text: str) -> int:
    if text not in {"0", "1"}:
        raise ValueError(f"{text}: expected 0 or 1")
    return int(text)


@dataclass(frozen=True)
class ClockworkSpec(ClockedSpec):
    """The cell of the paper (Section 3, eq. 1).

    Attributes:
        periods: clock period of each module, ascending.
        module_sizes: units of each module.
        clock_origin: the number of a sequence's first step: at 0 all modules run, at 1 those of
            period 1, and period T first at step T.
        module_offsets: the offset of each module, () if all are 0: it ticks at the steps whose
            number is the offset, and every period from there on. The paper has none.
    """

    periods: tuple[int, ...] = field(metadata={"absent": ()})
    module_sizes: tuple[int, ...] = field(metadata={"absent": ()})
    clock_origin: int = field(default=0, metadata={"absent": 0}, kw_only=True)
    module_offsets: tuple[int, ...] = field(default=(), metadata={"absent": ()}, kw_only=True)

    name: ClassVar[str] = "cw"
    label: ClassVar[str] = "CW-RNN"
    colour: ClassVar[str] = "#2a9d5c"
    backends: ClassVar[tuple[str, ...]] = ("compiled", "cascade", "reference")
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "periods",
            "Clock periods: 1,2,4,8 or a number of exponential modules; 8@2 is 8 with offset 2.",
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
        Option(
            "clock_origin",
            "Number of the first step, 0 or 1; at 0 all modules run.",
            parse=_origin,
            only="only a CW-RNN has a clock",
            of_protocol=lambda protocol: str(protocol.clock_origin),
        ),
    )

    def __post_init__(self) -> None:
        """Raises ValueError if the modules do not fit n or are not sorted; for origin, offsets."""
        super().__post_init__()
        if type(self.clock_origin) is not int or self.clock_origin not in {0, 1}:
            raise ValueError(f"clock_origin must be 0 or 1, not {self.clock_origin!r}")
        for name in ("periods", "module_sizes", "module_offsets"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name} must be whole numbers, not {getattr(self, name)!r}")
        if self.clock.hidden_size != self.hidden_size:
            raise ValueError(
                f"module sizes add up to {self.clock.hidden_size}, not to hidden_size "
                f"{self.hidden_size}"
            )
        object.__setattr__(self, "module_offsets", self.clock.offsets)

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`.

        Options: ``periods`` and ``module_sizes`` as :meth:`cwrnn_cli.clock.Clock.of` takes them,
        the former also with offsets, as pairs; ``module_shares``, the ratio of the sizes, instead
        of the latter; ``clock_origin``.
        """
        sizes, shares = options.get("module_sizes"), options.get("module_shares")
        if shares:
            sizes = shared_out(hidden_size, shares)
        periods, offsets = apart(options.get("periods"))
        clock = Clock.of(hidden_size, periods, sizes, offsets)
        return cls.of_clock(clock, clock_origin=options.get("clock_origin") or 0)

    @classmethod
    def of_clock(cls, clock: Clock, nonlinearity: str = "tanh", clock_origin: int = 0) -> Self:
        """The cell with this clock."""
        return cls(
            clock.hidden_size,
            clock.periods,
            clock.sizes,
            nonlinearity=nonlinearity,
            clock_origin=clock_origin,
            module_offsets=clock.offsets,
        )

    @classmethod
    def smallest(cls, options: Mapping[str, Any]) -> int:
        """A unit per module, or as many as the ratio of the sizes needs."""
        periods, shares = options.get("periods"), options.get("module_shares")
        if shares:
            return int(-(-sum(shares) // min(shares)))
        return periods or 1 if periods is None or isinstance(periods, int) else len(periods)

    @classmethod
    def published(cls, protocol: Protocol) -> dict[str, Any]:
        """And the periods; modules are as equal as possible; where the clock begins."""
        own = {"periods": protocol.periods, "clock_origin": protocol.clock_origin}
        return super().published(protocol) | own

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
        """And modules that are not as equal as possible, and offsets."""
        found = super().deviations(protocol)
        if self.module_offsets:
            found["module_offsets"] = ((), self.module_offsets)
        if self.module_sizes != Clock.of(self.hidden_size, self.periods).sizes:
            found["module_sizes"] = ("equal", self.module_sizes)
        return found

    @property
    def clock(self) -> Clock:
        """Periods and sizes, and what follows from them."""
        return Clock(self.periods, self.module_sizes, self.module_offsets)

    @property
    def origin(self) -> int:
        """See :attr:`ClockedSpec.origin`."""
        return self.clock_origin

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
            input_size,
            self.hidden_size,
            periods=self.periods,
            module_sizes=self.module_sizes,
            nonlinearity=self.nonlinearity,
            clock_origin=self.clock_origin,
            module_offsets=self.module_offsets or None,
            **options,
        )


def _in_short(periods: tuple[int, ...]) -> str:
    """Periods as a help text has room for: 1,2,4 ... 256."""
    if len(periods) <= 4:
        return ",".join(map(str, periods))
    return f"{','.join(map(str, periods[:3]))} ... {periods[-1]}"


class ClockworkRNN(ClockedLayer):
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
        whole(hidden_size, "hidden_size", at_least=1)
        count = whole(num_layers, "num_layers", at_least=1)
        cells = [
            ClockworkSpec.of_clock(Clock.of(hidden_size, *own), nonlinearity, clock_origin)
            for own in zip(
                _per_layer(periods, count, "periods"),
                _per_layer(module_sizes, count, "module_sizes"),
                _per_layer(module_offsets, count, "module_offsets"),
                strict=True,
            )
        ]
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()

    @property
    def clock_origin(self) -> int:
        """The number of a sequence's first step."""
        return self.cells[0].origin

    @property
    def module_offsets(self) -> tuple[int, ...]:
        """The offset of each module of the first layer."""
        return self.clock.phases

    def extra_repr(self) -> str:
        """Sizes and periods, and whatever is not the default."""
        first, *others = super().extra_repr().split(", ")[1:]
        same = len(set(self.clocks)) == 1
        clocks = self.clocks[:1] if same else self.clocks
        texts = [f"[{clock}]" for clock in clocks]
        periods = texts[0] if same else f"[{', '.join(texts)}]"
        if self.nonlinearity != "tanh":
            others.insert(0, f"nonlinearity={self.nonlinearity}")
        if self.clock_origin:
            others.insert(0, f"clock_origin={self.clock_origin}")
        return ", ".join([str(self.input_size), first, f"periods={periods}", *others])


def _per_layer(given: Any, layers: int, name: str) -> list[Any]:
    """What each layer gets: all the same, or each its own of a sequence of sequences."""
    own = isinstance(given, (list, tuple)) and any(isinstance(p, Sequence) for p in given)
    if not own:
        return [given] * layers
    if len(given) != layers:
        raise ValueError(f"{name} of {len(given)} layers given, num_layers is {layers}")
    return list(given)
