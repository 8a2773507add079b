"""results.h5: what a grid of cells came to, one row per network. Written and read here only.

A group MODEL/PARAMS per cell, with the arrays that the task gives and the attributes ``config`` and
``summary`` (JSON); arrays that all cells share lie beside the groups. Runs that are compared have a
group NAME each, with all of its arrays: they may have been trained on different corpora.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.errors import UserError
from data_prep.sealed import opened_hdf5, sealed_hdf5
from data_prep.strict_json import dumps

from ..models import CELLS
from ..statistics import tolerance

MAGIC = "cwrnn results, HDF5 behind 512 bytes; sha256 of the rest: "
_SMALL = 256  # bytes
Key = tuple[str, int]  # model and parameters


@dataclass(frozen=True)
class Cell:
    """One cell of a grid.

    Attributes:
        config: JSON of the run's configuration.
        summary: JSON of `cwrnn eval`.
        arrays: name -> (R, ...) rows of its networks.
    """

    config: dict[str, Any]
    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Results:
    """The contents of results.h5.

    Attributes:
        folder: where the grid is.
        cells: (model, parameters) -> cell; by model as in tables, then by parameters.
        shared: name -> what all cells share.
    """

    folder: Path
    cells: dict[Key, Cell]
    shared: dict[str, np.ndarray]

    @property
    def summaries(self) -> dict[Key, dict[str, Any]]:
        """(model, parameters) -> JSON of `cwrnn eval`."""
        return {key: cell.summary for key, cell in self.cells.items()}

    @property
    def first(self) -> dict[str, Any]:
        """Any cell's summary, for what is the same in all of them."""
        return next(iter(self.cells.values())).summary

    @property
    def sizes(self) -> list[int]:
        """Parameters, ascending."""
        return sorted({params for _, params in self.cells})

    def by_size(self) -> list[tuple[Key, dict[str, Any]]]:
        """Summaries as tables have them: by parameters, then by model."""
        return sorted(self.summaries.items(), key=lambda item: item[0][1])

    def tolerances(self) -> dict[str, list[float | None]]:
        """MODEL/PARAMS -> :func:`.statistics.tolerance` of the networks that did not diverge."""
        return {
            f"{model}/{params}": tolerance(summary["medians"]["survivors"])
            for (model, params), summary in self.summaries.items()
            if "medians" in summary
        }

    def finite(self, name: str) -> dict[Key, np.ndarray]:
        """(model, parameters) -> an array's rows of the networks that did not diverge.

        Those of single precision in double, so that sums are those of the summaries.
        """
        found = {k: c.arrays[name][~c.arrays["diverged"]] for k, c in self.cells.items()}
        return {k: v.astype(float) if v.dtype.kind == "f" else v for k, v in found.items()}


def write_results(path: Path, cells: Iterable[Cell], shared: dict[str, np.ndarray]) -> None:
    """Write a grid's results.h5, whole or not at all."""
    _write(path, ((f"{c.config['model']}/{c.config['params']}", c) for c in cells), shared)


def write_runs(path: Path, runs: Mapping[str, Cell]) -> None:
    """Write the results.h5 of runs by their names, whole or not at all."""
    _write(path, runs.items(), {})


def _write(path: Path, cells: Iterable[tuple[str, Cell]], shared: Mapping[str, np.ndarray]) -> None:
    with sealed_hdf5(path, MAGIC, libver="latest") as file:
        for name, cell in cells:
            group = file.create_group(name)
            group.attrs["config"] = dumps(cell.config, sort_keys=True)
            group.attrs["summary"] = dumps(cell.summary, sort_keys=True)
            for array, values in cell.arrays.items():
                store_array(group, array, values)
        for array, values in shared.items():
            store_array(file, array, values)


def store_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """An array, compressed as one chunk: of many small ones HDF5's bookkeeping is the most."""
    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
    if values.nbytes > _SMALL:
        group.create_dataset(name, data=values, chunks=values.shape, **packed)
    else:
        group[name] = values


def read_results(path: Path) -> Results:
    """Read a grid's results.h5.

    Raises:
        UserError: it is damaged, it holds no cell, or one that no installed package brings.
    """
    cells: dict[Key, Cell] = {}
    with opened_hdf5(path, MAGIC) as file:
        models = {name for name, value in file.items() if isinstance(value, h5py.Group)}
        unknown = sorted(models - CELLS.keys())
        if unknown or not models:
            what = f"the cell {unknown[0]}, which no installed package brings" if models else "none"
            raise UserError(f"{path}: expected cells of a grid; it holds {what}")
        for model in CELLS:
            for params in sorted(map(int, file.get(model, {}))):
                cells[model, params] = _read(file[f"{model}/{params}"])
        shared = {n: v[()] for n, v in file.items() if isinstance(v, h5py.Dataset)}
    return Results(Path(path).parent, cells, shared)


def read_runs(path: Path) -> dict[str, Cell]:
    """Read the results.h5 of runs: name -> cell, what its cells share among its arrays."""
    with opened_hdf5(path, MAGIC) as file:
        return {name: _read(group) for name, group in file.items()}


def _read(group: h5py.Group) -> Cell:
    """A cell; of :data:`.hdf5.FAILURES` for what is none."""
    config, summary = (json.loads(group.attrs[name]) for name in ("config", "summary"))
    if not (isinstance(config, dict) and isinstance(summary, dict)):
        raise ValueError(f"{group.name}: expected objects as its config and summary")
    return Cell(config, summary, {name: values[()] for name, values in group.items()})
