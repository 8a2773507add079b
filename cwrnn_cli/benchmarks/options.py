"""What the commands of `cwrnn bench` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from data_prep.files import write_text
from data_prep.strict_json import dumps

from ..console import command_line, print_json, print_text, say_written
from ..option import numbers
from ..reporting.csv import write_csv
from ..training.data import Data

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder for bench.json, bench.txt (layer: bench.png; gpu-resources: resources.json, "
    "resources.txt), table.csv and manifest.json.",
)

device_option = click.option(
    "--device",
    help="Measure there, such as cuda: against torch's own layers (cuDNN), whatever backend can do "
    "it.  [default: the CPU, with all that it is compared with]",
)

BENCH = "bench.json"


def numbers_or(default: tuple[int, ...], text: str | None, option: str) -> tuple[int, ...]:
    """An option's numbers, or what holds if it is not given.

    Raises:
        UserError: see :func:`cwrnn_cli.option.numbers`.
    """
    return default if text is None else numbers(text, option, ",".join(map(str, default[:2])))


@contextmanager
def kept(
    out: Path | None, settings: dict[str, Any], data: Data | None = None
) -> Iterator[Path | None]:
    """The folder of ``--out`` while a benchmark runs; it appears whole or not at all.

    Args:
        out: must not exist yet, or be empty; None: not given.
        settings: of the benchmark, for the manifest.
        data: what it reads, if anything.

    Yields:
        The folder to write into, or None.

    Raises:
        UserError: there is something in ``out``, or it cannot be written.
    """
    if out is None:
        yield None
        return
    from ..training.manifest import certified_whole  # noqa: PLC0415  (slow to import)

    with certified_whole(out, command_line(), data, settings) as folder:
        yield folder
    say_written(*sorted(out.iterdir()))


def show(
    result: dict[str, Any],
    text: str,
    as_json: bool,
    folder: Path | None,
    name: str = Path(BENCH).stem,
) -> None:
    """A benchmark's result on stdout, as JSON or as a table, and all in a folder if there is one.

    Args:
        result: of JSON types.
        text: the table.
        as_json: what goes to stdout.
        folder: None: nowhere else.
        name: as in :func:`write`.

    Raises:
        UserError: the folder cannot be written.
    """
    if as_json:
        print_json(result)
    else:
        print_text(text)
    if folder:
        write(result, text, folder, name)


def write(result: dict[str, Any], text: str, folder: Path, name: str = Path(BENCH).stem) -> None:
    """A benchmark's result into a folder.

    Args:
        result: of JSON types.
        text: the table.
        folder: to write into.
        name: of two files in it; the third is table.csv.

    Raises:
        UserError: it cannot be written.
    """
    write_text(folder / f"{name}.json", dumps(result, indent=1, ascii_only=False) + "\n")
    write_text(folder / f"{name}.txt", text + "\n")
    write_csv(folder, result["rows"])
