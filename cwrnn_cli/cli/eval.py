"""`cwrnn eval`: what a run is worth."""

from pathlib import Path

import click

from .common import RUNS_FOLDER, json_option, print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--split",
    type=click.Choice(["train"]),
    default="train",
    show_default=True,
    help="Task 1 has one split: a network is judged by how well it reproduces its sequence.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
@json_option
def command(run: Path | None, split: str, data: Path | None, as_json: bool) -> None:
    """Errors of RUN (the newest below runs/ unless named), beside the paper's."""
    from ..reporting.tables import evaluation_text  # noqa: PLC0415
    from ..training.evaluate import evaluate, summary  # noqa: PLC0415
    from ..training.folder import RunFolder, newest_run  # noqa: PLC0415

    folder = RunFolder(run) if run else newest_run(RUNS_FOLDER, "audio")
    result = summary(evaluate(folder, data))
    if as_json:
        print_json(result)
    else:
        click.echo(f"{folder.path}\n{evaluation_text(result)}")
