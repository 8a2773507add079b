"""A folder's command, run again: are the numbers the same?

Bit for bit where that can be promised, which is on the same processor with the same versions; else
every median must lie within the tolerance that the manifest states (:func:`..statistics.tolerance`,
from the seeds' spread), and about as many networks diverge.
"""

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError

from ..console import DATA_FOLDER
from ..statistics import SLACK
from ..tasks import TASKS
from ..training.grid import RESULTS
from ..training.results import Results, read_results
from .folders import from_rows, read_manifest


@dataclass(frozen=True)
class Agreement:
    """A cell of the first run beside the second's.

    Attributes:
        name: MODEL/PARAMS.
        published: the first run's median over the networks that did not diverge.
        again: the second's.
        low: the least that agrees, or None: no other does.
        high: the greatest.
        diverged: how many networks diverged in the first run, and in the second.
        networks: of how many.
        identical: whether all rows are equal, bit for bit.
    """

    name: str
    published: float | None
    again: float | None
    low: float | None
    high: float | None
    diverged: tuple[int, int]
    networks: int
    identical: bool

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
        UserError: the command makes no grid; other data than the folder's, or none; it failed.
    """
    manifest = read_manifest(folder)
    words = shlex.split(manifest["command"])[1:]
    if not (folder / RESULTS).exists() or words[:1] != ["compare"] or "--run" in words:
        raise UserError(
            f"{folder}: only grids of `cwrnn compare` can be run again; its command was "
            f"`{manifest['command']}`"
        )
    results = from_rows(read_results(folder / RESULTS))  # before anything is trained
    place = data or _prepared(results, manifest["data"], words, out)
    found = TASKS[results.first["task"]].load(place)
    if found.sha256 != manifest["data"]["sha256"]:
        raise UserError(
            f"{place}: not the data of {folder} (sha256 {found.sha256[:12]}, expected "
            f"{manifest['data']['sha256'][:12]}); name the right file with --data"
        )
    _run([*words, "--data", str(place), "--out", str(out / "again")])  # the last ones count
    return out / "again"


def _prepared(results: Results, data: dict[str, Any], words: list[str], out: Path) -> Path:
    """The corpus, where the user named none."""
    task = TASKS[results.first["task"]]
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
    _run(["prepare", task.name, *([] if task.without_data else ["--standin"]), "--out", str(place)])
    return place


def _run(words: list[str]) -> None:
    """A command of ours in a process of its own, for its files and its talk, not its table."""
    done = subprocess.run([sys.executable, "-m", "cwrnn_cli", *words], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise UserError(f"cwrnn {shlex.join(words)}: ended with status {done.returncode}")


def agreements(before: Path, after: Path) -> list[Agreement]:
    """Each cell in two folders of one grid.

    Raises:
        UserError: they have other cells.
    """
    first, second = from_rows(read_results(before / RESULTS)), read_results(after / RESULTS)
    if first.cells.keys() != second.cells.keys():
        raise UserError(f"{after}: has other models or sizes than {before}")
    tolerances, found = first.tolerances(), []
    for (model, params), cell in first.cells.items():
        other = second.cells[model, params]
        identical = all(
            np.array_equal(values, other.arrays[name], equal_nan=values.dtype.kind == "f")
            for name, values in cell.arrays.items()
            if name in other.arrays
        )
        name = f"{model}/{params}"
        low, high = tolerances[name]
        published, second_time = (
            c.summary["medians"]["survivors"]["median"] for c in (cell, other)
        )
        failed, failed_again = (int(c.arrays["diverged"].sum()) for c in (cell, other))
        found.append(
            Agreement(
                name=name,
                published=published,
                again=second_time,
                low=low,
                high=high,
                diverged=(failed, failed_again),
                networks=len(cell.arrays["diverged"]),
                identical=identical,
            )
        )
    return found
