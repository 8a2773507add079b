"""Units of work: blocks of the runs of a cell, that any process may train, in any order.

A network draws from its own child of the seed, and a compiled loop trains it to the same bits
whatever is beside it (:attr:`.Task.blocks` says where that holds; other cells are one unit each: by
autograd sums depend on how many networks there are). So a block is a run of its own, in
``cells/CELL/units/FIRST``, with its checkpoint; that it has been trained to its end is noted in
``times.json`` beside that. When all blocks of a cell are there, their checkpoints, one behind the
other, are the cell's, and only that stays.

How a cell is cut depends on its configuration only, not on who trains it: processes that never
speak to each other agree on it. Cells that were begun whole stay whole.
"""

import heapq
import json
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.files import write_bytes, write_text
from data_prep.reading import json_of, lines_of
from data_prep.strict_json import dumps

from .checkpoints import Checkpoint
from .config import TrainConfig, versions
from .data import Data
from .engine import Weights
from .folder import CELLS_FOLDER, LARGEST_METRICS, METRICS, Damaged, RunFolder, writing
from .loop import Progress, train
from .manifest import machine
from .registry import TASKS
from .trainer import EACH

TIMES = "times.json"
UNITS_FOLDER = "units"
UNIT_SECONDS = 30.0  # that a unit should take a core
# Weights times steps that a core trains a second: 4.4e9 to 12e9 in task 1 (results/bench), of the
# largest LSTM the least. It sizes blocks and orders them; no number depends on it.
_WEIGHT_STEPS = 5e9
_TOGETHER = 16  # blocks of more runs are multiples of it: engines train so many at once


@dataclass(frozen=True)
class Unit:
    """What one process trains at a time.

    Attributes:
        config: of the block, or of a whole cell.
        folder: where.
        seconds: that it should take a core, roughly.
    """

    config: TrainConfig
    folder: RunFolder
    seconds: float

    @property
    def name(self) -> str:
        """The cell's, with the runs where it is a block."""
        config, cell = self.config, cell_name(self.config)
        last = config.first_run + config.runs - 1
        return f"{cell}, runs {config.first_run} to {last}" if config.part_of else cell

    @property
    def done(self) -> bool:
        """Whether it has been trained to its end, or is in its cell already, which comes first."""
        if self.config.part_of and RunFolder(self.folder.path.parents[1]).has_checkpoint:
            return True
        return (self.folder.path / TIMES).exists() and self.folder.has_checkpoint


def cell_name(config: TrainConfig) -> str:
    """Of a cell of a grid: its folder's."""
    return f"{config.model}-{config.params}"


def cell_folder(out: Path, config: TrainConfig) -> RunFolder:
    """Where a cell of a grid is, or comes."""
    return RunFolder(out / CELLS_FOLDER / cell_name(config))


def usual_epochs(config: TrainConfig) -> int:
    """That networks of a cell should take: fewer than all where ours have stopped early."""
    share = TASKS[config.task].share
    if not (config.patience and share):
        return config.epochs
    lasts = share.lasts.get(config.model, {}).get(config.params, config.epochs)
    return min(lasts, config.epochs)


def expected_seconds(config: TrainConfig) -> float:
    """That a core should take for all runs of a configuration."""
    steps = usual_epochs(config) * config.sequences * config.length
    return config.runs * steps * config.parameter_count() / _WEIGHT_STEPS


