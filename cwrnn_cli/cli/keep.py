"""`cwrnn keep`: only the weights of a run."""

from pathlib import Path

import click

from ..console import json_option, print_json, print_text, quoted
from ..help import Command, section
from ..option import RUN
from ..training.folder import RunFolder
from ..training.keep import PRECISIONS, keep
from .mistakes import Choice


@click.command(
    cls=Command,
    examples=[
        ("in half precision", "cwrnn keep runs/RUN --out weights/RUN"),
        ("bit by bit", "cwrnn keep runs/RUN --out weights/RUN --precision float32"),
    ],
)
@click.argument("run", type=RUN)
@section("Output")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option(
    "--precision",
    type=Choice(list(PRECISIONS)),
    default="float16",
    show_default=True,
    help="Of the weights.",
)
@json_option
def command(run: Path, out: Path, precision: str, as_json: bool) -> None:
    """What RUN is evaluated by, and no more: a small folder to keep or to give away.

    `cwrnn eval`, `cwrnn generate` (both with --data) and cwrnn_cli.load read it as they read RUN;
    it cannot be trained on.
    """
    config = RunFolder(run).config()
    size = keep(RunFolder(run), out, precision)
    if as_json:
        print_json({"run": str(run), "out": str(out), "precision": precision, "bytes": size})
    else:
        data = quoted(Path(config.data_path))
        print_text(f"{out}: kept; see `cwrnn eval {quoted(out)} --data {data}`")
