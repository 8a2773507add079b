"""Run folders beside each other: new ones are claimed, named and numbered, the newest is found."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from data_prep.errors import UserError

from ..console import warn
from ..models import CELLS
from .config import TrainConfig
from .folder import CONFIG, RunFolder


def claimed_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or with -2, -3 ... if that is taken: made here, and nobody else's.

    Raises:
        UserError: it cannot be made.
    """
    candidate, number = parent / name, 1
    while True:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            os.mkdir(candidate)
        except FileExistsError as error:
            if parent.is_dir():
                number += 1
                candidate = parent / f"{name}-{number}"
                continue
            raise UserError(f"{parent}: no folder; choose another --out") from error
        except OSError as error:
            raise UserError(f"cannot be made ({error.strerror})", candidate) from error
        return candidate


def names_of(runs: Sequence[RunFolder]) -> list[str]:
    """The folders' names, with as many of those above them as tell them apart.

    Args:
        runs: none of them twice.
    """
    paths = [run.path.resolve().parts for run in runs]
    every = (["-".join(path[-depth:]) for path in paths] for depth in range(1, 1000))
    return next(names for names in every if len(set(names)) == len(paths))


def next_number(parent: Path) -> int:
    """Of a run that begins below ``parent``: greater than those that are there."""
    numbers = (RunFolder(path.parent).number for path in parent.glob(f"*/{CONFIG}"))
    return 1 + max(numbers, default=0)


def run_folders(parent: Path) -> list[RunFolder]:
    """All run folders below ``parent`` that have a checkpoint, the one that began last first.

    By their numbers, not by a clock; those of former versions have none and come last.
    """
    found = [RunFolder(path.parent) for path in parent.glob(f"*/{CONFIG}")]
    found = [folder for folder in found if folder.has_checkpoint]
    return sorted(found, key=lambda folder: (folder.number, folder.path.name), reverse=True)


def runs_of(parent: Path, name: str, config: TrainConfig) -> list[Path]:
    """Folders that :func:`claimed_folder` has made and that compute this, the newest first.

    A damaged folder is passed over, with a line.

    Args:
        parent: of the folders.
        name: as there.
        config: what is computed.
    """
    named = re.compile(re.escape(name) + r"(-[0-9]+)?")
    found = [RunFolder(path.parent) for path in parent.glob(f"*/{CONFIG}")]
    found = [folder for folder in found if named.fullmatch(folder.path.name)]
    found.sort(key=lambda f: (f.number, len(f.path.name), f.path.name), reverse=True)
    return [folder.path for folder in found if _is_of(folder, config)]


def _is_of(run: RunFolder, config: TrainConfig) -> bool:
    try:
        return run.config() == config
    except UserError as error:
        warn(f"passed over: {error.message}")
        return False


def newest_run(parent: Path, task: str | None) -> RunFolder:
    """The newest run of a task, or of any; a damaged folder is passed over, with a line.

    Raises:
        UserError: there is none.
    """
    for folder in run_folders(parent):
        try:
            found = folder.config().task
        except UserError as error:
            warn(f"passed over: {error.message}")
            continue
        if task in (None, found):
            return folder
    which, option = (f"no run of task {task}", f"--task {task} ") if task else ("no run", "")
    command = f"cwrnn train {option}--model MODEL"
    raise UserError(
        f"{parent}: {which}; train one with `{command}`, where MODEL is {', '.join(CELLS)}"
    )
