"""`cwrnn eval`: what a run is worth."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError
from data_prep.files import write_text
from data_prep.strict_json import dumps

from ..console import (
    RUNS_FOLDER,
    command_line,
    json_option,
    print_json,
    print_text,
    say_written,
    warn,
)
from ..help import Command, section
from ..option import RUN
from ..outputs import PICTURE, OutputFile, force_option
from ..tasks import TASKS
from ..training.folder import METRICS, RunFolder
from ..training.folders import newest_run
from ..training.listing import epochs_done
from ..training.manifest import certified_whole, noted
from ..training.registry import task_of
from ..training.results import write_results
from .mistakes import Choice
from .options import A_TASK, OUTPUT, task_options, together

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


@click.command(
    cls=Command,
    examples=[
        ("the newest run", "cwrnn eval"),
        ("one by name, as JSON", "cwrnn eval runs/RUN --json"),
        ("the newest of a task, and a picture", f"cwrnn eval --task {A_TASK} --plot lines.png"),
    ],
)
@click.argument("run", type=RUN, required=False)
@section("What to evaluate")
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
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
@together(task_options(lambda task: task.eval_options, "What to evaluate"))
@section(OUTPUT)
@click.option(
    "--plot",
    type=OutputFile(PICTURE),
    help="PNG file to write: confusions, or lines with their text in ink.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder for eval.json, every network's errors (eval.h5) and manifest.json.",
)
@force_option
@json_option
def command(
    run: Path | None,
    task: str | None,
    split: str | None,
    file: Path | None,
    plot: Path | None,
    data: Path | None,
    out: Path | None,
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
    for option, value in (("--plot", plot), ("--out", out)):
        if file and value:
            raise UserError(f"{option}: not with --file")
    if file:
        found = experiment.recognise(
            folder, experiment.data_of(config, data, noted(folder.path, "data")), file
        )
        if as_json:
            print_json({"run": str(folder.path), "file": str(file), **found.json})
        else:
            print_text(found.text)
        return
    if plot:
        experiment.check_plot()
    corpus = experiment.load(data or Path(config.data_path))  # the run may hold some of it out
    configuration = {"split": split or experiment.default_split, **given, "run": config.computed()}
    with (
        certified_whole(out, command_line(), corpus, configuration) if out else nullcontext()
    ) as kept:
        evaluation = experiment.evaluate_run(folder, corpus, split, **given)
        result = experiment.summary(evaluation)
        whole = {"run": str(folder.path), **result}
        if kept:
            text = dumps(whole, indent=1, ascii_only=False)
            write_text(kept / "eval.json", text + "\n")
            shared = experiment.shared_arrays(evaluation)
            write_results(kept / "eval.h5", [experiment.cell(evaluation)], shared)
    if as_json:
        print_json(whole)
    else:
        print_text(f"{folder.path}\n{experiment.text(result)}")
        if more := experiment.examples(evaluation):
            print_text(more)
    done = epochs_done(folder, config)
    if done < config.epochs and (folder.path / METRICS).exists():  # not of kept weights
        also = "; what began it goes on with --resume"
        warn(f"{folder.path}: not finished, {done} of {config.epochs} epochs{also}")
    if out:
        say_written(*sorted(out.iterdir()))
    if plot:
        experiment.plot(evaluation, plot)
        say_written(plot)
