"""A folder's command, run again: are the numbers the same?

Grids and scans: bit for bit where that can be promised, which is on the same processor with the
same versions; else every median must lie within the tolerance that the manifest of a grid states
(:func:`..statistics.tolerance`, from the seeds' spread), and about as many networks diverge.
Benchmarks: ratios, never absolute times, within :data:`RATIO_TOLERANCE`.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError
from data_prep.hdf5 import FAILURES
from data_prep.reading import json_of

from ..benchmarks.layer import JAX
from ..benchmarks.options import BENCH
from ..console import DATA_FOLDER
from ..statistics import SLACK, median, tolerance
from ..statistics import Numbers as Statistics
from ..tasks import TASKS
from ..training.corpora import files_of
from ..training.device import seen
from ..training.grid import RESULTS
from ..training.registry import AnyTask
from ..training.results import read_results
from ..training.scan import SCAN_ROWS, points_of
from ..training.standin import run_command, standin_words
from ..training.survey import is_survey, read_survey
from .folders import from_rows, read_manifest

RATIO_TOLERANCE = 1.5  # machines of two cores are noisy
# which row of a benchmark it is, and the ratios in it
_WHICH = ("cell", "backend", "model", "params", "by", "width", "batch", "length", "runs")
_RATIOS = (
    "ratio",
    "ratio_faster",
    "ratio_lstm",
    "torch_lstm_over_this",
    "padded_torch_lstm_over_this",
)


@dataclass(frozen=True)
class Agreement:
    """A number of the first run beside the second's.

    Attributes:
        name: of the cell, the point of a scan, or the row of a benchmark.
        published: the first run's median over the networks that did not diverge, or ratio.
        again: the second's.
        low: the least that agrees, or None: no other does.
        high: the greatest.
        identical: whether all rows are equal, bit for bit.
        diverged: how many networks diverged in the first run, and in the second.
        networks: of how many; 0 where no networks are counted.
    """

    name: str
    published: float | None
    again: float | None
    low: float | None
    high: float | None
    identical: bool = False
    diverged: tuple[int, int] = (0, 0)
    networks: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the second run is one that the first allows."""
        if self.identical:
            return True
        first, second = self.diverged
        share = (first + 1) / (self.networks + 2)
        slack = 1 + SLACK * np.sqrt(self.networks * share * (1 - share))
        if abs(second - first) > slack:
            return False
        if self.again is None or self.low is None or self.high is None:
            return self.published == self.again
        return self.low <= self.again <= self.high


def again(folder: Path, out: Path, data: Path | None) -> Path:
    """Run a folder's command again.

    Args:
        folder: with a manifest.
        out: an empty folder.
        data: the prepared corpus; None: what is at the command's own place, or the stand-in that
            the folder's numbers are of, made anew.

    Returns:
        Where its results are.

    Raises:
        UserError: the command is none of `compare`, `scan`, `bench`; other data than the folder's,
            or none; it failed.
    """
    manifest = read_manifest(folder)
    words = shlex.split(manifest["command"])[1:]
    if words[:1] not in (["compare"], ["scan"], ["bench"]) or {"--run", ";"} & set(words):
        raise UserError(
            f"{folder}: only what one `cwrnn compare`, `scan` or `bench` has made can be run "
            f"again; its command was `{manifest['command']}`"
        )
    numbers_of(folder)  # can be read, before anything is trained
    if isinstance(manifest["data"], list):
        _check_several(manifest, data, words)
    elif manifest["data"]:
        words = [*_without_data(words), "--data", str(_data(manifest, data, words, out))]
    words += _device(manifest)
    run_command([*words, "--out", str(out / "again")])  # of options given twice the last counts
    return out / "again"


def _device(manifest: dict[str, Any]) -> list[str]:
    """The device that all was trained on, if it is here: ``auto`` may take another one here."""
    found = manifest["configuration"]
    cells = found.get("cells") if isinstance(found, dict) else found
    devices = {cell.get("device") for cell in cells or []}
    return ["--device", *devices] if len(devices) == 1 and devices <= set(seen()) else []


def _data(manifest: dict[str, Any], given: Path | None, words: list[str], out: Path) -> Path:
    """The corpus of a folder: the one given, or found, or its stand-in."""
    task = TASKS[_cells(manifest)[0]["task"]]
    place = given or _prepared(task, manifest["data"], words, out)
    found, expected = task.load(place).sha256, manifest["data"]["sha256"]
    if found != expected:
        raise UserError(
            f"{place}: not the data of this folder (sha256 {found[:12]}, expected "
            f"{expected[:12]}); name the right file with --data"
        )
    return place


def _without_data(words: list[str]) -> list[str]:
    """A command without --data FILE: another one beside it would be one more."""
    kept = [w for before, w in zip(["", *words], words, strict=False) if before != "--data"]
    return [word for word in kept if word != "--data" and not word.startswith("--data=")]


def _check_several(manifest: dict[str, Any], given: Path | None, words: list[str]) -> None:
    """Whether the corpora of a folder are where its command has them.

    Raises:
        UserError: they are not, or --data was given.
    """
    if given:
        raise UserError(f"--data {given}: this folder is of several files; its command names them")
    task = TASKS[manifest["configuration"]["cells"][0]["task"]]
    named = [Path(w) for option, w in zip(words, words[1:], strict=False) if option == "--data"]
    for path in named:
        if not path.exists():
            raise UserError(f"{path}: no such file; prepare there what this folder is of")
    found = [task.load(path).sha256 for path in files_of(named)]
    if found != [source["sha256"] for source in manifest["data"]]:
        raise UserError(f"{', '.join(map(str, named))}: not the data of this folder")


