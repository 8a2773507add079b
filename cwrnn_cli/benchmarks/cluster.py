"""What a comparison costs on many processes: measured on few, and simulated from measured units.

`cwrnn bench cluster` trains a small grid under torchrun and says what lies between units (the
queue, folders, files) and how long processes wait at the end. `cwrnn bench cluster-cost` takes the
units that grids have noted (``times.json``) and deals them out to as many processes as asked for,
in the order in which the queue does.
"""

import heapq
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from data_prep.errors import UserError
from data_prep.scratch import scratch_folder

from ..training.folder import CELLS_FOLDER, RunFolder
from ..training.units import TIMES, expected_seconds, times_of
from . import machine

_FILES = 5  # of a unit: its lock, configuration, metrics, checkpoint and times
_WORDS = 2  # to the store for a unit: to take it, and who does
_REPORTS = 1.2  # words a second of each process: how many epochs are done, and a sign of life
_ASKED = 4  # words a second of a process that waits at the end
_SMALL = ("--sizes", "100,250", "--runs", "64", "--epochs", "500", "--block", "16")


@dataclass(frozen=True)
class Run:
    """How a grid went on some processes.

    Attributes:
        processes: how many.
        seconds: until the last unit was done, from the first one's begin.
        work: of all units together, in seconds.
        idle: seconds that processes waited at the end, each for the last.
    """

    processes: int
    seconds: float
    work: float
    idle: float

    @property
    def busy(self) -> float:
        """Share of the processes' time in which they trained."""
        return self.work / (self.processes * self.seconds)


def units_in(out: Path) -> list[dict[str, Any]]:
    """What a grid has noted of its units.

    Raises:
        UserError: nothing.
    """
    return [unit for path in _noted(out) for unit in times_of(RunFolder(path.parent))]


def _noted(out: Path) -> list[Path]:
    found = sorted(out.glob(f"{CELLS_FOLDER}/*/{TIMES}"))
    if not found:
        place = f"{CELLS_FOLDER}/*/{TIMES}"
        raise UserError(f"no {place}; expected the folder of a `cwrnn compare` that has ended", out)
    return found


@dataclass(frozen=True)
class Piece:
    """A unit that is dealt out.

    Attributes:
        expected: seconds, which decide when its turn is: known beforehand, from the configuration.
        seconds: that it takes: measured.
    """

    expected: float
    seconds: float


def pieces_of(out: Path, longest: float) -> list[Piece]:
    """A grid's units, with what they took and what was to be expected of them.

    Args:
        out: the grid's folder.
        longest: as of :func:`cut`.

    Raises:
        UserError: it has noted no units; or one of a time since it was resumed only.
    """
    found: list[Piece] = []
    for path in _noted(out):
        folder = RunFolder(path.parent)
        units = times_of(folder)
        if any(unit["resumed"] for unit in units):
            reason = "a unit was resumed: how long all of it took is not known"
            raise UserError(f"{reason}; expected a grid that ran through", path)
        found += cut(units, expected_seconds(replace(folder.config(), runs=1)), longest)
    return found


def data_in(out: Path) -> set[str]:
    """Names of the corpora that a grid's cells were trained on."""
    return {RunFolder(path.parent).config().data_name for path in _noted(out)}


