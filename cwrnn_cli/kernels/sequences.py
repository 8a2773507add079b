"""Sequences of unequal length side by side in one tensor."""

from torch import Tensor


def last_valid(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """(R, B, n): the last valid step of each of (R, B, T, n).

    Args:
        sequences: (R, B, T, n).
        lengths: (B,) or (R, B) int64 valid steps; None: all T.
    """
    if lengths is None:
        return sequences[:, :, -1]
    steps = (lengths.to(sequences.device) - 1).expand(sequences.shape[:2])[:, :, None, None]
    return sequences.gather(2, steps.expand(-1, -1, 1, sequences.shape[3])).squeeze(2)
