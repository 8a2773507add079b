"""Training one grid on each of several corpora, one after the other, resumable.

Each corpus' cells are run folders below ``cells/CORPUS/`` only while they train: of a cell that is
done its rows stay, a line of ``cells/survey.jsonl``.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError
from data_prep.files import is_occupied

from ..models import CELLS
from .config import TrainConfig
from .data import Data
from .folder import CELLS_FOLDER, RunFolder, check_free
from .grid import train_cells
from .loop import Progress
from .registry import TASKS
from .rows import Journal
from .survey import SurveyRows

_JOURNAL = "survey.jsonl"
_PREPARED = "*.h5"
_OF_DATA = ("data_name", "data_sha256", "standin")  # what may differ between corpora


@dataclass(frozen=True)
class Corpus:
    """One of several.

    Attributes:
        name: of its file, without folder and ending.
        data: as the task loads it.
        cells: one configuration per model and size.
    """

    name: str
    data: Data
    cells: Sequence[TrainConfig]

    @property
    def label(self) -> dict[str, Any]:
        """See :attr:`.SurveyRows.corpora`."""
        data = {"name": self.data.source, "sha256": self.data.sha256}
        return {"name": self.name, "data": data, "standin": self.data.standin}


def files_of(data: Sequence[Path]) -> list[Path]:
    """Each --data, a folder's files in its place, by name.

    Raises:
        UserError: a folder without any.
    """
    found: list[Path] = []
    for path in data:
        inside = sorted(path.glob(_PREPARED)) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"--data {path}: a folder without prepared files ({_PREPARED})")
        found += inside
    return found


def check_corpora(corpora: Sequence[Corpus]) -> None:
    """Whether corpora can be rows of one table.

    Raises:
        UserError: two are the same or have one name, or one was prepared otherwise.
    """
    seen: dict[str, Corpus] = {}
    for corpus in corpora:
        for key, what in ((corpus.data.sha256, "data"), (corpus.name, "name")):
            if key in seen:
                raise UserError(
                    f"--data {corpus.data.path}: the same {what} as {seen[key].data.path}; "
                    "leave one out" + ", or rename it" * (what == "name")
                )
            seen[key] = corpus
        for first, cell in zip(corpora[0].cells, corpus.cells, strict=True):
            if different := sorted(set(first.differences(cell)) - set(_OF_DATA)):
                raise UserError(
                    f"--data {corpus.data.path}: differs from {corpora[0].data.path} in "
                    f"{', '.join(different)}; prepare all alike"
                )


def configuration(corpora: Sequence[Corpus]) -> dict[str, Any]:
    """What is computed, as JSON; the data are the manifest's."""
    return {
        "corpora": [corpus.name for corpus in corpora],
        "cells": [_computed(cell) for cell in corpora[0].cells],
    }


def _computed(cell: TrainConfig) -> dict[str, Any]:
    return {name: value for name, value in cell.computed().items() if name not in _OF_DATA}


def open_survey(out: Path, corpora: Sequence[Corpus], resume: bool) -> Journal:
    """The rows of what is done in a folder; of a new one, none.

    Raises:
        UserError: it holds something and ``resume`` is not set, or something else, or cells were
            trained with other options or data.
    """
    path = out / CELLS_FOLDER / _JOURNAL
    if not resume:
        check_free(out)
    elif is_occupied(out) and not path.exists():
        raise UserError(f"{out}: holds no comparison over several files; choose another --out")
    journal = Journal(path)
    for corpus in corpora:
        for config in corpus.cells:
            journal.of(_name(corpus, config), config)
    return journal


def run_survey(
    corpora: Sequence[Corpus], out: Path, journal: Journal, progress: Progress | None = None
) -> None:
    """Train what the journal has not yet.

    Args:
        corpora: what to train on.
        out: the folder.
        journal: of :func:`open_survey`.
        progress: called with the epochs done over all cells and a summary.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
    """
    done = 0
    for corpus in corpora:
        task = TASKS[corpus.data.task]
        for config in corpus.cells:
            name = _name(corpus, config)
            folder = RunFolder(out / CELLS_FOLDER / name)

            def show(epoch: int, values: dict[str, Any], before: int = done) -> None:
                if progress:
                    progress(before + epoch, values)

            if journal.of(name, config) is None:
                train_cells([(config, folder)], corpus.data, show)
                evaluation = task.evaluate_run(folder, corpus.data)
                journal.add(name, config, task.survey().arrays(evaluation))
            done += config.epochs
            show(0, {}, done)
        # what trained there is in the journal; it may have been killed before this
        shutil.rmtree(out / CELLS_FOLDER / corpus.name, ignore_errors=True)


def _name(corpus: Corpus, config: TrainConfig) -> str:
    return f"{corpus.name}/{config.model}-{config.params}"


def collect(corpora: Sequence[Corpus], journal: Journal) -> SurveyRows:
    """The rows of all cells on all corpora.

    Args:
        corpora: all of them trained.
        journal: of them.
    """
    cells: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    configs = {}
    order = sorted(corpora[0].cells, key=lambda c: (list(CELLS).index(c.model), c.params))
    for config in order:
        found = []
        for corpus in corpora:
            mine = next(
                c for c in corpus.cells if (c.model, c.params) == (config.model, config.params)
            )
            values = journal.of(_name(corpus, mine), mine)
            assert values is not None
            found.append(values)
        key = (config.model, config.params)
        configs[key] = _computed(config)
        cells[key] = {name: _stacked([values[name] for values in found]) for name in found[0]}
    task = TASKS[corpora[0].data.task]
    of_each = [task.survey().of_corpus(corpus.data) for corpus in corpora]
    return SurveyRows(
        task.name,
        [corpus.label for corpus in corpora],
        configs,
        cells,
        {name: np.stack([arrays[name] for arrays in of_each]) for name in of_each[0]},
    )


def _stacked(rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """(P, R); fractions in single precision, as the networks are; too large ones are infinite."""
    values = np.array(rows)
    with np.errstate(over="ignore"):
        return values.astype(np.float32) if values.dtype.kind == "f" else values
