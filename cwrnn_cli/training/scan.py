"""A scan of learning rates: "optimised separately for each method" (Section 4), on held-out seeds.

Every model at every size, over a grid of rates and with each of the momenta asked for, all of it
judged by what choices may be made by (:meth:`.Task.selection`, on :meth:`.Task.judged_by`), never
the test set. The best rate is one per model and momentum, for all sizes, as in the paper.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.files import atomic_write, write_text

from .config import TrainConfig
from .data import Data
from .folder import CELLS_FOLDER, RunFolder
from .grid import train_cells
from .loop import Progress
from .registry import TASKS
from .results import store_array

SCAN = "scan.json"
SCAN_ROWS = "scan.h5"
_POINT = ("params", "momentum_ramp", "lr")
HELD_OUT_SEED = 1000  # reported results use 0


@dataclass(frozen=True)
class Point:
    """One rate of one model, with all sizes.

    Attributes:
        cells: a configuration per size.
    """

    cells: Sequence[TrainConfig]

    @property
    def first(self) -> TrainConfig:
        """For what is the same at all sizes."""
        return self.cells[0]


def _group(model: str, ramp: bool) -> str:
    """What a best rate is chosen for."""
    return f"{model}, {momentum_name(ramp)}"


def momentum_name(ramp: bool) -> str:
    """In tables and folders' names."""
    return "ramp" if ramp else "constant"


def cell_folder(out: Path, config: TrainConfig) -> RunFolder:
    """Where a configuration of a scan is trained."""
    momentum = momentum_name(config.momentum_ramp)
    return RunFolder(
        out / CELLS_FOLDER / f"{config.model}-{config.params}-{momentum}-{config.lr:g}"
    )


def run_scan(
    points: Sequence[Point], data: Data, out: Path, progress: Progress | None = None
) -> None:
    """Train what is not trained yet.

    Args:
        points: what to train.
        data: the corpus.
        out: the scan's folder.
        progress: called with the epochs done over all networks and a summary.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
        UserError: the folder holds a scan with other options or data.
    """
    every = [config for point in points for config in point.cells]
    train_cells([(config, cell_folder(out, config)) for config in every], data, progress)


def collect(points: Sequence[Point], data: Data, out: Path, command: str) -> dict[str, Any]:
    """Judge every network, and write scan.h5 (every network's error) and scan.json.

    Args:
        points: all of them trained.
        data: the corpus.
        out: the scan's folder.
        command: what made it.

    Returns:
        What was written: command, task, data, standin, judged_by (the split), and of
        :func:`scores` best and rows.
    """
    task = TASKS[data.task]
    judged_by = task.judged_by(points[0].first)
    with (
        atomic_write(out / SCAN_ROWS) as temporary,
        h5py.File(temporary, "w", track_order=True, libver="latest") as file,
    ):
        for point in points:
            for config in point.cells:
                folder = cell_folder(out, config)
                evaluation = task.evaluate_run(folder, data, judged_by)
                group = file.create_group(folder.path.name)
                values = {name: getattr(config, name) for name in _POINT}
                group.attrs.update(values | {"model": config.model})
                store_array(group, "error", task.selection(evaluation))
                store_array(group, "diverged", evaluation.diverged)
    result = {
        "command": command,
        "task": data.task,
        "data": {"name": data.source, "sha256": data.sha256},
        "standin": data.standin,
        "judged_by": judged_by,
        **scores(out / SCAN_ROWS),
    }
    write_text(out / SCAN, json.dumps(result, indent=1) + "\n")
    return result


def points_of(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Name of a cell -> ``error`` and ``diverged`` of its networks, (R,) each, of scan.h5."""
    with h5py.File(path, "r", track_order=True) as file:
        return {n: {k: values[()] for k, values in group.items()} for n, group in file.items()}


def scores(path: Path) -> dict[str, Any]:
    """What scan.json makes of every network's error.

    Args:
        path: scan.h5.

    Returns:
        ``best`` rate of each model and momentum (None where no rate's score is a number), and
        ``rows``, one per point: model, momentum_ramp, lr, score (mean over the sizes of the mean
        error) and sizes (parameters -> mean, median, diverged, networks).
    """
    rows: dict[tuple[str, bool, float], dict[str, Any]] = {}
    with h5py.File(path, "r", track_order=True) as file:
        for group in file.values():
            errors, diverged = group["error"][()], group["diverged"][()]
            key = (group.attrs["model"], bool(group.attrs["momentum_ramp"]), group.attrs["lr"])
            rows.setdefault(key, {})[str(group.attrs["params"])] = {
                "mean": _number(errors.mean()),
                "median": _number(np.median(errors)),
                "diverged": int(diverged.sum()),
                "networks": len(errors),
            }
    found: list[dict[str, Any]] = []
    by_group: dict[str, dict[float, float]] = {}
    for (model, ramp, lr), sizes in rows.items():
        means = [np.inf if size["mean"] is None else size["mean"] for size in sizes.values()]
        score = float(np.mean(means))
        row = {"model": model, "momentum_ramp": ramp, "lr": float(lr)}
        found.append(row | {"score": _number(score), "sizes": sizes})
        by_group.setdefault(_group(model, ramp), {})[float(lr)] = score
    return {"best": {group: _best(rates) for group, rates in by_group.items()}, "rows": found}


def _best(scores: dict[float, float]) -> float | None:
    """The rate with the least error, if any is finite."""
    rate = min(scores, key=scores.__getitem__)
    return rate if np.isfinite(scores[rate]) else None


def _number(value: Any) -> float | None:
    """For JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None
