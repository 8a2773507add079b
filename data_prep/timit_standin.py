"""A free stand-in for TIMIT: the same tree and file formats, sentences read by synthetic voices.

Not speech of people, and every result on it says so. It is made to be like TIMIT in what the
experiment depends on: the paper's 25 words inside sentences, several per sentence, each in several
surroundings; many speakers, of whom each reads some of the sentences; natural differences of rate,
pitch, accent, level, room and noise. It was fixed before any network was trained on it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .features import RATE
from .files import filled_folder
from .sound import resample, write_sphere
from .speech import Synthesiser, Voice

MARKER = "STANDIN.TXT"  # in the root of the tree: what this is
SPEAKERS = 24
SENTENCES_EACH = 10
SENTENCES_IN_ALL = SPEAKERS * SENTENCES_EACH
TEST_SPEAKERS = 8

SENTENCES = (
    "The musicians were making a classical addition to the competition.",
    "He kept walking along the highway, looking for a subway.",
    "Critical discussions about technical regulations went on in the hallway.",
    "She was cooking by tradition and working under hard conditions.",
    "The biblical tradition gave them little leeway.",
    "Making new regulations is a cyclical and technical affair.",
    "His audition for the classical competition won him recognition.",
    "They were looking at the freeway from a dark hallway.",
    "Accusations and critical discussions filled the subway.",
    "Working musicians deserve recognition in addition to money.",
    "Under such conditions a cyclical recovery leaves no leeway.",
    "Walking beside a freeway is against the regulations.",
    "Biblical accusations made the audition a strange occasion.",
    "The cooking competition has a long tradition here.",
    "Technical conditions on the highway were critical last night.",
    "In addition, the discussions were making him tired.",
    "Looking back, the classical musicians gave us some leeway.",
    "Working in the subway needs no audition at all.",
    "Her biblical recognition came after years of cooking for others.",
    "The hallway to the freeway office is always cold.",
    "No cyclical movement explains these accusations.",
    "We went walking until the highway met the river.",
)
# eSpeak NG's accents stand for TIMIT's eight dialect regions; its voice variants for people
_ACCENTS = (
    "en-us", "en-us-nyc", "en", "en-gb-x-rp",
    "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029",
)  # fmt: skip
_VARIANTS = (
    ("M", "m1"), ("F", "f1"), ("M", "m2"), ("M", "m3"), ("F", "f2"), ("M", "m4"),
    ("M", "m5"), ("M", "m6"), ("F", "f3"), ("M", "m7"), ("F", "f4"), ("M", "m8"),
    ("F", "f5"), ("M", "Andy"), ("F", "Annie"), ("M", "Michael"), ("F", "linda"), ("M", "Lee"),
    ("M", "Reed"), ("F", "steph"), ("M", "edward"), ("F", "shelby"), ("M", "adam"), ("M", "paul"),
)  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """A voice in its recording room.

    Attributes:
        id: as TIMIT's: sex, three letters, a digit.
        region: 1 to 8.
        voice: of the synthesiser.
        echo: seconds until the room's reverberation has fallen by 60 dB.
        wet: level of the reverberation, of the direct sound.
        tilt: -1 to 1: the microphone's emphasis of low or high frequencies.
    """

    id: str
    region: int
    voice: Voice
    echo: float
    wet: float
    tilt: float


def speakers(seed: int) -> list[Speaker]:
    """The speakers, drawn from the seed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    found = []
    for index in range(SPEAKERS):
        sex, variant = _VARIANTS[index]
        region = index % len(_ACCENTS)
        letters = "".join(chr(ord("A") + int(c)) for c in rng.integers(0, 26, 3))
        voice = Voice(
            f"{_ACCENTS[region]}+{variant}",
            pitch=int(rng.integers(35, 66)),
            pitch_range=int(rng.integers(35, 66)),
            rate=int(rng.integers(140, 201)),
        )
        found.append(
            Speaker(
                f"{sex}{letters}{index % 10}",
                region + 1,
                voice,
                echo=float(rng.uniform(0.1, 0.3)),
                wet=float(rng.uniform(0.0, 0.15)),
                tilt=float(rng.uniform(-0.3, 0.3)),
            )
        )
    return found


