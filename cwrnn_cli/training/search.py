"""Hyperparameters by Optuna, on validation data: every trial kept, each model treated alike.

What a trial tries follows from the seed, its number and the trials before it, never from a
sampler's memory; where several train at once, from the trials before all of these, never from which
of them was quicker. The study (an Optuna journal) gets one line when a trial begins and one when it
has ended, and a trial trains in a run folder of its own: killed at any moment and called again, a
search ends with the same trials and the same values.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.strict_json import dumps

from .config import TrainConfig, versions
from .folder import CONFIG, check_free, configured, writing
from .loop import Progress
from .manifest import program
from .search_bounds import Tried, fits
from .search_plan import Search
from .study import OPTIONS, SAMPLERS, opened, sampler
from .trials import drop_weights, missing, rows_of, trained, trial_folder
from .typed import train_command

if TYPE_CHECKING:  # of the extra `search`
    from optuna.trial import FrozenTrial

TRIALS, BEST = "trials.json", "best.json"
_TRAINED_ON = "train"  # the split, of every task
_ATTEMPTS = 100  # to propose what a network can have
_NOT_OF_THE_BEST = ("runs", "seed", "epochs", "device")  # the search's own


def check_optuna() -> None:
    """Raises UserError if it is not installed; else it says no more than warnings."""
    try:
        import optuna  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "search: needs Optuna, which is not installed: pip install optuna"
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
    beside = found.get("jobs", 1) != search.jobs
    options = ["--search"] * other + ["--sampler"] * chance + ["--jobs"] * beside
    return base.differences(search.base) + options


def proposed_together(out: Path) -> int | None:
    """How many trials at a time a search proposes that is in a folder; None: there is none."""
    try:
        return int(configured(out).get("jobs", 1))
    except (UserError, OSError, ValueError, TypeError, AttributeError):
        return None


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
    for first in range(0, search.trials, search.jobs):

        def show(epoch: int, values: dict[str, Any], before: int = first * epochs) -> None:
            if progress:
                progress(before + epoch, values)

        numbers = range(first, min(first + search.jobs, search.trials))
        for number in range(len(study.get_trials(deepcopy=False)), numbers.stop):
            before = study.get_trials(deepcopy=False)[:first]
            study.add_trial(_proposed(search, before, number))
        trials = study.get_trials(deepcopy=False)
        left = [trials[number] for number in numbers if not trials[number].state.is_finished()]
        for row in trained(search, left, out, made_by, show):
            study.tell(row["number"], math.inf if row["value"] is None else row["value"])
        for number in numbers:
            drop_weights(trial_folder(out, number))
        show(len(numbers) * epochs, {})


def _proposed(search: Search, trials: "Sequence[FrozenTrial]", number: int) -> "FrozenTrial":
    """A trial: the published values first, then what the sampler makes of those before.

    Its sampler is a new one for each trial, with a seed of its own: a search that goes on later
    tries what it would have tried. What no network has (a mask needs more parameters than another)
    is asked for again, with another seed.

    Raises:
        UserError: again and again.
    """
    import optuna  # noqa: PLC0415

    bounds = search.space
    distributions = {k: v for bound in bounds.values() for k, v in bound.distributions().items()}
    if number:
        found = _asked(search, trials, number, distributions)
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
    search: Search, trials: "Sequence[FrozenTrial]", number: int, distributions: dict[str, Any]
) -> dict[str, tuple[Tried, dict[str, Any]]]:
    """What a new sampler says that knows the trials before; see :func:`_proposed`."""
    import optuna  # noqa: PLC0415

    bounds = search.space
    for attempt in range(_ATTEMPTS):
        words = [search.base.seed, number, *[attempt] * bool(attempt)]
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
        **({"jobs": search.jobs} if search.jobs > 1 else {}),
        "search": search.configuration["search"],
        "fixed": {n: v for n, v in options.items() if n not in _NOT_OF_THE_BEST},
    }
    result = judged(heading, out)
    if len(result["trials"]) < search.trials:
        raise missing(out, len(result["trials"]))
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
    rows = rows_of(out, heading["search"])
    for number, row in enumerate(rows):
        if row["number"] != number:
            raise missing(out, number)
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
