"""scan.h5 of a factorial scan: a row per cell, its networks' errors and what it was trained with.

Thousands of cells lie in a few arrays, not in a group each as those of a scan of rates do. While
the scan is at work, each cell's errors are a line of ``cells/rows.jsonl``; its run folder is
deleted when that line is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.errors import UserError
from data_prep.files import append_text, write_bytes
from data_prep.reading import content_of
from data_prep.sealed import opened_hdf5, sealed_hdf5
from data_prep.strict_json import dumps

from ..models import CELLS
from ..paper import PROTOCOLS
from .config import TrainConfig
from .folder import LARGEST_METRICS
from .results import MAGIC, store_array

MOMENTUM = "momentum_ramp"  # a factor of every scan, unless one way is asked for
_FACTORS = "factors"  # attribute of scan.h5
_LEVEL = "level of "  # and a factor: its column; no group, which would note the time
_ABOUT = ("task", "metric", "published_on")
_ARRAYS = ("error", "diverged", "published", "sequence")
Values = dict[str, list[Any]]  # a line's arrays: name -> of each network


def momentum_name(ramp: bool) -> str:
    """In tables and folders' names."""
    return "ramp" if ramp else "constant"


def word_of(name: str) -> str:
    """A factor as it is typed and shown."""
    return name.replace("_", "-")


def cell_name(
    model: str, params: int, ramp: bool, lr: float, settings: Mapping[str, str] | None = None
) -> str:
    """Of a cell of a scan: its folder's, and its group's in scan.h5."""
    varied = "".join(f",{word_of(name)}={label}" for name, label in (settings or {}).items())
    return f"{model}-{params}-{momentum_name(ramp)}-{lr:g}{varied}"


@dataclass(frozen=True)
class Cell:
    """What a row of scan.h5 was trained with.

    Attributes:
        model: name of the cell.
        params: parameters.
        ramp: whether its momentum rises.
        lr: learning rate.
        settings: factor -> level, of those that the model has.
    """

    model: str
    params: int
    ramp: bool
    lr: float
    settings: Mapping[str, str]

    @property
    def name(self) -> str:
        """See :func:`cell_name`."""
        return cell_name(self.model, self.params, self.ramp, self.lr, self.settings)


@dataclass(frozen=True)
class Rows:
    """The contents of scan.h5.

    Attributes:
        about: ``task``, ``metric`` (the paper's; "" where there is no ``published``) and
            ``published_on``, the split of that.
        factors: factor -> its levels, in the order in which they were given; without the momentum,
            which every scan may have both ways.
        cells: (N,) what each row is of.
        error: (N, R) float32, by which choices are made.
        diverged: (N, R) bool.
        published: (N, R) float32 in the paper's metric, if the paper has medians.
        sequence: (R,) which one a network learnt; 0 where a network learns all of them.
    """

    about: Mapping[str, str]
    factors: Mapping[str, Sequence[str]]
    cells: Sequence[Cell]
    error: np.ndarray
    diverged: np.ndarray
    published: np.ndarray | None
    sequence: np.ndarray

    def points(self) -> dict[str, dict[str, np.ndarray]]:
        """Name of a cell -> its networks' rows."""
        arrays = {"error": self.error, "diverged": self.diverged}
        if self.published is not None:
            arrays["published"] = self.published
        return {c.name: {n: a[i] for n, a in arrays.items()} for i, c in enumerate(self.cells)}


def is_factorial(path: Path) -> bool:
    """Whether a scan.h5 is one of these; UserError where it cannot be read."""
    with opened_hdf5(path, MAGIC) as file:
        return _FACTORS in file.attrs


def write_rows(path: Path, rows: Rows) -> None:
    """Write scan.h5, whole or not at all."""
    cells, none = rows.cells, ""
    words = {"model": [cell.model for cell in cells]}
    words |= {_LEVEL + n: [c.settings.get(n, none) for c in cells] for n in rows.factors}
    with sealed_hdf5(path, MAGIC, libver="latest") as file:
        file.attrs[_FACTORS] = dumps({n: list(levels) for n, levels in rows.factors.items()})
        file.attrs.update(dict(rows.about))
        for name, column in words.items():
            levels = list(dict.fromkeys(column))
            store_array(file, name, np.array([levels.index(word) for word in column], np.int16))
            file[name].attrs["levels"] = dumps(levels)
        store_array(file, "params", np.array([cell.params for cell in cells], np.int32))
        store_array(file, MOMENTUM, np.array([cell.ramp for cell in cells]))
        store_array(file, "lr", np.array([cell.lr for cell in cells]))
        for name in _ARRAYS:
            values = getattr(rows, name)
            if values is None:
                continue
            if name == "published" and np.array_equal(values, rows.error, equal_nan=True):
                file[name] = file["error"]  # the same array by another name
            else:
                store_array(file, name, values)


