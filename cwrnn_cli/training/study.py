"""The study of a search: Optuna's journal, a file that one process at a time appends to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from data_prep.errors import UserError
from data_prep.reading import content_of

from .folder import LARGEST_METRICS

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

STUDY = "study.log"
SAMPLERS = ("tpe", "random")  # what proposes trials
OPTIONS = "options"  # a trial's, in the study
# what a damaged journal, or one of somebody else's, makes Optuna raise
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError)
_NAME = "search"


def sampler(name: str, seed: int) -> "BaseSampler":
    """Optuna's: the tree-structured Parzen estimator, or one that looks at no other trial."""
    import optuna  # noqa: PLC0415

    samplers = optuna.samplers
    return samplers.RandomSampler(seed) if name == "random" else samplers.TPESampler(seed=seed)


class _Ours:
    """In place of Optuna's lock of a study, links that a killed process leaves: we hold ours."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def opened(out: Path) -> "Study":
    """The study of a folder, as far as it is.

    Raises:
        UserError: it is damaged.
    """
    import optuna  # noqa: PLC0415
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415

    path = out / STUDY
    if path.exists():  # what is left of a line within which it was killed
        whole = content_of(path, LARGEST_METRICS).rfind(b"\n") + 1
        os.truncate(path, whole)
    try:
        journal = JournalFileBackend(str(path), cast(Any, _Ours()))
        storage = optuna.storages.JournalStorage(journal)
        study = optuna.create_study(study_name=_NAME, storage=storage, load_if_exists=True)
        for trial in study.get_trials(deepcopy=False):
            dict(trial.user_attrs["parameters"]), dict(trial.user_attrs[OPTIONS])
        return study
    except DAMAGED as error:
        raise UserError(f"{path}: damaged; search again into another --out") from error
