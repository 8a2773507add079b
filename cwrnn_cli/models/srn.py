"""The simple recurrent network that the paper compares with: its cell, and its torch layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import nn

from ..clock import Clock
from .clockwork import ClockedSpec, ClockworkRNN


@dataclass(frozen=True)
class SRNSpec(ClockedSpec):
    """An Elman network: one module of period 1."""

    name: ClassVar[str] = "srn"
    label: ClassVar[str] = "SRN"
    colour: ClassVar[str] = "#d1495b"
    backends: ClassVar[tuple[str, ...]] = ("compiled",)
    peer: ClassVar[type[nn.Module] | None] = nn.RNN

    @classmethod
    def of_size(cls, hidden_size: int, options: Mapping[str, Any]) -> Self:
        """See :meth:`CellSpec.of_size`; it has no options."""
        return cls(hidden_size)

    @property
    def clock(self) -> Clock:
        """One module of period 1."""
        return Clock((1,), (self.hidden_size,))

    def layer(self, input_size: int, **options: Any) -> "SRN":
        """See :meth:`CellSpec.layer`."""
        return SRN(input_size, self.hidden_size, **options)


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
