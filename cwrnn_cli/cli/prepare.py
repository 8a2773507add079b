"""`cwrnn prepare`: a corpus to one HDF5 file."""

from pathlib import Path

import click

from data_prep.errors import UserError
from data_prep.files import write_text

from ..paper import WORD_GROUPS
from .common import DATA_FOLDER, progress_bar, say

_SHOWN = 10  # problems on stderr


@click.group()
def command() -> None:
    """Turn a corpus into one HDF5 file."""


@command.command()
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    help="A sound file (WAV, FLAC, OGG, AIFF, MP3 ...); without it, the built-in piece.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DATA_FOLDER / "audio.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@click.option(
    "--start", type=float, default=0.0, show_default=True, help="Where to begin, in seconds."
)
@click.option(
    "--sequences",
    type=int,
    default=5,
    show_default=True,
    help="How many stretches, one after the other.",
)
@click.option(
    "--length", type=int, default=320, show_default=True, help="Samples of each, at 44.1 kHz."
)
@click.option("--channel", type=int, help="Which channel, from 1 on; without it, the mean of all.")
def audio(
    src: Path | None, out: Path, start: float, sequences: int, length: int, channel: int | None
) -> None:
    """A few short stretches of sound for task 1: 5 of 320 samples, each scaled to [-1, 1]."""
    from data_prep.audio import RATE, prepare  # noqa: PLC0415

    corpus = prepare(out, src, start, sequences, length, channel)
    source = corpus.provenance["source"]["name"]
    if corpus.standin:
        source += " (no --src: music that our own code plays, the same on every machine)"
    click.echo(
        f"{out}: {sequences} sequences of {length} samples ({1000 * length / RATE:.1f} ms) "
        f"at {RATE / 1000} kHz, from {start:g} s of {source}"
    )


@command.command()
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    envvar="CWRNN_TIMIT",
    help="Folder of your copy of TIMIT, with TRAIN and TEST in it.  [env: CWRNN_TIMIT]",
)
@click.option("--standin", is_flag=True, help="A free substitute: sentences by synthetic voices.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder to leave the substitute's files in."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DATA_FOLDER / "timit.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@click.option(
    "--words",
    type=click.Path(path_type=Path),
    help="Text file of other words, those that end alike on one line.  [default: the paper's 25]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of speakers.")
@click.option("--allow-fewer", is_flag=True, help="Take words of fewer than 7 speakers too.")
@click.option("--strict", is_flag=True, help="Stop at the first damaged file.")
@click.option("--coefficients", default=12, show_default=True, help="MFCC beside the energy.")
@click.option("--window-ms", default=25.0, show_default=True, help="Length of a window.")
@click.option("--hop-ms", default=10.0, show_default=True, help="From one window to the next.")
@click.option("--preemphasis", default=0.97, show_default=True, help="Coefficient.")
@click.option("--deltas", default=0, show_default=True, help="Orders of differences over time.")
def timit(
    src: Path | None,
    standin: bool,
    keep: Path | None,
    out: Path,
    words: Path | None,
    seed: int,
    allow_fewer: bool,
    strict: bool,
    coefficients: int,
    window_ms: float,
    hop_ms: float,
    preemphasis: float,
    deltas: int,
) -> None:
    """Spoken words for task 2: 25 words of TIMIT by 7 speakers each, as MFCC frames.

    5 speakers of each word are to train on, 2 to test; no speaker of a word is on both sides.
    """
    from contextlib import ExitStack  # noqa: PLC0415

    from data_prep import timit as converter  # noqa: PLC0415
    from data_prep import timit_standin  # noqa: PLC0415
    from data_prep.features import FeatureOptions  # noqa: PLC0415

    from ..reporting.tables import table  # noqa: PLC0415

    if seed < 0:
        raise UserError(f"--seed {seed}: expected at least 0")
    options = FeatureOptions(coefficients, window_ms, hop_ms, preemphasis, deltas)
    groups = converter.read_groups(words) if words else WORD_GROUPS
    with ExitStack() as stack:
        if standin:
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
        bar = progress_bar(1, "cutting", unit="sentence")

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = converter.prepare(out, src, groups, seed, options, allow_fewer, strict, show)
        bar.close()
    rows = [[str(cell) for cell in row] for row in converter.report_table(report)]
    header = ("word", "found", "speakers", "train", "test", "mean frames")
    click.echo(table(header, rows))
    say_problems(out, [str(problem) for problem in report.problems])
    source = "stand-in speech (synthetic voices, not TIMIT)" if standin else str(src)
    click.echo(
        f"{out}: {sum(report.train.values())} words to train, {sum(report.test.values())} to test, "
        f"of {report.utterances} sentences of {source}"
    )


