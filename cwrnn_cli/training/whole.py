"""All of the paper: a grid per task, and how long each should take on this machine.

An estimate is made from a few epochs of every cell, trained here as they will be trained, and from
evaluations and figures of what these came to.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.scratch import scratch_folder

from ..models import CELLS
from .config import TrainConfig
from .configure import configure
from .data import Data
from .folder import RunFolder
from .grid import RESULTS, Grid
from .jobs import one_thread, paths
from .listing import epochs_done
from .manifest import has_ended
from .registry import TASKS, AnyTask
from .results import Cell, Key, Results
from .share import Share
from .units import cell_folder, usual_epochs

_LEAST, _LEAST_SECONDS = 3, 0.05  # epochs, and their seconds, of a measurement
_SIZE, _ROUNDS = 768, 7  # of a product to try cores with, and how often
_START = "import cwrnn_cli.tasks; from cwrnn_cli.training.whole import started; started()"


@dataclass(frozen=True)
class Part:
    """The grid of one task.

    Attributes:
        data: the corpus.
        grid: its networks.
        out: its folder.
        jobs: cells that are trained at once, each on one thread; 0: one after the other.
        command: that makes this part alone.
    """

    data: Data
    grid: Grid
    out: Path
    jobs: int
    command: str

    @property
    def task(self) -> AnyTask:
        """Whose grid it is."""
        return TASKS[self.data.task]

    @property
    def done(self) -> bool:
        """Whether everything of it is there."""
        return has_ended(self.out) and (self.out / RESULTS).exists()


@dataclass(frozen=True)
class Estimate:
    """How long a part should take.

    Attributes:
        seconds: as expected.
        most: if no network stops early.
    """

    seconds: float
    most: float


def share_of(task: AnyTask) -> Share:
    """What a task brings.

    Raises:
        ValueError: nothing.
    """
    if task.share is None:
        raise ValueError(f"task {task.name} has no part in all of the paper")
    return task.share


def tasks_of_all() -> list[AnyTask]:
    """The tasks that have a part, in the paper's order."""
    return [task for task in TASKS.values() if task.share]


def grid_of(data: Data, quick: bool, **options: Any) -> Grid:
    """The paper's models and sizes for a corpus, by its protocol, or by a task's small settings.

    Args:
        data: as the task loads it.
        quick: whether the small settings.
        options: for every cell, beside them.
    """
    task = TASKS[data.task]
    share = share_of(task)
    sizes = share.quick_sizes if quick else sorted(task.protocol.hidden_sizes)
    chosen = dict(share.quick) if quick else {}
    models = [name for name, cell in CELLS.items() if not cell.like]
    return Grid(
        [
            configure(data, model, params, "--sizes", **chosen, **options)
            for params in sizes
            for model in models
        ]
    )


def estimate(part: Part, tick: Callable[[], None] = lambda: None) -> Estimate:
    """How long the rest of a part should take.

    From some epochs of every cell, an evaluation of each, and figures of what these few epochs came
    to: all that the part will do, on an excerpt of its corpus.

    Args:
        part: begun or not.
        tick: called after each cell.
    """
    if part.done:
        return Estimate(0.0, 0.0)
    share, task = share_of(part.task), part.task
    excerpt = share.excerpt(part.data)
    warm: set[type] = set()
    expected, most, after = [], [], 0.0
    cells: dict[Key, Cell] = {}
    with scratch_folder() as place, one_thread() if part.jobs else nullcontext():
        for config in part.grid.cells:
            done = epochs_done(cell_folder(part.out, config), config)
            left = [max(epochs - done, 0) for epochs in (usual_epochs(config), config.epochs)]
            run = cell_folder(place, config)
            first = type(config.cell) not in warm
            each = excerpt.epoch * _epoch_seconds(config, excerpt.data, run, warm)
            expected.append(left[0] * each)
            most.append(left[1] * each)
            if first:  # its layers are compiled
                task.evaluate(run, excerpt.data, task.default_split)
            began = time.perf_counter()
            evaluation = task.evaluate(run, excerpt.data, task.default_split)
            cells[config.model, config.params] = task.cell(evaluation)
            after += excerpt.evaluation * (time.perf_counter() - began)
            tick()
        began = time.perf_counter()
        results = Results(place, cells, task.shared_arrays(evaluation))
        task.comparison_text(results)
        task.figures(place, results, "")
        after += time.perf_counter() - began
    if not part.jobs:
        return Estimate(sum(expected) + after, sum(most) + after)
    at_once = min(part.jobs, len(part.grid.cells))
    slower, start = slowdown(at_once), _start_seconds(part, at_once)
    found = [
        side_by_side([start + slower * one for one in each], at_once) + after
        for each in (expected, most)
    ]
    return Estimate(*found)


