"""Learnt waves as WAV files."""

from io import BytesIO
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


LOUD = 0.4  # of full scale, a sample of 1: what is played again and again should not be shrill


def looped(wave: np.ndarray, rate: int, seconds: float) -> bytes:
    """A mono 16-bit WAV file of a wave repeated without a gap, whole repeats only.

    Args:
        wave: (T,) about its mean, which is taken away; a sample of 1 is played at :data:`LOUD`, of
            more than 2.5 clipped.
        rate: in Hz.
        seconds: about how long; at least one repeat.
    """
    from scipy.io import wavfile  # noqa: PLC0415  (slow to import)

    scaled = LOUD * (wave.astype(float) - np.mean(wave, dtype=float))
    samples = np.rint(32767 * np.clip(scaled, -1, 1)).astype(np.int16)
    stream = BytesIO()
    wavfile.write(stream, rate, np.tile(samples, max(1, round(seconds * rate / len(wave)))))
    return stream.getvalue()
