"""Talking to the user: results on stdout, everything else on stderr. A leaf.

It stands at the top of the package, not in ``cli``, because the tasks' own commands talk too.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from data_prep.files import write_text

DATA_FOLDER = Path("data")
RUNS_FOLDER = Path("runs")
_SHOWN = 10  # problems on stderr


def first_process() -> bool:
    """Whether this is the only process, or the first one under torchrun: the one that talks."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Talk to the user: on stderr, so that stdout holds results only."""
    if first_process():
        click.echo(message, err=True)


def print_json(value: Any) -> None:
    """The one JSON object of a command's --json."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else there."
)


def progress_bar(total: int, description: str, unit: str = "epoch") -> Any:
    """A tqdm bar on stderr, silent when that is not a terminal."""
    from tqdm import tqdm  # noqa: PLC0415  (slow to import)

    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        file=sys.stderr,
        disable=not (sys.stderr.isatty() and first_process()),
        dynamic_ncols=True,
    )


def say_problems(out: Path, problems: list[str]) -> None:
    """What was passed over: the first few on stderr, all of them in a file beside ``out``."""
    path = out.with_name(out.stem + ".passed-over.txt")
    path.unlink(missing_ok=True)
    if not problems:
        return
    write_text(path, "".join(f"{problem}\n" for problem in problems))
    for problem in problems[:_SHOWN]:
        say(f"passed over: {problem}")
    say(f"{len(problems)} passed over in all, listed in {path}")
