"""A factorial scan: thousands of small cells, of each of which only its networks' errors stay."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .config import TrainConfig
from .data import Data
from .folder import RunFolder
from .grid import train_cells
from .loop import Progress
from .registry import TASKS, AnyTask
from .rows import Cell, Journal, Rows, Values

_VARIED = "varied"
Arrays = dict[str, np.ndarray]


def in_short(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each model's cells what they have in common, and under ``varied`` the values of the rest.

    Args:
        cells: their configurations, as JSON.
    """
    found = []
    for model in dict.fromkeys(cell["model"] for cell in cells):
        mine = [cell for cell in cells if cell["model"] == model]
        values: dict[str, list[Any]] = {name: [] for name in mine[0]}
        for cell in mine:
            for name, value in cell.items():
                if value not in values[name]:
                    values[name].append(value)
        same = {name: each[0] for name, each in values.items() if len(each) == 1}
        found.append(same | {_VARIED: {n: each for n, each in values.items() if n not in same}})
    return found


def train_rows(
    cells: Sequence[tuple[TrainConfig, RunFolder]],
    data: Data,
    journal: Journal,
    progress: Progress | None = None,
) -> None:
    """Train what the journal has not yet; of a cell that is done nothing but its line there stays.

    Args:
        cells: what to train, and where.
        data: the corpus.
        journal: of the scan.
        progress: as of :func:`.grid.train_cells`.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
        UserError: cells were trained with other options.
    """
    task, done = TASKS[data.task], 0
    for config, folder in cells:

        def show(epoch: int, values: dict[str, Any], before: int = done) -> None:
            if progress:
                progress(before + epoch, values)

        if journal.of(folder.path.name, config) is None:
            train_cells([(config, folder)], data, show)
            journal.add(folder.path.name, config, _judged(task, folder, config, data))
        shutil.rmtree(folder.path, ignore_errors=True)  # it may have been killed before this
        done += config.epochs
        show(0, {}, done)


def _judged(
    task: AnyTask, folder: RunFolder, config: TrainConfig, data: Data
) -> dict[str, np.ndarray]:
    """Errors to choose by and, where the paper has medians, those to compare with them."""
    split = task.judged_by(config)
    evaluation = task.evaluate_run(folder, data, split)
    found = {"error": task.selection(evaluation), "diverged": evaluation.diverged}
    if task.protocol.medians:
        if split != task.default_split:
            evaluation = task.evaluate_run(folder, data)
        found["published"] = task.published_metric(evaluation)
    return found


def rows_of(
    cells: Iterable[tuple[TrainConfig, Mapping[str, str]]],
    factors: Mapping[str, Sequence[str]],
    journal: Journal,
) -> Rows:
    """What scan.h5 has of trained cells.

    Args:
        cells: each with its levels.
        factors: factor -> levels.
        journal: with all of them.

    Raises:
        UserError: a line there does not have its cell's errors.
    """
    rows: list[Cell] = []
    values: list[Arrays] = []
    for config, settings in cells:
        cell = Cell(config.model, config.params, config.momentum_ramp, config.lr, settings)
        found = journal.of(cell.name, config)
        assert found is not None
        rows.append(cell)
        values.append(_checked(found, config, journal, cell.name))
    task = TASKS[config.task]
    per_sequence = config.protocol.network_per_sequence
    compared = "published" in values[0]
    return Rows(
        {
            "task": task.name,
            "metric": task.protocol.metric if compared else "",
            "published_on": task.default_split if compared else "",
        },
        factors,
        rows,
        _single([each["error"] for each in values]),
        np.array([each["diverged"] for each in values]),
        _single([each["published"] for each in values]) if compared else None,
        np.arange(config.networks, dtype=np.int32) % (config.sequences if per_sequence else 1),
    )


def _checked(found: Values, config: TrainConfig, journal: Journal, name: str) -> Arrays:
    """A line's arrays, one number per network; UserError where they are not."""
    kinds = {"error": "f", "diverged": "b"}
    if TASKS[config.task].protocol.medians:
        kinds["published"] = "f"
    try:
        arrays = {array: np.array(each) for array, each in found.items()}
        wrong = any(
            arrays[array].dtype.kind != kind or arrays[array].shape != (config.networks,)
            for array, kind in kinds.items()
        )
    except (KeyError, ValueError) as error:  # a list of lists of several lengths
        raise journal.no_row(name) from error
    if wrong:
        raise journal.no_row(name)
    return arrays


def _single(errors: Sequence[np.ndarray]) -> np.ndarray:
    """In single precision, as the networks are; too large ones are infinite."""
    with np.errstate(over="ignore"):
        return np.array(errors).astype(np.float32)
