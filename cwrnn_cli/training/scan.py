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

import numpy as np

from data_prep.files import write_text

from .config import TrainConfig
from .data import Data
from .folder import CELLS_FOLDER, RunFolder
from .grid import train_cells
from .loop import Progress
from .registry import TASKS

SCAN = "scan.json"
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

    @property
    def group(self) -> str:
        """What a best rate is chosen for: model and momentum."""
        return f"{self.first.model}, {momentum_name(self.first.momentum_ramp)}"


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
    """Judge every network and write scan.json.

    Args:
        points: all of them trained.
        data: the corpus.
        out: the scan's folder.
        command: what made it.

    Returns:
        What was written: command, task, data, standin, judged_by (the split), best (of model and
        momentum; None where no rate's score is a number), and a row per point: model,
        momentum_ramp, lr, score (mean over the sizes of the mean error) and sizes (parameters ->
        mean, median, diverged, networks).
    """
    rows: list[dict[str, Any]] = []
    scores: dict[str, dict[float, float]] = {}
    task = TASKS[data.task]
    judged_by = task.judged_by(points[0].first)
    for point in points:
        sizes = {}
        for config in point.cells:
            evaluation = task.evaluate_run(cell_folder(out, config), data, judged_by)
            errors = task.selection(evaluation)
            sizes[str(config.params)] = {
                "mean": _number(errors.mean()),
                "median": _number(np.median(errors)),
                "diverged": int(evaluation.diverged.sum()),
                "networks": config.networks,
            }
        means = [np.inf if size["mean"] is None else size["mean"] for size in sizes.values()]
        score, first = float(np.mean(means)), point.first
        row = {"model": first.model, "momentum_ramp": first.momentum_ramp, "lr": first.lr}
        rows.append(row | {"score": _number(score), "sizes": sizes})
        scores.setdefault(point.group, {})[first.lr] = score
    result = {
        "command": command,
        "task": data.task,
        "data": {"name": data.source, "sha256": data.sha256},
        "standin": data.standin,
        "judged_by": judged_by,
        "best": {group: _best(found) for group, found in scores.items()},
        "rows": rows,
    }
    write_text(out / SCAN, json.dumps(result, indent=1) + "\n")
    return result


def _best(scores: dict[float, float]) -> float | None:
    """The rate with the least error, if any is finite."""
    rate = min(scores, key=scores.__getitem__)
    return rate if np.isfinite(scores[rate]) else None


def _number(value: Any) -> float | None:
    """For JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None
