"""`cwrnn prepare iamondb`."""

from contextlib import ExitStack
from pathlib import Path

import click

from data_prep import iamondb as converter
from data_prep import iamondb_standin
from data_prep.errors import UserError

from ...console import (
    DATA_FOLDER,
    origin_option,
    print_text,
    progress_bar,
    refuse_both_sources,
    say_problems,
)
from ...help import Command, section
from ...option import SEED
from ...outputs import CORPUS, OutputFile, force_option
from ...reporting.tables import table
from .task import IamondbTask


@click.command(
    cls=Command,
    examples=[
        ("your copy of IAM-OnDB", "cwrnn prepare iamondb --src IAM-OnDB"),
        ("a free substitute", "cwrnn prepare iamondb --standin"),
    ],
)
@section("Source")
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
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the substitute.")
@origin_option
@section("Pen paths")
@click.option("--every", default=3, show_default=True, help="Keep one point of so many.")
@click.option("--offsets", is_flag=True, help="From point to point, instead of positions.")
@click.option("--slant", is_flag=True, help="Shear each line upright.")
@click.option(
    "--strict",
    is_flag=True,
    help="Leave out lines whose clock runs back, instead of repairing their time.",
)
@section("Output")
@click.option(
    "--out",
    type=OutputFile(CORPUS),
    default=DATA_FOLDER / "iamondb.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@force_option
def prepare(
    src: Path | None,
    splits: Path | None,
    standin: bool,
    keep: Path | None,
    out: Path,
    seed: int,
    every: int,
    offsets: bool,
    slant: bool,
    strict: bool,
    origin: str | None,
) -> None:
    """Lines of handwriting for task 3: pen paths of IAM-OnDB, every third point."""
    options = converter.PathOptions(every, offsets, slant)
    with ExitStack() as stack:
        if standin:
            refuse_both_sources()
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

        def show(done: int) -> None:
            bar.update(done - bar.n)

        report = converter.prepare(out, src, splits, options, strict, show, origin)
        bar.close()
    rows = []
    for name, paper in converter.PAPER_LINES.items():
        repaired = len(report.repaired[name])
        rows.append([name, *map(str, (report.lines[name], repaired, report.left_out[name], paper))])
    print_text(table(("split", "lines", "of them repaired", "left out", "paper"), rows))
    say_problems(out, report.problems, converter.repairs(report))
    source = IamondbTask().data_label(report.source, report.standin)
    source += "" if standin else f", from {src}"
    path = "offsets of" if offsets else "positions of"
    print_text(f"{out}: {len(report.characters)} characters; {path} lines of {source}")
