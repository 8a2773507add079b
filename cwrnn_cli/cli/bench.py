"""`cwrnn bench`: how fast, on this machine."""

from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from .common import json_option, print_json, progress_bar, say


@click.group()
def command() -> None:
    """Measure speed on this machine, side by side with torch's own layers."""


def _numbers(text: str | None, option: str, default: tuple[int, ...]) -> tuple[int, ...]:
    if text is None:
        return default
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UserError(f"{option} {text}: expected numbers with commas between, such as 40,256")
    return numbers


@command.command()
@click.option("--widths", help="Hidden and input sizes.  [default: 40,64,128,256,512,1024]")
@click.option("--batches", help="Batch sizes.  [default: 1,32,128]")
@click.option("--lengths", help="Steps.  [default: 320,2048]")
@click.option("--repeats", default=5, show_default=True, help="Rounds per point at the most.")
@click.option("--seconds", default=20.0, show_default=True, help="Per point, about.")
@click.option("--plot", type=click.Path(path_type=Path), help="PNG file of the ratios to write.")
@json_option
def layer(
    widths: str | None,
    batches: str | None,
    lengths: str | None,
    repeats: int,
    seconds: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Forward + backward of ClockworkRNN (8 modules), SRN and LSTM against torch.nn, same width."""
    from ..benchmarks import layer as benchmark  # noqa: PLC0415
    from ..reporting import benchmarks as report  # noqa: PLC0415

    grid = (
        _numbers(widths, "--widths", benchmark.WIDTHS),
        _numbers(batches, "--batches", benchmark.BATCHES),
        _numbers(lengths, "--lengths", benchmark.LENGTHS),
    )
    if min(grid[0]) < benchmark.MODULES:
        raise UserError(f"--widths {widths}: at least {benchmark.MODULES}, a unit per module")
    bar = progress_bar(len(grid[0]) * len(grid[1]) * len(grid[2]), "layers", unit="point")
    result = benchmark.run(*grid, repeats, seconds, note=say, tick=lambda: bar.update(1))
    bar.close()
    _show(result, report.layer_text(result), as_json)
    if plot is not None:
        report.plot_layers(plot, result)
        say(f"written: {plot}")


@command.command()
@click.option("--runs", help="Networks trained at once.  [default: 1,10,100,500]")
@click.option("--repeats", default=5, show_default=True, help="Rounds per point at the most.")
@click.option("--seconds", default=6.0, show_default=True, help="Per point, about.")
@json_option
def ensemble(runs: str | None, repeats: int, seconds: float, as_json: bool) -> None:
    """Task 1's training at Table 1's sizes against torch.nn, one network at a time."""
    from ..benchmarks import ensemble as benchmark  # noqa: PLC0415
    from ..reporting import benchmarks as report  # noqa: PLC0415

    counts = _numbers(runs, "--runs", benchmark.RUNS)
    bar = progress_bar(12 * len(counts), "ensembles", unit="point")
    result = benchmark.run(counts, repeats, seconds, tick=lambda: bar.update(1))
    bar.close()
    _show(result, report.ensemble_text(result), as_json)


def _show(result: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        click.echo(text)
