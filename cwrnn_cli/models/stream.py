"""A sequence in pieces: what a layer needs to go on, carried from call to call."""

from typing import Any

from torch import Tensor

from .recurrent import RecurrentLayer


class Stream:
    """Feeds a layer a sequence piece by piece, as if it had come whole.

    The state alone is not enough: a clock that started anew with each piece would tick at other
    steps. Streaming (a microphone) and truncated backpropagation through time are the same but for
    :meth:`detach`.

    Args:
        layer: of one direction; its weights may change between pieces.

    Attributes:
        hx: the layer's state behind the last piece, None before the first.
        step: the number of the next step.

    Raises:
        TypeError: no layer of ours.
        ValueError: a bidirectional layer, which needs the end of a sequence for its first output.

    Example:
        >>> stream = Stream(ClockworkRNN(13, 40))
        >>> for piece in torch.randn(100, 5, 13).split(10):
        ...     output = stream(piece)  # (10, 5, 40)
    """

    def __init__(self, layer: RecurrentLayer) -> None:
        if not isinstance(layer, RecurrentLayer):
            raise TypeError(f"Stream: expected a layer of cwrnn_cli.models, got {type(layer)}")
        if layer.bidirectional:
            raise ValueError("Stream: a bidirectional layer needs whole sequences")
        self.layer = layer
        self.reset()

    def reset(self) -> None:
        """A new sequence begins: no state, step 0."""
        self.hx: Any = None
        self.step = 0

    def detach(self) -> None:
        """Gradients of what comes do not flow back into what was."""
        state = self.hx if isinstance(self.hx, tuple) else (self.hx,)
        kept = tuple(None if tensor is None else tensor.detach() for tensor in state)
        self.hx = kept if isinstance(self.hx, tuple) else kept[0]

    def __call__(self, piece: Tensor) -> Tensor:
        """The outputs of the next steps.

        Args:
            piece: (T, B, m), or (B, T, m) if the layer is `batch_first`, or (T, m); T may differ
                from piece to piece.

        Returns:
            The layer's output for it, in the same form.
        """
        if not isinstance(piece, Tensor):
            raise TypeError(f"Stream: expected a tensor, got {type(piece).__name__}")
        steps = piece.shape[1 if self.layer.batch_first and piece.dim() == 3 else 0]
        output: Tensor
        output, self.hx = self.layer(piece, self.hx, self.step)
        self.step += steps
        return output
