"""A scan of learning rates: "optimised separately for each method" (Section 4), on held-out seeds.

Every model at every size, over a grid of rates and with each of the momenta asked for, all of it
judged by what choices may be made by (:meth:`.Task.selection`, on :meth:`.Task.judged_by`), never
the test set. The best rate is one per model and momentum, for all sizes, as in the paper. Where
options are varied it is a factorial experiment (:mod:`.factorial`), and every combination has its
own best rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.sealed import opened_hdf5, sealed_hdf5
from data_prep.strict_json import dumps

from . import factorial
from .config import TrainConfig
from .data import Data
from .effects import analysis
from .folder import CELLS_FOLDER, CONFIG, RunFolder, check_free
from .grid import train_cells
from .loop import Progress
from .manifest import command_of
from .registry import TASKS
from .results import MAGIC, store_array
from .rows import (
    Journal,
    cell_name,
    is_factorial,
    momentum_name,
    read_rows,
    write_rows,
)

SCAN = "scan.json"
SCAN_ROWS = "scan.h5"
_POINT = ("params", "momentum_ramp", "lr")
ROWS = "rows.jsonl"  # of a factorial scan, while it is at work
Factors = Mapping[str, Sequence[str]] | None
_COMMAND = "cwrnn scan"
HELD_OUT_SEED = 1000  # reported results use 0


@dataclass(frozen=True)
class Point:
    """One rate of one model, with all sizes.

    Attributes:
        cells: a configuration per size.
        settings: factor -> level, of what is varied.
    """

    cells: Sequence[TrainConfig]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> TrainConfig:
        """For what is the same at all sizes."""
        return self.cells[0]


def configuration(points: Sequence[Point], factors: Factors = None) -> list[dict[str, Any]]:
    """What every cell computes, as JSON; of a factorial scan once per model, with what varies.

    Args:
        points: what is trained.
        factors: see :func:`run_scan`.

    Raises:
        UserError: some would be judged by one split, others by another.
    """
    if len({TASKS[p.first.task].judged_by(p.first) for p in points}) > 1:
        raise UserError("--vary: not all combinations are judged by one split; scan them apart")
    cells = [config.computed() for point in points for config in point.cells]
    return cells if factors is None else factorial.in_short(cells)


def _group(model: str, ramp: bool) -> str:
    """What a best rate is chosen for."""
    return f"{model}, {momentum_name(ramp)}"


def cell_folder(
    out: Path, config: TrainConfig, settings: Mapping[str, str] | None = None
) -> RunFolder:
    """Where a configuration of a scan is trained."""
    name = cell_name(config.model, config.params, config.momentum_ramp, config.lr, settings)
    return RunFolder(out / CELLS_FOLDER / name)


def open_scan(points: Sequence[Point], out: Path, factors: Factors, resume: bool) -> None:
    """Check that a folder is free or, to resume, that it holds this scan, perhaps of fewer rates.

    Raises:
        UserError: it holds something and ``resume`` is not set, or it holds something else.
    """
    if not resume:
        check_free(out)
    if not is_occupied(out):
        return
    command = command_of(out)
    begun = command is not None and command.startswith(_COMMAND)
    if (out / CONFIG).exists() or not begun:
        raise UserError("holds no scan; choose another --out", place=out)
    cells = [(config, cell_folder(out, config, p.settings)) for p in points for config in p.cells]
    journal = _journal(out) if factors and (out / CELLS_FOLDER / ROWS).exists() else None
    for config, folder in cells:
        if journal:
            journal.of(folder.path.name, config)
        elif folder.exists:
            folder.check_is(config)


def run_scan(
    points: Sequence[Point],
    data: Data,
    out: Path,
    progress: Progress | None = None,
    factors: Factors = None,
) -> None:
    """Train what is not trained yet.

    Args:
        points: what to train.
        data: the corpus.
        out: the scan's folder.
        progress: called with the epochs done over all networks and a summary.
        factors: factor -> its levels, of a factorial scan; None: one of rates.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
        UserError: the folder holds a scan with other options or data.
    """
    cells = [(c, cell_folder(out, c, p.settings)) for p in points for c in p.cells]
    if factors is None:
        train_cells(cells, data, progress)
    else:
        factorial.train_rows(cells, data, _journal(out), progress)


def _journal(out: Path) -> Journal:
    return Journal(out / CELLS_FOLDER / ROWS)


def collect(
    points: Sequence[Point], data: Data, out: Path, command: str, factors: Factors = None
) -> dict[str, Any]:
    """Judge every network, and write scan.h5 (every network's error) and scan.json.

    Args:
        points: all of them trained.
        data: the corpus.
        out: the scan's folder.
        command: what made it.
        factors: see :func:`run_scan`.

    Returns:
        What was written: command, task, data, standin, judged_by (the split), and what
        :func:`scores` gives.
    """
    if factors is None:
        _collect_rates(points, data, out)
    else:
        cells = [(config, p.settings) for p in points for config in p.cells]
        write_rows(out / SCAN_ROWS, factorial.rows_of(cells, factors, _journal(out)))
    result = {
        "command": command,
        "task": data.task,
        "data": {"name": data.source, "sha256": data.sha256},
        "standin": data.standin,
        "judged_by": TASKS[data.task].judged_by(points[0].first),
        **scores(out / SCAN_ROWS),
    }
    write_text(out / SCAN, dumps(result, indent=1) + "\n")
    return result


def _collect_rates(points: Sequence[Point], data: Data, out: Path) -> None:
    """scan.h5 of a scan of rates: a group per cell."""
    task = TASKS[data.task]
    with sealed_hdf5(out / SCAN_ROWS, MAGIC, track_order=True, libver="latest") as file:
        for config in (config for point in points for config in point.cells):
            folder = cell_folder(out, config)
            evaluation = task.evaluate_run(folder, data, task.judged_by(config))
            group = file.create_group(folder.path.name)
            values = {name: getattr(config, name) for name in _POINT}
            group.attrs.update(values | {"model": config.model})
            store_array(group, "error", task.selection(evaluation))
            store_array(group, "diverged", evaluation.diverged)


def points_of(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Name of a cell -> ``error`` and ``diverged`` of its networks, (R,) each, of scan.h5."""
    if is_factorial(path):
        return read_rows(path).points()
    with opened_hdf5(path, MAGIC, track_order=True) as file:
        return {n: {k: values[()] for k, values in group.items()} for n, group in file.items()}


def scores(path: Path) -> dict[str, Any]:
    """What scan.json makes of every network's error.

    Args:
        path: scan.h5.

    Returns:
        ``best`` rate of each model and momentum (None where no rate's score is a number), and
        ``rows``, one per point: model, momentum_ramp, lr, score (mean over the sizes of the mean
        error) and sizes (parameters -> mean, median, diverged, networks). Of a factorial scan:
        see :func:`.effects.analysis`.
    """
    if is_factorial(path):
        return analysis(read_rows(path))
    rows: dict[tuple[str, bool, float], dict[str, Any]] = {}
    with opened_hdf5(path, MAGIC, track_order=True) as file:
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
