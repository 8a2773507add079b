"""Speech features of task 2, MFCC and energy (Section 4.2).

torchaudio's Kaldi-compatible ones, or those of the library that the authors worked with.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import UserError
from .sound import UnreadableSound, open_sound, resample

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16000  # Hz, TIMIT's
LONGEST = 600  # seconds of one utterance at the most
_FFT, _BANDS, _LEAST_POWER = 2048, 40, 1e-100  # of pylstm's features
_STRETCH, _STEP, _MARGIN = 400, 160, 320  # samples: 25, 10 and 20 ms


@dataclass(frozen=True)
class FeatureOptions:
    """How a word becomes frames; the defaults are the paper's.

    Attributes:
        coefficients: cepstral coefficients c1, c2 ... beside the energy (pylstm: beside c0).
        window_ms: length of the Hamming window, in milliseconds.
        hop_ms: from one frame to the next, in milliseconds.
        preemphasis: coefficient.
        deltas: 0, 1 (differences over time beside each number) or 2 (and theirs).
        trim_db: silence before and behind a recorded word is cut off, see :func:`trim`; None: it
            stays.
        features: a name of :data:`KINDS`.
    """

    coefficients: int = 12
    window_ms: float = 25.0
    hop_ms: float = 10.0
    preemphasis: float = 0.97
    deltas: int = 0
    trim_db: float | None = None
    features: str = "kaldi"

    def __post_init__(self) -> None:
        """Raises UserError on values out of range."""
        if not 1 <= self.coefficients <= 22:
            raise UserError(f"--coefficients {self.coefficients}: expected 1 to 22")
        if not 1 <= self.hop_ms <= self.window_ms <= 1000:
            raise UserError(
                f"--window-ms {self.window_ms:g}, --hop-ms {self.hop_ms:g}: expected "
                "1 <= hop <= window <= 1000"
            )
        if not 0 <= self.preemphasis <= 1:
            raise UserError(f"--preemphasis {self.preemphasis:g}: expected 0 to 1")
        if self.deltas not in (0, 1, 2):
            raise UserError(f"--deltas {self.deltas}: expected 0, 1 or 2")
        if self.trim_db is not None and not 0 < self.trim_db <= 120:
            raise UserError(f"--trim-db {self.trim_db:g}: expected more than 0, at most 120")
        if self.features not in KINDS:
            raise UserError(f"--features {self.features}: expected one of {', '.join(KINDS)}")
        if self.features == "pylstm" and self.shortest > _FFT:
            raise UserError(
                f"--window-ms {self.window_ms:g}: expected at most {1000 * _FFT / RATE:g} with "
                "--features pylstm"
            )

    @property
    def size(self) -> int:
        """D, numbers per frame."""
        return (self.coefficients + 1) * (1 + self.deltas)

    @property
    def shortest(self) -> int:
        """Samples of the shortest sound that has a frame."""
        return round(self.window_ms * RATE / 1000)

    def to_json(self) -> dict[str, Any]:
        """For the provenance; of what came later, only where it is not the paper's."""
        found = asdict(self)
        return {k: v for k, v in found.items() if k not in _LATER or v != _LATER[k]}


# options that files of before do not have: what holds there
_LATER = {"trim_db": None, "features": "kaldi"}


def mfcc(samples: np.ndarray, options: FeatureOptions) -> np.ndarray:
    """(T, D) float32 features: log energy or c0, c1, c2 ..., then their deltas.

    Frames lie wholly inside the sound: T = 1 + (N - window) // hop.

    Args:
        samples: (N,) at 16 kHz, full scale 1.
        options: how.

    Raises:
        ValueError: shorter than one window.
    """
    import torch  # noqa: PLC0415  (slow to import)
    import torchaudio  # noqa: PLC0415

    if len(samples) < options.shortest:
        raise ValueError(f"{len(samples)} samples, a frame needs {options.shortest}")
    parts = [KINDS[options.features](samples, options)]
    for _ in range(options.deltas):
        parts.append(torchaudio.functional.compute_deltas(parts[-1].T[None])[0].T)
    features: np.ndarray = torch.cat(parts, dim=1).numpy()
    return features


def _kaldi(samples: np.ndarray, options: FeatureOptions) -> "Tensor":
    """Log energy, c1, c2 ... as Kaldi and HTK compute them."""
    import torch  # noqa: PLC0415  (slow to import)
    import torchaudio  # noqa: PLC0415

    wave = torch.from_numpy(np.ascontiguousarray(samples, np.float32) * 32768)[None]
    frames: Tensor = torchaudio.compliance.kaldi.mfcc(
        wave,
        sample_frequency=RATE,
        frame_length=options.window_ms,
        frame_shift=options.hop_ms,
        window_type="hamming",
        preemphasis_coefficient=options.preemphasis,
        num_ceps=options.coefficients + 1,
        use_energy=True,  # in the place of c0
        dither=0.0,
    )
    return frames


