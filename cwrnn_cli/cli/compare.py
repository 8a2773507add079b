"""`cwrnn compare`: the paper's tables and figures."""

from contextlib import nullcontext
from math import inf
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from data_prep.errors import UserError
from data_prep.files import is_occupied

from ..console import (
    RUNS_FOLDER,
    command_line,
    first_process,
    print_json,
    print_text,
    progress_bar,
    say_written,
)
from ..help import Command, section
from ..models import CELLS
from ..option import COUNT, RUN, numbers
from ..reporting.csv import runs_rows, write_csv
from ..reporting.page import TABLE, write_report
from ..tasks import TASKS
from ..training import distributed
from ..training.configure import check, configure
from ..training.device import check_device
from ..training.folder import CONFIG, RunFolder, check_free, writing
from ..training.folders import names_of
from ..training.grid import RESULTS, Grid, check_complete, open_grid, run_grid
from ..training.jobs import cores, one_thread
from ..training.manifest import MANIFEST, certified, certified_whole, note
from ..training.memory import check_jobs
from ..training.registry import AnyTask
from ..training.results import read_results, write_runs
from .cluster import (
    check_collectable,
    meet,
    part,
    processors_of,
    sharing,
    train_claimed,
    train_shard,
)
from .mistakes import did_you_mean
from .options import (
    A_TASK,
    NETWORK,
    OUTPUT,
    TRAINING,
    cell_options,
    chosen_models,
    chosen_sizes,
    load_prepared,
    models_option,
    of_cell,
    protocol_options,
    refuse_others,
    resumable,
    sizes_option,
    task_option,
    together,
)
from .several import asks_for_several, compare_several

_AT_ONCE = [task.name for task in TASKS.values() if task.data_parallel]
# options that `compare --run` has
_OF_RUNS = {"task", "given_runs", "split", "at", "data", "out", "resume", "as_json"}
# and `compare --all`
_OF_ALL = {"whole", "quick", "data", "out", "jobs", "device", "resume", "as_json"}


