"""Task 2's data from a folder of recordings of single words, such as sets of spoken commands.

Word and speaker are read from each file's path by a regular expression. Two parts of one speaker
put one behind the other make the words of a compound corpus, which end alike as the paper's do.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from .errors import UserError
from .features import FeatureOptions, mfcc, trimmed_recording
from .provenance import note_digest
from .spoken import (
    LEAST,
    SPEAKERS_PER_WORD,
    Cut,
    Problem,
    Report,
    by_speaker,
    by_word,
    corpus_of,
    in_threads,
)
from .store import write

# WORD/SPEAKER_...TAKE.wav, such as yes/0132a06d_nohash_1.wav
PATTERN = r"(?:.*/)?(?P<word>[^/_.][^/]*)/(?P<speaker>[^/_]+)_(?P<take>[^/]+)\.\w+"
PARTS = 5  # beginnings of a compound corpus, and endings
SOUND = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".sph", ".nist"}
EXAMPLE = r"(?:.*/)?(?P<speaker>\w+)-(?P<word>\w+)-(?P<take>\w+)\.wav"  # speaker-word-take.wav


@dataclass(frozen=True)
class Recording:
    """One sound file.

    Attributes:
        word: in lower case, hyphens for spaces.
        speaker: as the path has it.
        take: what tells a speaker's recordings of one word apart.
        name: the path below the corpus' folder, with slashes.
        path: of the file.
    """

    word: str
    speaker: str
    take: str
    name: str
    path: Path


@dataclass(frozen=True)
class Spoken:
    """A word to be made of one recording or, one behind the other, of two.

    Attributes:
        word: the class.
        speaker: of all parts.
        parts: the recordings.
    """

    word: str
    speaker: str
    parts: tuple[Recording, ...]


@dataclass(frozen=True)
class Choice:
    """Which recordings are taken, and which of them to test on; the defaults are the paper's.

    Attributes:
        split_by: "word": some speakers of each word, one recording each; "speaker": every speaker
            is on one side with all words.
        speakers: by word: of each word at the most; None: all.
        test_speakers: by speaker: how many are to test on; None: 2 in 7.
        takes: by speaker: recordings of each word and speaker at the most; None: all.
        compound: words are made of two recordings.
        seed: everything is drawn from it.
    """

    split_by: str = "word"
    speakers: int | None = SPEAKERS_PER_WORD
    test_speakers: int | None = None
    takes: int | None = None
    compound: bool = False
    seed: int = 0


def prepare(
    out: Path,
    src: Path,
    groups: Sequence[Sequence[str]] | None = None,
    pattern: str = PATTERN,
    choice: Choice | None = None,
    options: FeatureOptions | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
    name: str | None = None,
    origin: str | None = None,
) -> Report:
    """Find the recordings, cut off silence, choose speakers, and store the features.

    Args:
        out: the HDF5 file to write.
        src: folder of the corpus.
        groups: the words, in groups that end alike; of a compound corpus the beginnings and the
            endings. ``12=speech`` is the word that paths call 12. None: all words as one group; of
            a compound corpus the first five and the next five in the order of the alphabet.
        pattern: see :func:`recordings`.
        choice: of recordings and speakers; None: the paper's.
        options: of the features, and whether silence is cut off; None: the paper's, and it stays.
        strict: the first problem is an error.
        progress: called with the words done and their number.
        name: of the corpus; None: the folder's.
        origin: where the corpus is to be had; None: nobody said.

    Raises:
        UserError: no recordings there, a word with too few speakers, a problem if ``strict``;
            nothing is written then.
    """
    src = Path(src)
    choice, options = choice or Choice(), options or FeatureOptions()
    if choice.compound and choice.split_by == "word":
        raise UserError(
            "--compound: a recording is part of several words, so that some would be both trained "
            "and tested on; add --split-by speaker"
        )
    report = Report()
    found = recordings(src, pattern, report.problems)
    report.utterances = len(found)
    groups, found = _groups(found, groups, choice.compound)
    if choice.compound:
        spoken = _compounds(found, groups)
        groups = [[_joined(first, second) for first in groups[0]] for second in groups[1]]
    else:
        spoken = [Spoken(recording.word, recording.speaker, (recording,)) for recording in found]
    vocabulary = [word for group in groups for word in group]
    digests: dict[Path, str] = {}
    cuts = _cuts(spoken, options, report, digests, progress)
    report.settle(strict)
    if choice.split_by == "speaker":
        chosen = by_speaker(
            cuts, vocabulary, choice.seed, report, choice.test_speakers, choice.takes
        )
        of_split = {"test_speakers": choice.test_speakers, "takes": choice.takes}
    else:
        chosen = by_word(
            cuts,
            vocabulary,
            choice.seed,
            report,
            choice.speakers,
            LEAST,
            lambda: "; --words takes others",
        )
        of_split = {"speakers": choice.speakers}
    parameters = {
        "pattern": pattern,
        "split_by": choice.split_by,
        **of_split,
        "compound": choice.compound,
        "seed": choice.seed,
    }
    read = {path.relative_to(src).as_posix(): own for path, own in digests.items()}
    source = name or Path(os.path.abspath(src)).name, origin, read
    write(out, corpus_of(chosen, groups, options, report, source, parameters))
    return report


def recordings(src: Path, pattern: str, problems: list[Problem]) -> list[Recording]:
    """The sound files below a folder whose paths match, in the order of these.

    Args:
        src: the folder.
        pattern: a regular expression with the named groups ``word``, ``speaker`` and, if one
            speaker says a word more than once, ``take``; it has to match the whole path below
            ``src``, with slashes.
        problems: sound files that do not match are added.

    Raises:
        UserError: no such folder, not such an expression, or nothing matches.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--pattern {pattern}: no regular expression ({error})") from error
    if not {"word", "speaker"} <= compiled.groupindex.keys():
        raise UserError(
            f"--pattern {pattern}: expected named groups for word and speaker, such as {EXAMPLE}"
        )
    if not src.is_dir():
        raise UserError("no such folder; expected one of recordings", place=src)
    found, others = [], []
    for path in _sound_files(src):
        name = path.relative_to(src).as_posix()
        match = compiled.fullmatch(name)
        parts = match.groupdict() if match else {}
        word = "-".join((parts.get("word") or "").lower().split())
        if word and parts["speaker"]:
            take = parts.get("take") or ""
            found.append(Recording(word, parts["speaker"], take, name, path))
        else:
            others.append(name)
    if not found:
        seen = f"not {others[0]!r}" if others else f"and there is no {', '.join(sorted(SOUND))}"
        raise UserError(f"no path below matches --pattern {pattern}, {seen}", place=src)
    problems += [Problem(str(src / name), "does not match --pattern") for name in others]
    return found


