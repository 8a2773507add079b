"""What is done with the steps of sequences, whatever computed them."""

from torch import Tensor


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
