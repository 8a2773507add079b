"""Hyperparameters by Optuna, on validation data: every trial kept, each model treated alike.

What a trial tries follows from the seed, its number and the trials before it, never from a
sampler's memory. The study (an Optuna journal) gets one line when a trial begins and one when it
has ended, and a trial trains in a run folder of its own: killed at any moment and called again, a
search ends with the same trials and the same values.
"""

import json
import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.reading import json_of
from data_prep.strict_json import dumps

from .config import TrainConfig, versions
from .configure import configure
from .data import Data
from .folder import CONFIG, RunFolder, check_free, configured, writing
from .loop import Interrupted, Progress, train
from .manifest import program
from .registry import TASKS
from .search_bounds import Bound, Tried, fits
from .search_space import SEARCHED
from .study import OPTIONS, SAMPLERS, opened, sampler
from .typed import train_command

if TYPE_CHECKING:  # of the extra `search`
    from optuna.trial import FrozenTrial

TRIALS, BEST = "trials.json", "best.json"
_FOLDER, _TRIAL = "trials", "trial.json"
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
_TRAINED_ON = "train"  # the split, of every task
_ATTEMPTS = 100  # to propose what a network can have
_NOT_OF_THE_BEST = ("runs", "seed", "epochs", "device")  # the search's own


@dataclass(frozen=True)
class Search:
    """What `cwrnn search` computes.

    Attributes:
        data: the corpus.
        fixed: ``model``, ``params`` and options, as for :func:`.configure`, the same in all trials.
        names: what is looked for, of :data:`.SEARCHED`.
        trials: how many.
        sampler: of :data:`SAMPLERS`, what proposes them.
    """

    data: Data
    fixed: Mapping[str, Any]
    names: Sequence[str]
    trials: int
    sampler: str = SAMPLERS[0]

    @cached_property
    def base(self) -> TrainConfig:
        """The first trial: the published values of what is looked for."""
        return configure(self.data, **self.fixed)

    @cached_property
    def space(self) -> dict[str, Bound]:
        """Where it is looked for."""
        return {n: SEARCHED[n].bound(self.base, self.data, self.fixed) for n in self.names}

    @property
    def judged_by(self) -> str:
        """The split that judges; never the test set."""
        return TASKS[self.base.task].judged_by(self.base)

    @property
    def configuration(self) -> dict[str, Any]:
        """All that decides what is computed, as JSON."""
        found = {
            "trials": self.trials,
            "search": {name: bound.to_json() for name, bound in self.space.items()},
            "base": self.base.computed(),
        }
        if self.sampler != SAMPLERS[0]:
            found["sampler"] = self.sampler
        return dict(json.loads(dumps(found)))


def check_optuna() -> None:
    """Raises UserError if it is not installed; else it says no more than warnings."""
    try:
        import optuna  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "search: needs Optuna, which is not installed: pip install 'cwrnn[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_search(out: Path, search: Search, resume: bool) -> None:
    """Make the folder of a search, or check that it holds this one; it may get more trials.

    Raises:
        UserError: it holds something and ``resume`` is not set, or it holds something else.
    """
    with writing(out):
        _open(out, search, resume)


def _open(out: Path, search: Search, resume: bool) -> None:
    """:func:`open_search`, as the only one."""
    path = out / CONFIG
    if not resume:
        check_free(out)
    if is_occupied(out):
        try:
            found = configured(out)
            different, before = _differences(found, search), int(found["trials"])
        except UserError as error:
            raise UserError(error.reason, place=path) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{out}: holds no search; choose another --out") from error
        if different:
            raise UserError(
                f"{out}: a search that differs in {', '.join(different)}; "
                "resume with the same options, or choose another --out"
            )
        if before > search.trials:
            raise UserError(
                f"--trials {search.trials}: {out} holds a search of {before}; "
                "resume with as many or more"
            )
    check_optuna()
    import optuna  # noqa: PLC0415

    noted = search.configuration | {"versions": versions() | {"optuna": optuna.__version__}}
    write_text(path, dumps(noted, indent=1) + "\n")


