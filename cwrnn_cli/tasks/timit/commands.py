"""`cwrnn prepare timit`."""

from contextlib import ExitStack
from pathlib import Path

import click

from data_prep import spoken, timit_standin
from data_prep import timit as converter
from data_prep.errors import UserError
from data_prep.features import FeatureOptions

from ...console import DATA_FOLDER, origin_option, progress_bar, say_problems
from ...option import at_least
from ...paper import WORD_GROUPS
from ...reporting.tables import table
from .task import TimitTask


@click.command()
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
@origin_option
def prepare(
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
    origin: str | None,
) -> None:
    """Spoken words for task 2: 25 words of TIMIT by 7 speakers each, as MFCC frames.

    5 speakers of each word are to train on, 2 to test; no speaker of a word is on both sides.
    """
    at_least("--seed", seed, 0)
    options = FeatureOptions(coefficients, window_ms, hop_ms, preemphasis, deltas)
    groups = spoken.read_groups(words) if words else WORD_GROUPS
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

        report = converter.prepare(
            out, src, groups, seed, options, allow_fewer, strict, show, origin
        )
        bar.close()
    rows = [[str(cell) for cell in row] for row in spoken.report_table(report)]
    header = ("word", "found", "speakers", "train", "test", "mean frames")
    click.echo(table(header, rows))
    say_problems(out, [str(problem) for problem in report.problems])
    source = TimitTask().data_label("stand-in speech", True) if standin else str(src)
    click.echo(
        f"{out}: {sum(report.train.values())} words to train, {sum(report.test.values())} to test, "
        f"of {report.utterances} sentences of {source}"
    )
