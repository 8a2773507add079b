"""The birth certificate of a result folder: which command made it, of what, where, when.

``manifest.json`` stands beside the raw rows:

================= =============================================================================
``command``       as typed last, without what does not change a result
``configuration`` everything that was chosen, by the user or by default
``data``          ``name``, ``sha256``, ``standin``, and ``provenance``: how the file was made and
                  from what; null where nothing is read, a list where runs of several are
                  compared
``files``         name -> sha256 of what the command has left (see :func:`digests`); null: killed,
                  or still at work
``tolerance``     of a grid: MODEL/PARAMS -> between what the median of a second training must lie
                  where it is not bit-identical, as it is on the same processor with the same
                  versions
``sessions``      one for each time that a command was started there: ``command``, ``started`` and
                  ``ended`` (UTC; null: as above), the program's ``commit`` and whether its files
                  were ``clean``, as committed (null: it does not run from a tree), ``machine``,
                  ``threads``, ``versions``
================= =============================================================================
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from data_prep.errors import UserError
from data_prep.files import sha256_of, whole_folder, write_text
from data_prep.reading import json_of
from data_prep.strict_json import dumps

from .config import versions
from .data import Data
from .folder import CELLS_FOLDER, CHECKPOINT

MANIFEST = "manifest.json"
_PAGE = "README.md"
_CHECKPOINTS = Path(CHECKPOINT).suffix
_TREE = Path(__file__).resolve().parents[2]
Source = Data | Sequence[Data] | None
_PROGRAM = ("cwrnn_cli", "data_prep", "setup.cfg", "pyproject.toml")


@contextmanager
def certified(folder: Path, command: str, data: Source, configuration: Any) -> Iterator[Path]:
    """Note a session of a command in its folder's manifest, when it begins and when it has ended.

    Args:
        folder: with the results; it exists, or is made here.
        command: as typed.
        data: what it computes from, if anything.
        configuration: what was chosen, of JSON types.

    Yields:
        The folder.

    Raises:
        UserError: the manifest cannot be written.
    """
    path = folder / MANIFEST
    begun = {"command": command, "started": _now(), "ended": None}
    session: dict[str, Any] = {**begun, **program(), **_place()}
    manifest = {
        "command": command,
        "configuration": configuration,
        "data": _known(data),
        "files": None,
        "sessions": [*_sessions(path), session],
    }
    _write(path, manifest)
    yield folder
    session["ended"] = _now()
    manifest["files"] = digests(folder)
    _write(path, manifest)


@contextmanager
def certified_whole(out: Path, command: str, data: Source, configuration: Any) -> Iterator[Path]:
    """:func:`certified`, for what is not resumed: the folder appears whole or not at all.

    Args:
        out: must not exist yet, or be empty.
        command: as there.
        data: as there.
        configuration: as there.

    Yields:
        The folder to write into, which becomes ``out``.

    Raises:
        UserError: there is something in ``out``, or it cannot be written.
    """
    with whole_folder(out) as new, certified(new, command, data, configuration) as folder:
        yield folder


def note(folder: Path, **more: Any) -> None:
    """Add to a manifest what is known only when its command has ended."""
    path = folder / MANIFEST
    _write(path, json_of(path) | more)


def noted(folder: Path, name: str) -> Any:
    """What a folder's manifest has under a name; None: nothing, or it cannot be read."""
    try:
        return json_of(folder / MANIFEST)[name]
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None


def has_ended(folder: Path) -> bool:
    """Whether the command that made a folder has come to its end there."""
    return noted(folder, "files") is not None


def command_of(folder: Path) -> str | None:
    """As typed last, of the command that made a folder; None: its manifest does not say."""
    found = noted(folder, "command")
    return None if found is None else str(found)


def digests(folder: Path) -> dict[str, str]:
    """Name -> sha256 of each file of a result folder, by name.

    Names are relative to the folder, with ``/`` between. Left out are the manifest itself,
    checkpoints, temporary files, the runs of a grid, what people wrote about it (README.md), and
    folders that have a manifest of their own.
    """
    found: dict[str, str] = {}
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [f for f in folders if not (_left_out(f) or (here / f / MANIFEST).exists())]
        files = [here / name for name in names if not _left_out(name)]
        found |= {p.relative_to(folder).as_posix(): sha256_of(p) for p in files if p.is_file()}
    return dict(sorted(found.items()))


def _left_out(name: str) -> bool:
    """Of a file or folder; what begins with a dot is temporary."""
    return (
        name in (MANIFEST, CELLS_FOLDER, _PAGE)
        or name.startswith(".")
        or name.endswith(_CHECKPOINTS)
    )


def _known(data: Source) -> Any:
    if data is None:
        return None
    if not isinstance(data, Data):
        return [_known(each) for each in data]
    return {
        "name": data.source,
        "sha256": data.sha256,
        "standin": data.standin,
        "provenance": data.provenance,
    }


def _sessions(path: Path) -> list[Any]:
    """Those that are noted already."""
    try:
        found = json_of(path)["sessions"]
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return []
    return list(found)


def _write(path: Path, manifest: dict[str, Any]) -> None:
    write_text(path, dumps(manifest, indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def program() -> dict[str, Any]:
    """The commit that the program runs from, and whether its tree was as committed."""
    if not (_TREE / ".git").exists():
        return {"commit": None, "clean": None}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", *_PROGRAM)
    return {"commit": commit, "clean": None if changes is None else not changes}


def _git(*words: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(_TREE), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _place() -> dict[str, Any]:
    return {"machine": machine(), "threads": torch.get_num_threads(), "versions": versions()}


def machine() -> dict[str, Any]:
    """Processor, cores, memory in GiB, GPU and system, as far as the system tells."""
    found: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{sys.platform} {platform.release()}",
    }
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                found["processor"] = line.partition(":")[2].strip()
                break
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                found["memory_gib"] = round(int(line.split()[1]) / 2**20, 1)
    except OSError:
        pass  # not Linux: what platform says must do
    return found
