"""`cwrnn bench saving`: what share of a training the safety of its files takes.

A run is trained as `cwrnn train` does, in a folder of its own on the disk, for some seconds. What
is written is timed where it is written; digest and lock again by themselves, on the same bytes.
"""

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.scratch import temporary_folder

from ..training.checkpoints import Checkpoint
from ..training.config import TrainConfig
from ..training.configure import configure
from ..training.data import Data
from ..training.folder import CHECKPOINT, RunFolder, writing
from ..training.loop import CHECKPOINT_SECONDS, train
from . import machine

REPEATS = 20  # of what takes a millisecond: the median is shown
_EPOCHS = 10**6  # more than there is time for


@dataclass
class Row:
    """One training.

    Attributes:
        model: name of the cell.
        params: parameters of a network.
        networks: trained at once.
        seconds: of the training, compiling left out.
        checkpoints: that were written.
        bytes: of the last one.
        saving: seconds for all checkpoints: packed, digest, written, synced.
        metrics: seconds for all lines of metrics.jsonl.
        digest: seconds for one SHA-256 over the last checkpoint.
        lock: seconds for taking the folder's lock and giving it back, once in a training.
    """

    model: str
    params: int
    networks: int
    seconds: float
    checkpoints: int
    bytes: int
    saving: float
    metrics: float
    digest: float
    lock: float

    def shares(self) -> dict[str, float]:
        """Of a long training's time: all that is written; and digests and lock alone."""
        each = self.saving / self.checkpoints
        return {
            "written_share": each / CHECKPOINT_SECONDS + self.metrics / self.seconds,
            "safety_share": self.digest / CHECKPOINT_SECONDS + self.lock / self.seconds,
        }


class _Enough(Exception):
    """The time is over."""


class _Timed(RunFolder):
    """A run folder that knows how long it took to write into it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.saving = self.metrics = 0.0
        self.checkpoints = 0

    def save(self, checkpoint: Checkpoint) -> None:
        began = time.perf_counter()
        super().save(checkpoint)
        self.saving += time.perf_counter() - began
        self.checkpoints += 1

    def append_metrics(self, values: dict[str, Any]) -> None:
        began = time.perf_counter()
        super().append_metrics(values)
        self.metrics += time.perf_counter() - began


def run(
    data: Data,
    models: Sequence[str],
    params: int | None,
    networks: int,
    seconds: float,
    place: Path,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Train each model for some seconds.

    Args:
        data: the prepared corpus.
        models: names of cells.
        params: parameters of a network; None: the largest of Table 1.
        networks: trained at once, of each sequence where networks learn one.
        seconds: of each training.
        place: a folder on the disk that is asked about.
        tick: called after each.

    Returns:
        machine, and rows: see :class:`Row`, with its shares.
    """
    rows = []
    for model in models:
        config = configure(data, model, params, runs=networks, epochs=_EPOCHS)
        with temporary_folder(place, ".cwrnn-saving-", place) as folder:
            _train(config, data, _Timed(folder / "compiled"), 0.0)
            row = _row(config, data, _Timed(folder / "run"), seconds)
        rows.append(asdict(row) | row.shares())
        tick()
    return {"machine": machine.describe(), "rows": rows}


def _train(config: TrainConfig, data: Data, folder: _Timed, seconds: float) -> float:
    """Train for some seconds; how many they were."""
    folder.start(config)
    began = time.perf_counter()

    def progress(epoch: int, summary: object) -> None:
        if time.perf_counter() - began > seconds and folder.has_checkpoint:
            raise _Enough

    try:
        train(
            config, data, folder, progress, checkpoint_seconds=min(seconds / 2, CHECKPOINT_SECONDS)
        )
    except _Enough:
        pass
    return time.perf_counter() - began


def _row(config: TrainConfig, data: Data, folder: _Timed, seconds: float) -> Row:
    took = _train(config, data, folder, seconds)
    content = (folder.path / CHECKPOINT).read_bytes()

    def lock() -> None:
        with writing(folder.path):
            pass

    return Row(
        model=config.model,
        params=config.params,
        networks=config.networks,
        seconds=took,
        checkpoints=folder.checkpoints,
        bytes=len(content),
        saving=folder.saving,
        metrics=folder.metrics,
        digest=_median(lambda: hashlib.sha256(content).digest()),
        lock=_median(lock),
    )


def _median(call: Callable[[], object]) -> float:
    return statistics.median(machine.timed(call) for _ in range(REPEATS))
