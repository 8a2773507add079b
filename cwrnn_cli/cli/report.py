"""`cwrnn report`: results as one HTML file to open, to print and to send."""

from pathlib import Path

import click

from data_prep.errors import UserError
from data_prep.files import write_text

from ..console import progress_bar, say_written
from ..evidence.report.gather import gather, steps
from ..evidence.report.html import page
from ..help import Command, section
from ..outputs import PAGE, OutputFile, force_option

_RESULTS = Path("results")


@click.command(
    cls=Command,
    examples=[
        ("a run of yours", "cwrnn report runs/RUN --out run.html"),
        ("the published results", "cwrnn report results --out results.html"),
    ],
)
@click.argument("results", type=click.Path(path_type=Path), default=_RESULTS)
@section("Output")
@click.option(
    "--out",
    type=OutputFile(PAGE),
    default="report.html",
    show_default=True,
    help="HTML file; a report that is there is made anew.",
)
@force_option
@section("Data")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Prepared corpus of the runs, to show lines of it in ink.  [default: where the runs had "
    "it]",
)
def command(results: Path, out: Path, data: Path | None) -> None:
    """Show RESULTS (results/ unless named) as one HTML file that needs nothing else.

    RESULTS is a folder of `cwrnn compare` or `cwrnn train`, or one with such folders below it, as
    the published results are. The page has the paper's claims with verdict, interval, data and
    command; figures, tables, sound, ink; the clock; machine and manifest. It loads nothing from the
    network. Lines of a corpus are in it only where the corpus is at hand, never of published
    results: mind its licence before you pass the page on.
    """
    if data is not None and not data.is_file():
        raise UserError(f"{data}: no such file; prepare it, or leave --data out")
    bar = progress_bar(steps(results) if results.is_dir() else 1, "reporting", unit="folder")
    try:
        found = gather(results, data, bar.update)
    finally:
        bar.close()
    write_text(out, page(found))
    say_written(out)
