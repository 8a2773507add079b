"""`cwrnn eval`: what a run is worth."""

from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import RUNS_FOLDER, json_option, print_json, say_written
from ..tasks import TASKS
from ..training.folder import RunFolder, newest_run
from ..training.registry import task_of
from .mistakes import Choice
from .options import task_options, together

_SPLITS = list(dict.fromkeys(split for task in TASKS.values() for split in task.splits))


def _default_splits() -> str:
    """The commonest one, and what tasks with a single split have."""
    found = [task.default_split for task in TASKS.values()]
    common = max(found, key=found.count)
    only = [
        f"{task.name} has {task.splits[0]} only"
        for task in TASKS.values()
        if task.splits == (task.default_split,) and task.default_split != common
    ]
    return "; ".join([common, *only])


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--task",
    type=Choice(list(TASKS)),
    help="Without RUN: the newest run of this task.  [default: of any]",
)
@click.option("--split", type=Choice(_SPLITS), help=f"[default: {_default_splits()}]")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Recognise this one file: a recording, or a line of handwriting.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="PNG file to write: confusions, or lines with their text in ink.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
@together(task_options(lambda task: task.eval_options))
@json_option
def command(
    run: Path | None,
    task: str | None,
    split: str | None,
    file: Path | None,
    plot: Path | None,
    data: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Errors of RUN (the newest below runs/ unless named), beside the paper's."""
    folder = RunFolder(run) if run else newest_run(RUNS_FOLDER, task)
    config = folder.config()
    experiment = task_of(folder)
    given = {name: value for name, value in options.items() if value is not None}
    own = {option.name for option in experiment.eval_options}
    if not own.issuperset(given):
        names = ", ".join(f"--{name}" for name in given if name not in own)
        raise UserError(f"{names}: not an option for a run of task {config.task}")
    if file and plot:
        raise UserError("--plot: not with --file")
    if file:
        found = experiment.recognise(folder, experiment.data_of(config, data), file)
        if as_json:
            print_json({"run": str(folder.path), "file": str(file), **found.json})
        else:
            click.echo(found.text)
        return
    if plot:
        experiment.check_plot()
    evaluation = experiment.evaluate_run(folder, data, split, **given)
    result = experiment.summary(evaluation)
    if as_json:
        print_json({"run": str(folder.path), **result})
    else:
        click.echo(f"{folder.path}\n{experiment.text(result)}")
        if more := experiment.examples(evaluation):
            click.echo(more)
    if plot:
        experiment.plot(evaluation, plot)
        say_written(plot)
