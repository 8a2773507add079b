"""Sound files and sampling rates: the one reader and the one resampler, for all corpora.

soundfile knows the formats: WAV, FLAC, OGG, AIFF, MP3, TIMIT's NIST SPHERE and more. It and scipy
are imported where they are used: a GPU host may lack the one, and the other is slow to import.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .errors import UserError
from .reading import regular_file

MOST_SAMPLES = 1 << 25  # read at once: ten minutes of 48 kHz
HIGHEST_RATE = 768_000  # Hz: of the fastest converters; and of headers that are believed
_WIDEST = 1 << 17  # of a resampling ratio in lowest terms: its filter has 64 times as many numbers
_BLOCK = 1 << 20  # numbers decoded at a time
_FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
)  # what soundfile raises, its own included


class UnreadableSound(UserError):
    """A file that is not sound, or that is damaged."""


class Sound:
    """A sound file that is open for reading, see :func:`open_sound`.

    Attributes:
        path: of the file.
        rate: sampling rate in Hz.
        channels: how many.
        frames: samples of each channel, as the header promises.
    """

    def __init__(self, path: Path, file: Any, handle: int) -> None:
        self._file, self._handle = file, handle
        self.path = path
        self.rate = int(file.samplerate)
        self.channels = int(file.channels)
        self.frames = int(file.frames)

    def read(
        self,
        first: int | None = None,
        count: int = -1,
        dtype: Literal["float32", "float64"] = "float64",
        channel: int | None = None,
    ) -> np.ndarray:
        """Samples of every channel, or of one.

        Args:
            first: the sample to begin with, from 0; None: behind those read last.
            count: how many of each channel; -1: all that follow.
            dtype: of the result.
            channel: counted from 0; None: all.

        Returns:
            (count, channels) samples of full scale 1, or (count, 1); fewer if the file ends before,
            whatever its header promises.

        Raises:
            UnreadableSound: it is damaged there, or they are more than :data:`MOST_SAMPLES`.
        """
        kept = slice(None) if channel is None else slice(channel, channel + 1)
        each = max(_BLOCK // self.channels, 1)
        blocks: list[np.ndarray] = [np.empty((0, self.channels), dtype)[:, kept]]
        left, taken = math.inf if count < 0 else count, 0
        try:
            if first is not None:
                self._file.seek(first)
            while left > 0:
                wanted = int(min(left, each))
                block = self._file.read(wanted, dtype=dtype, always_2d=True)
                blocks.append(block[:, kept].copy() if channel is not None else block)
                left, taken = left - len(block), taken + blocks[-1].size
                if taken > MOST_SAMPLES:
                    reason = f"more than {MOST_SAMPLES} samples at once; cut it into shorter files"
                    raise UnreadableSound(reason, place=self.path)
                if len(block) < wanted:
                    break
        except _FAILURES as error:
            reason = f"damaged near sample {first or 0} ({error})"
            raise UnreadableSound(reason, place=self.path) from error
        return np.concatenate(blocks)

    def sha256(self) -> str:
        """Hex SHA-256 of the file that is open, wherever reading is."""
        digest, at = hashlib.sha256(), 0
        while part := os.pread(self._handle, _BLOCK, at):
            digest.update(part)
            at += len(part)
        return digest.hexdigest()

    def check_rate(self, wanted: int) -> None:
        """Raises UnreadableSound for a rate from which there is no way to the wanted one, in Hz."""
        if max(ratio(self.rate, wanted)) > _WIDEST:
            reason = f"{self.rate} samples per second, too odd a rate; convert it to {wanted}"
            raise UnreadableSound(reason, place=self.path)


@contextmanager
def open_sound(path: Path) -> Iterator[Sound]:
    """Open a sound file of any format that libsndfile reads; closed on leaving.

    Raises:
        UnreadableSound: it is no sound file.
        UserError: there is no such file, or soundfile is not installed.
    """
    soundfile = _soundfile()
    with ExitStack() as stack:
        try:
            if not path.is_file():
                raise UserError("no such file", place=path)
            handle = stack.enter_context(regular_file(path)).fileno()
            file = stack.enter_context(soundfile.SoundFile(handle, closefd=False))
            if not (1 <= file.samplerate <= HIGHEST_RATE and file.channels >= 1):
                reason = f"{file.samplerate} samples per second; expected at most {HIGHEST_RATE}"
                raise UnreadableSound(reason, place=path)
        except _FAILURES as error:
            raise UnreadableSound(
                "not a sound file that libsndfile reads (WAV, FLAC, OGG, AIFF, MP3 ...)",
                place=path,
            ) from error
        yield Sound(path, file, handle)


def write_sphere(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write a NIST SPHERE file of 16 bits, TIMIT's own format.

    Args:
        path: the file.
        samples: (N,), full scale 1; one channel.
        rate: in Hz.

    Raises:
        UserError: soundfile is not installed.
    """
    _soundfile().write(path, samples, rate, format="NIST", subtype="PCM_16")


def _soundfile() -> Any:
    try:
        import soundfile  # noqa: PLC0415  (not on every GPU host)
    except ImportError as error:
        raise UserError("reading sound files needs soundfile: pip install soundfile") from error
    return soundfile


class LowPass(NamedTuple):
    """A linear-phase low-pass filter: a sinc under a Kaiser window.

    Attributes:
        half_length: from its middle to its end, in samples of the lower rate.
        cutoff: of the lower rate's Nyquist frequency.
        beta: of the window.
    """

    half_length: int
    cutoff: float
    beta: float


PLAIN = LowPass(10, 1.0, 5.0)  # what scipy takes by itself; half the level at Nyquist
STEEP = LowPass(32, 0.92, 9.0)  # images and aliases 90 dB down


def ratio(rate: int, wanted: int) -> tuple[int, int]:
    """``(up, down)`` in lowest terms: ``down`` samples at ``rate`` last as long as ``up`` wanted.

    Args:
        rate: in Hz.
        wanted: in Hz.
    """
    divisor = math.gcd(rate, wanted)
    return wanted // divisor, rate // divisor


def resample(samples: np.ndarray, rate: int, wanted: int, low_pass: LowPass = PLAIN) -> np.ndarray:
    """Change the sampling rate; sample 0 stays where it is.

    Args:
        samples: (N,) float32 or float64.
        rate: theirs, in Hz.
        wanted: the new one, in Hz.
        low_pass: keeps back what the lower rate cannot hold.

    Returns:
        (ceil(N * wanted / rate),) of the same dtype; the samples themselves if the rates are equal.
    """
    if rate == wanted:
        return samples
    from scipy import signal  # noqa: PLC0415  (slow to import)

    up, down = ratio(rate, wanted)
    widest = max(up, down)
    taps = signal.firwin(
        2 * low_pass.half_length * widest + 1,
        low_pass.cutoff / widest,
        window=("kaiser", low_pass.beta),
    )
    result: np.ndarray = signal.resample_poly(samples, up, down, window=taps.astype(samples.dtype))
    return result
