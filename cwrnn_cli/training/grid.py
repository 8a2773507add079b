"""The paper's grid for one task: models x sizes x runs, in one process or many, resumable.

Every cell is a run folder below ``cells/``, trained whole or in blocks of its runs (:mod:`.units`).
What the tables and figures need of a finished cell goes into ``results.h5``, one row per network,
and only that stays in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.locks import PATIENCE, writer_of
from data_prep.reading import json_of
from data_prep.strict_json import dumps

from .config import TrainConfig, versions
from .data import Data
from .folder import CONFIG, Damaged, RunFolder, check_free, configured, writing
from .jobs import train_at_once
from .loop import Progress, train
from .registry import TASKS
from .results import Cell, write_results
from .units import Unit, block_of, cell_folder, cell_name, merge, train_units, units_of

RESULTS = "results.h5"
BLOCKS = "blocks"  # in config.json: runs of a unit, by the cells that are trained in blocks
_SHOWN = 5  # units that are missing


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

    def blocks(self, runs: int | None = None) -> dict[str, int]:
        """Name of each cell -> runs of a unit: those given, or :func:`.block_of`."""
        return {cell_name(cell): block_of(cell, runs) for cell in self.cells}


def open_grid(
    out: Path,
    grid: Grid,
    resume: bool,
    blocks: Mapping[str, int] | None = None,
    patience: float = PATIENCE,
) -> list[Unit]:
    """Make the folder of a grid, or check that it holds this one; what is to train in it.

    Args:
        out: the folder.
        grid: what to train there.
        resume: whether it may hold something.
        blocks: name of a cell -> runs of a unit; None: cells are trained whole. The folder notes
            them: what was begun there in blocks goes on in these, however it is asked for.
        patience: seconds to wait for another process that opens it.

    Raises:
        UserError: it holds something and ``resume`` is not set, or it holds another grid.
    """
    with writing(out, patience):
        _open(out, grid, resume)
        path = out / CONFIG
        values = json_of(path)
        if blocks and BLOCKS not in values:
            values[BLOCKS] = dict(blocks)
            write_text(path, dumps(values, indent=1) + "\n")
        units = units_of(out, grid.cells, values.get(BLOCKS, {}))
        whole = {unit.folder.path for unit in units}
        for cell in grid.cells:
            if (folder := cell_folder(out, cell)).path not in whole:
                folder.start_or_resume(cell)  # below which its blocks are
        return units


def _open(out: Path, grid: Grid, resume: bool) -> None:
    """:func:`open_grid`, as the only one."""
    path = out / CONFIG
    if not resume:
        check_free(out)
    if is_occupied(out):
        try:
            cells = configured(out)["cells"]
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
    grid: Grid,
    data: Data,
    out: Path,
    progress: Progress | None = None,
    jobs: int = 0,
) -> None:
    """Train what is not trained yet, and :func:`collect`.

    Args:
        grid: what to train.
        data: the prepared corpus.
        out: the grid's folder, which may be there already.
        progress: called with the epochs done over all units and a summary.
        jobs: units to train at once, each on one thread; 0: one after the other, in this process.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
    """
    units = open_grid(out, grid, resume=True)
    if jobs:
        left = [unit for unit in units if not unit.done]
        before = sum(unit.config.epochs for unit in units) - sum(u.config.epochs for u in left)
        cells = [(unit.config, unit.folder) for unit in left]

        def show(epochs: int, values: dict[str, Any]) -> None:
            if progress:
                progress(before + epochs, values)

        train_at_once(cells, data, jobs, show)
    else:
        train_units(units, data, progress)
    collect(grid, data, out)


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


def check_complete(out: Path, units: Sequence[Unit]) -> None:
    """Whether all units of a grid have been trained.

    Raises:
        UserError: which have not, and whether somebody is at work on them.
    """
    missing = [unit for unit in units if not unit.done]
    if missing:
        lines = [f"{unit.name} ({_state(unit)})" for unit in missing[:_SHOWN]]
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"{len(missing)} of {len(units)} units are not trained yet: {'; '.join(lines)}{more}; "
            "let their shards end, or start them again",
            place=out,
        )


def _state(unit: Unit) -> str:
    if writer := writer_of(unit.folder.path):
        return f"at work: {writer}"
    return "stopped" if unit.folder.has_checkpoint else "not begun"


def collect(grid: Grid, data: Data, out: Path) -> None:
    """Write results.h5: a group per cell; cells in blocks become whole first.

    Raises:
        UserError: something is not trained yet, or is another run; or a block is damaged, and was
            taken away.
    """
    units = open_grid(out, grid, resume=True)
    check_complete(out, units)
    for unit in units:
        unit.folder.check_is(unit.config)
    cells: list[Cell] = []
    shared: dict[str, np.ndarray] = {}
    for config in grid.cells:
        folder = cell_folder(out, config)
        merge(config, folder, [u for u in units if folder.path in u.folder.path.parents])
        task = TASKS[config.task]
        try:
            folder.start_or_resume(config)  # that is, note where the data are now
            evaluation = task.evaluate_run(folder, data)
        except Damaged as error:
            raise Damaged(
                f"damaged; take {folder.path} away, and the same command with --resume trains that "
                "cell again",
                error.place,
            ) from error
        cells.append(task.cell(evaluation))
        shared = task.shared_arrays(evaluation)
    write_results(out / RESULTS, cells, shared)
