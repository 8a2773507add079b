"""Learnt waves as WAV files."""

from pathlib import Path

import numpy as np

from data_prep.files import atomic_write


def write_wav(path: Path, wave: np.ndarray, rate: int) -> float:
    """Write a mono 16-bit WAV file, whole or not at all.

    Args:
        path: to write.
        wave: (T,) samples, full scale 1; what is beyond is clipped.
        rate: in Hz.

    Returns:
        The fraction of samples that had to be clipped.
    """
    from scipy.io import wavfile  # noqa: PLC0415  (slow to import)

    clipped = np.clip(wave, -1.0, 32767 / 32768)
    with atomic_write(path) as file:
        wavfile.write(file, rate, np.rint(clipped * 32768).astype(np.int16))
    return float(np.mean(np.abs(wave) > 1.0))
