"""Trials of a search: trained, judged on validation data, and noted beside their metrics."""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import write_text
from data_prep.reading import json_of
from data_prep.strict_json import dumps

from .config import TrainConfig
from .configure import configure
from .folder import RunFolder
from .jobs import train_at_once
from .loop import Interrupted, Progress, train
from .registry import TASKS
from .search_plan import Search
from .study import OPTIONS
from .units import TIMES, times_of

if TYPE_CHECKING:  # Optuna is of the extra `search`
    from optuna.trial import FrozenTrial

TRIAL = "trial.json"
_FOLDER = "trials"
_OF_A_TRIAL: dict[str, type | tuple[type, ...]] = {  # what its row has at the least
    "number": int,
    "published": bool,
    "parameters": dict,
    OPTIONS: dict,
    "value": (float, type(None)),
    "epochs": int,
    "best_epochs": (list, type(None)),
    "seconds": float,
}


def trial_folder(out: Path, number: int) -> RunFolder:
    """Where a trial is trained."""
    return RunFolder(out / _FOLDER / f"{number:03d}")


def drop_weights(folder: RunFolder) -> None:
    """Leave of a trial what it tried and what came of it."""
    folder.drop_checkpoints()
    (folder.path / TIMES).unlink(missing_ok=True)  # it is in its row


def trained(
    search: Search,
    trials: "Sequence[FrozenTrial]",
    out: Path,
    made_by: Mapping[str, Any],
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train trials from where they are, all at once if there are several, and judge them.

    Args:
        search: whose trials they are.
        trials: which the study knows.
        out: the search's folder.
        made_by: for their rows.
        progress: called with the epochs done over all of them and a summary.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
        UserError: a damaged file, or a place that cannot be written.
    """
    left = {
        trial.number: _config(search, trial, trial_folder(out, trial.number))
        for trial in trials
        if not (trial_folder(out, trial.number).path / TRIAL).exists()  # killed before it was told
    }
    times = _train(search, left, out, progress)
    rows = []
    for trial in trials:
        folder = trial_folder(out, trial.number)
        path = folder.path / TRIAL
        if trial.number in left:
            began = time.monotonic()
            found = {
                "number": trial.number,
                "published": trial.number == 0,
                "parameters": trial.user_attrs["parameters"],
                OPTIONS: _options(trial),
                **_judged(search, folder),
            }
            seconds, resumed = times[trial.number]
            seconds = round(seconds + time.monotonic() - began, 3)
            found |= {"seconds": seconds, "resumed": resumed, **made_by}
            write_text(path, dumps(found, indent=1) + "\n")
            rows.append(found)
        else:
            rows.append(row_of(path, search.space))
    return rows


def _config(search: Search, trial: "FrozenTrial", folder: RunFolder) -> TrainConfig:
    """Of a trial, whose folder is free of what was killed before it had a configuration."""
    if not folder.exists:
        shutil.rmtree(folder.path, ignore_errors=True)
    config = configure(search.data, **search.fixed, **_options(trial))
    # nobody looks for a corpus from here: its weights are dropped, and the folder may be published
    return replace(config, data_path=Path(config.data_path).name)


def _options(trial: "FrozenTrial") -> dict[str, Any]:
    return {name: _tuples(value) for name, value in trial.user_attrs[OPTIONS].items()}


def _tuples(value: Any) -> Any:
    """Of JSON's lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _train(
    search: Search, left: Mapping[int, TrainConfig], out: Path, progress: Progress
) -> dict[int, tuple[float, bool]]:
    """Train what is left; how many seconds each took, and whether since it was resumed."""
    if search.jobs > 1:
        cells = [(config, trial_folder(out, number)) for number, config in left.items()]
        train_at_once(cells, search.data, search.processes or search.jobs, progress)
        return {number: _time_of(trial_folder(out, number)) for number in left}
    found = {}
    for number, config in left.items():
        folder = trial_folder(out, number)
        resumed, began = folder.has_checkpoint, time.monotonic()
        folder.start_or_resume(config)
        train(config, search.data, folder, progress)
        found[number] = time.monotonic() - began, resumed
    return found


def _time_of(folder: RunFolder) -> tuple[float, bool]:
    """What a process has noted at a trial's end.

    Raises:
        UserError: it is damaged.
    """
    path = folder.path / TIMES
    try:
        (found,) = times_of(folder)
        return float(found["seconds"]), bool(found["resumed"])
    except (UserError, LookupError, TypeError, ValueError) as error:
        lost = "remove it and go on with --resume: only how long the trial took is lost"
        raise UserError(f"damaged; {lost}", place=path) from error


def _judged(search: Search, folder: RunFolder) -> dict[str, Any]:
    """What a trial was worth: its networks' errors by which choices are made, and their mean.

    A network that diverged is as bad as can be: the mean is no number, ``value`` null.
    """
    task = TASKS[search.base.task]
    try:
        evaluation = task.evaluate_run(folder, search.data, search.judged_by)
        errors = [_number(error) for error in task.selection(evaluation)]
    except KeyboardInterrupt:  # its weights are saved
        raise Interrupted(folder.checkpoint().epoch) from None
    value = None if None in errors else _number(np.mean(np.array(errors, np.float64)))
    best = folder.checkpoint().extra.get("best_epoch")
    return {
        "value": value,
        "state": "diverged" if value is None else "complete",
        "errors": errors,
        "diverged": int(evaluation.diverged.sum()),
        "epochs": evaluation.epoch,
        "best_epochs": None if best is None else best.tolist(),
    }


def _number(value: Any) -> float | None:
    """For JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None


def row_of(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Of a trial, of what is looked for.

    Raises:
        UserError: it is damaged.
    """
    try:
        row: dict[str, Any] = json_of(path)
        if not all(isinstance(row[name], kind) for name, kind in _OF_A_TRIAL.items()):
            raise TypeError("a value of another kind")
        [row["parameters"][name] for name in names]
    except (UserError, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: damaged; search again into another --out") from error
    return row


def rows_of(out: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """Of all trials that were judged, by their numbers; see :func:`row_of`."""
    names = list(names)
    rows = [row_of(path, names) for path in sorted((out / _FOLDER).glob(f"*/{TRIAL}"))]
    return sorted(rows, key=lambda row: row["number"])


def missing(out: Path, number: int) -> UserError:
    """Of a trial that the study has the end of, and nobody what it was."""
    path = trial_folder(out, number).path / TRIAL
    return UserError("missing; search again into another --out", place=path)
