"""The affine maps between what a corpus measured and what a network is given.

Each is a pair ``(shift, scale)`` of float64 arrays in the shapes that :class:`~.store.Split` takes;
``frames * scale + shift`` are the original units again.
"""

import numpy as np


def zero_mean_unit_variance(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map that standardises each feature; a constant one keeps its unit.

    Args:
        frames: (N, D), of the training set.

    Returns:
        (1, D) means, (1, D) standard deviations.
    """
    frames = frames.astype(np.float64, copy=False)
    shift, scale = frames.mean(axis=0), frames.std(axis=0)
    scale[scale == 0] = 1.0
    return shift[None], scale[None]


def unit_range(sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map that brings each sequence's lowest value to -1 and its highest to +1.

    Args:
        sequences: (S, T) float64, one feature.

    Returns:
        (S, 1) middles, (S, 1) half ranges; 0 where a sequence is constant.
    """
    low, high = sequences.min(axis=1), sequences.max(axis=1)
    return ((high + low) / 2)[:, None], ((high - low) / 2)[:, None]


def apply(frames: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """float32 ``(frames - shift) / scale``, in the shape of the frames."""
    standardised: np.ndarray = ((frames - shift) / scale).astype(np.float32)
    return standardised
