"""`cwrnn train`: one model, one size, any number of runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from .common import (
    MODEL,
    RUNS_FOLDER,
    chosen_device,
    first_process,
    load_prepared,
    print_json,
    progress_bar,
    protocol_options,
    say,
    task_option,
)

# of a line of metrics.jsonl, on the progress bar
_SHOWN = ("mse_median", "cross_entropy", "train_error", "best_valid_cer", "active", "diverged")


@click.command()
@task_option
@click.option("--model", type=MODEL, required=True, help="Which network.")
@click.option(
    "--params",
    type=click.IntRange(min=1),
    help="Parameters of a network; Table 1's hidden size where it has one, else the nearest.  "
    "[default: Table 1's largest]",
)
@click.option(
    "--lr", type=float, help="Learning rate.  [default: 3e-4; lstm: audio 3e-5, iamondb 3e-3]"
)
@click.option(
    "--periods",
    help="Clock periods: 1,2,4,8 or a number of exponential modules.  "
    "[default: 1,2,4 ... 256, timit 64]",
)
@click.option(
    "--module-shares",
    help="Ratio of the module sizes, in the order of the periods: 4,2,1,1.  [default: equal]",
)
@click.option(
    "--peepholes/--no-peepholes", default=None, help="Of the LSTM.  [default: audio yes, others no]"
)
@click.option(
    "--forget-bias", type=float, help="Of the LSTM, at the start.  [default: 5, iamondb drawn]"
)
@protocol_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Run folder.  [default: a new one below runs/]"
)
@click.option("--resume", is_flag=True, help="Go on with this same command's run where it stopped.")
def command(
    task: str,
    seed: int,
    data: Path | None,
    periods: str | None,
    module_shares: str | None,
    device: str,
    out: Path | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train networks of one model and size; defaults are the paper's protocol.

    Killed at any moment, the same command with --resume goes on and ends with the same weights.
    """
    from ..clock import parse_periods, parse_shares  # noqa: PLC0415
    from ..training import distributed  # noqa: PLC0415
    from ..training.configure import configure  # noqa: PLC0415
    from ..training.loop import Interrupted, train  # noqa: PLC0415
    from ..training.results import results_of  # noqa: PLC0415

    options |= {
        "periods": _parsed("--periods", periods, parse_periods),
        "module_shares": _parsed("--module-shares", module_shares, parse_shares),
    }
    corpus = load_prepared(task, data)
    config = configure(corpus, seed=seed, device=chosen_device(device), **options)
    if distributed.world_size() > 1 and task != "iamondb":
        raise UserError(f"torchrun: a run of task {task} trains in one process; use `compare`")
    distributed.start(config.device, data_parallel=True)
    folder = _folder_of_all(config, out, resume)
    count = f"{config.runs} x {config.sequences}" if task == "audio" else str(config.runs)
    say(
        f"training {count} {config.model} networks with "
        f"{config.hidden_size} hidden units ({config.parameter_count()} parameters) "
        f"in {folder.path}"
    )
    for deviation in config.deviations():
        say(
            f"deviates from the paper: {deviation['name']} {deviation['ours']}, "
            f"paper {deviation['paper']}"
        )
    bar = progress_bar(config.epochs, config.model)

    def show(epoch: int, values: dict[str, Any]) -> None:
        bar.update(epoch - bar.n)
        bar.set_postfix({k: _short(v) for k, v in values.items() if k in _SHOWN})

    try:
        train(config, corpus, folder, show)
        distributed.wait()
    except Interrupted as stop:
        bar.close()
        say(f"{stop}, saved; the same command with --resume goes on")
        raise click.exceptions.Exit(130) from stop
    finally:
        distributed.stop()
    bar.close()
    if not first_process():
        return
    if as_json:
        judge = results_of(task)
        print_json({"run": str(folder.path), **judge.summary(judge.evaluate(folder, corpus.path))})
    else:
        click.echo(f"{folder.path}: trained; see `cwrnn eval {folder.path}`")


def _parsed(option: str, text: str | None, parse: Callable[[str], Any]) -> Any:
    """An option's text as its parser reads it; None where it is not given."""
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise UserError(f"{option} {error}") from error


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _folder_of_all(config: Any, out: Path | None, resume: bool) -> Any:
    """:func:`_folder`; under torchrun the first process makes it, before the others look."""
    from ..training import distributed  # noqa: PLC0415

    if distributed.rank() == 0:
        folder = _folder(config, out, resume)
        distributed.told(str(folder.path))
        return folder
    from ..training.folder import RunFolder  # noqa: PLC0415

    return RunFolder(Path(distributed.told("")))


def _folder(config: Any, out: Path | None, resume: bool) -> Any:
    """The run folder to train in: a new one, or with --resume the one that holds this run."""
    from ..training.folder import RunFolder, free_folder  # noqa: PLC0415

    name = f"{config.task}-{config.model}-{config.params}-seed{config.seed}"
    if resume and out is None:
        for candidate in _numbered(name):
            if candidate.config() == config:
                return candidate
        say("nothing to resume: starting anew")
    folder = RunFolder(out or free_folder(RUNS_FOLDER, name))
    if resume and folder.exists:
        different = folder.config().differences(config)
        if different:
            raise UserError(
                f"{folder.path}: a run with another {', '.join(different)}; "
                "resume with the same options, or choose another --out"
            )
        return folder
    folder.start(config)
    return folder


def _numbered(name: str) -> list[Any]:
    """Run folders of that name, newest number first."""
    from ..training.folder import RunFolder  # noqa: PLC0415

    found = []
    number = 1
    while (path := RUNS_FOLDER / (name if number == 1 else f"{name}-{number}")).exists():
        found.append(RunFolder(path))
        number += 1
    return [folder for folder in reversed(found) if folder.exists]
