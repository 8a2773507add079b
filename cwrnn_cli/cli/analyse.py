"""`cwrnn analyse`: what each module of a run's networks does."""

from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import command_line, json_option, print_json, print_text, say_written
from ..help import Command, section
from ..models import CELLS
from ..models.modular import ModularSpec
from ..option import RUN
from ..reporting.analysis import write_analysis
from ..training.analysis import Analyser
from ..training.folder import RunFolder
from ..training.manifest import certified_whole, noted
from ..training.registry import AnyTask, task_of
from ..training.task import Task
from .options import OUTPUT, task_options, together


def _options(task: AnyTask) -> tuple[Any, ...]:
    """Those of a task that has an analysis."""
    return task.analyser().options if type(task).analyser is not Task.analyser else ()


@click.command(
    cls=Command,
    examples=[
        ("a run", "cwrnn analyse runs/RUN --out runs/analysis"),
        ("as JSON, its corpus moved", "cwrnn analyse runs/RUN --data FILE.h5 --out new --json"),
    ],
)
@click.argument("run", type=RUN)
@section("What to analyse")
@click.option(
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
@together(task_options(_options, "What to analyse"))
@section(OUTPUT)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="New folder for tables (analysis.json, table.txt, CSV), figures and manifest.json.",
)
@json_option
def command(run: Path, data: Path | None, out: Path, as_json: bool, **options: Any) -> None:
    """What each module of RUN's networks does, and what is lost without it.

    Of a run on a clock. Errors with each module silenced; and, by task, the spectrum of what a
    module plays, what its state tells of a spoken word and of its beginning, or which module the
    ink of a line reaches the text by.
    """
    folder = RunFolder(run)
    config = folder.config()
    experiment = task_of(folder)
    analyser: Analyser[Any] = experiment.analyser()
    given = {name: value for name, value in options.items() if value is not None}
    own = {option.name for option in analyser.options}
    if not own.issuperset(given):
        names = ", ".join(f"--{name}" for name in given if name not in own)
        raise UserError(f"{names}: not an option for a run of task {config.task}")
    if len(config.cell.modules) < 2:
        clocked = [name for name, cell in CELLS.items() if issubclass(cell, ModularSpec)]
        raise UserError(
            f"{run}: all of its {config.cell.label} is one module, there is nothing to tell apart; "
            f"expected a run of --model {', '.join(clocked)} with several periods"
        )
    corpus = experiment.load(data or Path(config.data_path))
    configuration = {**given, "run": config.computed()}
    with certified_whole(out, command_line(), corpus, configuration) as new:
        found = analyser.analyse(
            folder, experiment.data_of(config, corpus, noted(run, "data")), **given
        )
        write_analysis(new, found, str(run), command_line())
    if as_json:
        print_json({"run": str(run), **found.json})
    else:
        print_text(f"{run}\n{found.text}")
    say_written(*sorted(out.iterdir()))
