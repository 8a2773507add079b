"""Several runs at once: each trains in a process of its own, on one thread.

So what comes of a run does not depend on how many train beside it. The processes are in a group of
their own, where Ctrl-C does not reach them: this one passes it on. They end when it ends, however
it ends, so that a run folder never has two writers.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

import torch

from data_prep.errors import UserError, refused

from ..console import note
from .config import TrainConfig
from .data import Data
from .folder import RunFolder
from .loop import Interrupted, Progress, deferred_signals
from .registry import TASKS
from .units import train_unit

_CHILD = "import cwrnn_cli.tasks; from cwrnn_cli.training.jobs import child; child()"
_POLL_SECONDS = 0.2  # between two looks for Ctrl-C


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """What is computed inside is, on one thread, as in the processes of :func:`train_at_once`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Job:
    """A run in training.

    Attributes:
        folder: of the run.
        process: that trains it.
        total: its epochs at the most.
        epoch: epochs done, as far as it has said.
        stopping: whether it has been told to stop.
    """

    folder: RunFolder
    process: subprocess.Popen[bytes]
    total: int
    epoch: int = 0
    stopping: bool = False

    def stop(self) -> None:
        """Let it save its checkpoint and end; a second signal might meet it while it ends."""
        if not self.stopping:
            self.process.terminate()
            self.stopping = True

    def close(self) -> None:
        """End the process if it has not ended by itself."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        self.process.stdin.close()

    def ended(self) -> Exception | None:
        """What is to be said of how it ended without a word of its own."""
        status = self.process.wait()
        self.close()
        if self.stopping and status == -signal.SIGTERM:  # before it began to train
            return Interrupted(self.epoch)
        if status < 0:
            name = signal.Signals(-status).name
            return UserError(
                f"its process was ended by {name}; the same command with --resume goes on, with a "
                "smaller --jobs if memory ran out",
                place=self.folder.path,
            )
        return RuntimeError(f"{self.folder.path}: the error above") if status else None


def train_at_once(
    cells: Sequence[tuple[TrainConfig, RunFolder]],
    data: Data,
    jobs: int,
    progress: Progress | None = None,
) -> None:
    """Train runs, each from where it is, in the order given and so many at once.

    Args:
        cells: what to train, and where.
        data: the corpus; each process reads its file.
        jobs: how many at once.
        progress: called with the epochs done over all of them, and nothing else.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, here or in one of the processes; all have saved.
        UserError: of one of them; the others have saved and stopped.
    """
    waiting = list(cells)
    running: dict[Connection, _Job] = {}
    problems: list[Exception] = []
    done = 0  # epochs of the runs that have ended
    with deferred_signals() as stop:
        try:
            while running or (waiting and not stop and not problems):
                ending = bool(stop or problems)
                if ending:
                    for job in running.values():
                        job.stop()
                elif waiting and len(running) < jobs:
                    try:
                        channel, job = _start(*waiting.pop(0), data)
                    except (UserError, OSError) as error:
                        problems.append(error)
                    else:
                        running[channel] = job
                    continue
                ready = wait(list(running), _POLL_SECONDS)
                for channel in [channel for channel in running if channel in ready]:
                    job = running[channel]
                    try:
                        found = channel.recv()
                    except (EOFError, OSError):
                        del running[channel]
                        channel.close()
                        problem = job.ended()
                        job.epoch = job.total
                        done += job.total
                    else:
                        problem = found if isinstance(found, Exception) else None
                        job.epoch = job.epoch if problem else found
                    if problem:
                        problems.append(problem)
                    elif progress:
                        progress(done + sum(job.epoch for job in running.values()), {})
        finally:
            for job in running.values():
                job.close()
    interrupted = [p for p in problems if isinstance(p, Interrupted)]
    for problem in problems:
        if problem not in interrupted:
            raise problem
    if interrupted or waiting:
        raise Interrupted(max((p.epoch for p in interrupted), default=0))


def _start(config: TrainConfig, folder: RunFolder, data: Data) -> tuple[Connection, _Job]:
    """A process that trains a run, and what it says: epochs done, or an error."""
    folder.start_or_resume(config)
    channel, own = Pipe(duplex=False)
    with own:
        words = [str(folder.path), str(data.path), str(own.fileno())]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, *words],
            stdin=subprocess.PIPE,  # which ends when this process does
            stdout=2,  # whatever it may print: stderr
            pass_fds=[own.fileno()],
            process_group=0,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths()},
        )
    note(f"{folder.path}: trained by process {process.pid}, up to {config.epochs} epochs")
    return channel, _Job(folder, process, config.epochs)


def paths() -> str:
    """Where a process finds this program; the folder it works in is, by -P, not among it."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def child() -> None:
    """What a process of :func:`train_at_once` does; the run, the data and the pipe are its words.

    Its status is 0 if the run has been trained to its end.
    """
    run, data, number = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    channel, folder = Connection(int(number), readable=False), RunFolder(Path(run))

    def say(message: int | Exception) -> None:
        try:
            channel.send(message)
        except BrokenPipeError:
            os._exit(1)

    def leave(stop: Interrupted) -> None:
        say(stop)
        os._exit(0)

    try:
        with one_thread():
            config = folder.config()
            corpus = TASKS[config.task].load(Path(data))
            if corpus.sha256 != config.data_sha256:
                raise UserError("has changed since this command began", place=data)
            train_unit(config, corpus, folder, lambda epoch, _: say(epoch), leave=leave)
    except Interrupted as stop:
        say(stop)
    except Exception as error:
        if (line := refused(error)) is None:
            raise
        say(line)


def _end_with_parent() -> None:
    """End at once when the other process does, as if killed with it."""
    os.read(0, 1)
    os._exit(1)
