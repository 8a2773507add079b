"""What a stretch of sound is like: one number each, by which sounds can be told apart.

All are of the sequence as the networks learn it, scaled to [-1, 1]; but for σ, neither the scale
nor the mean matters to them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import signal

from data_prep.audio import RATE

LOW = 1000.0  # Hz
_TINY = 1e-30


@dataclass(frozen=True)
class Description:
    """One of them.

    Attributes:
        label: with its unit, for tables.
        of: (S, T) sequences -> (S,).
        digits: behind the point, in tables.
    """

    label: str
    of: Callable[[np.ndarray], np.ndarray]
    digits: int


def spectral_centroid(sequences: np.ndarray) -> np.ndarray:
    """Where the energy is, on the average: Hz.

    Args:
        sequences: (S, T) samples at 44.1 kHz.

    Returns:
        (S,), each between 0 and 22050.
    """
    frequencies, power = _spectrum(sequences)
    found: np.ndarray = power @ frequencies / np.maximum(power.sum(axis=1), _TINY)
    return found


def spectral_flatness(sequences: np.ndarray) -> np.ndarray:
    """Geometric over arithmetic mean of the power spectrum: near 0 for a tone, 1 at the most.

    White noise of this length has about 0.6.

    Args:
        sequences: (S, T).

    Returns:
        (S,), no unit.
    """
    _, power = _spectrum(sequences)
    geometric = np.exp(np.log(np.maximum(power, _TINY)).mean(axis=1))
    found: np.ndarray = geometric / np.maximum(power.mean(axis=1), _TINY)
    return found


def low_share(sequences: np.ndarray) -> np.ndarray:
    """Share of the energy below :data:`LOW`, 1 kHz; the mean is none.

    Args:
        sequences: (S, T) samples at 44.1 kHz.

    Returns:
        (S,), 0 to 1.
    """
    frequencies, power = _spectrum(sequences)
    low = power[:, frequencies < LOW].sum(axis=1)
    found: np.ndarray = low / np.maximum(power.sum(axis=1), _TINY)
    return found


def autocorrelation(sequences: np.ndarray) -> np.ndarray:
    """Of neighbouring samples (lag 1), about the mean: near 1 for what changes slowly.

    Args:
        sequences: (S, T).

    Returns:
        (S,), -1 to 1.
    """
    centred = sequences - sequences.mean(axis=1, keepdims=True)
    products = (centred[:, 1:] * centred[:, :-1]).sum(axis=1)
    found: np.ndarray = products / np.maximum(np.square(centred).sum(axis=1), _TINY)
    return found


def deviation(sequences: np.ndarray) -> np.ndarray:
    """σ: the standard deviation of what is scaled to [-1, 1], which is less for what has peaks.

    Args:
        sequences: (S, T).

    Returns:
        (S,), 0 to 1.
    """
    found: np.ndarray = sequences.std(axis=1)
    return found


def _spectrum(sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F,) frequencies in Hz, without 0 and the highest, and (S, F) power; Hann window, no mean."""
    found = signal.periodogram(sequences, RATE, "hann", detrend="constant", axis=1)
    frequencies, power = found
    return frequencies[1:-1], power[:, 1:-1]


DESCRIPTIONS = {
    "centroid": Description("centroid, Hz", spectral_centroid, 0),
    "flatness": Description("flatness", spectral_flatness, 4),
    "autocorrelation": Description("autocorrelation, lag 1", autocorrelation, 4),
    "low_share": Description("energy below 1 kHz", low_share, 3),
    "deviation": Description("σ", deviation, 3),
}