def cut(units: Sequence[dict[str, Any]], expected: float, longest: float) -> list[Piece]:
    """Units of a cell, of which none that has several runs takes longer than ``longest``.

    Args:
        units: as they were noted.
        expected: seconds of a run of it.
        longest: in seconds.
    """
    found: list[Piece] = []
    for unit in units:
        runs, took = unit["runs"], unit["seconds"]
        parts = int(min(-(-took // longest), runs)) if took > 0 else 1
        found += [Piece(expected * runs / parts, took / parts)] * parts
    return found


def simulated(pieces: Sequence[Piece], processes: int, overhead: float) -> Run:
    """Deal units out, those expected to take longest first, each to whoever is free first.

    Args:
        pieces: the units.
        processes: how many.
        overhead: seconds beside each unit.
    """
    free = [0.0] * processes
    for each in sorted(pieces, key=lambda piece: -piece.expected):
        heapq.heapreplace(free, free[0] + each.seconds + overhead)
    end, work = max(free), sum(piece.seconds for piece in pieces)
    return Run(processes, end, work, sum(end - each for each in free))


def overheads(units: Sequence[dict[str, Any]]) -> list[float]:
    """Seconds between one unit and the next, wherever a process has trained two."""
    of: dict[str, list[tuple[float, float]]] = {}
    for unit in units:
        of.setdefault(unit["process"], []).append((unit["began"], unit["began"] + unit["seconds"]))
    gaps = []
    for spans in of.values():
        spans.sort()
        gaps += [after[0] - before[1] for before, after in zip(spans, spans[1:], strict=False)]
    return gaps


def observed(units: Sequence[dict[str, Any]], processes: int) -> Run:
    """How a grid that was trained went."""
    ends: dict[str, float] = {}
    for unit in units:
        end = unit["began"] + unit["seconds"]
        ends[unit["process"]] = max(end, ends.get(unit["process"], 0.0))
    begin, end = min(unit["began"] for unit in units), max(ends.values())
    idle = sum(end - each for each in ends.values()) + (processes - len(ends)) * (end - begin)
    return Run(processes, end - begin, sum(unit["seconds"] for unit in units), idle)


def measured(
    counts: Sequence[int], data: Path, tick: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Train a small grid of the first task under torchrun, on as many processes as each says.

    Args:
        counts: of processes, one after the other.
        data: its corpus.
        tick: called after each.

    Returns:
        machine, and rows: ``processes``; ``units`` and the ``longest_unit_s``; ``train_s`` from
        the first one's begin to the last one's end, and the ``work_s`` of all, which is the share
        ``busy`` of the processes' time; ``overhead_per_unit_s``, the median between a unit's end
        and the next one's begin, and the largest; ``idle_per_process_s`` at the end; and
        ``command_s``, with interpreters and evaluation.
    """
    rows = []
    with scratch_folder() as place:
        for count in counts:
            folder, began = place / str(count), time.monotonic()
            launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(count))
            words = ("cwrnn_cli", "-q", "compare", "--data", str(data.resolve()), *_SMALL)
            command = [sys.executable, "-m", *launch, "-m", *words, "--out", str(folder)]
            alone = os.environ | {"OMP_NUM_THREADS": "1"}  # or torchrun says that it sets it
            status = subprocess.run(
                command, stdout=subprocess.DEVNULL, env=alone, check=False
            ).returncode
            if status:
                raise UserError(f"a comparison under torchrun, {count} processes: exit {status}")
            whole, units = time.monotonic() - began, units_in(folder)
            run, gaps = observed(units, count), overheads(units)
            rows.append(
                {
                    "processes": count,
                    "units": len(units),
                    "longest_unit_s": max(unit["seconds"] for unit in units),
                    "train_s": run.seconds,
                    "work_s": run.work,
                    "busy": run.busy,
                    "overhead_per_unit_s": median(gaps) if gaps else None,
                    "largest_overhead_s": max(gaps, default=None),
                    "idle_per_process_s": run.idle / count,
                    "command_s": whole,
                }
            )
            tick()
    return {"machine": machine.describe(), "rows": rows}


def costs(
    pieces: Sequence[Piece], counts: Sequence[int], times: Sequence[int], overhead: float
) -> list[dict[str, Any]]:
    """What units take on many processes, as measured or so many times over.

    Args:
        pieces: the units.
        counts: of processes.
        times: how often all of them.
        overhead: seconds beside each unit.

    Returns:
        A row for each: ``times``, ``processes``, ``units``; seconds that all take: their ``work_s``
        on one core, ``seconds`` here, and no less than ``bound_s``; the share ``busy``,
        ``idle_per_process_s``; words to the store a second; files made a second, without a unit's
        second checkpoint and those after it.
    """
    longest, rows = max(piece.seconds for piece in pieces), []
    for factor in times:
        units = list(pieces) * factor
        for count in counts:
            run = simulated(units, count, overhead)
            rows.append(
                {
                    "times": factor,
                    "processes": count,
                    "units": len(units),
                    "work_s": run.work,
                    "seconds": run.seconds,
                    "longest_unit_s": longest,
                    "bound_s": max(run.work / count, longest),
                    "busy": run.busy,
                    "idle_per_process_s": run.idle / count,
                    "words_per_s": (_WORDS * len(units) + _ASKED * run.idle) / run.seconds
                    + _REPORTS * count,
                    "files_per_s": _FILES * len(units) / run.seconds,
                }
            )
    return rows


def costed_again(result: Mapping[str, Any]) -> dict[str, Any]:
    """What `cwrnn bench cluster-cost` came to, with its rows made anew from its pieces."""
    pieces = [Piece(**piece) for piece in result["pieces"]]
    counts = list(dict.fromkeys(row["processes"] for row in result["rows"]))
    times = list(dict.fromkeys(row["times"] for row in result["rows"]))
    return {**result, "rows": costs(pieces, counts, times, result["overhead"])}
