"""One grid on each of several corpora: what of it stays, in one results.h5.

A group MODEL/PARAMS per cell, as of a grid, but its arrays have a row per corpus; arrays of the
corpora themselves lie beside the groups. The attribute ``survey`` names the task, ``corpora``
(JSON) the corpora in the rows' order.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import h5py
import numpy as np

from data_prep.errors import UserError
from data_prep.sealed import opened_hdf5, sealed_hdf5
from data_prep.strict_json import dumps

from ..models import CELLS
from .data import D
from .evaluation import Evaluation
from .results import MAGIC, Key, store_array

_SURVEY, _CORPORA, _CONFIG = "survey", "corpora", "config"
E = TypeVar("E", bound=Evaluation[Any])


@dataclass(frozen=True)
class SurveyRows:
    """The contents of such a results.h5.

    Attributes:
        task: its name.
        corpora: (P,) of each corpus ``name`` (of its file), ``data`` (``name``, ``sha256``) and
            ``standin``.
        configs: (model, parameters) -> JSON of what is computed, without what differs by corpus.
        cells: (model, parameters) -> name -> (P, R, ...) rows of its networks.
        of_corpora: name -> (P, ...).
    """

    task: str
    corpora: Sequence[Mapping[str, Any]]
    configs: Mapping[Key, Mapping[str, Any]]
    cells: Mapping[Key, Mapping[str, np.ndarray]]
    of_corpora: Mapping[str, np.ndarray]

    @property
    def names(self) -> list[str]:
        """(P,)."""
        return [corpus["name"] for corpus in self.corpora]

    @property
    def sizes(self) -> list[int]:
        """Parameters, ascending."""
        return sorted({params for _, params in self.cells})

    @property
    def models(self) -> list[str]:
        """In the order of the rows."""
        return list(dict.fromkeys(model for model, _ in self.cells))


class Survey(ABC, Generic[D, E]):
    """What a task makes of its grid on several corpora; :meth:`.Task.survey` gives it.

    Attributes:
        corpora: what the task calls several of them.
    """

    corpora: ClassVar[str] = "corpora"

    @abstractmethod
    def arrays(self, evaluation: E) -> dict[str, np.ndarray]:
        """What stays of a cell on one corpus: (R,) rows, few and small.

        ``diverged`` among them. Fractions are kept in single precision.
        """

    @abstractmethod
    def of_corpus(self, data: D) -> dict[str, np.ndarray]:
        """What stays of a corpus; of the same shape for all."""

    @abstractmethod
    def errors(self, rows: SurveyRows, key: Key) -> np.ndarray:
        """(P, R) of a cell, in the paper's metric."""

    @abstractmethod
    def comparison(self, rows: SurveyRows) -> dict[str, Any]:
        """The JSON of `cwrnn compare`."""

    @abstractmethod
    def text(self, rows: SurveyRows) -> str:
        """The table of `cwrnn compare`."""

    @abstractmethod
    def figures(self, out: Path, rows: SurveyRows, caption: str) -> list[Path]:
        """Draw the figures of `cwrnn compare` into a folder.

        Args:
            out: the folder.
            rows: of all corpora.
            caption: the command that made them.

        Returns:
            The files.
        """


def write_survey(path: Path, rows: SurveyRows) -> None:
    """Write the results.h5 of several corpora, whole or not at all."""
    with sealed_hdf5(path, MAGIC, libver="latest") as file:
        file.attrs[_SURVEY] = rows.task
        # a data set: attributes are at most 64 KiB
        text = dumps(list(rows.corpora)).encode()
        store_array(file, _CORPORA, np.frombuffer(text, np.uint8))
        for (model, params), arrays in rows.cells.items():
            group = file.create_group(f"{model}/{params}", track_order=True)
            group.attrs[_CONFIG] = dumps(rows.configs[model, params], sort_keys=True)
            for name, values in arrays.items():
                store_array(group, name, values)
        for name, values in rows.of_corpora.items():
            store_array(file, name, values)


def is_survey(path: Path) -> bool:
    """Whether a results.h5 is one of several corpora."""
    with opened_hdf5(path, MAGIC) as file:
        return _SURVEY in file.attrs


def read_survey(path: Path) -> SurveyRows:
    """Read such a results.h5.

    Raises:
        UserError: it is another one, cannot be read, or something in it is missing.
    """
    with opened_hdf5(path, MAGIC) as file:
        if _SURVEY not in file.attrs:
            raise UserError(f"{path}: expected the rows of several corpora; it is of one")
        groups = {
            (model, params): file[f"{model}/{params}"]
            for model in CELLS
            for params in sorted(map(int, file.get(model, {})))
        }
        return SurveyRows(
            str(file.attrs[_SURVEY]),
            json.loads(file[_CORPORA][()].tobytes()),
            {key: json.loads(group.attrs[_CONFIG]) for key, group in groups.items()},
            {key: {n: v[()] for n, v in group.items()} for key, group in groups.items()},
            {n: v[()] for n, v in file.items() if isinstance(v, h5py.Dataset) and n != _CORPORA},
        )
