"""Fuzzing in worker processes: crashes by their signal, hangs by a timeout, memory by a limit.

A case is ``fuzz/TARGET/N``. Targets take turns of equal time, so that fast readers see the most.
"""

import json
import mmap
import os
import resource
import signal
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .shim import detach, end_with_parent
from .targets import Target, right

TURN = 0.25  # seconds
HANG = 20.0  # seconds of the processor on one input
STILL = 120.0  # seconds by the clock
MEMORY = 1 << 30  # bytes, beyond what the process has anyway


@dataclass
class Found:
    """What a worker has done so far.

    Attributes:
        numbers: target -> inputs done.
        faults: case and what is wrong with it.
    """

    numbers: dict[str, int]
    faults: list[tuple[str, str]] = field(default_factory=list)


class Fuzzer:
    """Readers under mutated inputs, in a forked worker that is replaced when it dies.

    Args:
        targets: by name.
        place: a folder for what it finds.
        seed: of all inputs.
        most: inputs in all, or None.
    """

    def __init__(
        self, targets: Mapping[str, Target], place: Path, seed: int, most: int | None = None
    ) -> None:
        self.targets, self.seed, self.most = dict(targets), seed, most
        self._faults = place / "faults.jsonl"
        self._faults.write_text("")
        # per target how many are done, then which target is at work
        self._shared = mmap.mmap(-1, 8 * (len(self.targets) + 1))
        self._deaths: list[tuple[str, str]] = []
        self._pid = 0
        self._seen = (-1, 0.0, 0.0)  # inputs in all, and when that was

    def numbers(self) -> list[int]:
        """Inputs done of each target, and the one at work."""
        return list(struct.unpack(f"{len(self.targets) + 1}q", self._shared[:]))

    @property
    def done(self) -> bool:
        """Whether all inputs that are wanted have been read."""
        return self.most is not None and sum(self.numbers()[:-1]) >= self.most

    def poll(self) -> None:
        """Begin, or replace a worker that has died or hangs; to be called now and then."""
        if self._pid:
            ended, how = os.waitpid(self._pid, os.WNOHANG)
            total = sum(self.numbers()[:-1])
            now = time.monotonic(), _processor(self._pid)
            if total != self._seen[0]:
                self._seen = (total, *now)
            hangs = now[1] - self._seen[2] > HANG or now[0] - self._seen[1] > STILL
            if not ended and not hangs:
                return
            if not ended:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0
            status = os.waitstatus_to_exitcode(how) if ended else 0
            if ended and not status:
                return
            *numbers, at = self.numbers()
            name = list(self.targets)[at]
            what = "hang" if not ended else _death(status)
            self._deaths.append((f"fuzz/{name}/{numbers[at]}", what))
            self._shared[8 * at : 8 * at + 8] = struct.pack("q", numbers[at] + 1)
        if not self.done:
            self._seen = (-1, time.monotonic(), 0.0)
            self._pid = os.fork()
            if not self._pid:
                status = 1
                try:
                    self._work()
                    status = 0
                finally:
                    os._exit(status)

    def stop(self) -> Found:
        """End the worker; what has been found."""
        self.poll()  # it may have died since
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        lines = self._faults.read_text(encoding="utf-8").splitlines()
        faults = [tuple(json.loads(line)) for line in lines]
        numbers = dict(zip(self.targets, self.numbers(), strict=False))
        return Found(numbers, [*faults, *self._deaths])

    def _work(self) -> None:
        end_with_parent()
        detach()  # memory that is refused in a case beside it is none of its own
        limit_memory()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        known = [right(target) for target in self.targets.values()]
        with self._faults.open("a", encoding="utf-8") as file:
            while not self.done:
                for index, (name, target) in enumerate(self.targets.items()):
                    until = time.monotonic() + TURN
                    number = self.numbers()[index]
                    self._shared[-8:] = struct.pack("q", index)
                    while time.monotonic() < until and not self.done:
                        case = f"fuzz/{name}/{number}"
                        if wrong := target.fault(f"{self.seed}/{case}", known[index]):
                            file.write(json.dumps([case, wrong]) + "\n")
                            file.flush()
                        number += 1
                        self._shared[8 * index : 8 * index + 8] = struct.pack("q", number)


def limit_memory() -> None:
    """No more than 1 GiB beyond what this process has."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _processor(pid: int) -> float:
    """Seconds that a process has used."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _death(status: int) -> str:
    return f"died by {signal.Signals(-status).name}" if status < 0 else f"worker ended: {status}"
