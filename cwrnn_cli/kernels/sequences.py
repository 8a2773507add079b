"""What is done with the steps of sequences, whatever computed them."""

from torch import Tensor

from .backend import traced


def last_valid(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """The last valid step of each sequence.

    Args:
        sequences: (R, B, T, n).
        lengths: int64 valid steps of each sequence, (B,) for all networks or (R, B); None: all T.

    Returns:
        (R, B, n).
    """
    if lengths is None:
        return sequences[:, :, -1]
    networks, batch, _, n = sequences.shape
    last = (lengths.to(sequences.device) - 1).expand(networks, batch)  # (R, B)
    index = last[:, :, None, None].expand(-1, -1, 1, n)  # (R, B, 1, n)
    return sequences.gather(2, index).squeeze(2)


def one_start(start: int | Tensor) -> int | None:
    """The start that all sequences have; None: they differ, or are traced and may do so."""
    if not isinstance(start, Tensor):
        return start
    if traced() or not len(start) or not (start == start[0]).all():
        return None
    return int(start[0])
