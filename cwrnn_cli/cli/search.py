"""`cwrnn search`: hyperparameters of one model by Optuna, on validation data."""

from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import command_line, print_json, print_text, progress_bar, say, say_written
from ..help import Command, section
from ..option import COUNT, Number
from ..reporting.search import search_text, write_search
from ..reporting.tables import counted
from ..tasks import TASKS
from ..training import distributed
from ..training.configure import check
from ..training.device import check_device
from ..training.folder import writing
from ..training.manifest import MANIFEST, certified
from ..training.memory import check_jobs
from ..training.scan import HELD_OUT_SEED
from ..training.search import (
    BEST,
    TRIALS,
    check_optuna,
    collect,
    open_search,
    proposed_together,
    run_search,
)
from ..training.search_plan import Search
from ..training.search_space import SEARCHED, chosen, described
from ..training.study import SAMPLERS
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

_BY_DEFAULT = ",".join(name for name, searched in SEARCHED.items() if searched.by_default)


@click.command(
    cls=Command,
    examples=[
        (
            "twenty trials of one model",
            f"cwrnn search --task {A_TASK} --model {A_MODEL} --out runs/search",
        ),
        (
            "of the learning rate only, fifty and shorter",
            f"cwrnn search --model {A_MODEL} --search lr --trials 50 --epochs 200 --out runs/lr",
        ),
    ],
)
@section(NETWORK)
@task_option
@click.option("--model", type=MODEL, required=True, help="Which network.")
@click.option(
    "--params",
    type=COUNT,
    help="Parameters of a network, in every trial.  [default: Table 1's largest]",
)
@together(cell_options())
@section("Search")
@click.option(
    "--trials",
    type=Number(int, 1, 10**6),
    default=20,
    show_default=True,
    help="How many, diverged ones too; the first has the published values.",
)
@click.option(
    "--search",
    "names",
    metavar="NAME,...",
    help=f"What to look for: {described()}.  "
    f"[default: {_BY_DEFAULT}, as far as the task has them and they are not given]",
)
@click.option(
    "--sampler",
    type=click.Choice(SAMPLERS),
    default=SAMPLERS[0],
    show_default=True,
    help="What proposes trials: the tree-structured Parzen estimator, from those before, or "
    "chance, to compare it with.",
)
@click.option(
    "--jobs",
    type=Number(int, 1, 1000),
    default=1,
    show_default=True,
    help="Train so many trials at once, each in a process of its own on one thread, on the CPU; "
    "they are proposed by what came of the trials before all of them. With --resume no number "
    "changes by it: proposed are as many at a time as when it was begun.",
)
@section(TRAINING)
@rate_option
@protocol_options(seed=HELD_OUT_SEED, runs=1)
@section(OUTPUT)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--resume", is_flag=True, help="Go on with this same command's search.")
def command(
    task: str,
    trials: int,
    names: str | None,
    sampler: str,
    jobs: int,
    data: Path | None,
    device: str,
    out: Path,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Look for one model's hyperparameters by Optuna, never by the test set.

    Options of training that are given are the same in every trial. A table (table.txt,
    table.csv) and JSON (trials.json) of every trial, diverged ones too, and the name of the split
    that judges; the best one as a `cwrnn train` command (best.json). Needs the extra `search`.
    """
    experiment, model = TASKS[task], options["model"]
    check_optuna()
    if distributed.world_size() > 1:
        raise UserError("torchrun: a search trains in one process")
    check_device(device)
    options["device"] = device
    fixed = {name: value for name, value in options.items() if value is not None}
    check(experiment, **{name: value for name, value in fixed.items() if name != "params"})
    wanted = chosen(names.split(",") if names is not None else None, experiment, model, fixed)
    corpus = load_prepared(experiment, data)
    before = proposed_together(out) if resume else None
    search = Search(corpus, fixed, wanted, trials, sampler, before or jobs, jobs)
    if before and before != jobs:
        say(f"{out}: trials are proposed {before} at a time, as it was begun")
    if search.jobs > 1:
        if search.base.device != "cpu":
            raise UserError(f"--jobs {search.jobs}: only on the CPU: --device cpu")
        check_jobs(min(jobs, trials), [search.base])
    click.get_current_context().with_resource(writing(out))
    open_search(out, search, resume)
    of = f"{counted(trials, 'trial')} of {search.base.model}"
    say(f"{of}, judged by the split {search.judged_by}: {out}")
    bar = progress_bar(trials * search.base.epochs, "all trials")
    with certified(out, command_line(), corpus, search.configuration):
        with resumable(bar, " of a trial"):
            run_search(search, out, lambda epoch, _: bar.update(epoch - bar.n))
        result = collect(search, out, command_line(), data)
        written = write_search(out, result)
    if as_json:
        print_json(result)
    else:
        print_text(search_text(result))
    say_written(out / TRIALS, *written, *[out / BEST] * bool(result["best"]), out / MANIFEST)
