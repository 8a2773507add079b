"""Cases in forked children: each is repeatable from its name and the seed alone.

``kill/SETTING/MODE/N``: killed at call N (MODE ``before`` it, ``torn`` within it, ``twice``: the
run that takes it up is killed as well; ``order``: nobody is killed, but were the power cut, would
what is renamed into its place be on the disk?). ``fault/SETTING/ERROR/N``: call N fails
(``ENOSPC-on``: and all after it; ``memory``: allocation N). ``random/SETTING/N``: signals at random
times.
"""

import errno
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from cwrnn_cli.training.folder import CHECKPOINT, METRICS
from data_prep.locks import LOCK

from . import shim
from .children import Child, run
from .settings import SETTINGS, Stage

KILLS = {"before": shim.KILL, "torn": shim.TORN}
ERRORS = ("ENOSPC", "EIO", "EACCES", "EMFILE", "EDQUOT")
FAULTS = {
    **{name: (shim.FAIL, getattr(errno, name)) for name in ERRORS},
    "ENOSPC-on": (shim.FAIL_ON, errno.ENOSPC),
    "EACCES-on": (shim.FAIL_ON, errno.EACCES),
    "EMFILE-on": (shim.FAIL_ON, errno.EMFILE),
}
MEMORY = {"memory": shim.FAIL, "memory-on": shim.FAIL_ON}
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}
_TAKES_AWAY = ("unlink", "unlinkat", "rmdir")  # where these fail, what they are for stays
ORDERLY = 2.0  # seconds that a command may take to end once it is told to