def _differences(found: Mapping[str, Any], search: Search) -> list[str]:
    """Names of what another search computes otherwise."""
    base = TrainConfig.from_json({**found["base"], "data_path": ""})
    other = found["search"] != search.configuration["search"]
    chance = found.get("sampler", SAMPLERS[0]) != search.sampler
    return base.differences(search.base) + ["--search"] * other + ["--sampler"] * chance


def run_search(search: Search, out: Path, progress: Progress | None = None) -> None:
    """Do the trials that are not done yet.

    Args:
        search: what to do; :func:`open_search` has been called with it.
        out: the search's folder.
        progress: called with the epochs done over all trials and a summary.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
        UserError: a damaged file, or a place that cannot be written.
    """
    import optuna  # noqa: PLC0415

    study, epochs = opened(out), search.base.epochs
    made_by = {**program(), "optuna": optuna.__version__}
    for number in range(search.trials):

        def show(epoch: int, values: dict[str, Any], before: int = number * epochs) -> None:
            if progress:
                progress(before + epoch, values)

        trials, folder = study.get_trials(deepcopy=False), trial_folder(out, number)
        if number == len(trials):
            study.add_trial(_proposed(search, trials))
            trials = study.get_trials(deepcopy=False)
        if not trials[number].state.is_finished():
            row = _trained(search, trials[number], folder, made_by, show)
            study.tell(number, math.inf if row["value"] is None else row["value"])
        folder.drop_checkpoints()
        show(epochs, {})


def trial_folder(out: Path, number: int) -> RunFolder:
    """Where a trial is trained."""
    return RunFolder(out / _FOLDER / f"{number:03d}")


def _proposed(search: Search, trials: "Sequence[FrozenTrial]") -> "FrozenTrial":
    """The next trial: the published values first, then what the sampler makes of those before.

    Its sampler is a new one for each trial, with a seed of its own: a search that goes on later
    tries what it would have tried. What no network has (a mask needs more parameters than another)
    is asked for again, with another seed.

    Raises:
        UserError: again and again.
    """
    import optuna  # noqa: PLC0415

    bounds = search.space
    distributions = {k: v for bound in bounds.values() for k, v in bound.distributions().items()}
    if trials:
        found = _asked(search, trials, distributions)
    else:
        found = {name: bound.published for name, bound in bounds.items()}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params={k: v for _, noted in found.values() for k, v in noted.items()},
        distributions=distributions,
        user_attrs={
            "parameters": {name: each.value for name, (each, _) in found.items()},
            OPTIONS: _options(found),
        },
    )


def _asked(
    search: Search, trials: "Sequence[FrozenTrial]", distributions: dict[str, Any]
) -> dict[str, tuple[Tried, dict[str, Any]]]:
    """What a new sampler says that knows the trials before; see :func:`_proposed`."""
    import optuna  # noqa: PLC0415

    bounds = search.space
    for attempt in range(_ATTEMPTS):
        words = [search.base.seed, len(trials), *[attempt] * bool(attempt)]
        seed = np.random.SeedSequence(words).generate_state(1)[0]
        before = optuna.create_study(sampler=sampler(search.sampler, int(seed)))
        before.add_trials(trials)
        asked = before.ask(distributions).params
        found = {name: bound.tried(asked) for name, bound in bounds.items()}
        if len(bounds) == 1 or fits(search.data, search.fixed, _options(found)):
            return found
    raise UserError(
        f"--search {','.join(bounds)}: {_ATTEMPTS} proposals in a row that no network of "
        f"{search.base.params} parameters has; search fewer of them at once"
    )


def _options(found: Mapping[str, tuple[Tried, Any]]) -> dict[str, Any]:
    """Of all that is tried, together."""
    return {k: v for each, _ in found.values() for k, v in each.options.items()}


