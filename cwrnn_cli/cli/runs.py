"""`cwrnn runs`: what has been trained, and in what two runs differ."""

from pathlib import Path

import click

from data_prep.errors import UserError

from ..console import RUNS_FOLDER, json_option, print_json, print_text
from ..help import section
from ..option import RUN
from ..reporting.runs import differences_text, runs_csv, runs_text
from ..tasks import TASKS
from ..training.listing import differences, look_at, runs_below
from .groups import LazyGroup
from .mistakes import Choice


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    examples=[
        ("all below runs/", "cwrnn runs"),
        ("for a spreadsheet", "cwrnn runs --in results --csv"),
        ("in what two differ", "cwrnn runs diff runs/A runs/B"),
    ],
)
@section("Which runs")
@click.option(
    "--in",
    "parent",
    type=click.Path(path_type=Path),
    default=RUNS_FOLDER,
    show_default=True,
    help="Folder to look in, and in all below it.",
)
@click.option("--task", type=Choice(list(TASKS)), help="Of this one only.")
@section("Output")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="A line per run, with commas between.")
@click.pass_context
def command(
    context: click.Context, parent: Path, task: str | None, as_json: bool, as_csv: bool
) -> None:
    """List runs: task, model, size, state, and the lowest error so far.

    The error is the first that the task's progress bar shows, as metrics.jsonl has it; `cwrnn eval`
    computes those of the paper.
    """
    if context.invoked_subcommand:
        return
    if as_json and as_csv:
        raise UserError("--json and --csv: only one of them")
    found = [run for run in runs_below(parent) if task in (None, run.row()["task"])]
    if as_json:
        print_json({"runs": [run.row() for run in found]})
    else:
        print_text(runs_csv(found) if as_csv else runs_text(found, parent))


def _as_listed(path: Path) -> Path:
    """A run by its path, or by its name in the list of runs/."""
    return path if path.exists() or not (RUNS_FOLDER / path).exists() else RUNS_FOLDER / path


@command.command(examples=[("as a table", "cwrnn runs diff runs/A runs/B")])
@click.argument("first", metavar="A", type=RUN)
@click.argument("second", metavar="B", type=RUN)
@section("Output")
@json_option
def diff(first: Path, second: Path, as_json: bool) -> None:
    """In what two runs differ: configuration, then the last line of metrics.jsonl."""
    first, second = map(_as_listed, (first, second))
    mine, theirs = look_at(first), look_at(second)
    for path, run in ((first, mine), (second, theirs)):
        if run is None:
            raise UserError(f"{path}: many runs, a folder each; name one of them")
    assert mine is not None and theirs is not None
    found = differences(mine, theirs)
    if as_json:
        print_json({name: {"a": a, "b": b} for name, (a, b) in found.items()})
    else:
        print_text(differences_text(found, mine, theirs))