@contextmanager
def tree(keep: Path | None, seed: int = 0, tick: Callable[[], Any] | None = None) -> Iterator[Path]:
    """The corpus in a folder: ``keep``, which stays, or a temporary one.

    Args:
        keep: must not exist yet, or be empty; it appears whole or not at all.
        seed: as in :func:`write_tree`.
        tick: likewise.

    Raises:
        UserError: there is something in ``keep``, or it cannot be written.
    """
    with filled_folder(keep, lambda root: write_tree(root, seed, tick)) as root:
        yield root


def write_tree(root: Path, seed: int = 0, tick: Callable[[], Any] | None = None) -> int:
    """Write the corpus below ``root``, in TIMIT's layout.

    ``TRAIN`` and ``TEST``, a folder per dialect region and speaker, and per sentence a NIST SPHERE
    file, its words with their boundaries in samples, and its text.

    Args:
        root: of the tree; made if need be.
        seed: everything is drawn from it.
        tick: called after each sentence.

    Returns:
        The number of sentences.
    """
    cast = speakers(seed)
    synthesiser = Synthesiser()
    for index, speaker in enumerate(cast):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, index)))
        half = "TEST" if index >= len(cast) - TEST_SPEAKERS else "TRAIN"
        folder = root / half / f"DR{speaker.region}" / speaker.id
        folder.mkdir(parents=True, exist_ok=True)
        for sentence in rng.permutation(len(SENTENCES))[:SENTENCES_EACH].tolist():
            voice = replace(
                speaker.voice,
                rate=round(speaker.voice.rate * rng.uniform(0.9, 1.1)),
                pitch=round(speaker.voice.pitch + rng.uniform(-5, 5)),
            )
            text = SENTENCES[sentence]
            samples, words = synthesiser.speak(text, voice, int(rng.integers(1, 1 << 30)))
            sound = _record(samples, synthesiser.rate, speaker, rng)
            stem = folder / f"SX{sentence + 1}"
            _write_utterance(stem, text, sound, synthesiser.rate, words)
            if tick:
                tick()
    (root / MARKER).write_text(
        "Not TIMIT: synthetic speech that cwrnn made to stand in for it (eSpeak NG voices), in the "
        f"same layout. Seed {seed}.\n",
        encoding="ascii",
    )
    return len(cast) * SENTENCES_EACH


def _record(
    samples: np.ndarray, rate: int, speaker: Speaker, rng: np.random.Generator
) -> np.ndarray:
    """(N,) at 16 kHz: the room, the microphone, its noise, and the level of the day."""
    from scipy.signal import fftconvolve, lfilter  # noqa: PLC0415  (slow to import)

    sound = resample(samples.astype(np.float64), rate, RATE)
    count = round(speaker.echo * RATE)
    tail = rng.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail *= speaker.wet / np.linalg.norm(tail)
    tail[0] = 1.0
    sound = fftconvolve(sound, tail)[: len(sound)]
    sound = lfilter([1.0, -speaker.tilt], [1.0], sound)
    noise = lfilter([1.0], [1.0, -0.9], rng.standard_normal(len(sound)))  # more in the low ones
    ratio = 10 ** (-rng.uniform(30, 45) / 20)  # 30 to 45 dB below the speech
    sound += noise * (ratio * sound.std() / noise.std())
    peak = 10 ** (-rng.uniform(2, 16) / 20)
    recorded: np.ndarray = sound * (peak / np.abs(sound).max())
    return recorded


def _write_utterance(
    stem: Path, text: str, sound: np.ndarray, rate: int, words: list[tuple[int, int, str]]
) -> None:
    write_sphere(stem.with_suffix(".WAV"), sound, RATE)
    lines = [
        f"{begin * RATE // rate} {min(end * RATE // rate, len(sound))} {word}\n"
        for begin, end, word in words
    ]
    stem.with_suffix(".WRD").write_text("".join(lines), encoding="ascii")
    stem.with_suffix(".TXT").write_text(f"0 {len(sound)} {text}\n", encoding="ascii")
