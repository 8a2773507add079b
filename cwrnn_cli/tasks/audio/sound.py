"""Learnt waves as WAV files."""

from pathlib import Path

import numpy as np

from data_prep.files import atomic_write

from ...outputs import AUTHOR


def write_wav(path: Path, wave: np.ndarray, rate: int) -> float:
    """Write a mono 16-bit WAV file, whole or not at all.

    Args:
        path: to write.
        wave: (T,) samples, full scale 1; what is beyond is clipped.
        rate: in Hz.

    Returns:
        The fraction of samples that had to be clipped.
    """
    import soundfile  # noqa: PLC0415  (slow to import)

    clipped = np.clip(wave, -1.0, 32767 / 32768)
    with (
        atomic_write(path) as raw,
        soundfile.SoundFile(raw, "w", rate, 1, "PCM_16", format="WAV") as file,
    ):
        file.software = AUTHOR
        file.write(np.rint(clipped * 32768).astype(np.int16))
    return float(np.mean(np.abs(wave) > 1.0))
