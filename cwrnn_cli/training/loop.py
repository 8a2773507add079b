"""The training loop: progress, checkpoints, and an orderly stop on Ctrl-C."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ..console import note
from . import distributed
from .config import TrainConfig
from .data import Data
from .folder import RunFolder, writing
from .memory import one_line_if_full
from .registry import TASKS

CHECKPOINT_SECONDS = 10.0

Progress = Callable[[int, dict[str, Any]], None]


class Interrupted(Exception):
    """Ctrl-C or SIGTERM came; the state is saved.

    Attributes:
        epoch: epochs done.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch

    def __str__(self) -> str:
        return f"interrupted after epoch {self.epoch}"


def train(
    config: TrainConfig,
    data: Data,
    folder: RunFolder,
    progress: Progress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train a run to its end, from its checkpoint if the folder has one.

    Killed at any moment and called again, it ends with bit-identical weights on the same machine.
    Of several processes that train together, the first one writes; it holds the folder's lock.

    Args:
        config: of the run; the folder has been started with it.
        data: the prepared corpus.
        folder: where the run lives.
        progress: called with the epochs done and a summary now and then.
        checkpoint_seconds: at most so long, and one step of progress, lies between two checkpoints.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is of the last epoch done.
        UserError: a damaged checkpoint, a place that cannot be written, or a device whose memory is
            full: what would fit.
    """
    writes = not distributed.together() or distributed.rank() == 0
    with writing(folder.path) if writes else nullcontext(), one_line_if_full(config, folder):
        _train(config, data, folder, progress, checkpoint_seconds, writes)


def _train(
    config: TrainConfig,
    data: Data,
    folder: RunFolder,
    progress: Progress | None,
    checkpoint_seconds: float,
    writes: bool,
) -> None:
    """:func:`train`, wherever there is memory enough."""
    task = TASKS[config.task]
    trainer = task.trainer(config, task.hold_out(data, config.hold_out))
    if folder.has_checkpoint:
        if writes:
            folder.mend()
        trainer.restore(folder.checkpoint())
    note(
        f"{folder.path}: epoch {trainer.epoch} of {config.epochs}, trained by "
        f"{type(trainer.engine).__name__} on {config.device}"
    )
    if writes:
        folder.cut_metrics(trainer.epoch)
    saved = time.monotonic()
    with deferred_signals() as stop:
        while not trainer.finished:
            summary = trainer.advance()
            if writes:
                folder.append_metrics(summary)
            if progress:
                progress(trainer.epoch, summary)
            stopping = distributed.any_of(bool(stop), config.device)
            due = stopping or trainer.finished or time.monotonic() - saved > checkpoint_seconds
            if due and writes:
                folder.save(trainer.checkpoint())
                saved = time.monotonic()
            if stopping and not trainer.finished:
                raise Interrupted(trainer.epoch)
    if writes and folder.has_checkpoint:
        folder.settle()


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list; a second SIGINT interrupts at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
