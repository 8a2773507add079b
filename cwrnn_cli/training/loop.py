"""The training loop: progress, checkpoints, and an orderly stop on Ctrl-C."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from data_prep.errors import refused

from ..console import note, warn
from . import distributed
from .checkpoints import Checkpoint
from .config import TrainConfig
from .data import Data
from .folder import RunFolder, writing
from .memory import one_line_if_full
from .registry import TASKS

CHECKPOINT_SECONDS = 10.0
GOES_ON = "saved; the same command with --resume goes on"
_PIECE_SECONDS = 0.25  # between two looks for Ctrl-C, where an epoch does not take longer
GRACE_SECONDS = 0.75  # that an epoch has to come to its end in after a signal

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


def _leave(stop: Interrupted) -> None:
    warn(f"{stop}, {GOES_ON}")
    os._exit(130)


def train(
    config: TrainConfig,
    data: Data,
    folder: RunFolder,
    progress: Progress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    leave: Callable[[Interrupted], None] = _leave,
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
        leave: called on another thread, to end the process, where a signal comes within an epoch
            that does not end soon; it is lost with those since the last checkpoint, if they were
            quick, and done again on resuming.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is of the last epoch done, which may be the
            last of all.
        UserError: a damaged checkpoint, a place that cannot be written, a device whose memory is
            full (what would fit), or another process of the same run has ended.
    """
    writes = not distributed.together() or distributed.rank() == 0
    with (
        writing(folder.path) if writes else nullcontext(),
        one_line_if_full(config, folder, writes),
        distributed.one_line_if_lost(),
    ):
        _train(config, data, folder, progress, checkpoint_seconds, leave, writes)


def _train(
    config: TrainConfig,
    data: Data,
    folder: RunFolder,
    progress: Progress | None,
    checkpoint_seconds: float,
    leave: Callable[[Interrupted], None],
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
    saves = _Saves(folder, trainer.epoch)
    trainer.at_most = 1
    with _Deadline(lambda: leave(saves.last())) as deadline, deferred_signals() as stop:
        while not trainer.finished:
            before, began = trainer.epoch, time.monotonic()
            summary = trainer.advance()
            seconds = time.monotonic() - began
            in_time = (trainer.epoch - before) * _PIECE_SECONDS / max(seconds, 1e-6)
            trainer.at_most = max(int(in_time), 1)
            with deadline.off:
                if writes and trainer.at_line:
                    folder.append_metrics(summary)
                if progress:
                    progress(trainer.epoch, summary)
                stopping = distributed.any_of(bool(stop), config.device)
                due = stopping or trainer.finished or saves.age > checkpoint_seconds
                if writes and (due or seconds > _PIECE_SECONDS):
                    saves.latest = trainer.checkpoint()
                if writes and due:
                    saves.save()
                if stopping or trainer.finished:
                    deadline.end()
                if stopping and not trainer.finished:
                    raise Interrupted(trainer.epoch)
        if writes and folder.has_checkpoint:
            folder.settle()
        if distributed.any_of(bool(stop), config.device):  # the next run is not begun
            raise Interrupted(trainer.epoch)


class _Saves:
    """What of a run is on the disk, and what could be.

    Args:
        folder: of the run.
        epoch: of its checkpoint.

    Attributes:
        latest: state after the last epoch, if that took long, or was saved.
    """

    def __init__(self, folder: RunFolder, epoch: int) -> None:
        self._folder, self._epoch, self._when = folder, epoch, time.monotonic()
        self.latest: Checkpoint | None = None

    @property
    def age(self) -> float:
        """Seconds since the last checkpoint."""
        return time.monotonic() - self._when

    def save(self) -> None:
        """Write the latest state, if it is not written."""
        if self.latest and self.latest.epoch != self._epoch:
            self._folder.save(self.latest)
            self._epoch = self.latest.epoch
        self._when = time.monotonic()

    def last(self) -> Interrupted:
        """Save what there is, within an epoch."""
        try:
            self.save()
        except Exception as error:  # this thread has nobody else to tell
            warn(f"Error: {refused(error) or error}")
        return Interrupted(self._epoch)


class _Deadline:
    """Gives an epoch up that does not end soon after a signal.

    A compiled loop lets Python see no signal before it has ended, so the system writes it to a
    socket, from which another thread reads it. Of several processes that train together none gives
    up an epoch that the others are in.

    Args:
        give_up: called on that thread; does not return.

    Attributes:
        off: held while nothing is to be given up.
    """

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up, self.off = give_up, threading.Lock()
        self._ended = threading.Event()
        main = threading.current_thread() is threading.main_thread()
        self._used = main and not distributed.together()

    def __enter__(self) -> "_Deadline":
        if self._used:
            self._heard, self._told = socket.socketpair()
            self._told.setblocking(False)
            told = self._told.fileno()
            self._before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def end(self) -> None:
        """Nothing is to be given up any more."""
        self._ended.set()

    def __exit__(self, *error: object) -> None:
        self.end()
        if self._used:
            signal.set_wakeup_fd(self._before)
            self._told.close()
            self._thread.join()
            self._heard.close()

    def _watch(self) -> None:
        while number := self._heard.recv(1):
            if number[0] in _SIGNALS and not self._ended.wait(GRACE_SECONDS):
                with self.off:
                    if not self._ended.is_set():
                        self._give_up()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
