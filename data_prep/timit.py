"""Task 2's data: single words cut out of TIMIT's sentences (Section 4.2).

Built to the corpus's documented layout, ``[TIMIT/]TRAIN|TEST/DR<1-8>/<speaker>/<sentence>.WAV``
with ``.WRD`` files (first sample, sample behind the last, word) beside the audio, in upper or lower
case; audio as NIST SPHERE, or converted to RIFF (``.WAV``, ``.WAV.wav``) or FLAC.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, standardise
from .errors import UserError
from .features import RATE, FeatureOptions, mfcc, read_speech
from .provenance import note_digest, source_of
from .store import Corpus, Split, write
from .timit_standin import MARKER

SPEAKERS_PER_WORD, TEST_PER_WORD = 7, 2
_AUDIO = {".WAV": 0, ".WAV.WAV": 1, ".FLAC": 2}  # suffix in upper case -> which is taken first


@dataclass(frozen=True)
class Problem:
    """Something that was passed over.

    Attributes:
        place: file, and line where there is one.
        reason: what is wrong.
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Utterance:
    """One sentence of one speaker.

    Attributes:
        speaker: folder name, in upper case.
        name: half, region, speaker and sentence, in upper case: the same however files are named.
        words: the .WRD file.
        audio: the sound file.
    """

    speaker: str
    name: str
    words: Path
    audio: Path


@dataclass(frozen=True)
class Cut:
    """One spoken word.

    Attributes:
        word: in lower case.
        speaker: who says it.
        name: of the utterance, and where in it.
        features: (T, D) float32.
    """

    word: str
    speaker: str
    name: str
    features: np.ndarray


@dataclass
class Report:
    """What the converter found.

    Attributes:
        utterances: sentences with words and audio.
        occurrences: word -> times it was found and could be cut out.
        speakers: word -> different speakers of those.
        train: word -> sequences taken to train.
        test: word -> sequences taken to test.
        frames: word -> mean frames of those taken.
        problems: what was passed over.
    """

    utterances: int = 0
    occurrences: dict[str, int] = field(default_factory=dict)
    speakers: dict[str, int] = field(default_factory=dict)
    train: dict[str, int] = field(default_factory=dict)
    test: dict[str, int] = field(default_factory=dict)
    frames: dict[str, float] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


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
    halves = _halves(Path(src))
    report = Report()
    utterances = _utterances(halves, report.problems)
    report.utterances = len(utterances)
    digests: dict[Path, str] = {}
    cuts = _cut_all(utterances, set(vocabulary), options, report.problems, digests, progress)
    report.problems.sort(key=str)
    if strict and report.problems:
        raise UserError(f"--strict: {report.problems[0]}")
    chosen = _choose(cuts, vocabulary, seed, allow_fewer, report)
    train, test = _splits(chosen, vocabulary)
    root = halves[0].parent
    standin = (root / MARKER).is_file()
    corpus = Corpus(
        corpus="timit",
        standin=standin,
        provenance={
            "cwrnn": __version__,
            "source": source_of(
                "stand-in speech" if standin else "TIMIT",
                origin,
                {path.relative_to(root).as_posix(): own for path, own in digests.items()},
            ),
            "words": vocabulary,
            "groups": [list(group) for group in groups],
            "features": options.to_json(),
            "parameters": {"seed": seed, "allow_fewer": allow_fewer},
            "passed_over": len(report.problems),
        },
        splits={"train": train, "test": test},
    )
    write(out, corpus)
    return report


