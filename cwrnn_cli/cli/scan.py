"""`cwrnn scan`: learning rates, each model's own, on held-out seeds."""

from math import inf
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import RUNS_FOLDER, command_line, print_json, progress_bar, say_written
from ..models import CELLS
from ..reporting.scan import scan_text, write_scan
from ..tasks import TASKS
from ..training import distributed
from ..training.configure import check, configure
from ..training.folder import check_free
from ..training.manifest import MANIFEST, certified
from ..training.optimizer import OPTIMIZERS, PUBLISHED
from ..training.scan import HELD_OUT_SEED, SCAN, Point, collect, run_scan
from .options import (
    chosen_device,
    chosen_models,
    chosen_sizes,
    load_prepared,
    models_option,
    protocol_options,
    refuse_others,
    resumable,
    sizes_option,
    task_option,
)

_RATES = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)


@click.command()
@task_option
@sizes_option
@models_option
@click.option(
    "--rates",
    multiple=True,
    metavar="[MODEL=]X,Y,...",
    help="Learning rates to try, for all models or for one; may be given several times.  "
    f"[default: {','.join(f'{rate:g}' for rate in _RATES)}]",
)
@protocol_options(seed=HELD_OUT_SEED)
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/scan-TASK]")
@click.option("--resume", is_flag=True, help="Go on with this same command's scan.")
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
    """Train models over a grid of learning rates; which is best for each, never by the test set.

    Momentum rises and is constant, one after the other, unless one is asked for. A table (scan.txt)
    and JSON (scan.json) of every rate's mean error, diverged networks counted, and the name of the
    split that judges.
    """
    experiment = TASKS[task]
    chosen, budgets, grid = chosen_models(models), chosen_sizes(sizes, experiment), _rates(rates)
    refuse_others("--rates", filter(None, grid), chosen)
    if distributed.world_size() > 1:
        raise UserError("torchrun: a scan trains in one process")
    options["device"] = chosen_device(device)
    for model in chosen:
        check(experiment, model, **options)
    corpus = load_prepared(experiment, data)
    asked = options.pop("momentum_ramp")
    ramps = OPTIMIZERS[options["optimizer"] or PUBLISHED].ramps
    points = [
        Point(
            [
                configure(
                    corpus,
                    model,
                    params,
                    "--sizes",
                    lr=rate,
                    momentum_ramp=ramp,
                    **options,
                )
                for params in budgets
            ]
        )
        for model in chosen
        for ramp in ([True] * ramps + [False] if asked is None else [asked])
        for rate in grid.get(model, grid[""])
    ]
    out = out or RUNS_FOLDER / f"scan-{task}"
    if not resume:
        check_free(out)
    bar = progress_bar(sum(cell.epochs for p in points for cell in p.cells), "all networks")
    configuration = [cell.computed() for point in points for cell in point.cells]
    with certified(out, command_line(), corpus, configuration):
        with resumable(bar, " of a network"):
            run_scan(points, corpus, out, lambda epoch, values: bar.update(epoch - bar.n))
        result = collect(points, corpus, out, command_line())
        written = write_scan(out, result)
    if as_json:
        print_json(result)
    else:
        click.echo(scan_text(result))
    say_written(out / SCAN, written, out / MANIFEST)


def _rates(given: tuple[str, ...]) -> dict[str, list[float]]:
    """Rates by model; "" for all that have none of their own."""
    found = {"": list(_RATES)}
    for text in given:
        model, _, numbers = text.rpartition("=")
        try:
            found[model] = [float(word) for word in numbers.split(",")]
        except ValueError:
            model = "?"
        if not all(0 < rate < inf for rate in found.get(model, ())):
            model = "?"
        if model and model not in CELLS:
            raise UserError(f"--rates {text}: expected rates such as 1e-4,3e-4, or MODEL=1e-4,3e-4")
    return found
