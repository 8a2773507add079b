"""`cwrnn bench cluster` and `cluster-cost`: a comparison on few processes, and on many."""

from dataclasses import asdict
from pathlib import Path

import click

from ..benchmarks.options import kept, out_option, show
from ..console import json_option, progress_bar
from ..help import Command, section
from ..option import SECONDS, Number, numbers
from ..tasks import TASKS
from .options import load_prepared

_TASK = next(iter(TASKS))


@click.command(
    cls=Command,
    examples=[("1 to 8 processes, a minute", "cwrnn bench cluster")],
)
@section("Measurement")
@click.option(
    "--processes",
    default="1,2,4,8",
    show_default=True,
    metavar="N,...",
    help="Under torchrun, one count after the other.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help=f"HDF5 file.  [default: data/{_TASK}.h5]"
)
@section("Output")
@out_option
@json_option
def measure(processes: str, data: Path | None, out: Path | None, as_json: bool) -> None:
    """What units of work cost beside their training, on few processes.

    Trains a small grid of task 1 in 24 units under torchrun. See docs/cluster.md.
    """
    from ..benchmarks.cluster import measured  # noqa: PLC0415  (slow to import)
    from ..reporting.cluster import measured_text  # noqa: PLC0415

    counts = numbers(processes, "--processes", "1,2,4,8")
    corpus = load_prepared(TASKS[_TASK], data)
    with kept(out, {"processes": counts}, corpus) as folder:
        with progress_bar(len(counts), "grids") as bar:
            result = measured(counts, corpus.path, lambda: bar.update(1))
        show(result, measured_text(result), as_json, folder)


@click.command(
    cls=Command,
    examples=[
        (
            "two grids on 1000 processes",
            "cwrnn bench cluster-cost runs/one runs/two --processes 1000",
        )
    ],
)
@click.argument("grids", nargs=-1, required=True, type=click.Path(path_type=Path))
@section("Simulation")
@click.option(
    "--processes",
    default="1,16,1000",
    show_default=True,
    metavar="N,...",
    help="That share the units out.",
)
@click.option(
    "--times", default="1,1000", show_default=True, metavar="N,...", help="All grids, so often."
)
@click.option(
    "--longest",
    type=Number(float, 0.001, 10**8),
    default=30.0,
    show_default=True,
    help="Seconds: units of several runs that took longer are cut.",
)
@click.option(
    "--overhead",
    type=SECONDS,
    default=0.1,
    show_default=True,
    help="Seconds beside each unit, as `cwrnn bench cluster` measures them.",
)
@section("Output")
@out_option
@json_option
def cost(
    grids: tuple[Path, ...],
    processes: str,
    times: str,
    longest: float,
    overhead: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """What comparisons would take on many processes, simulated from their units.

    GRIDS are folders of `cwrnn compare` that were trained without a break under torchrun or by
    --shard and --collect, whose units' times are noted. They are dealt out as the queue does it:
    those expected to take longest first, each to the process that is free first.
    """
    from ..benchmarks.cluster import costs, data_in, pieces_of  # noqa: PLC0415  (slow to import)
    from ..reporting.cluster import costs_text  # noqa: PLC0415

    counts = numbers(processes, "--processes", "1,16,1000")
    factors = numbers(times, "--times", "1,1000")
    settings = {
        "grids": [grid.name for grid in grids],
        "data": sorted({data for grid in grids for data in data_in(grid)}),
        "longest": longest,
        "overhead": overhead,
    }
    with kept(out, settings) as folder:
        pieces = [piece for grid in grids for piece in pieces_of(grid, longest)]
        result = settings | {
            "pieces": [asdict(piece) for piece in pieces],
            "rows": costs(pieces, counts, factors, overhead),
        }
        show(result, costs_text(result), as_json, folder)
