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

from . import PREPARATION, music, standardise
from .errors import UserError
from .provenance import source_of
from .sound import MOST_SAMPLES, STEEP, Sound, open_sound, ratio, resample
from .store import Corpus, Split, write

RATE = 44100  # Hz, the paper's
QUIET = 1e-4  # a stretch whose samples differ by less (of full scale 1) is silence: -80 dB


def prepare(
    out: Path,
    src: Path | None = None,
    start: float = 0.0,
    sequences: int = 5,
    length: int = 320,
    channel: int | None = None,
    origin: str | None = None,
) -> Corpus:
    """Cut, scale and store the sequences.

    Args:
        out: the HDF5 file to write.
        src: a sound file; None: the built-in piece.
        start: where to begin, in seconds.
        sequences: how many stretches, consecutive.
        length: samples of each, at 44.1 kHz.
        channel: which channel, counted from 1; None: the mean of all.
        origin: where the source is to be had; None: nobody said.

    Returns:
        What was written.

    Raises:
        UserError: no such file, no sound file, too short, a start past the end, no such channel, a
            silent or constant stretch, or ``out`` is ``src``; nothing is written then.
    """
    if start < 0 or not math.isfinite(start):
        raise UserError(f"--start {start:g}: seconds from the beginning, 0 or more")
    if sequences < 1 or length < 2:
        raise UserError("at least 1 sequence of at least 2 samples: check --sequences and --length")
    if src is not None and out.exists() and src.exists() and out.samefile(src):
        raise UserError("--out is --src, which it would write over; choose another name", place=out)
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
    source |= source_of(source["name"], origin)
    first = round(start * RATE)
    corpus = Corpus(
        corpus="audio",
        standin=src is None,
        provenance={
            "cwrnn": PREPARATION,
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
    """(count,) float64 samples from ``start`` s on, full scale 1; what they are, as JSON types."""
    piece = music.piece()
    first = round(start * RATE)
    _check_span(music.NAME, first, count, len(piece) / RATE)
    source = {"name": music.NAME, "sha256": hashlib.sha256(piece.tobytes()).hexdigest()}
    return piece[first : first + count] / 32768.0, source


def _check_span(name: str, first: int, count: int, seconds: float) -> None:
    """Whether ``seconds`` of sound hold the span; ``first`` and ``count`` in samples at 44.1 kHz.

    Raises:
        UserError: they do not.
    """
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


def _mono(sound: Sound, first: int, count: int, channel: int | None) -> np.ndarray:
    """(count,) float64 of the mean or of one channel; fewer if the file ends.

    Raises:
        UserError: no such channel, or damaged there.
    """
    if channel is not None and not 1 <= channel <= sound.channels:
        raise UserError(
            f"{sound.path}: --channel {channel}: it has {sound.channels}, counted from 1"
        )
    block = sound.read(first, count, channel=None if channel is None else channel - 1)
    mono: np.ndarray = block.mean(axis=1)
    return mono


def _from_file(
    path: Path, start: float, count: int, channel: int | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """As :func:`_built_in`; no more of the file is read than the filter needs.

    Raises:
        UserError: see :func:`prepare`.
    """
    first = round(start * RATE)
    with open_sound(path) as sound:
        seconds = sound.frames / sound.rate
        _check_span(str(path), first, count, seconds)
        sound.check_rate(RATE)
        up, down = ratio(sound.rate, RATE)
        block = first // up  # ``up`` samples of ours are ``down`` of the file's
        # twice as far as the filter reaches, in blocks
        margin = math.ceil(2 * STEEP.half_length * max(up, down) / (up * down))
        begin = max(block - margin, 0)
        end = math.ceil((first + count) / up) + margin
        raw = _mono(sound, begin * down, (end - begin) * down, channel)
        source = {
            "name": path.name,
            "sha256": sound.sha256(),
            "rate": sound.rate,
            "channels": sound.channels,
        }
    ours = resample(raw, sound.rate, RATE, STEEP)[first - begin * up :][:count]
    if len(ours) < count:
        raise UserError(f"{path}: truncated; the header promises {seconds:.3f} s of sound")
    if not np.isfinite(ours).all():
        raise UserError(f"{path}: holds samples that are not numbers near {start:.3f} s")
    return ours, source


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
    with open_sound(path) as sound:
        rate = sound.rate
        first = round(start * rate)
        most = MOST_SAMPLES // sound.channels
        samples = _mono(sound, first, min(round(seconds * rate), most), channel)
    step = max(round(length * rate / RATE), 2)
    windows = samples[: len(samples) // step * step].reshape(-1, step)
    loud = np.ptp(windows, axis=1) >= 2 * QUIET if len(windows) else np.zeros(0, bool)
    for i in range(len(loud) - sequences):
        if loud[i : i + sequences + 1].all():  # one more: our windows are not aligned with theirs
            return math.ceil((first + i * step) / rate * 1000) / 1000
    return None
