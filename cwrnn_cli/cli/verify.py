"""`cwrnn verify`: whether the published numbers are those of the raw rows."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from data_prep.errors import UserError

from ..console import json_option, print_json, print_text, progress_bar, say, say_written
from ..evidence.differences import Difference
from ..evidence.folders import check_folder, result_folders
from ..evidence.pages import check_pages, pages, uncovered, write_pages
from ..evidence.rerun import RATIO_TOLERANCE, Agreement, again, agreements, numbers_of
from ..help import Command, section
from ..reporting.tables import counted, number, table
from ..statistics import SLACK
from .mistakes import did_you_mean

_RESULTS = Path("results")


@click.command(
    cls=Command,
    examples=[
        ("the published results", "cwrnn verify"),
        ("results of yours", "cwrnn verify runs/compare"),
        ("train a published table again, and compare", "cwrnn verify --rerun NAME"),
    ],
)
@click.argument("results", type=click.Path(path_type=Path), default=_RESULTS)
@section("Run again")
@click.option(
    "--rerun",
    metavar="NAME",
    help="Run the `cwrnn compare`, `scan` or `bench` that made this folder of RESULTS again, and "
    "compare the numbers; it takes as long as it took then.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="With --rerun: the prepared corpus.  [default: the command's own, or its stand-in]",
)
@section("Output")
@click.option("--write", is_flag=True, help="Make the pages anew instead of checking them.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    results: Path,
    rerun: str | None,
    data: Path | None,
    write: bool,
    as_json: bool,
) -> None:
    """Check every table and page below RESULTS (results/ unless named) against its raw rows.

    Each folder's files against the digests of its manifest, its tables and JSON made anew from its
    rows, and the pages (RESULTS/pages) made anew from both. Lists each difference by file and line;
    exit status 1 if there is any.
    """
    if data and not rerun:
        raise UserError("--data: only with --rerun")
    if write and rerun:
        raise UserError("--write: not with --rerun")
    if rerun:
        _rerun(context, results, rerun, data, as_json)
        return
    folders, root = result_folders(results), results.resolve().parent
    found: list[Difference] = []
    bar = progress_bar(len(folders) + 1, "verifying", unit="folder")
    for folder in folders:
        found += check_folder(folder, folder.resolve().relative_to(root).as_posix())
        bar.update(1)
    found += uncovered(results)
    if write and not found and (changed := write_pages(results)):
        say_written(*changed)
    if not (write and found):  # pages are made of folders that are right only
        found += check_pages(results)
    bar.update(1)
    bar.close()
    made = len(pages(results))
    if as_json:
        differences = [vars(difference) for difference in found]
        print_json({"folders": len(folders), "pages": made, "differences": differences})
    else:
        for difference in found:
            print_text(str(difference))
        count = f"{len(found)} difference{'s' if len(found) > 1 else ''}"
        verdict = count if found else "every number is that of its raw rows"
        what = f"{len(folders)} folder{'s' if len(folders) > 1 else ''}" + (
            f" and {made} page{'s' if made > 1 else ''}" if made else ""
        )
        print_text(f"{what} of {results}: {verdict}")
    if found:
        context.exit(1)


def _rerun(
    context: click.Context, results: Path, name: str, data: Path | None, as_json: bool
) -> None:
    folder = results / name
    if not folder.is_dir() and Path(name).resolve().is_relative_to(results.resolve()):
        folder = Path(name)  # as the shell completes it
    if not folder.is_dir():
        there = [path.relative_to(results).as_posix() for path in result_folders(results)]
        near = did_you_mean(name, there) or f" There are {', '.join(there)}."
        raise UserError(f"--rerun {name}: no such folder of {results}.{near}")
    with TemporaryDirectory() as place:
        found = agreements(folder, again(folder, Path(place), data))
    left_out = len(numbers_of(folder)) - len(found)
    agrees = all(agreement.agrees for agreement in found)
    if as_json:
        rows = [vars(agreement) | {"agrees": agreement.agrees} for agreement in found]
        print_json({"folder": str(folder), "agrees": agrees, "rows": rows})
    else:
        print_text(_agreement_table(found))
        say(
            "identical: every network's row, bit for bit. Else a median agrees within "
            f"{SLACK:g} times the distance to the ends of its 95 % interval, a ratio of speeds "
            f"within a factor of {RATIO_TOLERANCE:g}"
        )
        if left_out:
            say(f"not compared, as JAX is not installed: {counted(left_out, 'ratio')}")
        print_text(f"{folder}: {'agrees' if agrees else 'does not agree'}")
    if not agrees:
        context.exit(1)


def _agreement_table(found: Sequence[Agreement]) -> str:
    rows = [
        [
            a.name,
            number(a.published),
            number(a.again),
            "" if a.identical else f"{number(a.low)}..{number(a.high)}",
            *(f"{count}/{a.networks}" if a.networks else "" for count in a.diverged),
            "identical" if a.identical else "agrees" if a.agrees else "does not agree",
        ]
        for a in found
    ]
    header = ("median", "published", "again", "tolerance", "diverged", "again", "")
    return table(header, rows)
