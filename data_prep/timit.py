"""Task 2's data: single words cut out of TIMIT's sentences (Section 4.2).

Built to the corpus's documented layout, ``[TIMIT/]TRAIN|TEST/DR<1-8>/<speaker>/<sentence>.WAV``
with ``.WRD`` files (first sample, sample behind the last, word) beside the audio, in upper or lower
case; audio as NIST SPHERE, or converted to RIFF (``.WAV``, ``.WAV.wav``) or FLAC. And to that of
NLTK's sample of it: ``dr<1-8>-<speaker>/<sentence>.wav``, in no halves.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError
from .features import RATE, FeatureOptions, mfcc, read_speech
from .provenance import note_digest
from .reading import content_of
from .spoken import LEAST, SPEAKERS_PER_WORD, Cut, Problem, Report, by_word, corpus_of, in_threads
from .store import write
from .timit_standin import MARKER

_AUDIO = {".WAV": 0, ".WAV.WAV": 1, ".FLAC": 2}  # suffix in upper case -> which is taken first
_SAMPLE = re.compile(r"DR[1-8]-(\w+)", re.IGNORECASE)  # a speaker's folder in NLTK's sample
_LARGEST = 1 << 20  # bytes of a .WRD file: TIMIT's have a thousandth
_OFFERED = 25  # words in a hint


@dataclass(frozen=True)
class Utterance:
    """One sentence of one speaker.

    Attributes:
        speaker: in upper case.
        name: half, region, speaker and sentence, in upper case: the same however files are named;
            of NLTK's sample without the half.
        words: the .WRD file.
        audio: the sound file.
    """

    speaker: str
    name: str
    words: Path
    audio: Path


def prepare(
    out: Path,
    src: Path,
    groups: Sequence[Sequence[str]],
    seed: int = 0,
    options: FeatureOptions | None = None,
    allow_fewer: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
    origin: str | None = None,
) -> Report:
    """Find the words, cut them out, choose speakers, and store their features.

    Args:
        out: the HDF5 file to write.
        src: folder of the corpus, or one above it.
        groups: the words, in groups that end alike.
        seed: of the choice of speakers.
        options: of the features; None: the paper's.
        allow_fewer: take words of fewer than 7 speakers too (at least 2).
        strict: the first problem is an error.
        progress: called with the utterances done and their number.
        origin: where the corpus is to be had; None: nobody said.

    Raises:
        UserError: no corpus there, a word with too few speakers, a problem if ``strict``; nothing
            is written then.
    """
    options = options or FeatureOptions()
    vocabulary = [word for group in groups for word in group]
    root, halves = _layout(Path(src))
    report = Report()
    utterances = _utterances(root, halves, report.problems)
    report.utterances = len(utterances)
    digests: dict[Path, str] = {}
    wanted = set(vocabulary)
    cuts: list[Cut] = []
    for found, problems in in_threads(
        lambda utterance: _cut(utterance, wanted, options, digests), utterances, progress
    ):
        cuts += found
        report.problems += problems
    report.settle(strict)
    least = LEAST if allow_fewer else SPEAKERS_PER_WORD
    sample = _SAMPLE.fullmatch(halves[0].name) is not None

    def advice() -> str:
        of = "; NLTK's sample of TIMIT has not all of the paper's words" * sample
        fewer = "" if allow_fewer else "; --allow-fewer takes what is there"
        return f"{of}{fewer}; --words FILE takes others{_offer(utterances, least)}"

    chosen = by_word(cuts, vocabulary, seed, report, least=least, advice=advice)
    standin = (root / MARKER).is_file()
    name = "stand-in speech" if standin else "TIMIT (NLTK's sample)" if sample else "TIMIT"
    read = {path.relative_to(root).as_posix(): own for path, own in digests.items()}
    parameters = {"seed": seed, "allow_fewer": allow_fewer}
    corpus = corpus_of(chosen, groups, options, report, (name, origin, read), parameters, standin)
    write(out, corpus)
    return report


def _layout(src: Path) -> tuple[Path, list[Path]]:
    """The corpus, ``src`` or at most two levels below, and its folders TRAIN and TEST.

    Of NLTK's sample those of its speakers.
    """
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; expected TIMIT's, with TRAIN and TEST in it")
    level = [src]
    for _ in range(3):
        for folder in level:
            found = {p.name.upper(): p for p in _folders(folder)}
            if "TRAIN" in found and "TEST" in found:
                return folder, [found["TRAIN"], found["TEST"]]
            speakers = [path for name, path in found.items() if _SAMPLE.fullmatch(name)]
            if speakers:
                return folder, speakers
        level = [child for folder in level for child in _folders(folder)]
    raise UserError(
        f"{src}: no folders TRAIN and TEST here or two levels below; expected TIMIT as the LDC "
        "ships it (LDC93S1), or NLTK's sample of it (dr1-fvmh0 and so on)"
    )


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir())
    except OSError:
        return []


def _utterances(root: Path, halves: list[Path], problems: list[Problem]) -> list[Utterance]:
    """Every sentence that has both words and audio, in the order of their names."""
    found: dict[str, tuple[Path, Path]] = {}
    for half in halves:
        for folder, _, files in os.walk(half):
            place = Path(folder)
            words: dict[str, Path] = {}
            audio: dict[str, tuple[int, Path]] = {}
            for file in sorted(files):
                stem, _, rest = file.upper().partition(".")
                if rest == "WRD":
                    words[stem] = place / file
                rank = _AUDIO.get("." + rest)
                if rank is not None and (stem not in audio or rank < audio[stem][0]):
                    audio[stem] = (rank, place / file)
            relative = place.relative_to(root).as_posix().upper()
            for stem, path in words.items():
                if stem in audio:
                    found[f"{relative}/{stem}"] = (path, audio[stem][1])
                else:
                    problems.append(Problem(str(path), "no audio beside it (.WAV, .FLAC)"))
            for stem in audio.keys() - words.keys():
                problems.append(Problem(str(audio[stem][1]), "no .WRD beside it"))
    return [
        Utterance(_speaker(name.split("/")[-2]), name, words, audio)
        for name, (words, audio) in sorted(found.items())
    ]


def _speaker(folder: str) -> str:
    match = _SAMPLE.fullmatch(folder)
    return match[1] if match else folder


def _offer(utterances: list[Utterance], least: int) -> str:
    """The longest words that so many speakers say, for a hint; "" if there are none."""
    speakers: dict[str, set[str]] = {}
    for utterance in utterances:
        for *_, word in read_words(utterance.words)[0]:
            speakers.setdefault(word, set()).add(utterance.speaker)
    said = [word for word, names in speakers.items() if len(names) >= least]
    said.sort(key=lambda word: (-len(word), word))
    more = f" and {len(said) - _OFFERED} more" if len(said) > _OFFERED else ""
    there = f", such as (by {least} speakers or more) {', '.join(said[:_OFFERED])}{more}"
    return there * bool(said)


def read_words(path: Path) -> tuple[list[tuple[int, int, int, str]], list[Problem]]:
    """The lines of a .WRD file.

    Returns:
        Line number from 1, first sample, sample behind the last and word of each good line; and
        what is wrong with the others.
    """
    try:
        text = content_of(path, _LARGEST).decode("ascii")
    except UserError as error:
        return [], [Problem(str(path), error.reason)]
    except UnicodeDecodeError as error:
        return [], [Problem(str(path), f"cannot be read as ASCII text ({error})")]
    words, problems = [], []
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.split()
        if not parts:
            continue
        place = f"{path}, line {number}"
        numbers = [int(p) for p in parts[:2] if p.isdecimal() and len(p) < 12]
        if len(parts) != 3 or len(numbers) != 2:
            problems.append(Problem(place, "expected FIRST-SAMPLE LAST-SAMPLE WORD"))
        elif numbers[0] >= numbers[1]:
            problems.append(Problem(place, f"ends at {numbers[1]}, begins at {numbers[0]}"))
        else:
            words.append((number, numbers[0], numbers[1], parts[2].lower()))
    if not words and not problems:
        problems.append(Problem(str(path), "empty"))
    return words, problems


def _cut(
    utterance: Utterance,
    vocabulary: set[str],
    options: FeatureOptions,
    digests: dict[Path, str],
) -> tuple[list[Cut], list[Problem]]:
    """The wanted words of one sentence; its audio is read only if there are any.

    The SHA-256 of every file that is read goes into ``digests``.
    """
    note_digest(digests, utterance.words)
    lines, problems = read_words(utterance.words)
    wanted = [line for line in lines if line[3] in vocabulary]
    if not wanted:
        return [], problems
    note_digest(digests, utterance.audio)
    try:
        samples, rate = read_speech(utterance.audio)
    except UserError as error:
        if error.place is None:  # no fault of this file: soundfile is not installed
            raise
        return [], [*problems, Problem(error.place, error.reason)]
    if rate != RATE:
        reason = f"{rate} samples per second, expected {RATE}"
        return [], [*problems, Problem(str(utterance.audio), reason)]
    cuts = []
    for number, begin, end, word in wanted:
        place = f"{utterance.words}, line {number}"
        if end > len(samples):
            reason = f"ends at sample {end}, {utterance.audio.name} has {len(samples)}"
            problems.append(Problem(place, reason))
        elif end - begin < options.shortest:
            reason = f"{end - begin} samples, a frame needs {options.shortest}"
            problems.append(Problem(place, reason))
        else:
            name = f"{utterance.name} {begin}-{end}"
            features = mfcc(samples[begin:end], options)
            if np.isfinite(features).all():
                cuts.append(Cut(word, utterance.speaker, name, features))
            else:
                problems.append(Problem(place, "its features are not finite"))
    return cuts, problems