def _trained(
    search: Search,
    trial: "FrozenTrial",
    folder: RunFolder,
    made_by: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Train a trial from where it is, judge it, and note that beside its metrics."""
    path = folder.path / _TRIAL
    if path.exists():  # killed before the study knew
        return _row(path, search.space)
    if not folder.exists:  # killed before there was a configuration
        shutil.rmtree(folder.path, ignore_errors=True)
    options = {name: _tuples(value) for name, value in trial.user_attrs[OPTIONS].items()}
    config = configure(search.data, **search.fixed, **options)
    # nobody looks for a corpus from here: its weights are dropped, and the folder may be published
    config = replace(config, data_path=Path(config.data_path).name)
    resumed, began = folder.has_checkpoint, time.monotonic()
    folder.start_or_resume(config)
    train(config, search.data, folder, progress)
    try:
        judgement = _judged(search, folder)
    except KeyboardInterrupt:  # its weights are saved
        raise Interrupted(folder.checkpoint().epoch) from None
    row = {
        "number": trial.number,
        "published": trial.number == 0,
        "parameters": trial.user_attrs["parameters"],
        "options": options,
        **judgement,
        "seconds": round(time.monotonic() - began, 3),
        "resumed": resumed,
        **made_by,
    }
    write_text(path, dumps(row, indent=1) + "\n")
    return row


def _tuples(value: Any) -> Any:
    """Of JSON's lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _judged(search: Search, folder: RunFolder) -> dict[str, Any]:
    """What a trial was worth: its networks' errors by which choices are made, and their mean.

    A network that diverged is as bad as can be: the mean is no number, ``value`` null.
    """
    task = TASKS[search.base.task]
    evaluation = task.evaluate_run(folder, search.data, search.judged_by)
    errors = [_number(error) for error in task.selection(evaluation)]
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


def _row(path: Path, names: Iterable[str]) -> dict[str, Any]:
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


def collect(search: Search, out: Path, command: str, data_option: Path | None) -> dict[str, Any]:
    """Write trials.json and, unless all diverged, best.json.

    Args:
        search: whose trials are done.
        out: its folder.
        command: what made it.
        data_option: the corpus as it was named.

    Returns:
        What trials.json has.
    """
    base, data = search.base, search.data
    options = {"task": base.task, **search.fixed}
    if data_option:
        options["data"] = str(data_option)
    heading = {
        "command": command,
        "task": base.task,
        "model": base.model,
        "params": base.params,
        "data": {"name": data.source, "sha256": data.sha256},
        "standin": data.standin,
        "judged_by": search.judged_by,
        "judged_on_training_set": search.judged_by == _TRAINED_ON,
        "seed": base.seed,
        "runs": base.runs,
        "epochs": base.epochs,
        "sampler": search.sampler,
        "search": search.configuration["search"],
        "fixed": {n: v for n, v in options.items() if n not in _NOT_OF_THE_BEST},
    }
    result = judged(heading, out)
    write_text(out / TRIALS, dumps(result, indent=1) + "\n")
    if result["best"]:
        write_text(out / BEST, dumps(result["best"], indent=1) + "\n")
    return result


def judged(heading: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The contents of trials.json from its heading and what every trial has left.

    Args:
        heading: what does not come from the trials; what does is replaced.
        out: the search's folder.
    """
    rows = [_row(path, heading["search"]) for path in sorted((out / _FOLDER).glob(f"*/{_TRIAL}"))]
    rows.sort(key=lambda row: row["number"])
    finite = [row for row in rows if row["value"] is not None]
    best = None
    if finite:
        row = min(finite, key=lambda row: row["value"])
        options = {**heading["fixed"], **row["options"]}
        best = {
            "trial": row["number"],
            "value": row["value"],
            "options": options,
            "command": train_command(options),
        }
    return {**heading, "diverged": len(rows) - len(finite), "best": best, "trials": rows}