def block_of(config: TrainConfig, runs: int | None = None) -> int:
    """Runs of a unit: those given, or some :data:`UNIT_SECONDS` of a core.

    All, where networks train to the same bits only together, as on a GPU, which trains many in the
    time of one.
    """
    blocks = TASKS[config.task].blocks
    if blocks is None or not blocks.exact(config):
        return config.runs
    if runs:
        return min(runs, config.runs)
    most = max(int(UNIT_SECONDS * config.runs / expected_seconds(config)), 1)
    each = -(-config.runs // -(-config.runs // most))
    whole = -(-each // _TOGETHER) * _TOGETHER if each > _TOGETHER else each
    return min(whole, config.runs)


def units_of(out: Path, cells: Iterable[TrainConfig], blocks: Mapping[str, int]) -> list[Unit]:
    """The units of a grid, in its order.

    Args:
        out: the grid's folder.
        cells: of the grid.
        blocks: name of a cell -> runs of a unit; cells that are not here, or that have been begun
            or are there as a whole, are one unit.
    """
    units = []
    for cell in cells:
        folder, block = cell_folder(out, cell), blocks.get(cell_name(cell), cell.runs)
        if block >= cell.runs or folder.has_checkpoint:
            units.append(Unit(cell, folder, expected_seconds(cell)))
            continue
        for first in range(0, cell.runs, block):
            runs = min(block, cell.runs - first)
            own = replace(cell, runs=runs, first_run=first, part_of=cell.runs)
            place = folder.path / UNITS_FOLDER / str(first)
            units.append(Unit(own, RunFolder(place), expected_seconds(own)))
    return units


def blocks_of(units: Iterable[Unit]) -> dict[str, int]:
    """How the cells are cut that are: see :func:`units_of`."""
    cut = [unit.config for unit in units if unit.config.part_of]
    return {cell_name(c): c.runs for c in reversed(cut)}  # a cell's first block is no shorter


def longest_first(units: Iterable[Unit]) -> list[Unit]:
    """In the order in which they are begun: what is left at the end is short."""
    return sorted(units, key=lambda unit: -unit.seconds)


def dealt(units: Iterable[Unit], shard: int, shards: int) -> list[Unit]:
    """A shard's units: the longest first, each to the shard that has the least to do so far.

    Args:
        units: all.
        shard: which, from 1 on.
        shards: how many there are.
    """
    loads, mine = [(0.0, number) for number in range(1, shards + 1)], []
    for unit in longest_first(units):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + unit.seconds, number))
        if number == shard:
            mine.append(unit)
    return mine