class Cases:
    """All cases of some settings.

    Args:
        stages: by name, with what they leave undisturbed.
        control: of the shim; None: no compiler, signals at random times only.
        seed: of what is random.
    """

    def __init__(self, stages: dict[str, Stage], control: shim.Control | None, seed: int) -> None:
        self.stages, self.control, self.seed = stages, control, seed
        self.counts: dict[str, tuple[int, int]] = {}

    def counted(self, stage: Stage) -> tuple[int, int]:
        """Calls that change the file system and large allocations of a command undisturbed."""
        name = stage.setting.name
        if name not in self.counts:
            stage.empty()
            count = {"action": shim.COUNT, "memory": shim.COUNT}
            with shim.armed(self.control, stage.case, **count):
                ended = run(stage.words(), stage.case)
            assert self.control and ended.status == 0, ended.said
            self.counts[name] = self.control.calls, self.control.allocations
        return self.counts[name]

    def kills(self, settings: list[str]) -> Iterator[str]:
        """Every call of every setting, before it and within it; then twice, at random."""
        for name in settings:
            calls, _ = self.counted(self.stages[name])
            yield f"kill/{name}/order/0"
            for mode in KILLS:
                yield from (f"kill/{name}/{mode}/{n}" for n in range(1, calls + 1))
            if SETTINGS[name].resumes:
                yield from (f"kill/{name}/twice/{n}" for n in range(1, calls + 1, 3))

    def faults(self, settings: list[str]) -> Iterator[str]:
        """Every call and every large allocation of every setting, and each error."""
        for name in settings:
            calls, allocations = self.counted(self.stages[name])
            for mode in FAULTS:
                yield from (f"fault/{name}/{mode}/{n}" for n in range(1, calls + 1))
            for mode in MEMORY:
                yield from (f"fault/{name}/{mode}/{n}" for n in range(1, allocations + 1))

    def randoms(self, settings: list[str]) -> Iterator[str]:
        """Without end."""
        number = 0
        while True:
            yield from (f"random/{name}/{number}" for name in settings)
            number += 1

    def run(self, case: str) -> str | None:
        """Run one; what is wrong, "" if nothing, None if it did not come to it."""
        kind, name, *rest = case.split("/")
        stage = self.stages[name]
        stage.empty()
        how: dict[str, Callable[..., str | None]] = {
            "kill": self._kill, "fault": self._fault, "random": self._random
        }  # fmt: skip
        return how[kind](stage, case, *rest)

    def _kill(self, stage: Stage, case: str, mode: str, number: str) -> str | None:
        if mode == "order":
            return self._order(stage)
        action = KILLS.get(mode, shim.KILL)
        again = random.Random(f"{self.seed}/{case}").randint(1, self.counted(stage)[0])
        stage.empty()  # to count, it was run
        with shim.armed(self.control, stage.case, action=action, at=int(number)):
            ended = run(stage.words(), stage.case)
        assert self.control
        call = self.control.fired.decode()
        if not call:
            return None
        if wrong := ended.fault((0, 2, -signal.SIGKILL)):  # not 0: a process of it may be killed
            return f"killed at {call}: {wrong}"
        if mode == "twice":
            with shim.armed(self.control, stage.case, action=action, at=again):
                run(stage.again(), stage.case)
        return self._taken_up(stage, f"killed at {call}")

    def _order(self, stage: Stage) -> str:
        assert self.control
        trace = stage.place / "trace"
        trace.write_text("")
        self.control.trace = os.fsencode(trace)
        try:
            with shim.armed(self.control, stage.case, action=shim.COUNT):
                ended = run(stage.words(), stage.case)
        finally:
            self.control.trace = b""
        return ended.fault((0,)) or unsynced(trace.read_text(encoding="utf-8").splitlines())

    def _fault(self, stage: Stage, case: str, mode: str, number: str) -> str | None:
        at = int(number)
        if mode in MEMORY:
            fields = {"action": shim.COUNT, "memory": MEMORY[mode], "memory_at": at}
        else:
            action, error = FAULTS[mode]
            fields = {"action": action, "error": error, "at": at}
        with shim.armed(self.control, stage.case, **fields):
            ended = run(stage.words(), stage.case)
        assert self.control
        call = self.control.fired.decode()
        if not call:
            return None
        if wrong := ended.fault():
            return f"{mode} at {call}: {wrong}"
        if ended.status == 0:
            other = stage.difference(left=call in _TAKES_AWAY, unpacked=mode in MEMORY)
            return f"{mode} at {call}: exit 0, but {other}" if other else ""
        return self._taken_up(stage, f"{mode} at {call}")

    def _random(self, stage: Stage, case: str, number: str) -> str:
        draw = random.Random(f"{self.seed}/{case}")
        began = time.monotonic()
        run(stage.words(), stage.case)
        usual = time.monotonic() - began
        stage.empty()
        words, sent = stage.words(), ""
        for _ in range(draw.randint(1, 4)):
            sent = draw.choice(list(SIGNALS))
            child = Child(words, stage.case)
            time.sleep(draw.uniform(0, usual))
            child.signal(SIGNALS[sent])
            told = time.monotonic()
            # 130: saved; before there is anything to save the signal itself, or click's 1
            ended = child.ended()
            wrong = ended.fault((0, 1, 2, 130, -SIGNALS[sent]))
            took = time.monotonic() - told
            if wrong:
                return f"{sent}: {wrong}"
            if sent != "KILL" and took > ORDERLY:
                return f"{sent}: ended only after more than {ORDERLY:g} s"
            words = stage.again()
        return self._taken_up(stage, f"after {sent}")

    def _taken_up(self, stage: Stage, what: str) -> str:
        """Whether the command goes on and ends as if nothing had been."""
        ended = run(stage.again(), stage.case)
        # what appears whole and has no --resume may be there already
        there = not stage.setting.resumes and ended.status == 2
        if wrong := ended.fault((0, 2) if there else (0,)):
            return f"{what}, taken up: {wrong}"
        other = stage.difference()
        if other and ended.status:
            other += f", after: {ended.last}"
        return f"{what}, taken up: {other}" if other else ""


def unsynced(calls: Iterable[str]) -> str:
    """What a power cut could take of files in their places; "": nothing.

    A temporary file ``.NAME.X``, or a file in such a folder, has to be synced after it was written
    last and before NAME is what it is renamed to; and then the folder that NAME is in. A checkpoint
    goes with the metrics up to it. What a lock holds is for as long as its process lives.

    Args:
        calls: name and path of each, in order.
    """
    written: set[str] = set()
    renamed: dict[str, str] = {}  # folder -> a name in it
    for line in calls:
        call, _, path = line.partition(" ")
        folder, _, name = path.rpartition("/")
        if name == LOCK:
            continue
        if "write" in call or "truncate" in call or call == "fclose":
            written.add(path)
        elif call in ("fsync", "fdatasync"):
            written.discard(path)
            renamed.pop(path, None)
        elif call.startswith("rename"):
            wrong = [each for each in written if each.startswith(f"{folder}/.{name}.")]
            if name == CHECKPOINT:
                wrong += written & {f"{folder}/{METRICS}"}
            if wrong:
                return f"{name} is renamed into its place before {wrong[0]} is synced"
            renamed[folder] = name
    return "".join(f"{name}: the folder is not synced" for name in list(renamed.values())[:1])
