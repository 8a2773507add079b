"""`cwrnn train`: one model, one size, any number of runs."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import (
    RUNS_FOLDER,
    command_line,
    first_process,
    print_json,
    print_text,
    progress_bar,
    quoted,
    say,
    warn,
)
from ..help import Command, section
from ..option import COUNT
from ..reporting.page import deviation_lines
from ..tasks import TASKS
from ..training import distributed
from ..training.config import TrainConfig
from ..training.configure import check, configure
from ..training.curves import CurvesFolder, check_tensorboard
from ..training.device import check_device
from ..training.folder import RunFolder, writing
from ..training.folders import claimed_folder, next_number, runs_of
from ..training.loop import train
from ..training.manifest import certified, has_ended
from .options import (
    A_MODEL,
    A_TASK,
    MODEL,
    NETWORK,
    OUTPUT,
    TRAINING,
    cell_options,
    load_prepared,
    protocol_options,
    rate_option,
    resumable,
    task_option,
    together,
)


@click.command(
    cls=Command,
    examples=[
        ("by the paper's protocol, on its first task", f"cwrnn train --model {A_MODEL}"),
        (
            "fewer and smaller networks, into a folder of your choice",
            f"cwrnn train --model {A_MODEL} --params 250 --runs 10 --out runs/small",
        ),
        ("go on after a power cut", f"cwrnn train --model {A_MODEL} --resume"),
        (
            "another task, and its curves in TensorBoard",
            f"cwrnn train --task {A_TASK} --model {A_MODEL} --tensorboard",
        ),
    ],
)
@section(NETWORK)
@task_option
@click.option("--model", type=MODEL, required=True, help="Which network.")
@click.option(
    "--params",
    type=COUNT,
    help="Parameters of a network; Table 1's hidden size where it has one, else the nearest.  "
    "[default: Table 1's largest]",
)
@together(cell_options())
@section(TRAINING)
@rate_option
@protocol_options()
@section(OUTPUT)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Run folder.  [default: a new one below runs/]"
)
@click.option("--resume", is_flag=True, help="Go on with this same command's run where it stopped.")
@click.option(
    "--tensorboard",
    "curves",
    is_flag=True,
    help="What metrics.jsonl gets also as events for TensorBoard, in the run folder; with --resume "
    "of the epochs before, too. Needs the extra `tensorboard`.",
)
def command(
    task: str,
    seed: int,
    data: Path | None,
    device: str,
    out: Path | None,
    resume: bool,
    curves: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train networks of one model and size; defaults are the paper's protocol.

    Killed at any moment, the same command with --resume goes on and ends with the same weights.
    """
    experiment = TASKS[task]
    if distributed.world_size() > 1 and not experiment.data_parallel:
        raise UserError(f"torchrun: a run of task {task} trains in one process; use `compare`")
    if curves:
        check_tensorboard()
    params = options.pop("params")
    check_device(device)
    options |= {"seed": seed, "device": device}
    check(experiment, **options)
    corpus = load_prepared(experiment, data)
    config = configure(corpus, params=params, **options)
    distributed.start(config.device)
    folder = _folder_of_all(config, out, resume)
    if curves:
        folder = CurvesFolder(folder.path)
    per_sequence = config.protocol.network_per_sequence
    count = f"{config.runs} x {config.sequences}" if per_sequence else str(config.runs)
    say(
        f"training {count} {config.model} network{'s' * (config.networks > 1)} with "
        f"{config.hidden_size} hidden units ({config.parameter_count()} parameters) "
        f"on {config.device} in {folder.path}"
    )
    for line in deviation_lines({"task": config.task, "deviations": config.deviations()}):
        say(line)
    bar = progress_bar(config.epochs, config.model)

    def show(epoch: int, values: dict[str, Any]) -> None:
        bar.update(epoch - bar.n)
        bar.set_postfix({k: _short(values[k]) for k in experiment.progress if k in values})

    certificate = certified(folder.path, command_line(), corpus, config.to_json())
    with certificate if first_process() else nullcontext():
        try:
            with resumable(bar):
                train(config, corpus, folder, show)
                distributed.wait()
        finally:
            distributed.stop()
    if not first_process():
        return
    if as_json:
        summary = experiment.summary(experiment.evaluate_run(folder, corpus))
        print_json({"run": str(folder.path), **summary})
    else:
        print_text(f"{folder.path}: trained; see `cwrnn eval {quoted(folder.path)}`")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _folder_of_all(config: TrainConfig, out: Path | None, resume: bool) -> RunFolder:
    """:func:`_folder`; under torchrun the first process makes it, before the others look."""
    if distributed.rank() == 0:
        folder = _folder(config, out, resume)
        distributed.broadcast(str(folder.path))
        return folder
    return RunFolder(Path(distributed.broadcast("")))


def _to_resume(name: str, config: TrainConfig) -> Path | None:
    """The newest folder of this run that is unfinished, or of them all; says which, or that none.

    Args:
        name: of the folders, but for a number.
        config: of the run.
    """
    found = runs_of(RUNS_FOLDER, name, config)
    if not found:
        warn("nothing to resume: starting anew")
        return None
    unfinished = [path for path in found if not has_ended(path)]
    if not unfinished:
        say(f"--resume: {found[0]}, trained to its end already")
        return found[0]
    which = ", the newest unfinished one" if len(found) > 1 else ""
    say(f"--resume: {unfinished[0]}{which}; --out names another")
    return unfinished[0]


def _folder(config: TrainConfig, out: Path | None, resume: bool) -> RunFolder:
    """The run folder to train in: a new one, or with --resume the one that holds this run.

    Nobody else writes there until the command has ended.
    """
    name = f"{config.task}-{config.model}-{config.params}-seed{config.seed}"
    if resume and out is None:
        out = _to_resume(name, config)
    folder = RunFolder(out or claimed_folder(RUNS_FOLDER, name))
    click.get_current_context().with_resource(writing(folder.path))
    number = next_number(folder.path.parent)
    if resume:
        folder.start_or_resume(config, number)
    else:
        folder.start(config, number)
    return folder