def _sound_files(src: Path) -> list[Path]:
    return sorted(
        Path(folder, file)
        for folder, _, files in os.walk(src)
        for file in files
        if not file.startswith(".") and Path(file).suffix.lower() in SOUND
    )


def _groups(
    found: list[Recording], groups: Sequence[Sequence[str]] | None, compound: bool
) -> tuple[list[list[str]], list[Recording]]:
    """The words that are wanted, of compounds beginnings and endings, and their recordings."""
    there = sorted({recording.word for recording in found})
    if groups is None:
        groups = [there[:PARTS], there[PARTS : 2 * PARTS]] if compound else [there]
        if len(there) < (2 * PARTS if compound else 2):
            raise UserError(
                f"{len(there)} words are there ({', '.join(there)}); expected at least "
                + (f"{2 * PARTS}, or two lines in --words" if compound else "two")
            )
    elif compound and len(groups) != 2:
        raise UserError(
            f"--compound: {len(groups)} lines in --words; expected two, of beginnings and endings"
        )
    pairs = [[item.partition("=") for item in group] for group in groups]
    names = {path: name or path for group in pairs for path, _, name in group}
    missing = [word for word in names if word not in there]
    if missing:
        raise UserError(
            f"no recordings of {', '.join(missing)}; there are those of {', '.join(there)}"
        )
    named = [[name or path for path, _, name in group] for group in pairs]
    every = [name for group in named for name in group]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice or len(names) < len(every):
        raise UserError(f"--words: {', '.join(twice) or 'a recorded word'} is there twice")
    return named, [replace(r, word=names[r.word]) for r in found if r.word in names]


def _joined(first: str, second: str) -> str:
    return f"{first}+{second}"


def _compounds(found: list[Recording], groups: Sequence[Sequence[str]]) -> list[Spoken]:
    """Every beginning before every ending of one speaker, his first takes together, and so on."""
    own: dict[tuple[str, str], list[Recording]] = {}
    for recording in sorted(found, key=lambda r: (r.take, r.name)):
        own.setdefault((recording.speaker, recording.word), []).append(recording)
    spoken = []
    for speaker in sorted({recording.speaker for recording in found}):
        for first, second in product(*groups):
            begins, ends = own.get((speaker, first), []), own.get((speaker, second), [])
            for parts in zip(begins, ends, strict=False):
                spoken.append(Spoken(_joined(first, second), speaker, parts))
    return spoken


def _cuts(
    spoken: list[Spoken],
    options: FeatureOptions,
    report: Report,
    digests: dict[Path, str],
    progress: Callable[[int, int], None] | None,
) -> list[Cut]:
    """Their features; what cannot be read is added to the report's problems, a file once."""
    cuts: list[Cut] = []
    problems: set[Problem] = set()
    kept = whole = 0
    for made in in_threads(lambda item: _cut(item, options, digests), spoken, progress):
        if isinstance(made, Problem):
            problems.add(made)
        else:
            cut, samples, of = made
            cuts.append(cut)
            kept, whole = kept + samples, whole + of
    report.problems += problems
    report.trimmed = 1 - kept / whole if whole else 0.0
    return cuts


def _cut(
    item: Spoken, options: FeatureOptions, digests: dict[Path, str]
) -> tuple[Cut, int, int] | Problem:
    """One word, its samples and how many they were with the silence; or why there is none.

    The SHA-256 of every file that is read goes into ``digests``.
    """
    parts, whole = [], 0
    for part in item.parts:
        if part.path not in digests:
            note_digest(digests, part.path)
        try:
            samples, of = trimmed_recording(part.path, options)
        except UserError as error:
            if error.place is None:  # no fault of this file: soundfile is not installed
                raise
            return Problem(error.place, error.reason)
        parts.append(samples)
        whole += of
    samples = np.concatenate(parts)
    features = mfcc(samples, options)
    if not np.isfinite(features).all():
        return Problem(str(item.parts[0].path), "its features are not finite")
    name = " + ".join(part.name for part in item.parts)
    return Cut(item.word, item.speaker, name, features), len(samples), whole
