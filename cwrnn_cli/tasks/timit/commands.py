"""`cwrnn prepare timit` and `cwrnn prepare words`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from data_prep import timit, timit_standin
from data_prep import words as recorded
from data_prep.errors import UserError
from data_prep.features import KINDS, FeatureOptions
from data_prep.spoken import LEAST, SPEAKERS_PER_WORD, Report, read_groups, report_table

from ...console import (
    DATA_FOLDER,
    origin_option,
    print_text,
    progress_bar,
    refuse_both_sources,
    say_problems,
)
from ...help import Command, section
from ...option import COUNT, SEED
from ...outputs import CORPUS, OutputFile, force_option
from ...paper import WORD_GROUPS
from ...reporting.tables import table
from .task import TimitTask

_FEATURES = (
    click.option(
        "--features",
        type=click.Choice(list(KINDS)),
        default=next(iter(KINDS)),
        show_default=True,
        help="Whose MFCC: Kaldi's, or those of the library that the authors worked with.",
    ),
    click.option("--coefficients", default=12, show_default=True, help="MFCC beside energy or c0."),
    click.option("--window-ms", default=25.0, show_default=True, help="Length of a window."),
    click.option("--hop-ms", default=10.0, show_default=True, help="From one window to the next."),
    click.option("--preemphasis", default=0.97, show_default=True, help="Coefficient."),
    click.option("--deltas", default=0, show_default=True, help="Orders of differences over time."),
)


def feature_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of how words become frames."""
    for option in reversed(_FEATURES):
        command = option(command)
    return command


