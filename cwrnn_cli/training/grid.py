"""The paper's grid for one task: models x sizes x runs, one cell after the other, resumable.

Every cell is a run folder below ``cells/``. What the tables and figures need of a finished cell
goes into ``results.h5``, one row per network, and only that stays in memory.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py

from data_prep.errors import UserError
from data_prep.files import atomic_write, write_text

from . import distributed
from .config import TrainConfig, versions
from .folder import RunFolder
from .loop import Progress, train
from .results import results_of

RESULTS = "results.h5"
CELLS = "cells"


@dataclass(frozen=True)
class Grid:
    """What `cwrnn compare` computes.

    Attributes:
        cells: one configuration per model and size.
    """

    cells: Sequence[TrainConfig]

    @property
    def epochs(self) -> int:
        """Of all cells together that this process trains."""
        mine = self.cells[distributed.rank() :: distributed.world_size()]
        return sum(cell.epochs for cell in mine)


def cell_folder(out: Path, config: TrainConfig) -> RunFolder:
    """Where a cell is trained."""
    return RunFolder(out / CELLS / f"{config.model}-{config.params}")


def open_grid(out: Path, grid: Grid, resume: bool) -> None:
    """Make the folder of a grid, or check that it holds this one.

    Raises:
        UserError: it holds something and ``resume`` is not set, or it holds another grid.
    """
    path = out / "config.json"
    cells = [{k: v for k, v in asdict(cell).items() if k != "data_path"} for cell in grid.cells]
    wanted = json.loads(json.dumps(cells))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not resume:
            raise UserError(f"{out}: exists already; go on with --resume, or choose another --out")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["cells"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{out}: holds no comparison; choose another --out") from error
        if found != wanted:
            raise UserError(
                f"{out}: holds a comparison with other options or data; "
                "resume with the same ones, or choose another --out"
            )
        return
    write_text(path, json.dumps({"cells": wanted, "versions": versions()}, indent=1) + "\n")


def run_grid(grid: Grid, data: Any, out: Path, progress: Progress | None = None) -> None:
    """Train what is not trained yet, and collect.

    Under torchrun the cells are dealt out to the processes, and the first one collects.

    Args:
        grid: what to train; :func:`open_grid` has been called with it.
        data: the prepared sequences.
        out: the grid's folder.
        progress: called with the epochs done over all cells and a summary.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
    """
    done = 0
    for config in grid.cells[distributed.rank() :: distributed.world_size()]:
        folder = cell_folder(out, config)
        if not folder.exists:
            folder.start(config)

        def show(epoch: int, values: dict[str, Any], before: int = done) -> None:
            if progress:
                progress(before + epoch, values)

        train(config, data, folder, show)
        done += config.epochs
    distributed.wait()
    if distributed.rank() == 0:
        _collect(grid, out)


def _collect(grid: Grid, out: Path) -> None:
    """Write results.h5: a group per cell."""
    with (
        atomic_write(out / RESULTS) as temporary,
        h5py.File(temporary, "w") as file,
    ):
        for config in grid.cells:
            judge = results_of(config.task)
            evaluation = judge.evaluate(cell_folder(out, config))
            group = file.create_group(f"{config.model}/{config.params}")
            group.attrs["config"] = json.dumps(asdict(config) | {"data_path": ""}, sort_keys=True)
            group.attrs["summary"] = json.dumps(judge.summary(evaluation), sort_keys=True)
            judge.collect(group, evaluation)
