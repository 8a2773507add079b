"""Commands in forked children of a process that has everything imported and compiled.

Some 50 ms a case instead of the 3 s of a new interpreter. What a child does is what
`cwrnn` does from its first look at the words on; only interpreter and imports are its parent's.
"""

import inspect
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from cwrnn_cli.cli import main
from cwrnn_cli.training import loop

from .shim import end_with_parent

PATIENCE = 60.0  # seconds after which a child hangs


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit status, or minus the signal; None: it hung and was killed.
        said: stderr.
    """

    status: int | None
    said: str

    @property
    def last(self) -> str:
        """What it said last, shortened."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        return lines[-1].strip()[:200] if lines else "nothing"

    def fault(self, allowed: tuple[int, ...] = (0, 2)) -> str:
        """What is wrong with the way it ended: "" if nothing."""
        if self.status is None:
            return "hang"
        if "Traceback (most recent call last)" in self.said:
            return f"traceback: {self.last}"
        if self.status < 0 and self.status not in allowed:
            return f"died by {signal.Signals(-self.status).name}"
        if self.status not in allowed:
            return f"exit {self.status}: {self.last}"
        errors = [line for line in self.said.splitlines() if line.startswith("Error: ")]
        if self.status == 2 and (len(errors) != 1 or self.last != errors[0][:200]):
            return f"exit 2 without one line: {self.last}"
        return ""


def quiet_threads() -> None:
    """One thread, for a forked child has none of its parent's; a checkpoint after each step.

    The small runs of a soak are over long before the usual time between two checkpoints.
    """
    torch.set_num_threads(1)
    tqdm.monitor_interval = 0
    values = [
        0.0 if p.name == "checkpoint_seconds" else p.default
        for p in inspect.signature(loop.train).parameters.values()
        if p.default is not inspect.Parameter.empty
    ]
    loop.train.__defaults__ = tuple(values)


class Child:
    """A command that runs in a forked child.

    Args:
        words: of the command, without `cwrnn`.
        folder: to run in.
        name: of the file beside the folder that takes what it says.
        gate: the end of a pipe to read from: it begins when nobody can write to that any more.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        name: str = "said",
        gate: tuple[int, int] | None = None,
    ) -> None:
        self._said = folder.parent / name
        self._how: int | None = None
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                if gate:
                    os.close(gate[1])
                    os.read(gate[0], 1)
                status = _command(words, folder, self._said)
            finally:
                os._exit(status)

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has been waited for."""
        os.kill(self.pid, number)

    def stopped(self) -> bool:
        """Wait until it has been stopped, or has ended: whether it was stopped."""
        how = self._waited(PATIENCE, os.WUNTRACED)
        if how is not None and os.WIFSTOPPED(how):
            return True
        self._how = how
        return False

    def _waited(self, within: float, options: int) -> int | None:
        """How it has ended, as `waitpid` says; None: it has not."""
        until, pause = time.monotonic() + within, 0.0005
        while time.monotonic() < until:
            done, how = os.waitpid(self.pid, os.WNOHANG | options)
            if done:
                return how
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
        return None

    def ended(self, within: float = PATIENCE) -> Ended:
        """Wait for its end; what it leaves behind in its session is killed then."""
        if self._how is None:
            self._how = self._waited(within, 0)
        status = None if self._how is None else os.waitstatus_to_exitcode(self._how)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if status is None:
            os.waitpid(self.pid, 0)
        return Ended(status, self._said.read_text(encoding="utf-8", errors="replace"))


def run(words: list[str], folder: Path) -> Ended:
    """A command from beginning to end."""
    return Child(words, folder).ended()


def _command(words: list[str], folder: Path, said: Path) -> int:
    os.setsid()
    end_with_parent()
    tqdm.set_lock(threading.RLock())  # its own is shared by all children: killed, one keeps it
    torch.set_num_threads(1)  # the pool is made anew, here, before threads need it
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with said.open("wb") as file, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    sys.argv = ["cwrnn", *words]
    try:
        main(words, prog_name="cwrnn")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # outside of the command
        status = 130
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status
