"""Task 1's data: a few short stretches of sound, one after the other (Section 4.1).

Any file that libsndfile reads becomes ``sequences`` stretches of ``length`` samples at 44.1 kHz,
each scaled so that its lowest sample is -1 and its highest +1. The scaling is stored, so that a
learnt wave can be heard at the level of the original.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, music, standardise
from .errors import UserError
from .files import sha256_of
from .store import Corpus, Split, write

RATE = 44100  # Hz, the paper's
QUIET = 1e-4  # a stretch whose samples differ by less (of full scale 1) is silence: -80 dB
_HALF_TAPS = 32  # half the resampling filter, in samples of the lower rate
_KAISER = 9.0  # its window: images and aliases 90 dB down


def prepare(
    out: Path,
    src: Path | None = None,
    start: float = 0.0,
    sequences: int = 5,
    length: int = 320,
    channel: int | None = None,
) -> Corpus:
    """Cut, scale and store the sequences.

    Args:
        out: the HDF5 file to write.
        src: a sound file; None: the built-in piece.
        start: where to begin, in seconds.
        sequences: how many stretches, consecutive.
        length: samples of each, at 44.1 kHz.
        channel: which channel, counted from 1; None: the mean of all.

    Returns:
        What was written.

    Raises:
        UserError: no such file, no sound file, too short, a start past the end, no such channel, a
            silent or constant stretch; nothing is written then.
    """
    if start < 0 or not math.isfinite(start):
        raise UserError(f"--start {start:g}: seconds from the beginning, 0 or more")
    if sequences < 1 or length < 2:
        raise UserError("at least 1 sequence of at least 2 samples: check --sequences and --length")
    if src is None:
        if channel not in (None, 1):
            raise UserError(f"--channel {channel}: the built-in piece has 1 channel")
        samples, source = _built_in(start, sequences * length)
    else:
        samples, source = _from_file(Path(src), start, sequences * length, channel)
    stretches = samples.reshape(sequences, length)
    shift, scale = standardise.unit_range(stretches)
    quiet = np.flatnonzero(2 * scale < QUIET)
    if len(quiet):
        raise UserError(_quiet_message(src, start, int(quiet[0]), sequences, length, channel))
    frames = standardise.apply(stretches, shift, scale)
    first = round(start * RATE)
    corpus = Corpus(
        corpus="audio",
        standin=src is None,
        provenance={
            "cwrnn": __version__,
            "source": source,
            "parameters": {
                "rate": RATE,
                "start": start,
                "sequences": sequences,
                "length": length,
                "channel": channel if channel is not None else "mean of all",
            },
        },
        splits={
            "train": Split(
                frames=np.clip(frames, -1, 1).reshape(-1, 1),
                offsets=np.arange(sequences + 1, dtype=np.int64) * length,
                names=[
                    f"{source['name']}, samples {first + i * length} to {first + (i + 1) * length}"
                    for i in range(sequences)
                ],
                shift=shift,
                scale=scale,
            )
        },
    )
    write(out, corpus)
    return corpus


def _built_in(start: float, count: int) -> tuple[np.ndarray, dict[str, Any]]:
    piece = music.piece()
    first = round(start * RATE)
    _check_span(music.NAME, first, count, len(piece) / RATE)
    source = {"name": music.NAME, "sha256": hashlib.sha256(piece.tobytes()).hexdigest()}
    return piece[first : first + count] / 32768.0, source


def _check_span(name: str, first: int, count: int, seconds: float) -> None:
    """Both in samples at 44.1 kHz."""
    have = math.floor(seconds * RATE + 1e-6)
    if first >= have:
        raise UserError(
            f"{name}: --start {first / RATE:.3f} s is past the end; it lasts {seconds:.3f} s"
        )
    if first + count > have:
        raise UserError(
            f"{name}: too short; {count} samples from {first / RATE:.3f} s on are needed, "
            f"{have - first} are there: start earlier, or ask for fewer or shorter sequences"
        )


def _soundfile() -> Any:
    try:
        import soundfile  # noqa: PLC0415  (not on every GPU host, and not needed for the built-in piece)
    except ImportError as error:
        raise UserError("reading sound files needs soundfile: pip install soundfile") from error
    return soundfile


def _open(path: Path) -> Any:
    soundfile = _soundfile()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: not a sound file that libsndfile reads (WAV, FLAC, OGG, AIFF, MP3 ...)"
        ) from error


def _mono(file: Any, path: Path, first: int, count: int, channel: int | None) -> np.ndarray:
    """(count,) float64 of the mean or of one channel; fewer if the file ends."""
    if channel is not None and not 1 <= channel <= file.channels:
        raise UserError(f"{path}: --channel {channel}: it has {file.channels}, counted from 1")
    try:
        file.seek(first)
        block: np.ndarray = file.read(count, dtype="float64", always_2d=True)
    except RuntimeError as error:  # soundfile's own errors derive from it
        raise UserError(f"{path}: damaged near sample {first} ({error})") from error
    mono: np.ndarray = block.mean(axis=1) if channel is None else block[:, channel - 1]
    return mono


def _from_file(
    path: Path, start: float, count: int, channel: int | None
) -> tuple[np.ndarray, dict[str, Any]]:
    first = round(start * RATE)
    with _open(path) as file:
        seconds = file.frames / file.samplerate
        _check_span(str(path), first, count, seconds)
        divisor = math.gcd(RATE, file.samplerate)
        up, down = RATE // divisor, file.samplerate // divisor
        block = first // up  # ``up`` samples of ours are ``down`` of the file's
        margin = math.ceil(
            2 * _HALF_TAPS * max(up, down) / (up * down)
        )  # the filter's reach, in blocks
        begin = max(block - margin, 0)
        end = math.ceil((first + count) / up) + margin
        raw = _mono(file, path, begin * down, (end - begin) * down, channel)
        source = {
            "name": path.name,
            "sha256": sha256_of(path),
            "rate": file.samplerate,
            "channels": file.channels,
        }
    ours = resample(raw, up, down)[first - begin * up :][:count]
    if len(ours) < count:
        raise UserError(f"{path}: truncated; the header promises {seconds:.3f} s of sound")
    if not np.isfinite(ours).all():
        raise UserError(f"{path}: holds samples that are not numbers near {start:.3f} s")
    return ours, source


def resample(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    """Change the rate by ``up / down`` behind a linear-phase filter, aliases 90 dB down."""
    if up == down:
        return samples
    from scipy import signal  # noqa: PLC0415  (slow to import)

    widest = max(up, down)
    taps = signal.firwin(2 * _HALF_TAPS * widest + 1, 0.92 / widest, window=("kaiser", _KAISER))
    result: np.ndarray = signal.resample_poly(samples, up, down, window=taps)
    return result


def _quiet_message(
    src: Path | None, start: float, index: int, sequences: int, length: int, channel: int | None
) -> str:
    where = start + index * length / RATE
    message = (
        f"{src or music.NAME}: sequence {index + 1} (from {where:.3f} s) is silent or constant, "
        "so it cannot be scaled to [-1, 1]"
    )
    if src is not None:
        later = _first_sound(Path(src), where, sequences, length, channel)
        if later is not None:
            return f"{message}; from --start {later:.3f} on there is sound"
    return f"{message}; choose another --start"


def _first_sound(
    path: Path,
    start: float,
    sequences: int,
    length: int,
    channel: int | None,
    seconds: float = 60.0,
) -> float | None:
    """The first start within ``seconds`` from which all sequences have sound, or None."""
    with _open(path) as file:
        rate = int(file.samplerate)
        first = round(start * rate)
        samples = _mono(file, path, first, round(seconds * rate), channel)
    step = max(round(length * rate / RATE), 2)
    windows = samples[: len(samples) // step * step].reshape(-1, step)
    loud = np.ptp(windows, axis=1) >= 2 * QUIET if len(windows) else np.zeros(0, bool)
    for i in range(len(loud) - sequences):
        if loud[i : i + sequences + 1].all():  # one more: our windows are not aligned with theirs
            return math.ceil((first + i * step) / rate * 1000) / 1000
    return None