def read_groups(path: Path) -> list[list[str]]:
    """Words of a text file: a group per line, words with spaces between.

    Raises:
        UserError: no such file, no words, or one twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a text file with a group of words per line") from error
    groups = [line.lower().split() for line in lines if line.strip()]
    words = [word for group in groups for word in group]
    if len(words) < 2:
        raise UserError(f"{path}: expected at least two words, a group of them per line")
    for word in words:
        if words.count(word) > 1:
            raise UserError(f"{path}: {word!r} is there twice")
    return groups


def _halves(src: Path) -> list[Path]:
    """The folders TRAIN and TEST, in ``src`` or at most two levels below."""
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; expected TIMIT's, with TRAIN and TEST in it")
    level = [src]
    for _ in range(3):
        for folder in level:
            found = {p.name.upper(): p for p in _folders(folder)}
            if "TRAIN" in found and "TEST" in found:
                return [found["TRAIN"], found["TEST"]]
        level = [child for folder in level for child in _folders(folder)]
    raise UserError(
        f"{src}: no folders TRAIN and TEST here or two levels below; expected TIMIT as the LDC "
        "ships it (LDC93S1)"
    )


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir())
    except OSError:
        return []


def _utterances(halves: list[Path], problems: list[Problem]) -> list[Utterance]:
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
            relative = place.relative_to(half.parent).as_posix().upper()
            for stem, path in words.items():
                if stem in audio:
                    found[f"{relative}/{stem}"] = (path, audio[stem][1])
                else:
                    problems.append(Problem(str(path), "no audio beside it (.WAV, .FLAC)"))
            for stem in audio.keys() - words.keys():
                problems.append(Problem(str(audio[stem][1]), "no .WRD beside it"))
    return [
        Utterance(name.split("/")[-2], name, words, audio)
        for name, (words, audio) in sorted(found.items())
    ]


def read_words(path: Path) -> tuple[list[tuple[int, int, int, str]], list[Problem]]:
    """The lines of a .WRD file.

    Returns:
        Line number from 1, first sample, sample behind the last and word of each good line; and
        what is wrong with the others.
    """
    try:
        text = path.read_bytes().decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
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


def _cut_all(
    utterances: list[Utterance],
    vocabulary: set[str],
    options: FeatureOptions,
    problems: list[Problem],
    digests: dict[Path, str],
    progress: Callable[[int, int], None] | None,
) -> list[Cut]:
    import torchaudio  # noqa: F401, PLC0415  (imported once, before the threads)

    cuts: list[Cut] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda u: _cut(u, vocabulary, options, digests), utterances)
        for done, (found, wrong) in enumerate(results, 1):
            cuts += found
            problems += wrong
            if progress:
                progress(done, len(utterances))
    return cuts


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


def _choose(
    cuts: list[Cut], vocabulary: list[str], seed: int, allow_fewer: bool, report: Report
) -> list[tuple[Cut, bool]]:
    """Speakers of each word, each with one cut, and whether it is to test on."""
    spoken: dict[str, dict[str, list[Cut]]] = {word: {} for word in vocabulary}
    for cut in cuts:
        spoken[cut.word].setdefault(cut.speaker, []).append(cut)
    counts = {word: len(spoken[word]) for word in vocabulary}
    least = 2 if allow_fewer else SPEAKERS_PER_WORD
    short = {word: count for word, count in counts.items() if count < least}
    if short:
        listed = ", ".join(f"{word} {count}" for word, count in short.items())
        advice = "" if allow_fewer else "; --allow-fewer takes what is there, --words others"
        raise UserError(f"words with fewer than {least} speakers: {listed}{advice}")
    chosen = []
    for index, word in enumerate(vocabulary):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        names = sorted(spoken[word])
        names = [names[i] for i in rng.permutation(len(names))[:SPEAKERS_PER_WORD]]
        test = max(1, round(len(names) * TEST_PER_WORD / SPEAKERS_PER_WORD))
        taken = []
        for place, name in enumerate(names):
            own = sorted(spoken[word][name], key=lambda cut: cut.name)
            taken.append((own[rng.integers(len(own))], place >= len(names) - test))
        chosen += taken
        report.occurrences[word] = sum(map(len, spoken[word].values()))
        report.speakers[word] = counts[word]
        report.train[word], report.test[word] = len(names) - test, test
        report.frames[word] = float(np.mean([len(cut.features) for cut, _ in taken]))
    return chosen


def _splits(chosen: list[tuple[Cut, bool]], vocabulary: list[str]) -> tuple[Split, Split]:
    """Training and test set, standardised with the training set's mean and deviation."""
    train = np.concatenate([cut.features for cut, test in chosen if not test])
    shift, scale = standardise.zero_mean_unit_variance(train)

    def split(of_test: bool) -> Split:
        cuts = [cut for cut, test in chosen if test == of_test]
        frames = np.concatenate([cut.features for cut in cuts])
        return Split(
            frames=standardise.apply(frames, shift, scale),
            offsets=np.cumsum([0, *(len(cut.features) for cut in cuts)]).astype(np.int64),
            names=[f"{cut.word}: {cut.name}" for cut in cuts],
            shift=shift,
            scale=scale,
            labels=np.array([vocabulary.index(cut.word) for cut in cuts], np.int64),
        )

    return split(False), split(True)


def report_table(report: Report) -> list[tuple[Any, ...]]:
    """Rows: word, occurrences, speakers, to train, to test, mean frames of those."""
    return [
        (
            word,
            report.occurrences[word],
            report.speakers[word],
            report.train[word],
            report.test[word],
            f"{report.frames[word]:.0f}",
        )
        for word in report.occurrences
    ]
