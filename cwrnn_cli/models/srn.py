"""The simple recurrent network that the paper compares with: its cell, and its torch layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import nn

from ..clock import Clock
from .clocked import ClockedLayer, ClockedSpec
from .recurrent import whole
from .torch_peer import TorchPeer


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
        return SRN(input_size, self.hidden_size, nonlinearity=self.nonlinearity, **options)


class SRN(TorchPeer, ClockedLayer):
    """Layers of a simple recurrent network (Elman, 1990): a Clockwork RNN of one module, period 1.

    As `torch.nn.RNN`, argument for argument, but with one bias instead of two and with the
    parameter names of :class:`.ClockworkRNN`, whose documentation holds here for all but the clock;
    `start` changes nothing (and is refused if bidirectional).

    Args:
        input_size: m, features of an input step; 0 for none.
        hidden_size: n, units of one direction.
        num_layers: L, layers one on top of the other.
        nonlinearity: "tanh" or "relu".
        bias: whether there is a bias.
        batch_first: inputs and outputs are (B, T, ·) instead of (T, B, ·); states are not affected.
        dropout: the probability of zeroing what goes from a layer to the next, in training.
        bidirectional: a second network reads each sequence from its last valid step.
        device: of the weights.
        dtype: of the weights.

    Example:
        >>> output, h_n = SRN(13, 40)(torch.randn(100, 5, 13))
    """

    cells: tuple[SRNSpec, ...]
    peer = nn.RNN
    peer_options = ("nonlinearity",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        whole(hidden_size, "hidden_size", at_least=1)
        cells = [SRNSpec(hidden_size, nonlinearity=nonlinearity)]
        cells *= whole(num_layers, "num_layers", at_least=1)
        super().__init__(
            cells, input_size, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.reset_parameters()

    @property
    def nonlinearity(self) -> str:
        """Tanh or relu, as of `torch.nn.RNN`."""
        return self.cells[0].nonlinearity

    def extra_repr(self) -> str:
        """Sizes, and whatever is not the default."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"
