"""`cwrnn scan`: learning rates, each model's own, on held-out seeds."""

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import RUNS_FOLDER, command_line, print_json, print_text, progress_bar, say_written
from ..help import Command, section
from ..models import CELLS
from ..reporting.scan import scan_text, write_scan
from ..tasks import TASKS
from ..training import distributed
from ..training.configure import check, configure
from ..training.device import check_device
from ..training.folder import writing
from ..training.manifest import MANIFEST, certified
from ..training.optimizer import OPTIMIZERS, PUBLISHED
from ..training.rows import MOMENTUM
from ..training.scan import (
    HELD_OUT_SEED,
    SCAN,
    Point,
    collect,
    configuration,
    open_scan,
    run_scan,
)
from .options import (
    A_MODEL,
    NETWORK,
    OUTPUT,
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
from .vary import Factors, factors, settings, values_of, vary_option

_RATES = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)


@click.command(
    cls=Command,
    examples=[
        ("which learning rate is best for each model and momentum", "cwrnn scan"),
        (
            "of one model, three rates",
            f"cwrnn scan --models {A_MODEL} --rates 1e-4,3e-4,1e-3",
        ),
        (
            "what the starting weights and the momentum do",
            f"cwrnn scan --models {A_MODEL} --vary weight-std=0.05,0.1 --vary momentum=0.9,0.95",
        ),
    ],
)
@section(NETWORK)
@task_option
@sizes_option
@models_option
@together(cell_options())
@section("Scan")
@click.option(
    "--rates",
    multiple=True,
    metavar="[MODEL=]X,Y,...",
    help="Learning rates to try, for all models or for one; may be given several times.  "
    f"[default: {','.join(f'{rate:g}' for rate in _RATES)}]",
)
@vary_option
@protocol_options(seed=HELD_OUT_SEED)
@section(OUTPUT)
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/scan-TASK]")
@click.option("--resume", is_flag=True, help="Go on with this same command's scan.")
def command(
    task: str,
    sizes: str | None,
    models: str | None,
    rates: tuple[str, ...],
    vary: tuple[str, ...],
    data: Path | None,
    device: str,
    out: Path | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train models over a grid of learning rates; which is best for each, never by the test set.

    Momentum rises and is constant, one after the other, unless one is asked for. A table (scan.txt,
    table.csv) and JSON (scan.json) of every rate's mean error, diverged networks counted, and the
    name of the split that judges. With --vary, a factorial experiment: what each factor does at the
    best rates, and which combination comes nearest to the paper's medians.
    """
    experiment = TASKS[task]
    chosen, budgets, grid = chosen_models(models), chosen_sizes(sizes, experiment), _rates(rates)
    refuse_others("--rates", filter(None, grid), chosen)
    if distributed.world_size() > 1:
        raise UserError("torchrun: a scan trains in one process")
    varied = factors(vary, options, experiment.protocol)
    check_device(device)
    options["device"] = device
    combinations = list(_combinations(chosen, varied, options))
    for model, _, given in combinations:
        check(experiment, model, **given)
    corpus = load_prepared(experiment, data)
    points = [
        Point(
            [configure(corpus, model, params, "--sizes", lr=rate, **given) for params in budgets],
            setting,
        )
        for model, setting, given in combinations
        for rate in grid.get(model, grid[""])
    ]
    levels = {n: list(values) for n, values in varied.items() if n != MOMENTUM} if vary else None
    out = out or RUNS_FOLDER / f"scan-{task}"
    click.get_current_context().with_resource(writing(out))
    open_scan(points, out, levels, resume)
    bar = progress_bar(sum(cell.epochs for p in points for cell in p.cells), "all networks")
    with certified(out, command_line(), corpus, configuration(points, levels)):
        with resumable(bar, " of a network"):
            run_scan(points, corpus, out, lambda epoch, _: bar.update(epoch - bar.n), levels)
        result = collect(points, corpus, out, command_line(), levels)
        written = write_scan(out, result)
    if as_json:
        print_json(result)
    else:
        print_text(scan_text(result))
    say_written(out / SCAN, *written, out / MANIFEST)


def _combinations(
    chosen: list[str], varied: Factors, options: dict[str, Any]
) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """Model, levels of what is varied, and all options, of every combination but the rates'."""
    momenta = varied.get(MOMENTUM, {}).values()
    others = {name: levels for name, levels in varied.items() if name != MOMENTUM}
    for model in chosen:
        own = of_cell(model, chosen, options)
        for setting in settings(model, chosen, others):
            given = own | values_of(setting, others)
            asked = given.pop(MOMENTUM)
            ramps = OPTIMIZERS[given.get("optimizer") or PUBLISHED].ramps
            both = [True] * ramps + [False] if asked is None else [asked]
            for ramp in momenta or both:
                yield model, setting, given | {MOMENTUM: ramp}


def _rates(given: tuple[str, ...]) -> dict[str, list[float]]:
    """Rates by model; "" for all that have none of their own."""
    found = {"": list(_RATES)}
    for text in given:
        model, _, numbers = text.rpartition("=")
        try:
            found[model] = list(dict.fromkeys(float(word) for word in numbers.split(",")))
        except ValueError:
            model = "?"
        if not all(0 < rate < inf for rate in found.get(model, ())):
            model = "?"
        if model and model not in CELLS:
            raise UserError(f"--rates {text}: expected rates such as 1e-4,3e-4, or MODEL=1e-4,3e-4")
    return found
