"""What run folders hold, without reading a checkpoint: quick for hundreds of them."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.locks import writer_of
from data_prep.reading import lines_of

from .config import TrainConfig
from .folder import CONFIG, LARGEST_METRICS, METRICS, RunFolder
from .manifest import has_ended
from .registry import task_named
from .trials import TRIAL
from .units import TIMES


@dataclass(frozen=True)
class Run:
    """A run folder, as far as it has come.

    Attributes:
        path: of the folder.
        config: what it computes; None: its config.json cannot be read.
        state: "trained", "at work (process N)", "stopped", "not begun", "no checkpoint", "kept",
            "judged" (a trial of a search, which drops its weights), or why it cannot be read.
        epoch: epochs done, as metrics.jsonl has them; 0 where it has none.
        metric: name of ``best`` in metrics.jsonl; of those that the task shows, the first.
        best: the lowest value of it; None: there is none.
        last: the last line of metrics.jsonl.
    """

    path: Path
    config: TrainConfig | None
    state: str
    epoch: int
    metric: str
    best: float | None
    last: Mapping[str, Any]

    def row(self) -> dict[str, Any]:
        """Its values, of JSON types."""
        config = self.config
        return {
            "run": str(self.path),
            "task": config.task if config else None,
            "model": config.model if config else None,
            "params": config.params if config else None,
            "networks": config.networks if config else None,
            "state": self.state,
            "epoch": self.epoch,
            "epochs": config.epochs if config else None,
            "metric": self.metric or None,
            "best": self.best,
        }


def runs_below(parent: Path) -> list[Run]:
    """All run folders in ``parent``, those of grids and scans too, in the order of their names.

    Raises:
        UserError: there is no such folder.
    """
    if not parent.is_dir():
        raise UserError(f"{parent}: no such folder; name one, or train a run with `cwrnn train`")
    paths = sorted(path.parent for path in parent.rglob(CONFIG))
    return [run for run in map(look_at, paths) if run is not None]


def look_at(path: Path) -> Run | None:
    """A run folder; None: a grid's or a search's, which is none."""
    folder = RunFolder(path)
    if folder.holds_several:
        return None
    try:
        config = folder.config()
        task = task_named(config.task)
    except UserError as error:
        return Run(path, None, f"cannot be read: {error.reason}", 0, "", None, {})
    last: Mapping[str, Any] = {}
    lowest: dict[str, float] = {}
    for last in _lines(path / METRICS):
        for name in task.progress:
            for value in finite_numbers(last.get(name)):
                lowest[name] = min(value, lowest.get(name, value))
    metric = next((name for name in task.progress if name in last), "")
    epoch = last.get("epoch", 0)
    return Run(path, config, _state(folder), epoch, metric, lowest.get(metric), last)


def epochs_done(folder: RunFolder, config: TrainConfig) -> int:
    """Of a run or a cell, all of them if every network has stopped early.

    Of one whose checkpoint cannot be read, none: training will say so.
    """
    try:
        found = folder.checkpoint() if folder.has_checkpoint else None
    except UserError:
        found = None
    if found is None:
        return 0
    stopped = found.extra.get("stopped_at")  # of networks that can stop early
    return found.epoch if stopped is None or (stopped < 0).any() else config.epochs


def _state(folder: RunFolder) -> str:
    if writer := writer_of(folder.path):
        return f"at work ({writer})"
    if (folder.path / TRIAL).exists():
        return "judged"
    if not folder.has_checkpoint:  # killed before its first
        return "no checkpoint" if (folder.path / METRICS).exists() else "not begun"
    if not (folder.path / METRICS).exists():
        return "kept"
    ended = has_ended(folder.path) or (folder.path / TIMES).exists()  # a run's, a cell's
    return "trained" if ended else "stopped"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Those of metrics.jsonl that are whole."""
    with suppress(UserError, ValueError, LookupError, TypeError, RecursionError):
        for line in lines_of(path, LARGEST_METRICS):
            values = json.loads(line)
            int(values["epoch"])
            yield values


def finite_numbers(value: Any) -> list[float]:
    """Those that are finite, of one value or of a list of networks'."""
    each = value if isinstance(value, list) else [value]
    return [v for v in each if isinstance(v, int | float) and math.isfinite(v)]


def differences(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
    """Name -> values of what differs, in configuration and then in the last metrics.

    Raises:
        UserError: one of them cannot be read.
    """
    for run in (first, second):
        if run.config is None:
            raise UserError(run.state, place=run.path)
    assert first.config is not None and second.config is not None
    mine, theirs = first.config.values(), second.config.values()
    mine |= first.last
    theirs |= second.last
    names = dict.fromkeys((*mine, *theirs))
    return {
        name: (mine.get(name), theirs.get(name))
        for name in names
        if mine.get(name) != theirs.get(name)
    }