@click.command(
    cls=Command,
    examples=[
        ("the paper's tables and figures of its first task", "cwrnn compare"),
        (
            "in minutes instead of hours: one size, few networks, few epochs",
            "cwrnn compare --sizes 250 --runs 5 --epochs 100 --out runs/quick",
        ),
        ("of another task, three cells at a time", f"cwrnn compare --task {A_TASK} --jobs 3"),
        ("all of the paper, a taste of some minutes", "cwrnn compare --all --quick"),
        (
            "runs that were trained apart",
            f"cwrnn compare --task {A_TASK} --run runs/A --run runs/B",
        ),
    ],
)
@section("All of the paper")
@click.option(
    "--all",
    "whole",
    is_flag=True,
    help="All of the paper, one task after the other, with a plan first: only with --quick, "
    "--data TASK=PATH, --out, --jobs, --device, --resume, --json.",
)
@click.option("--quick", is_flag=True, help="With --all: a taste of some minutes.")
@section(NETWORK)
@task_option
@sizes_option
@models_option
@together(cell_options())
@section(TRAINING)
@click.option(
    "--lr",
    "rates",
    multiple=True,
    metavar="MODEL=X",
    help="Learning rate of one model; may be given for each.  [default: the paper's]",
)
@click.option(
    "--jobs",
    type=COUNT,
    help="Train so many cells (a model at a size) at once, each in a process of its own on one "
    "thread; how many changes no number. "
    f"With --all: only those of {', '.join(_AT_ONCE)}, on the CPU.  "
    f"[default: {', '.join(_AT_ONCE)}: as many as cores; else one after the other, on all cores]",
)
@protocol_options(several=True)
@section("On several machines: under torchrun, or as a job array (docs/cluster.md)")
@click.option(
    "--shard",
    metavar="I/N",
    help="Train the I-th of N shares of the work, from 1/N on, in a folder that all of them see; "
    "start it again to go on.",
)
@click.option(
    "--collect",
    is_flag=True,
    help="Make of what all shards have trained the results, or say what is missing.",
)
@click.option(
    "--block",
    type=COUNT,
    metavar="RUNS",
    help="So many runs of a cell are a unit of work, where it is cut into units; how many changes "
    "no number. Cells that no compiled loop trains are not cut.  [default: some 30 s on a core]",
)
@section("Of runs that are there")
@click.option(
    "--run",
    "given_runs",
    multiple=True,
    type=RUN,
    metavar="RUN",
    help="Compare this run of `cwrnn train`, finished or not, instead of training; may be given "
    "for several.",
)
@click.option(
    "--split", help="... on this split: valid, while choices are still to be made.  [default: test]"
)
@click.option("--at", help="... at these epochs, with commas between.  [default: 25,50]")
@section(OUTPUT)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/compare-TASK]"
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with this same command's comparison; with --run: write it anew.",
)
def command(
    whole: bool,
    quick: bool,
    task: str,
    sizes: str | None,
    models: str | None,
    rates: tuple[str, ...],
    given_runs: tuple[Path, ...],
    split: str | None,
    at: str | None,
    data: tuple[Path, ...],
    device: str,
    out: Path | None,
    jobs: int | None,
    shard: str | None,
    collect: bool,
    block: int | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the paper's grid of models and sizes; its table and figures, ours beside theirs.

    A table (table.txt, table.csv), JSON, every network's errors (results.h5), and figures: Table 2
    with Figures 3 and 5, Table 2 with Figure 4 and confusion matrices, or Table 3 with learning
    curves. With several --data: the grid on each, and one table, JSON, results.h5 and figure of
    all.
    With --all: Tables 1 to 3, Figures 3 to 5, the appendix's operation counts, and report.html; on
    data/TASK.h5 where there is one, else on stand-ins.
    """
    if whole:
        from .whole import Asked, compare_all  # noqa: PLC0415  (slow to import)

        _refuse_others(_OF_ALL, "--all, which trains the paper's grids")
        out = out or RUNS_FOLDER / ("all-quick" if quick else "all")
        asked = Asked(out, list(map(str, data)), quick, jobs, device, resume)
        compare_all(asked, as_json)
        return
    if quick:
        raise UserError("--quick: only with --all")
    experiment = TASKS[task]
    first = data[0] if data else None
    if given_runs:
        _refuse_others(_OF_RUNS, "--run, which trains nothing")
        if len(data) > 1:
            raise UserError("--data: several files; with --run at most one")
        if distributed.world_size() > 1:
            raise UserError("--run: not under torchrun; one process compares what is trained")
        out = out or RUNS_FOLDER / f"compare-{task}-runs"
        _compare_runs(experiment, given_runs, split, at, first, out, resume, as_json)
        return
    for option, value in (("--split", split), ("--at", at)):
        if value:
            raise UserError(f"{option}: only with --run")
    chosen = chosen_models(models)
    budgets = chosen_sizes(sizes, experiment)
    own_rates = _rates(rates)
    refuse_others("--lr", own_rates, chosen)
    check_device(device)
    of_model = {
        m: of_cell(m, chosen, options) | {"lr": own_rates.get(m), "device": device} for m in chosen
    }
    for model, own in of_model.items():
        check(experiment, model, **own)
    several = asks_for_several(data)
    how = sharing(shard, collect, block, jobs, several)
    if several:
        out = out or RUNS_FOLDER / f"compare-{task}-several"
        compare_several(experiment, data, budgets, of_model, out, resume, as_json)
        return
    corpus = load_prepared(experiment, first)
    grid = Grid(
        [
            configure(corpus, model, params, "--sizes", **own)
            for params in budgets
            for model, own in of_model.items()
        ]
    )
    out = out or RUNS_FOLDER / f"compare-{task}"
    devices = {cell.device for cell in grid.cells}
    at_once = _jobs(experiment, jobs, devices)
    if jobs:
        check_jobs(min(jobs, len(grid.cells)), grid.cells)
    if how.shard:
        train_shard(grid, corpus, out, how, as_json)
        return
    if collect:
        check_collectable(out)
    if first_process():
        click.get_current_context().with_resource(writing(out))
    claims = None
    if distributed.under_torchrun():
        claims, units = meet(grid, out, how, resume, devices)
    else:
        units = open_grid(out, grid, resume or collect)
    if collect:
        check_complete(out, units)
    bar = progress_bar(sum(unit.config.epochs for unit in units), "all networks")
    certificate = certified(out, command_line(), corpus, grid.configuration)
    with (
        one_thread() if at_once or claims or collect else nullcontext(),
        certificate if first_process() else nullcontext(),
    ):
        with resumable(bar, " of a network"):
            if claims:
                train_claimed(claims, units, corpus, bar)
            if not first_process():
                return
            run_grid(grid, corpus, out, lambda epoch, _: bar.update(epoch - bar.n), at_once)
        results = read_results(out / RESULTS)
        files = write_report(experiment, results, command_line())
    shared = processors_of(out, grid) if claims or collect else {}
    note(out, tolerance=results.tolerances(), **shared)
    if claims:
        part(claims, out)
    if as_json:
        print_json(experiment.comparison(results))
    else:
        print_text(experiment.comparison_text(results))
    say_written(out / RESULTS, *files, out / MANIFEST)


def _jobs(experiment: AnyTask, given: int | None, devices: set[str]) -> int:
    """How many cells to train at once; 0: one after the other, in this process."""
    if distributed.world_size() > 1:
        return 0
    if given is None:
        return cores() if experiment.data_parallel and devices == {"cpu"} else 0
    return given


def _compare_runs(
    experiment: AnyTask,
    given: tuple[Path, ...],
    split: str | None,
    at: str | None,
    data: Path | None,
    out: Path,
    resume: bool,
    as_json: bool,
) -> None:
    """What --run does."""
    folders = [RunFolder(run) for run in {run.resolve(): run for run in given}.values()]
    runs = dict(zip(names_of(folders), folders, strict=True))
    configs = {name: run.config() for name, run in runs.items()}
    for name, config in configs.items():
        if config.task != experiment.name:
            problem = f"a run of task {config.task}, not {experiment.name}"
            raise UserError(f"{runs[name].path}: {problem}")
    experiment.check_compare_runs()
    epochs = numbers(at or "25,50", "--at", "25,50")
    _check_report(out, resume)
    places = {name: data or Path(config.data_path) for name, config in configs.items()}
    corpora = {place: experiment.load(place) for place in dict.fromkeys(places.values())}
    sources = list({corpus.sha256: corpus for corpus in corpora.values()}.values())
    configuration = {
        "split": split or experiment.default_split,
        "at": epochs,
        "runs": {name: config.computed() for name, config in configs.items()},
    }
    certificate = certified if (out / TABLE).exists() else certified_whole
    if certificate is certified:
        click.get_current_context().with_resource(writing(out))
    source = sources[0] if len(sources) == 1 else sources
    with certificate(out, command_line(), source, configuration) as folder:
        evaluations = {
            name: experiment.evaluate_run(run, corpora[places[name]], split)
            for name, run in runs.items()
        }
        report = experiment.compare_runs(folder, runs, evaluations, epochs)
        cells = {n: experiment.cell(each, with_shared=True) for n, each in evaluations.items()}
        write_runs(folder / RESULTS, cells)
        table = write_csv(folder, runs_rows(folder, runs))
    if as_json:
        print_json(report.json)
    else:
        print_text(report.text)
    files = [*report.files, table, folder / RESULTS, folder / MANIFEST]
    say_written(*(out / file.relative_to(folder) for file in files))


def _refuse_others(allowed: set[str], beside: str) -> None:
    """Raises UserError for an option that was typed beside one that it does not go with."""
    context = click.get_current_context()
    for parameter in context.command.params:
        typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if typed and parameter.expose_value and parameter.name not in allowed:
            raise UserError(f"{parameter.opts[0]}: not with {beside}")


def _check_report(out: Path, resume: bool) -> None:
    """Raises UserError if --run would write over anything, or with --resume over anything else."""
    if not resume:
        check_free(out)
    elif is_occupied(out) and (not (out / TABLE).exists() or (out / CONFIG).exists()):
        raise UserError(f"{out}: holds no comparison of runs; choose another --out")


def _rates(words: tuple[str, ...]) -> dict[str, float]:
    rates = {}
    for word in words:
        model, _, rate = word.partition("=")
        try:
            rates[model] = float(rate)
        except ValueError:
            model = ""
        if model not in CELLS or not 0 < rates[model] < inf:
            near = did_you_mean(model, CELLS) if model not in CELLS else ""
            raise UserError(f"--lr {word}: expected MODEL=X, with X such as 1e-5.{near}")
    return rates