def train_unit(
    config: TrainConfig,
    data: Data,
    folder: RunFolder,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """:func:`.train`, and note that it has come to its end, and in what time.

    Args:
        config: of a unit; its folder has been started with it.
        data: the corpus.
        folder: of the unit.
        progress: as there.
        options: likewise.
    """
    resumed, began, clock = folder.has_checkpoint, time.monotonic(), time.time()
    with writing(folder.path):
        train(config, data, folder, progress, **options)
        if not (folder.path / TIMES).exists():
            own = {
                "first_run": config.first_run,
                "runs": config.runs,
                "seconds": round(time.monotonic() - began, 3),
                "resumed": resumed,  # then the seconds are those since
                "began": round(clock, 3),
                "process": f"{socket.gethostname()}:{os.getpid()}",
                "processor": machine()["processor"],
                "versions": versions(),
            }
            _note_times(folder, [own])


def _note_times(folder: RunFolder, units: list[dict[str, Any]]) -> None:
    write_text(folder.path / TIMES, dumps({"units": units}) + "\n")


def times_of(folder: RunFolder) -> list[dict[str, Any]]:
    """What units of a cell took, by their first runs.

    Of each ``first_run``, ``runs``, ``seconds`` to train it (``resumed``: since it was resumed),
    when that ``began`` (seconds since 1970), in which ``process``, on which ``processor``, with
    which ``versions``.

    Raises:
        Damaged: the file cannot be read.
    """
    path = folder.path / TIMES
    try:
        return list(json_of(path)["units"])
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged("damaged: not what a unit notes at its end", path) from error


def trained_by(folders: Iterable[RunFolder]) -> list[dict[str, Any]]:
    """On what the units of cells were trained to their ends.

    Of each kind ``processor``, ``versions``, how many ``units``, and how many of them were
    ``resumed``: begun by another process, which may have had another processor.
    """
    counts, resumed = Counter[str](), Counter[str]()
    for folder in folders:
        for unit in times_of(folder):
            kind = dumps({name: unit.get(name) for name in ("processor", "versions")})
            counts[kind] += 1
            resumed[kind] += bool(unit["resumed"])
    return [
        json.loads(kind) | {"units": count, "resumed": resumed[kind]}
        for kind, count in counts.most_common()
    ]


def train_units(units: Iterable[Unit], data: Data, progress: Progress | None = None) -> None:
    """Train units one after the other, each from where it is.

    Args:
        units: those that are done are passed over.
        data: the corpus.
        progress: called with the epochs of all of them so far and a summary.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything done so far is saved.
    """
    before = 0
    for unit in units:
        if not unit.done:
            unit.folder.start_or_resume(unit.config)

            def show(epoch: int, values: dict[str, Any], before: int = before) -> None:
                if progress:
                    progress(before + epoch, values)

            train_unit(unit.config, data, unit.folder, show)
        before += unit.config.epochs
        if progress:
            progress(before, {})


def merge(cell: TrainConfig, folder: RunFolder, units: Sequence[Unit]) -> None:
    """Make a cell of its blocks, and take them away.

    Killed at any moment and called again, it ends with the same; its checkpoint comes last.

    Args:
        cell: its configuration.
        folder: its folder.
        units: its blocks, all of them done, by their first runs.

    Raises:
        Damaged: a block is not as it was written; it is taken away, to be trained again.
    """
    with writing(folder.path):
        if not folder.has_checkpoint:
            folder.start_or_resume(cell)
            parts, noted, times = [], [], list[dict[str, Any]]()
            for unit in units:
                with _whole(unit):
                    parts.append(unit.folder.checkpoint())
                    noted.append(_lines(unit, parts[-1].epoch))
                    times += times_of(unit.folder)
            text = "".join(dumps(line) + "\n" for line in merged_lines(cell, noted))
            write_bytes(folder.path / METRICS, text.encode())
            _note_times(folder, times)
            folder.save(merged(parts))
        shutil.rmtree(folder.path / UNITS_FOLDER, ignore_errors=True)


@contextmanager
def _whole(unit: Unit) -> Iterator[None]:
    """Take a unit away of which something turns out to be damaged inside."""
    try:
        yield
    except Damaged as error:
        shutil.rmtree(unit.folder.path)
        raise Damaged(
            "damaged; the unit is taken away, to be trained again: start all shards again, or the "
            "same command with --resume",
            error.place,
        ) from error


def _lines(unit: Unit, last: int) -> list[dict[str, Any]]:
    """Of a unit that ended with epoch ``last``."""
    path = unit.folder.path / METRICS
    try:
        lines = [json.loads(line) for line in lines_of(path, LARGEST_METRICS)]
        names, each = lines[0].keys(), lines[0][EACH].keys()
        for line in lines:
            lengths = {len(values) for values in line[EACH].values()}
            if line.keys() != names or line[EACH].keys() != each or len(lengths) > 1:
                raise ValueError
        if lines[-1]["epoch"] != last:
            raise ValueError
    except (
        UserError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
    ) as error:
        raise Damaged("damaged", path) from error
    return lines


def merged(parts: Sequence[Checkpoint]) -> Checkpoint:
    """The checkpoint of all networks, of those of some each, in their order."""

    def joined(tensors: Sequence[Weights]) -> Weights:
        return {name: torch.cat([each[name] for each in tensors]) for name in tensors[0]}

    return Checkpoint(
        max(part.epoch for part in parts),
        joined([part.weights for part in parts]),
        joined([part.velocity for part in parts]),
        json.dumps([state for part in parts for state in json.loads(part.generators)]),
        joined([part.extra for part in parts]),
    )


def merged_lines(
    cell: TrainConfig, parts: Sequence[Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """The lines of a cell's metrics.jsonl from those of its blocks.

    What each network came to is put together, and the task makes its line of that. Of what a block
    says of itself beside (how many of its networks train on or have diverged, the least error so
    far) numbers add up, and errors are the least; one that has ended has said its last.

    Args:
        cell: its configuration.
        parts: of each block its lines.
    """
    blocks = TASKS[cell.task].blocks
    assert blocks  # or it were not cut
    at = [{line["epoch"]: line for line in lines} for lines in parts]
    last: list[Mapping[str, Any]] = [lines[0] for lines in parts]
    for epoch in sorted({epoch for lines in at for epoch in lines}):
        here = [lines[epoch] for lines in at if epoch in lines]
        last = [lines.get(epoch, before) for lines, before in zip(at, last, strict=True)]
        each = {
            name: np.concatenate([np.array(line[EACH][name], float) for line in here])
            for name in here[0][EACH]
        }
        names = [name for name in last[0] if name not in ("epoch", EACH)]
        after = {name: _of_all([line[name] for line in last]) for name in names}
        yield {"epoch": epoch, **blocks.line(each), **after}


def _of_all(values: list[Any]) -> Any:
    """Counts add up; of errors, where None is none that is finite, the least."""
    if all(isinstance(value, int) for value in values):
        return sum(values)
    return min((value for value in values if value is not None), default=None)
