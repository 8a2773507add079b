"""Files that commands write: an option for them that destroys nothing. A leaf.

What exists already is written over only if this program wrote it, a file of the same kind, and no
run or result has it for a part; ``--force`` allows the rest, but for folders and devices. So what a
command reads is not written over by what it writes, under whatever name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError
from data_prep.reading import json_of

_FORCE = f"{__name__}.force"  # where click's context has it
_HEAD = 4096  # bytes of a file to know it by
_CONFIG, _MANIFEST = "config.json", "manifest.json"  # what makes a folder a run, or a result
_PARTS = {_CONFIG, _MANIFEST, "metrics.jsonl", "checkpoint.pt", "previous.pt", "results.h5"}
REPORT = "<!-- Made by cwrnn report"  # behind the doctype of the page of `cwrnn report`
AUTHOR = "cwrnn"  # what pictures and sounds have as their software


@dataclass(frozen=True)
class Kind:
    """What is written.

    Attributes:
        name: for messages.
        known: whether the first bytes of a file are those of one that this program wrote.
    """

    name: str
    known: Callable[[bytes], bool]


CORPUS = Kind("a prepared corpus", lambda head: head.startswith(b"cwrnn corpus, HDF5 behind"))
PICTURE = Kind(
    "a picture of cwrnn's",
    lambda head: head.startswith(b"\x89PNG\r\n\x1a\n") and b"Software\0cwrnn" in head,
)
SOUND = Kind(
    "a sound of cwrnn's",
    lambda head: head.startswith(b"RIFF") and b"cwrnn" in head,
)
PAGE = Kind("a report of cwrnn's", lambda head: REPORT.encode() in head)


class OutputFile(click.ParamType[Path]):
    """A file to write, of one kind."""

    name = "path"

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Path:
        """Raises UserError if writing there would destroy anything; see :func:`check_output`."""
        path = Path(value)
        check_output(path, self.kind, parameter.opts[0] if parameter else self.name)
        return path


def check_output(path: Path, kind: Kind, option: str) -> None:
    """Refuse to write where something else is.

    Args:
        path: to write.
        kind: of what is written.
        option: behind which it was typed.

    Raises:
        UserError: it is a folder or a device; or without ``--force`` a file of another kind, or a
            part of a run or of a result.
    """
    context = click.get_current_context(silent=True)
    forced = bool(context and context.meta.get(_FORCE))
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a device"
        raise UserError(f"{option} {path}: is {what}; expected the name of a file to write")
    if forced:
        return
    hint = "; choose another name, or --force to write over it"
    if not path.exists():
        if path.name in _PARTS and any((path.parent / name).exists() for name in _PARTS):
            raise UserError(f"{option} {path}: a part of that run has this name{hint}")
        return
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not kind.known(head):
        raise UserError(f"{option} {path}: exists, and is not {kind.name}{hint}")
    if path.resolve().name in _files_of_result(path.resolve().parent):
        raise UserError(f"{option} {path}: a part of the result in {path.parent}{hint}")


def _files_of_result(folder: Path) -> set[str]:
    """Those that a folder's manifest lists."""
    try:
        manifest = json_of(folder / _MANIFEST)
        return set(manifest["files"])
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return set()


def _note_force(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    context.meta[_FORCE] = given


force_option = click.option(
    "--force",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_note_force,
    help="Write over a file that is something else.",
)
