"""Spoken words on their way into task 2's file: who is trained on, who tested, and how it is told.

What the converters share: :mod:`.timit` cuts words out of sentences, :mod:`.words` takes recordings
of single words.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from . import PREPARATION, standardise
from .errors import UserError
from .features import FeatureOptions
from .provenance import source_of
from .reading import content_of
from .store import Corpus, Split

SPEAKERS_PER_WORD, TEST_PER_WORD = 7, 2
LEAST = 2  # speakers: one to train on, one to test on
_LARGEST = 1 << 20  # bytes of a list of words
Item = TypeVar("Item")
Made = TypeVar("Made")


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
class Cut:
    """One spoken word.

    Attributes:
        word: in lower case.
        speaker: who says it.
        name: where it was found.
        features: (T, D) float32.
    """

    word: str
    speaker: str
    name: str
    features: np.ndarray


Chosen = list[tuple[Cut, bool]]  # words, and whether each is to test on


@dataclass
class Report:
    """What the converter found.

    Attributes:
        utterances: sentences with words and audio, or recordings of words.
        occurrences: word -> times it was found and could be read.
        speakers: word -> different speakers of those.
        train: word -> sequences taken to train.
        test: word -> sequences taken to test.
        frames: word -> mean frames of those taken.
        problems: what was passed over.
        trimmed: share of the sound of all words read that was cut off as silence.
    """

    utterances: int = 0
    occurrences: dict[str, int] = field(default_factory=dict)
    speakers: dict[str, int] = field(default_factory=dict)
    train: dict[str, int] = field(default_factory=dict)
    test: dict[str, int] = field(default_factory=dict)
    frames: dict[str, float] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    trimmed: float = 0.0

    def count(self, word: str, spoken: Mapping[str, Sequence[Cut]], taken: Chosen) -> None:
        """Count one word: what each speaker said of it, and what was taken of that."""
        self.occurrences[word] = sum(map(len, spoken.values()))
        self.speakers[word] = len(spoken)
        self.test[word] = sum(test for _, test in taken)
        self.train[word] = len(taken) - self.test[word]
        self.frames[word] = float(np.mean([len(cut.features) for cut, _ in taken]))

    def settle(self, strict: bool) -> None:
        """Bring the problems in order.

        Raises:
            UserError: there is one, and the user is ``strict``.
        """
        self.problems.sort(key=str)
        if strict and self.problems:
            raise UserError(f"--strict: {self.problems[0]}")


def read_groups(path: Path) -> list[list[str]]:
    """Words of a text file: a group per line, words with spaces between.

    Raises:
        UserError: no such file, no words, or one twice.
    """
    try:
        lines = content_of(Path(path), _LARGEST).decode("utf-8").splitlines()
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a text file with a group of words per line") from error
    groups = [line.lower().split() for line in lines if line.strip()]
    words = [word for group in groups for word in group]
    if len(words) < 2:
        raise UserError(f"{path}: expected at least two words, a group of them per line")
    word, times = Counter(words).most_common(1)[0]
    if times > 1:
        raise UserError(f"{path}: {word!r} is there twice")
    return groups


def in_threads(
    work: Callable[[Item], Made], items: Sequence[Item], progress: Callable[[int, int], None] | None
) -> Iterator[Made]:
    """What ``work`` makes of each item, in their order; computed on all cores.

    Args:
        work: reads sound and computes features.
        items: of any kind.
        progress: called with the items done and their number.
    """
    import torchaudio  # noqa: F401, PLC0415  (imported once, before the threads)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, items), 1):
            yield result
            if progress:
                progress(done, len(items))


def by_word(
    cuts: Iterable[Cut],
    vocabulary: Sequence[str],
    seed: int,
    report: Report,
    most: int | None = SPEAKERS_PER_WORD,
    least: int = SPEAKERS_PER_WORD,
    advice: Callable[[], str] = str,
) -> Chosen:
    """Speakers of each word, each with one cut: the paper's way, 2 in 7 of them to test on.

    Args:
        cuts: every word that was found.
        vocabulary: the words, in the order of their classes.
        seed: of the choice.
        report: what was found and chosen is counted there.
        most: speakers of each word at the most; None: all.
        least: speakers that each word must have.
        advice: makes the end of the error about words that have fewer: what to do.

    Raises:
        UserError: a word has fewer.
    """
    spoken = _spoken(cuts, vocabulary)
    short = [f"{word} {len(own)}" for word, own in spoken.items() if len(own) < least]
    if short:
        raise UserError(f"words with fewer than {least} speakers: {', '.join(short)}{advice()}")
    chosen: Chosen = []
    for index, word in enumerate(vocabulary):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        names = sorted(spoken[word])
        names = [names[i] for i in rng.permutation(len(names))[:most]]
        test = to_test(len(names))
        taken = []
        for place, name in enumerate(names):
            own = spoken[word][name]
            taken.append((own[rng.integers(len(own))], place >= len(names) - test))
        chosen += taken
        report.count(word, spoken[word], taken)
    return chosen


def by_speaker(
    cuts: Iterable[Cut],
    vocabulary: Sequence[str],
    seed: int,
    report: Report,
    test_speakers: int | None = None,
    takes: int | None = None,
) -> Chosen:
    """Every speaker on one side with all words: nobody who is tested on was heard in training.

    Args:
        cuts: every word that was found.
        vocabulary: the words, in the order of their classes.
        seed: of the division.
        report: what was found and chosen is counted there.
        test_speakers: how many are to test on; None: 2 in 7.
        takes: of each speaker and word at the most, the first by name; None: all.

    Raises:
        UserError: too few speakers, or a word that nobody says on one side.
    """
    spoken = _spoken(cuts, vocabulary)
    names = sorted({name for own in spoken.values() for name in own})
    if len(names) < LEAST:
        raise UserError(f"{len(names)} speakers; a split by speakers needs {LEAST}")
    if test_speakers is None:
        test_speakers = to_test(len(names))
    if not 1 <= test_speakers < len(names):
        raise UserError(
            f"--test-speakers {test_speakers}: expected 1 to {len(names) - 1}, of {len(names)}"
        )
    order = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(names))
    names = [names[i] for i in order]
    tested = set(names[-test_speakers:])
    chosen: Chosen = []
    for word in vocabulary:
        own = spoken[word]
        taken = [(cut, name in tested) for name in names for cut in own.get(name, [])[:takes]]
        sides = {test for _, test in taken}
        for side, test in (("train", False), ("test", True)):
            if test not in sides:
                raise UserError(
                    f"{word}: no speaker to {side} on says it; leave it out with --words, or try "
                    "another --seed"
                )
        chosen += taken
        report.count(word, own, taken)
    return chosen


def to_test(speakers: int) -> int:
    """How many of so many speakers are to test on."""
    return max(1, round(speakers * TEST_PER_WORD / SPEAKERS_PER_WORD))


def _spoken(cuts: Iterable[Cut], vocabulary: Sequence[str]) -> dict[str, dict[str, list[Cut]]]:
    """Word -> speaker -> what he says of it, in the order of the names."""
    spoken: dict[str, dict[str, list[Cut]]] = {word: {} for word in vocabulary}
    for cut in sorted(cuts, key=lambda cut: cut.name):
        spoken[cut.word].setdefault(cut.speaker, []).append(cut)
    return spoken


def corpus_of(
    chosen: Chosen,
    groups: Sequence[Sequence[str]],
    options: FeatureOptions,
    report: Report,
    source: tuple[str, str | None, Mapping[str, str]],
    parameters: Mapping[str, Any],
    standin: bool = False,
) -> Corpus:
    """The corpus as it is stored.

    Args:
        chosen: its words.
        groups: the classes, in groups that end alike.
        options: of the features.
        report: whose problems are counted.
        source: see :func:`.provenance.source_of`.
        parameters: of the choice, for the provenance.
        standin: whether it only stands in for TIMIT.
    """
    vocabulary = [word for group in groups for word in group]
    train, test = _splits(chosen, vocabulary)
    return Corpus(
        corpus="timit",
        standin=standin,
        provenance={
            "cwrnn": PREPARATION,
            "source": source_of(*source),
            "words": vocabulary,
            "groups": [list(group) for group in groups],
            "features": options.to_json(),
            "parameters": dict(parameters),
            "passed_over": len(report.problems),
        },
        splits={"train": train, "test": test},
    )


def _splits(chosen: Chosen, vocabulary: list[str]) -> tuple[Split, Split]:
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