def _pylstm(samples: np.ndarray, options: FeatureOptions) -> "Tensor":
    """c0, c1, c2 ... as the authors' library has them.

    A Hamming window of which no two ends meet (its samples lie in the middles of their steps),
    pre-emphasis within the windowed frame, the power spectrum of an FFT of 2048, triangles in
    mel up to 8 kHz, natural logarithm, orthonormal DCT. (Its triangles are twice as high, which
    adds a constant to c0 alone.)
    """
    import torch  # noqa: PLC0415  (slow to import)
    from scipy import fft  # noqa: PLC0415
    from torchaudio.compliance.kaldi import get_mel_banks  # noqa: PLC0415

    length, hop = options.shortest, round(options.hop_ms * RATE / 1000)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)
    cut = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), length)[::hop]
    frames = cut * window
    frames[:, 1:] -= options.preemphasis * frames[:, :-1]
    power = np.maximum(np.abs(fft.rfft(frames, _FFT)) ** 2, _LEAST_POWER)
    # triangles that are straight over mel, as pylstm's (those of melscale_fbanks are over Hz)
    triangles, _ = get_mel_banks(_BANDS, _FFT, float(RATE), 0.0, RATE / 2, 0.0, 0.0, 1.0)
    bands = np.log(power[:, : triangles.shape[1]] @ triangles.double().numpy().T)
    coefficients = fft.dct(bands, norm="ortho")[:, : options.coefficients + 1]
    return torch.from_numpy(coefficients.astype(np.float32))


# name -> (N,) samples and options to (T, coefficients + 1) float32
KINDS: dict[str, Callable[[np.ndarray, FeatureOptions], "Tensor"]] = {
    "kaldi": _kaldi,
    "pylstm": _pylstm,
}


def read_speech(path: Path) -> tuple[np.ndarray, int]:
    """(N,) float32 samples, full scale 1, of the first channel, and their rate in Hz.

    Raises:
        UserError: no such file, not a sound file, damaged, empty, or longer than ten minutes, with
            the path as its place; or soundfile is not installed.
    """
    try:
        with open_sound(path) as sound:
            if not 0 < sound.frames <= LONGEST * sound.rate:
                raise UserError(
                    f"{sound.frames} samples; expected an utterance of at most {LONGEST} s",
                    place=path,
                )
            sound.check_rate(RATE)
            block = sound.read(dtype="float32", channel=0)
    except UnreadableSound as error:
        broken = "not a sound file that libsndfile reads, or damaged"
        reason = broken if error.__cause__ else error.reason
        raise UserError(reason, place=path) from error
    if len(block) < sound.frames:
        reason = f"damaged; {len(block)} of {sound.frames} samples are there"
        raise UserError(reason, place=path)
    samples = block[:, 0]
    if not np.isfinite(samples).all():
        raise UserError("damaged; it holds samples that are not numbers", place=path)
    return samples, sound.rate


def trim(samples: np.ndarray, below: float) -> np.ndarray:
    """A recorded word without the silence before and behind it.

    Loud is a stretch of 25 ms, one every 10 ms, whose power about its mean is at most ``below`` dB
    under the loudest one's. What is kept reaches from 20 ms before the first of them to 20 ms
    behind the last; pauses within the word stay.

    Args:
        samples: (N,) at 16 kHz.
        below: in dB.

    Returns:
        (M,), a view; nothing where all is silent, everything where it is too short to tell.
    """
    if len(samples) < _STRETCH:
        return samples
    stretches = np.lib.stride_tricks.sliding_window_view(samples, _STRETCH)[::_STEP]
    power = stretches.var(axis=1, dtype=np.float64)
    loud = np.flatnonzero((power > 0) & (power >= power.max() * 10 ** (-below / 10)))
    if not len(loud):
        return samples[:0]
    begin, end = loud[0] * _STEP, loud[-1] * _STEP + _STRETCH
    return samples[max(0, begin - _MARGIN) : end + _MARGIN]


def trimmed_recording(path: Path, options: FeatureOptions) -> tuple[np.ndarray, int]:
    """One recorded word at 16 kHz, without silence where the options say so.

    Returns:
        (N,) float32 samples, and how many there were with the silence.

    Raises:
        UserError: see :func:`read_speech`; or what is left is shorter than one window.
    """
    samples = whole = resample(*read_speech(path), RATE)
    if options.trim_db is not None:
        samples = trim(whole, options.trim_db)
    if len(samples) < options.shortest:
        of = f" without the silence of {1000 * len(whole) / RATE:.0f} ms"
        raise UserError(
            f"{1000 * len(samples) / RATE:.0f} ms{of * (len(samples) < len(whole))}; expected at "
            f"least {options.window_ms:g} ms, one window",
            place=path,
        )
    return samples, len(whole)


def read_word(path: Path, options: FeatureOptions) -> np.ndarray:
    """(T, D) features of a sound file that holds one word, at any rate.

    Raises:
        UserError: see :func:`trimmed_recording`.
    """
    return mfcc(trimmed_recording(path, options)[0], options)
