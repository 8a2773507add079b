"""The paper's grid for one task: models x sizes x runs, a cell or several at a time, resumable.

Every cell is a run folder below ``cells/``. What the tables and figures need of a finished cell
goes into ``results.h5``, one row per network, and only that stays in memory.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.strict_json import dumps

from . import distributed
from .config import TrainConfig, versions
from .data import Data
from .folder import CELLS_FOLDER, CONFIG, RunFolder, check_free, writing
from .jobs import train_at_once
from .loop import Progress, train
from .registry import TASKS
from .results import Cell, write_results

RESULTS = "results.h5"


@dataclass(frozen=True)
class Grid:
    """What `cwrnn compare` computes.

    Attributes:
        cells: one configuration per model and size.
    """

    cells: Sequence[TrainConfig]

    @property
    def configuration(self) -> list[dict[str, Any]]:
        """What each cell computes, as JSON."""
        return [cell.computed() for cell in self.cells]

    @property
    def epochs(self) -> int:
        """Of all cells together that this process trains."""
        mine = self.cells[distributed.rank() :: distributed.world_size()]
        return sum(cell.epochs for cell in mine)


def cell_folder(out: Path, config: TrainConfig) -> RunFolder:
    """Where a cell is trained."""
    return RunFolder(out / CELLS_FOLDER / f"{config.model}-{config.params}")


def open_grid(out: Path, grid: Grid, resume: bool) -> None:
    """Make the folder of a grid, or check that it holds this one.

    Raises:
        UserError: it holds something and ``resume`` is not set, or it holds another grid.
    """
    with writing(out):
        _open(out, grid, resume)


def _open(out: Path, grid: Grid, resume: bool) -> None:
    """:func:`open_grid`, as the only one."""
    path = out / CONFIG
    if not resume:
        check_free(out)
    if is_occupied(out):
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            found = [TrainConfig.from_json(cell | {"data_path": ""}) for cell in cells]
        except UserError as error:
            raise UserError(error.reason, place=path) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{out}: holds no comparison; choose another --out") from error
        if found != list(grid.cells):
            devices = {cell.device for cell in found}
            alike = [replace(cell, device="") for cell in found]
            if len(devices) == 1 and alike == [replace(cell, device="") for cell in grid.cells]:
                raise UserError(
                    f"{out}: was begun on {devices.pop()}; resume with that as --device, or choose "
                    "another --out"
                )
            raise UserError(
                f"{out}: holds a comparison with other options or data; "
                "resume with the same ones, or choose another --out"
            )
        return
    values = {"cells": grid.configuration, "versions": versions()}
    write_text(path, dumps(values, indent=1) + "\n")


def run_grid(
    grid: Grid, data: Data, out: Path, progress: Progress | None = None, jobs: int = 0
) -> None:
    """Train what is not trained yet, and collect.

    Under torchrun the cells are dealt out to the processes, and the first one collects.

    Args:
        grid: what to train; :func:`open_grid` has been called with it.
        data: the prepared corpus.
        out: the grid's folder.
        progress: called with the epochs done over all cells and a summary.
        jobs: cells to train at once, each on one thread; 0: one after the other, in this process.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
    """
    mine = grid.cells[distributed.rank() :: distributed.world_size()]
    cells = [(config, cell_folder(out, config)) for config in mine]
    if jobs:
        train_at_once(cells, data, jobs, progress)
    else:
        train_cells(cells, data, progress)
    distributed.wait()
    if distributed.rank() == 0:
        _collect(grid, data, out)


def train_cells(
    cells: Iterable[tuple[TrainConfig, RunFolder]], data: Data, progress: Progress | None
) -> None:
    """Train runs one after the other, each from where it is; see :func:`run_grid`."""
    done = 0
    for config, folder in cells:
        folder.start_or_resume(config)

        def show(epoch: int, values: dict[str, Any], before: int = done) -> None:
            if progress:
                progress(before + epoch, values)

        train(config, data, folder, show)
        done += config.epochs


def _collect(grid: Grid, data: Data, out: Path) -> None:
    """Write results.h5: a group per cell."""
    cells: list[Cell] = []
    shared: dict[str, np.ndarray] = {}
    for config in grid.cells:
        task = TASKS[config.task]
        evaluation = task.evaluate_run(cell_folder(out, config), data)
        cells.append(task.cell(evaluation))
        shared = task.shared_arrays(evaluation)
    write_results(out / RESULTS, cells, shared)