@click.command(
    cls=Command,
    examples=[
        ("your copy of TIMIT", "cwrnn prepare timit --src TIMIT"),
        ("a free substitute", "cwrnn prepare timit --standin"),
    ],
)
@section("Source")
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    envvar="CWRNN_TIMIT",
    help="Folder of your copy of TIMIT, with TRAIN and TEST in it, or of NLTK's sample of it.  "
    "[env: CWRNN_TIMIT]",
)
@click.option("--standin", is_flag=True, help="A free substitute: sentences by synthetic voices.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder to leave the substitute's files in."
)
@origin_option
@section("Words")
@click.option(
    "--words",
    type=click.Path(path_type=Path),
    help="Text file of other words, those that end alike on one line.  [default: the paper's 25]",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the choice of speakers.")
@click.option("--allow-fewer", is_flag=True, help="Take words of fewer than 7 speakers too.")
@section("Frames")
@feature_options
@section("Output")
@click.option(
    "--out",
    type=OutputFile(CORPUS),
    default=DATA_FOLDER / "timit.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@click.option("--strict", is_flag=True, help="Stop at the first damaged file.")
@force_option
def prepare(
    src: Path | None,
    standin: bool,
    keep: Path | None,
    out: Path,
    words: Path | None,
    seed: int,
    allow_fewer: bool,
    strict: bool,
    features: str,
    coefficients: int,
    window_ms: float,
    hop_ms: float,
    preemphasis: float,
    deltas: int,
    origin: str | None,
) -> None:
    """Spoken words for task 2: 25 words of TIMIT by 7 speakers each, as MFCC frames.

    5 speakers of each word are to train on, 2 to test; no speaker of a word is on both sides.
    """
    options = FeatureOptions(
        coefficients, window_ms, hop_ms, preemphasis, deltas, features=features
    )
    groups = read_groups(words) if words else WORD_GROUPS
    with ExitStack() as stack:
        if standin:
            refuse_both_sources()
            bar = progress_bar(timit_standin.SENTENCES_IN_ALL, "speaking", unit="sentence")
            src = stack.enter_context(timit_standin.tree(keep, seed, lambda: bar.update(1)))
            bar.close()
        elif src is None:
            raise UserError(
                "--src DIR (or CWRNN_TIMIT): the folder of your copy of TIMIT, with TRAIN and TEST "
                "in it; the corpus is licensed by the Linguistic Data Consortium "
                "(catalog.ldc.upenn.edu/LDC93S1). --standin builds a free substitute instead"
            )
        elif keep is not None:
            raise UserError("--keep: only with --standin")
        show = stack.enter_context(_progress("cutting", "sentence"))
        report = timit.prepare(out, src, groups, seed, options, allow_fewer, strict, show, origin)
    _say_words(out, report)
    source = TimitTask().data_label("stand-in speech", True) if standin else str(src)
    print_text(
        f"{out}: {sum(report.train.values())} words to train, {sum(report.test.values())} to test, "
        f"of {report.utterances} sentences of {source}"
    )


@click.command(
    cls=Command,
    examples=[
        ("recordings WORD/SPEAKER_TAKE.wav", "cwrnn prepare words --src recordings"),
        (
            "ten speakers to test on, with all words",
            "cwrnn prepare words --src recordings --split-by speaker --test-speakers 10",
        ),
    ],
)
@section("Source")
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of recordings of a word each.",
)
@click.option(
    "--pattern",
    default=recorded.PATTERN,
    help="Regular expression for paths below --src, with slashes: its groups word, speaker and "
    "take (which may be missing) say what a recording is of.  "
    "[default: WORD/SPEAKER_TAKE.wav]",
)
@origin_option
@section("Words")
@click.option(
    "--words",
    type=click.Path(path_type=Path),
    help="Text file of the words to take, those that end alike on one line; with --compound two "
    "lines, of beginnings and endings.  [default: all; --compound: 5 and 5 by the alphabet]",
)
@click.option(
    "--split-by",
    type=click.Choice(["word", "speaker"]),
    help="word: some speakers of each word, one recording each, 2 in 7 to test on, as the paper; "
    "speaker: each speaker is on one side, with all words.  [default: word; --compound: speaker]",
)
@click.option(
    "--speakers",
    help=f"Of each word at the most, or all; with --split-by word.  [default: {SPEAKERS_PER_WORD}]",
)
@click.option(
    "--test-speakers",
    type=COUNT,
    help="To test on, with --split-by speaker.  [default: 2 in 7]",
)
@click.option(
    "--takes",
    type=COUNT,
    help="Of each speaker and word at the most, with --split-by speaker.  [default: all]",
)
@click.option(
    "--compound",
    is_flag=True,
    help="Words of two parts: each beginning before each ending, by one speaker; those of one "
    "ending are a group.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the choice of speakers.")
@section("Frames")
@click.option(
    "--trim-db",
    type=float,
    default=30.0,
    show_default=True,
    help="Silence before and behind a word is cut off: what is so much below its loudest 25 ms.",
)
@click.option(
    "--no-trim",
    is_flag=True,
    help="Leave silence: the task is then to remember through it.",
)
@feature_options
@section("Output")
@click.option(
    "--out",
    type=OutputFile(CORPUS),
    default=DATA_FOLDER / "words.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@click.option("--name", help="Of the corpus, in tables.  [default: the folder's]")
@click.option("--strict", is_flag=True, help="Stop at the first damaged file.")
@force_option
@click.pass_context
def prepare_words(
    context: click.Context,
    src: Path,
    pattern: str,
    words: Path | None,
    split_by: str | None,
    speakers: str | None,
    test_speakers: int | None,
    takes: int | None,
    compound: bool,
    seed: int,
    trim_db: float,
    no_trim: bool,
    strict: bool,
    out: Path,
    name: str | None,
    features: str,
    coefficients: int,
    window_ms: float,
    hop_ms: float,
    preemphasis: float,
    deltas: int,
    origin: str | None,
) -> None:
    """Spoken words for task 2, from a folder of recordings of single words.

    Train on them with `cwrnn train --task timit --data data/words.h5`.
    """
    split_by = split_by or ("speaker" if compound else "word")
    other = "speaker" if split_by == "word" else "word"
    of_split = {"word": ["speakers"], "speaker": ["test_speakers", "takes"]}
    for option in of_split[other]:
        value = context.params[option]
        if value is not None:
            flag = "--" + option.replace("_", "-")
            raise UserError(f"{flag} {value}: only with --split-by {other}")
    if no_trim and context.get_parameter_source("trim_db") is not ParameterSource.DEFAULT:
        raise UserError("--no-trim, --trim-db: one of them")
    trimmed = None if no_trim else trim_db
    options = FeatureOptions(
        coefficients, window_ms, hop_ms, preemphasis, deltas, trimmed, features
    )
    groups = read_groups(words) if words else None
    choice = recorded.Choice(split_by, _speakers(speakers), test_speakers, takes, compound, seed)
    with _progress("reading", "word") as show:
        report = recorded.prepare(
            out, src, groups, pattern, choice, options, strict, show, name, origin
        )
    _say_words(out, report)
    silence = f"; silence was {100 * report.trimmed:.0f} % of the sound" * (not no_trim)
    print_text(
        f"{out}: {sum(report.train.values())} words to train, {sum(report.test.values())} to test, "
        f"of {report.utterances} recordings of {src}{silence}"
    )


def _speakers(text: str | None) -> int | None:
    """Of ``--speakers``; None: all."""
    if text == "all":
        return None
    if text is None:
        return SPEAKERS_PER_WORD
    if not text.isdecimal() or int(text) < LEAST:
        raise UserError(f"--speakers {text}: expected {LEAST} or more, or all")
    return int(text)


@contextmanager
def _progress(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how many are done and how many there are."""
    bar = progress_bar(1, description, unit=unit)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        bar.close()


def _say_words(out: Path, report: Report) -> None:
    rows = [[str(cell) for cell in row] for row in report_table(report)]
    header = ("word", "found", "speakers", "train", "test", "mean frames")
    print_text(table(header, rows))
    say_problems(out, [str(problem) for problem in report.problems])