@command.command()
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    envvar="CWRNN_IAMONDB",
    help="Folder with lineStrokes and ascii, or their .tar.gz.  [env: CWRNN_IAMONDB]",
)
@click.option(
    "--splits",
    type=click.Path(path_type=Path),
    help="Folder of trainset.txt, testset_v.txt, testset_t.txt and testset_f.txt.  "
    "[default: below --src]",
)
@click.option("--standin", is_flag=True, help="A free substitute: lines by synthetic writers.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder to leave the substitute's files in."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DATA_FOLDER / "iamondb.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the substitute.")
@click.option("--every", default=3, show_default=True, help="Keep one point of so many.")
@click.option("--offsets", is_flag=True, help="From point to point, instead of positions.")
@click.option("--slant", is_flag=True, help="Shear each line upright.")
def iamondb(
    src: Path | None,
    splits: Path | None,
    standin: bool,
    keep: Path | None,
    out: Path,
    seed: int,
    every: int,
    offsets: bool,
    slant: bool,
) -> None:
    """Lines of handwriting for task 3: pen paths of IAM-OnDB, every third point."""
    from contextlib import ExitStack  # noqa: PLC0415

    from data_prep import iamondb as converter  # noqa: PLC0415
    from data_prep import iamondb_standin  # noqa: PLC0415

    from ..reporting.tables import table  # noqa: PLC0415

    if seed < 0:
        raise UserError(f"--seed {seed}: expected at least 0")
    options = converter.PathOptions(every, offsets, slant)
    with ExitStack() as stack:
        if standin:
            bar = progress_bar(iamondb_standin.LINES_IN_ALL, "writing", unit="line")
            src = stack.enter_context(iamondb_standin.tree(keep, seed, lambda: bar.update(1)))
            bar.close()
        elif src is None:
            raise UserError(
                "--src DIR (or CWRNN_IAMONDB): the folder with lineStrokes-all.tar.gz, "
                "ascii-all.tar.gz and the split lists of task t2; the corpus is free for research, "
                "register at fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database. "
                "--standin builds a free substitute instead"
            )
        elif keep is not None:
            raise UserError("--keep: only with --standin")
        bar = progress_bar(sum(converter.PAPER_LINES.values()), "reading", unit="line")
        report = converter.prepare(out, src, splits, options, lambda done: bar.update(done - bar.n))
        bar.close()
    rows = [
        [name, str(report.lines[name]), str(report.left_out[name]), str(paper)]
        for name, paper in converter.PAPER_LINES.items()
    ]
    click.echo(table(("split", "lines", "left out", "paper"), rows))
    say_problems(out, report.problems)
    source = "stand-in handwriting (synthetic writers, not IAM-OnDB)" if standin else str(src)
    click.echo(f"{out}: {len(report.characters)} characters; lines of {source}")


def say_problems(out: Path, problems: list[str]) -> None:
    """What was passed over: the first few on stderr, all of them in a file beside ``out``."""
    path = out.with_name(out.stem + ".passed-over.txt")
    path.unlink(missing_ok=True)
    if not problems:
        return
    write_text(path, "".join(f"{problem}\n" for problem in problems))
    for problem in problems[:_SHOWN]:
        say(f"passed over: {problem}")
    say(f"{len(problems)} passed over in all, listed in {path}")