def _epoch_seconds(config: TrainConfig, data: Data, run: RunFolder, warm: set[type]) -> float:
    """Of an epoch of a cell's networks.

    Args:
        config: of the cell.
        data: what to measure on.
        run: new folder, for the networks after the measurement.
        warm: cells whose loops have been compiled and run; this one joins them.
    """
    task = TASKS[config.task]
    trainer = task.trainer(config, task.hold_out(data, config.hold_out))
    run.start(config)
    trainer.at_most = 1
    began, first = time.perf_counter(), trainer.epoch
    if type(config.cell) not in warm:
        run.append_metrics(trainer.advance())
        warm.add(type(config.cell))
    slow = (time.perf_counter() - began) / max(trainer.epoch - first, 1)
    trainer.at_most = sys.maxsize
    seconds: list[float] = []
    while not trainer.finished and (len(seconds) < _LEAST or sum(seconds) < _LEAST_SECONDS):
        first, began = trainer.epoch, time.perf_counter()
        run.append_metrics(trainer.advance())
        took = time.perf_counter() - began
        seconds.append(took / max(trainer.epoch - first, 1))
    run.save(trainer.checkpoint())
    return statistics.median(seconds or [slow])


def side_by_side(seconds: Sequence[float], jobs: int) -> float:
    """When the last of some works ends, begun in their order, so many at once."""
    ends = [0.0] * jobs
    for each in seconds:
        ends.sort()
        ends[0] += each
    return max(ends)


def slowdown(jobs: int) -> float:
    """How many times longer a thread's product takes if as many threads as jobs have one each."""
    pairs = [(torch.randn(_SIZE, _SIZE), torch.randn(_SIZE, _SIZE)) for _ in range(jobs)]

    def work(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
        for _ in range(5):
            torch.mm(*pair)

    alone, together = [], []
    with one_thread(), ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, pairs))
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            work(pairs[0])
            alone.append(time.perf_counter() - began)
            began = time.perf_counter()
            list(pool.map(work, pairs))
            together.append(time.perf_counter() - began)
    return max(min(together) / min(alone), 1.0)


def _start_seconds(part: Part, at_once: int) -> float:
    """Until each of so many processes that train a cell of a part has its networks ready."""
    with scratch_folder() as place:
        began = time.perf_counter()
        cells = part.grid.cells[:at_once]
        _end(_starting(place / str(number), part, [cell]) for number, cell in enumerate(cells))
        return time.perf_counter() - began


def warm_up(parts: Sequence[Part]) -> None:
    """Have the loops compiled that parts are trained by, a process for each part, all at once.

    What is compiled is kept, and taken by whoever trains next; where it cannot be kept, this is
    for nothing, and does no harm.
    """
    with scratch_folder() as place:
        _end(
            _starting(place / part.task.name, part, list(kinds.values()))
            for part in parts
            if (kinds := {type(cell.cell): cell for cell in part.grid.cells})
        )


def _end(starting: Iterable[subprocess.Popen[bytes]]) -> None:
    """Start processes, and wait until all have ended, or end them."""
    processes = []
    try:
        for process in starting:
            processes.append(process)
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _starting(place: Path, part: Part, cells: Sequence[TrainConfig]) -> subprocess.Popen[bytes]:
    """A process that has the networks of some cells at their start, and ends.

    What goes wrong there is not said: training will say it.
    """
    runs = []
    for number, config in enumerate(cells):
        run = RunFolder(place / str(number))
        run.start(config)
        runs.append(str(run.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, str(part.data.path), *runs],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths()},
    )


def started() -> None:
    """What the process of :func:`_starting` does; the data and the runs are its words."""
    data, *runs = sys.argv[1:]
    for run in runs:
        config = RunFolder(Path(run)).config()
        task = TASKS[config.task]
        task.trainer(config, task.load(Path(data)))
