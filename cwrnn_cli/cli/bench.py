"""`cwrnn bench`: how fast, on this machine; subcommands of tasks are brought by them."""

from math import prod
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..benchmarks.options import device_option, kept, numbers_or, out_option, show
from ..console import json_option, progress_bar, say, say_written
from ..help import section
from ..models import CELLS
from ..option import COUNT, REPEATS, SECONDS, Number
from ..outputs import PICTURE, OutputFile, force_option
from ..tasks import TASKS
from .groups import LazyGroup
from .of_tasks import places
from .options import A_MODEL, chosen_models, load_prepared, models_option, task_option

_OWN = {
    "cluster": ("cwrnn_cli.cli.bench_cluster:measure", ""),
    "cluster-cost": ("cwrnn_cli.cli.bench_cluster:cost", ""),
    "gpu-check": ("cwrnn_cli.cli.gpu_check:command", ""),
}


@click.group(
    cls=LazyGroup,
    places=places("bench") | _OWN,
    examples=[("layers, in a minute", "cwrnn bench layer --widths 64 --batches 32 --lengths 320")],
)
def command() -> None:
    """Measure speed on this machine, side by side with torch's own layers."""


@command.command(
    examples=[
        ("all sizes, into a folder", "cwrnn bench layer --out runs/layers"),
        ("one size only", "cwrnn bench layer --widths 64 --batches 32 --lengths 320"),
        ("on a GPU", "cwrnn bench layer --device cuda"),
    ]
)
@section("Measurement")
@click.option("--widths", help="Hidden and input sizes.  [default: 40,64,128,256,512,1024]")
@click.option("--batches", help="Batch sizes.  [default: 1,32,128]")
@click.option("--lengths", help="Steps.  [default: 320,2048]")
@click.option("--models", help=f"Of {', '.join(CELLS)}, with commas between.  [default: all]")
@click.option(
    "--repeats", type=REPEATS, default=5, show_default=True, help="Rounds of each row at least."
)
@click.option(
    "--seconds", type=SECONDS, default=2.0, show_default=True, help="Per point, for more rounds."
)
@device_option
@click.option("--flashrnn", is_flag=True, help="With --device: FlashRNN's layers instead of ours.")
@section("Output")
@click.option("--plot", type=OutputFile(PICTURE), help="PNG file of the ratios to write.")
@out_option
@force_option
@json_option
def layer(
    widths: str | None,
    batches: str | None,
    lengths: str | None,
    models: str | None,
    repeats: int,
    seconds: float,
    plot: Path | None,
    device: str | None,
    flashrnn: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Forward + backward of our layers (8 modules) against torch.nn's and JAX's, same width.

    All of it takes an hour or more on two cores. A row whose rounds would take over a minute is
    left out, with a note. JAX's rows need the extra "bench".
    """
    from ..benchmarks import layer as benchmark  # noqa: PLC0415  (slow to import)
    from ..reporting import benchmarks as report  # noqa: PLC0415

    grid = {
        "widths": numbers_or(benchmark.WIDTHS, widths, "--widths"),
        "batches": numbers_or(benchmark.BATCHES, batches, "--batches"),
        "lengths": numbers_or(benchmark.LENGTHS, lengths, "--lengths"),
    }
    if min(grid["widths"]) < benchmark.MODULES:
        raise UserError(f"--widths {widths}: at least {benchmark.MODULES}, a unit per module")
    settings: dict[str, Any] = {**grid, "repeats": repeats, "seconds": seconds}
    if flashrnn and not device:
        raise UserError("--flashrnn: only with --device")
    if device:
        for option, value in (("--plot", plot), ("--models", models)):
            if value:
                raise UserError(f"{option}: not with --device")
        settings |= {"device": device, "flashrnn": flashrnn}
        _layer_on_device(settings, out, as_json)
        return
    if models:
        settings["models"] = chosen_models(models)
    drawn = set(benchmark.DRAWN)
    if plot and not drawn <= set(settings.get("models", drawn)):
        both = " and ".join(benchmark.DRAWN)
        raise UserError(f"--plot: shows {both}; name both in --models, or leave --plot out")
    with kept(out, settings) as folder:
        bar = progress_bar(prod(map(len, grid.values())), "layers", unit="point")
        result = benchmark.run(**settings, note=say, tick=lambda: bar.update(1))
        bar.close()
        show(result, report.layer_text(result), as_json, folder)
        if folder and report.drawn_rows(result):  # --models may be without them
            report.plot_layers(folder / "bench.png", result)
    if plot is not None:
        report.plot_layers(plot, result)
        say_written(plot)


def _layer_on_device(settings: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """`bench layer --device`."""
    from ..benchmarks import on_device  # noqa: PLC0415  (slow to import)
    from ..reporting import benchmarks as report  # noqa: PLC0415
    from ..training.device import check_device  # noqa: PLC0415

    check_device(settings["device"], auto=False)
    with kept(out, settings) as folder:
        result = on_device.run(**settings, note=say)
        show(result, report.layer_text(result), as_json, folder)


@command.command(examples=[("wider layers", "cwrnn bench precision --units 1024")])
@section("Measurement")
@click.option(
    "--units",
    type=Number(int, 8, 1 << 14),
    default=256,
    show_default=True,
    help="Hidden and input size.",
)
@click.option("--steps", type=Number(int, 1, 10**5), default=320, show_default=True, help="Steps.")
@section("Output")
@out_option
@json_option
def precision(units: int, steps: int, out: Path | None, as_json: bool) -> None:
    """What TF32 and bfloat16 products cost in accuracy, emulated without a GPU."""
    from ..benchmarks import precision as benchmark  # noqa: PLC0415  (slow to import)
    from ..reporting import benchmarks as report  # noqa: PLC0415

    with kept(out, {"units": units, "steps": steps}) as folder:
        result = benchmark.run(units, steps)
        show(result, report.precision_text(result), as_json, folder)


@command.command(
    examples=[
        ("of one model, for ten seconds", f"cwrnn bench saving --models {A_MODEL} --seconds 10")
    ]
)
@section("Measurement")
@task_option
@click.option(
    "--data", type=click.Path(path_type=Path), help="Prepared HDF5 file.  [default: data/TASK.h5]"
)
@models_option
@click.option("--params", type=COUNT, help="Parameters of a network.  [default: Table 1's largest]")
@click.option(
    "--runs",
    type=COUNT,
    default=100,
    show_default=True,
    help="Networks trained at once; of each sequence, where a network learns one.",
)
@click.option("--seconds", type=SECONDS, default=60.0, show_default=True, help="Of each training.")
@click.option(
    "--place",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="On the disk that is asked about.  [default: here]",
)
@section("Output")
@out_option
@json_option
def saving(
    task: str,
    data: Path | None,
    models: str | None,
    params: int | None,
    runs: int,
    seconds: float,
    place: Path,
    out: Path | None,
    as_json: bool,
) -> None:
    """What share of a training checkpoints take, and digests and locks alone."""
    from ..benchmarks import saving as benchmark  # noqa: PLC0415  (slow to import)
    from ..reporting import benchmarks as report  # noqa: PLC0415

    corpus = load_prepared(TASKS[task], data)
    chosen = chosen_models(models)
    settings: dict[str, Any] = {"models": chosen, "params": params}
    settings |= {"networks": runs, "seconds": seconds}
    with kept(out, settings, corpus) as folder:
        bar = progress_bar(len(chosen), "trainings", unit="training")
        result = benchmark.run(corpus, **settings, place=place, tick=lambda: bar.update(1))
        bar.close()
        show(result, report.saving_text(result), as_json, folder)


@command.command(examples=[("of one architecture", "cwrnn bench gpu-resources --architectures 90")])
@section("Measurement")
@click.option("--architectures", help="Compute capabilities times ten.  [default: 80,90,100]")
@section("Output")
@out_option
@json_option
@click.pass_context
def gpu_resources(
    context: click.Context, architectures: str | None, out: Path | None, as_json: bool
) -> None:
    """Registers, stack and spills of all Triton kernels, without a GPU.

    Exit status 1: some kernel has a stack, and would crawl.
    """
    from ..benchmarks import gpu_resources as benchmark  # noqa: PLC0415  (slow to import)
    from ..reporting import benchmarks as report  # noqa: PLC0415

    chosen = numbers_or(benchmark.ARCHITECTURES, architectures, "--architectures")
    known = sorted((*benchmark.ARCHITECTURES, *benchmark.OTHERS))
    if unknown := set(chosen) - set(known):
        raise UserError(f"--architectures {min(unknown)}: expected some of {known}")
    if missing := benchmark.missing():
        raise UserError(missing)
    with kept(out, {"architectures": list(chosen)}) as folder:
        bar = progress_bar(len(benchmark.variants()) * len(chosen), "kernels", unit="kernel")
        result = benchmark.run(chosen, tick=lambda: bar.update(1))
        bar.close()
        show(result, report.gpu_resources_text(result), as_json, folder, "resources")
    if unfit := benchmark.unfit(result):
        say(f"these kernels do not fit into registers: {', '.join(unfit)}")
        context.exit(1)
