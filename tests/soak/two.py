"""Two processes on everything: ``two/NAME/N``, what begins when drawn from the seed."""

import random
import signal
import time
from dataclasses import dataclass

from .children import Child, Ended, run
from .settings import Stage, difference, state


@dataclass(frozen=True)
class Pair:
    """Two commands on one folder.

    Attributes:
        setting: whose command the first is.
        second: what the other one has in addition, or, if it begins with a word, its whole command.
        resumes: whether both have ``--resume``, after a first one that was interrupted.
        suspended: whether the first one is stopped (SIGSTOP) while the other runs to its end.
    """

    setting: str
    second: str = ""
    resumes: bool = False
    suspended: bool = False


PAIRS = {
    "trains": Pair("train-audio"),
    "other-trains": Pair("train-audio", " --lr 1e-3"),
    "longer-trains": Pair("train-timit", " --seed 7"),
    "resumed-trains": Pair("train-audio", resumes=True),
    "suspended-train": Pair("train-audio", resumes=True, suspended=True),
    "suspended-lines": Pair("train-iamondb", resumes=True, suspended=True),
    "train-and-eval": Pair("train-audio", "eval run"),
    "compares": Pair("compare"),
    "resumed-compares": Pair("compare", resumes=True),
    "suspended-compare": Pair("compare", resumes=True, suspended=True),
    "searches": Pair("search"),
    "suspended-search": Pair("search", resumes=True, suspended=True),
    "scans": Pair("scan"),
    "suspended-scan": Pair("scan", resumes=True, suspended=True),
    "prepares": Pair("prepare-audio"),
}


def run_pair(case: str, stages: dict[str, Stage], seed: int) -> str:
    """What is wrong with a case; "" if nothing."""
    pair, draw = PAIRS[case.split("/")[1]], random.Random(f"{seed}/{case}")
    stage = stages[pair.setting]
    stage.empty()
    own = stage.again() if pair.resumes else stage.words()
    reads = bool(pair.second) and not pair.second.startswith(" ")
    other = pair.second.split() if reads else [*own, *pair.second.split()]
    began = time.monotonic()
    if run(stage.words(), stage.case).status:
        return "the first of all failed"
    usual = time.monotonic() - began
    stage.empty()
    if pair.resumes:
        child = Child(stage.words(), stage.case)
        time.sleep(draw.uniform(0.3, 0.9) * usual)
        child.signal(signal.SIGKILL)
        child.ended()
    first = Child(own, stage.case, "first")
    time.sleep(draw.uniform(0.2, 0.9) * usual if reads or pair.suspended else 0.0)
    if pair.suspended:
        first.signal(signal.SIGSTOP)
    second = Child(other, stage.case, "second")
    if pair.suspended:
        of_second = second.ended()
        first.signal(signal.SIGCONT)
        of_first = first.ended()
    else:
        of_first, of_second = first.ended(), second.ended()
    return _judged(stage, pair, other, of_first, of_second, reads)


def _judged(
    stage: Stage, pair: Pair, other: list[str], first: Ended, second: Ended, reads: bool
) -> str:
    for which, ended in (("first", first), ("second", second)):
        if wrong := ended.fault():
            return f"the {which}: {wrong}"
    won = [ended.status == 0 for ended in (first, second)]
    # one that ends before the other has begun leaves it a folder to go on with, or a file
    if not reads and sum(won) != 1 and not pair.resumes and stage.setting.resumes:
        return f"{sum(won)} of 2 won"
    if not any(won):
        return f"nobody won: {first.last}; {second.last}"
    if reads and first.status:
        return f"the first lost to one that only reads: {first.last}"
    if won[0] or pair.resumes or reads:
        different = stage.difference()
        return f"the winner's results: {different}" if different else ""
    left = state(stage.case)
    stage.empty()
    run(other, stage.case)
    different = difference(state(stage.case), left)
    return f"the second's results: {different}" if different else ""