def _cells(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cells = manifest["configuration"]
    if not isinstance(cells, list) or not cells or "task" not in cells[0]:
        raise UserError("this folder's data cannot be looked up: its manifest names no task")
    return cells


def _prepared(task: AnyTask, data: dict[str, Any], words: list[str], out: Path) -> Path:
    """The corpus, where the user named none."""
    named = dict(zip(words, words[1:], strict=False)).get("--data")
    for place in (Path(named or "nowhere"), DATA_FOLDER / f"{task.name}.h5"):
        if place.exists() and task.load(place).sha256 == data["sha256"]:
            return place
    if not data["standin"]:
        origin = data.get("provenance", {}).get("source", {}).get("origin", "see the folder above")
        raise UserError(
            f"{data['name']}: prepare it and name the file with --data (where it is from: {origin})"
        )
    place = out / "data.h5"
    run_command(standin_words(task, place))
    return place


@dataclass(frozen=True)
class Numbers:
    """What two runs are compared by: one cell, point or row.

    Attributes:
        value: a median, or a ratio.
        low: the least that another run may have, or None.
        high: the greatest.
        rows: name -> arrays of its networks; empty for a benchmark.
        of_jax: whether it is measured only where JAX is installed.
    """

    value: float | None
    low: float | None
    high: float | None
    rows: dict[str, np.ndarray]
    of_jax: bool = False


def numbers_of(folder: Path) -> dict[str, Numbers]:
    """Name -> numbers of everything that a folder holds.

    Raises:
        UserError: there is nothing that a second run could be compared with, or it cannot be read.
    """
    try:
        found = _numbers_of(folder)
    except FAILURES as error:
        raise UserError(f"rows that are none of ours ({error})", place=folder) from error
    if not found:
        raise UserError(f"{folder}: holds no errors and no ratios to compare a second run with")
    return found


def _numbers_of(folder: Path) -> dict[str, Numbers]:
    """Of :data:`.hdf5.FAILURES` where its files hold something else."""
    found: dict[str, Numbers] = {}
    if (folder / RESULTS).exists() and is_survey(folder / RESULTS):
        found |= _of_survey(folder / RESULTS)
    elif (folder / RESULTS).exists():
        results = from_rows(read_results(folder / RESULTS))
        for (model, params), cell in results.cells.items():
            survivors = cell.summary["medians"]["survivors"]
            found[f"{model}/{params}"] = _median(survivors, cell.arrays)
    elif (folder / SCAN_ROWS).exists():
        for name, rows in points_of(folder / SCAN_ROWS).items():
            found[name] = _median(median(rows["error"][~rows["diverged"]]), rows)
    elif (folder / BENCH).exists():
        for row in json_of(folder / BENCH)["rows"]:
            which = " ".join(str(row[key]) for key in _WHICH if key in row)
            for ratio in (name for name in _RATIOS if row.get(name) is not None):
                value = float(row[ratio])
                ends = value / RATIO_TOLERANCE, value * RATIO_TOLERANCE
                of_jax = row.get("backend") == JAX
                found[f"{which}: {ratio}"] = Numbers(value, *ends, {}, of_jax)
    return found


def _of_survey(path: Path) -> dict[str, Numbers]:
    """CORPUS/MODEL/PARAMS -> numbers of it."""
    rows = read_survey(path)
    found: dict[str, Numbers] = {}
    survey = TASKS[rows.task].survey()
    for (model, params), arrays in rows.cells.items():
        errors = survey.errors(rows, (model, params))
        for i, name in enumerate(rows.names):
            own = {array: values[i] for array, values in arrays.items()}
            middle = median(errors[i][~own["diverged"]])
            found[f"{name}/{model}/{params}"] = _median(middle, own)
    return found


def _median(found: Statistics, rows: dict[str, np.ndarray]) -> Numbers:
    low, high = tolerance(found)
    return Numbers(found["median"], low, high, rows)


def agreements(before: Path, after: Path) -> list[Agreement]:
    """Each number of two folders that one command has made; JAX's only where both have them.

    Raises:
        UserError: they hold other cells, points or rows.
    """
    first, second = numbers_of(before), numbers_of(after)
    other = first.keys() ^ second.keys()
    if not all((first.get(name) or second[name]).of_jax for name in other):
        raise UserError(f"{after}: holds other cells, points or rows than {before}")
    return [_agreement(name, mine, second[name]) for name, mine in first.items() if name in second]


def _agreement(name: str, first: Numbers, second: Numbers) -> Agreement:
    identical = bool(first.rows) and all(
        np.array_equal(values, second.rows[array], equal_nan=values.dtype.kind == "f")
        for array, values in first.rows.items()
        if array in second.rows
    )
    diverged = [int(n.rows["diverged"].sum()) if n.rows else 0 for n in (first, second)]
    return Agreement(
        name=name,
        published=first.value,
        again=second.value,
        low=first.low,
        high=first.high,
        identical=identical,
        diverged=(diverged[0], diverged[1]),
        networks=len(first.rows["diverged"]) if first.rows else 0,
    )
