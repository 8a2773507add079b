"""`cwrnn compare`: the paper's tables and figures."""

from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..paper import MODELS, PROTOCOLS
from .common import (
    RUNS_FOLDER,
    chosen_device,
    first_process,
    load_prepared,
    print_json,
    progress_bar,
    protocol_options,
    report_of,
    say,
    task_option,
)


@click.command()
@task_option
@click.option("--sizes", help="Parameters, with commas between.  [default: Table 1's]")
@click.option("--models", help="Of cw, srn and lstm, with commas between.  [default: all]")
@click.option(
    "--lr",
    "rates",
    multiple=True,
    metavar="MODEL=X",
    help="Learning rate of one model; may be given for each.  [default: the paper's]",
)
@protocol_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/compare-TASK]"
)
@click.option("--resume", is_flag=True, help="Go on with this same command's comparison.")
def command(
    task: str,
    sizes: str | None,
    models: str | None,
    rates: tuple[str, ...],
    data: Path | None,
    device: str,
    out: Path | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the paper's grid of models and sizes; its table and figures, ours beside theirs.

    A table (table.txt), JSON, and every network's errors (results.h5). Task audio: Table 2, row 1,
    Figures 3 and 5. Task timit: Table 2, row 2, Figure 4, confusion matrices. Task iamondb:
    Table 3, learning curves.
    """
    from ..training import distributed  # noqa: PLC0415
    from ..training.configure import configure  # noqa: PLC0415
    from ..training.grid import RESULTS, Grid, open_grid, run_grid  # noqa: PLC0415
    from ..training.loop import Interrupted  # noqa: PLC0415

    chosen = _chosen(models, "--models", MODELS)
    budgets = _sizes(sizes, task)
    own_rates = _rates(rates)
    corpus = load_prepared(task, data)
    report = report_of(task)
    used = chosen_device(device)
    grid = Grid(
        [
            configure(corpus, model, params, lr=own_rates.get(model), device=used, **options)
            for params in budgets
            for model in chosen
        ]
    )
    out = out or RUNS_FOLDER / f"compare-{task}"
    distributed.start(used, data_parallel=False)
    if first_process():
        open_grid(out, grid, resume)
    distributed.wait()
    bar = progress_bar(grid.epochs, "all networks")

    def show(epoch: int, values: dict[str, Any]) -> None:
        bar.update(epoch - bar.n)

    try:
        run_grid(grid, corpus, out, show)
    except Interrupted as stop:
        bar.close()
        say(f"{stop} of a network, saved; the same command with --resume goes on")
        raise click.exceptions.Exit(130) from stop
    finally:
        distributed.stop()
    bar.close()
    if not first_process():
        return
    results = report.read_results(out / RESULTS)
    files = report.write_report(out, results, _command_line())
    if as_json:
        print_json(report.comparison(results))
    else:
        click.echo(report.comparison_text(results))
    say("written: " + ", ".join(map(str, [out / RESULTS, *files])))


def _command_line() -> str:
    """What the user typed, without what does not change the result."""
    import shlex  # noqa: PLC0415
    import sys  # noqa: PLC0415

    words = [word for word in sys.argv[1:] if word not in {"--resume", "--json"}]
    return shlex.join(["cwrnn", *words])


def _chosen(text: str | None, option: str, known: tuple[Any, ...]) -> list[str]:
    if text is None:
        return list(known)
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in known:
            raise UserError(f"{option} {text}: {word!r} is none of {', '.join(known)}")
    return list(dict.fromkeys(words))


def _sizes(text: str | None, task: str) -> list[int]:
    if text is None:
        return sorted(PROTOCOLS[task].hidden_sizes)
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"--sizes {text}: expected numbers of parameters such as 100,1000"
        ) from error
    return sorted(set(sizes))


def _rates(words: tuple[str, ...]) -> dict[str, float]:
    rates = {}
    for word in words:
        model, _, rate = word.partition("=")
        try:
            rates[model] = float(rate)
        except ValueError:
            model = ""
        if model not in MODELS:
            raise UserError(f"--lr {word}: expected MODEL=X, such as lstm=1e-5")
    return rates
