"""Two processes on everything: ``two/NAME/N``.

Where one is suspended it is at its call N (counted round and round), while the other one runs to
its end: every place at which a process can be overtaken. Else both begin at once.
"""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from . import shim
from .cases import Cases
from .children import Child, Ended, run
from .settings import Stage, difference, state


@dataclass(frozen=True)
class Pair:
    """Two commands on one folder.

    Attributes:
        setting: whose command the first is.
        second: what the other one has in addition, or, if it begins with a word, its whole command.
        resumes: whether both have ``--resume``, after a first one that was killed.
        suspended: whether the first one is stopped (SIGSTOP) while the other runs to its end.
    """

    setting: str
    second: str = ""
    resumes: bool = False
    suspended: bool = False

    @property
    def reads(self) -> bool:
        """Whether the other one is a command of its own, which only reads."""
        return bool(self.second) and not self.second.startswith(" ")


PAIRS = {
    "trains": Pair("train-audio"),
    "other-trains": Pair("train-audio", " --lr 1e-3"),
    "overtaken-train": Pair("train-audio", " --lr 1e-3", suspended=True),
    "longer-trains": Pair("train-timit", " --seed 7"),
    "resumed-trains": Pair("train-audio", resumes=True),
    "suspended-train": Pair("train-audio", resumes=True, suspended=True),
    "suspended-lines": Pair("train-iamondb", resumes=True, suspended=True),
    "train-and-eval": Pair("train-audio", "eval run"),
    "evaluated-amid": Pair("train-audio", "eval run", suspended=True),
    "compares": Pair("compare"),
    "overtaken-compare": Pair("compare", " --seed 7", suspended=True),
    "suspended-compare": Pair("compare", resumes=True, suspended=True),
    "searches": Pair("search"),
    "suspended-search": Pair("search", resumes=True, suspended=True),
    "scans": Pair("scan"),
    "overtaken-scan": Pair("scan", " --seed 7", suspended=True),
    "suspended-scan": Pair("scan", resumes=True, suspended=True),
    "prepares": Pair("prepare-audio"),
    "overtaken-prepare": Pair("prepare-audio", suspended=True),
}


def run_pair(case: str, cases: Cases) -> str | None:
    """What is wrong with a case; "" if nothing, None if it did not come to it."""
    _, name, number = case.split("/")
    pair, draw = PAIRS[name], random.Random(f"{cases.seed}/{case}")
    stage = cases.stages[pair.setting]
    own = stage.again() if pair.resumes else stage.words()
    other = pair.second.split() if pair.reads else [*own, *pair.second.split()]
    if pair.suspended:
        if cases.control is None:
            return None
        at = int(number) % cases.counted(stage)[0] + 1
    stage.empty()
    if pair.resumes:
        _killed_somewhere(stage, draw)
    if not pair.suspended:
        gate = os.pipe()
        children = [Child(own, stage.case, "first", gate), Child(other, stage.case, "second", gate)]
        os.close(gate[1])
        first, second = (child.ended() for child in children)
        os.close(gate[0])
        return _judged(stage, pair, other, first, second)
    before = _files(stage.case)
    with shim.armed(cases.control, stage.case, action=shim.STOP, at=at):
        child = Child(own, stage.case, "first")
        if not child.stopped():
            return child.ended().fault() or None
        stopped = _files(stage.case)
        second = run(other, stage.case)
        overtaken = _files(stage.case)
        child.signal(signal.SIGCONT)
        first = child.ended()
    call = cases.control.fired.decode()
    writers = before != stopped != overtaken != _files(stage.case)
    if writers and second.status == 0 and not pair.reads and stage.setting.resumes:
        return f"two writers: one was stopped at {call}, and went on when the other had ended"
    wrong = _judged(stage, pair, other, first, second)
    return wrong and f"stopped at {call}: {wrong}"


def _killed_somewhere(stage: Stage, draw: random.Random) -> None:
    began = time.monotonic()
    run(stage.words(), stage.case)
    usual = time.monotonic() - began
    stage.empty()
    child = Child(stage.words(), stage.case)
    time.sleep(draw.uniform(0.3, 0.9) * usual)
    child.signal(signal.SIGKILL)
    child.ended()


def _files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Name -> time, number and size of each file that is not temporary."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            about = path.stat()
            found[str(path)] = about.st_mtime_ns, about.st_ino, about.st_size
    return found


def _judged(stage: Stage, pair: Pair, other: list[str], first: Ended, second: Ended) -> str:
    for which, ended in (("first", first), ("second", second)):
        if wrong := ended.fault():
            return f"the {which}: {wrong}"
    won = [ended.status == 0 for ended in (first, second)]
    if pair.reads:
        if not won[0]:
            return f"the first lost to one that only reads: {first.last}"
    elif not any(won):
        return f"nobody won: {first.last}; {second.last}"
    elif all(won) and stage.setting.resumes and not pair.resumes:
        return "both won"
    if won[0] or pair.resumes:
        different = stage.difference()
        return f"the winner's results: {different}" if different else ""
    left = state(stage.case)
    stage.empty()
    run(other, stage.case)
    different = difference(state(stage.case), left)
    return f"the second's results: {different}" if different else ""