def read_rows(path: Path) -> Rows:
    """Read such a scan.h5.

    Raises:
        UserError: it cannot be read, or something in it is missing or of another kind.
    """
    with opened_hdf5(path, MAGIC) as file:
        return _rows_of(file)


def _rows_of(file: h5py.File) -> Rows:
    factors = json.loads(file.attrs[_FACTORS])
    models = _words(file["model"])
    columns = {name: _words(file[_LEVEL + name]) for name in factors}
    cells = [
        Cell(model, int(params), bool(ramp), float(lr), own)
        for model, params, ramp, lr, own in zip(
            models,
            file["params"],
            file[MOMENTUM],
            file["lr"],
            [
                {name: column[i] for name, column in columns.items() if column[i]}
                for i in range(len(models))
            ],
            strict=True,
        )
    ]
    arrays: dict[str, Any] = {n: file[n][()] if n in file else None for n in _ARRAYS}
    rows = Rows({n: str(file.attrs[n]) for n in _ABOUT}, factors, cells, **arrays)
    _check(rows)
    return rows


def _check(rows: Rows) -> None:
    """Whether a row is there for each size of each combination, and errors for each row.

    Raises:
        ValueError: not so.
    """
    if (task := rows.about["task"]) not in PROTOCOLS:
        raise ValueError(f"{task} is no task")
    shape = (len(rows.cells), len(rows.sequence))
    arrays = {"error": rows.error, "diverged": rows.diverged, "published": rows.published}
    for name, values in arrays.items():
        if values is not None and values.shape != shape:
            raise ValueError(f"{name} is of shape {values.shape}, not {shape}")
    sizes: dict[str, set[int]] = {}
    found: dict[tuple[Any, ...], list[int]] = {}
    named: dict[str, set[str]] = {}
    for cell in rows.cells:
        if cell.model not in CELLS:
            raise ValueError(f"{cell.model} is no model")
        for name, level in cell.settings.items():
            if level not in rows.factors[name]:
                raise ValueError(f"{level} is no level of {name}")
        if named.setdefault(cell.model, set(cell.settings)) != set(cell.settings):
            raise ValueError(f"{cell.name} has other factors than {cell.model} before")
        sizes.setdefault(cell.model, set()).add(cell.params)
        key = (cell.model, cell.ramp, cell.lr, *cell.settings.values())
        found.setdefault(key, []).append(cell.params)
    for (model, *_), own in found.items():
        if sorted(own) != sorted(sizes[model]):
            raise ValueError(f"{model}: not every size of every combination, once")


def _words(column: h5py.Dataset) -> list[str]:
    levels = json.loads(column.attrs["levels"])
    return [levels[code] for code in column[()]]


class Journal:
    """Rows of the cells that are done, a line each; see the module.

    Args:
        path: of the file; a line that was cut short is dropped.

    Raises:
        UserError: it cannot be written, or a line is no row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        content = content_of(path, LARGEST_METRICS) if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content or not path.exists():
            write_bytes(path, whole)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                self._rows[row["name"]] = row
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise self.no_row(f"line {number}") from error

    def no_row(self, where: str) -> UserError:
        """What to say of a line that is none, by its number or its cell."""
        reason = "expected a row of a scan; delete that line to train its cell again"
        return UserError(reason, place=f"{self.path}, {where}")

    def of(self, name: str, config: TrainConfig) -> Values | None:
        """A cell's errors, if it is done.

        Raises:
            UserError: what is done under this name computes something else.
        """
        if name not in self._rows:
            return None
        row = self._rows[name]
        try:
            before = TrainConfig.from_json(row["config"] | {"data_path": ""})
            values = {
                str(array): [_number(value) for value in each]
                for array, each in row["values"].items()
            }
        except UserError as error:
            raise UserError(error.reason, place=f"{self.path}, {name}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self.no_row(name) from error
        if different := before.differences(config):
            raise UserError(
                f"{self.path}: {name}: a run that differs in {', '.join(different)}; "
                "resume with the same options, or choose another --out"
            )
        return values

    def add(self, name: str, config: TrainConfig, values: Mapping[str, np.ndarray]) -> None:
        """One more, on the disk when this returns."""
        row = {
            "name": name,
            "config": config.computed(),
            "values": {n: [_word(value) for value in each.tolist()] for n, each in values.items()},
        }
        append_text(self.path, dumps(row) + "\n", sync=True)
        self._rows[name] = json.loads(dumps(row))


def _word(value: Any) -> Any:
    """For JSON: "nan", "inf" and "-inf" for the numbers that it has not."""
    return value if np.isfinite(value) else str(value)


def _number(value: Any) -> Any:
    """Back from :func:`_word`."""
    return float(value) if isinstance(value, str) else value
