"""The soak's command: ``python -m tests.soak [--minutes N] [--seed S] [--only KIND]``.

Kills, faults, signals and pairs run one after the other in this process' forked children, and fuzz
in a worker beside them. ``--case NAME`` repeats one case and says what is wrong with it.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from . import shim

SHARES = {"kill": 0.4, "fault": 0.3, "random": 0.15, "two": 0.15}  # of the time
AT_CALLS = ("kill", "fault")  # these need the shim
KINDS = (*SHARES, "fuzz")
PLACE = "CWRNN_SOAK_PLACE"


def main() -> None:
    """Read the options, and begin anew under the shim."""
    options = _options()
    if PLACE in os.environ:
        shim.end_with_parent()
        sys.exit(_soak(options, Path(os.environ[PLACE])))
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    place = Path(tempfile.mkdtemp(prefix="cwrnn-soak-", dir=where)).resolve()
    environment = dict(os.environ)
    if shim.compiler():
        environment = shim.environment(place)
    else:
        print("skipped: kills and faults at a call, for there is no C compiler (cc, gcc, clang)")
    environment |= {PLACE: str(place), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    words = [sys.executable, "-m", "tests.soak", *sys.argv[1:]]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        status = subprocess.run(words, env=environment).returncode
    finally:
        shutil.rmtree(place, ignore_errors=True)
    sys.exit(status)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, help="of all cases; else the time")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--settings", help="of kill, fault and random: these, with commas between")
    parser.add_argument("--faults", help="of fault: these, such as ENOSPC,memory-on")
    parser.add_argument("--inputs", type=int, help="of fuzz: end after so many")
    parser.add_argument("--case", help="run this one, such as kill/train-audio/before/7")
    parser.add_argument("--record", type=Path, help="a folder to note it in, or none")
    return parser.parse_args()


def _soak(options: argparse.Namespace, place: Path) -> int:
    """Run it; the exit status."""
    # slow to import, and not to be imported by a process that is about to begin anew
    from .children import quiet_threads
    from .learnt import Learnt
    from .settings import SETTINGS, Stage, write_inputs

    began = time.monotonic()
    seed = int(time.time()) % 10**6 if options.seed is None else options.seed
    quiet_threads()
    (place / "data").mkdir()
    write_inputs(place / "data")
    stages = {name: Stage(setting, place) for name, setting in SETTINGS.items()}
    soak = _Soak(options, place, seed, Learnt(stages))
    if options.case:
        return soak.one(options.case)
    soak.run(began + 60 * options.minutes)
    print("\n".join(soak.tally.lines()))
    if options.record:
        soak.keep(options.record, time.monotonic() - began)
    return 1 if soak.tally.failed else 0


class _Soak:
    """One soak: its cases, and what they came to."""

    def __init__(self, options: argparse.Namespace, place: Path, seed: int, stages: Any) -> None:
        from .cases import Cases
        from .record import Tally

        self.options, self.place, self.seed, self.stages = options, place, seed, stages
        self.control = shim.attach()
        self.cases, self.tally = Cases(stages, self.control, seed), Tally()
        self.covered: dict[str, list[int]] = {}

    def run(self, end: float) -> None:
        """All kinds, or the one that is asked for, until then."""
        kinds = [self.options.only] if self.options.only else list(KINDS)
        fuzzer = self.fuzzer() if "fuzz" in kinds else None
        rest = [kind for kind in SHARES if kind in kinds and (self.control or kind not in AT_CALLS)]
        names = self.options.settings.split(",") if self.options.settings else list(self.stages)
        parts = self.stages.by_time(names if set(rest) - {"two"} else [])
        faults = self.options.faults.split(",") if self.options.faults else []
        left = sum(SHARES[kind] for kind in rest)
        for kind in rest:
            until = time.monotonic() + (end - time.monotonic()) * SHARES[kind] / left
            left -= SHARES[kind]
            for case in self.of_kind(kind, parts):
                if time.monotonic() > until:
                    break
                if kind == "fault" and faults and case.split("/")[2] not in faults:
                    continue
                self.note(case, self.wrong(case))
                if fuzzer:
                    fuzzer.poll()
            cases, failures = self.tally.of(kind)
            print(f"{kind}: {cases} cases, {failures} failures", flush=True)
        if not fuzzer:
            return
        while time.monotonic() < end and not fuzzer.done:
            fuzzer.poll()
            time.sleep(0.05)
        found = fuzzer.stop()
        for name, number in found.numbers.items():
            self.tally.add(f"fuzz/{name}", "", number)
        for case, wrong in found.faults:
            self.tally.add(case, wrong.replace(str(self.place), ""), 0)

    def of_kind(self, kind: str, parts: Iterable[list[str]]) -> Iterator[str]:
        """Its cases: quick settings first, each part in a random order; or without end."""
        from .two import PAIRS

        if kind == "random":
            yield from self.cases.randoms(next(filter(None, parts)))
        elif kind == "two":
            yield from (f"two/{name}/{number}" for number in count() for name in PAIRS)
        else:
            made = self.cases.kills if kind == "kill" else self.cases.faults
            for names in parts:
                found = list(made(names))
                for case in found:
                    self.covered.setdefault("/".join(case.split("/")[:2]), [0, 0])[1] += 1
                random.Random(self.seed).shuffle(found)
                yield from found

    def wrong(self, case: str) -> str | None:
        """Run a case that is not of fuzz; see :meth:`.cases.Cases.run`."""
        from .two import run_pair

        try:
            return run_pair(case, self.cases) if case.startswith("two/") else self.cases.run(case)
        except Exception as error:  # what was left cannot even be looked at
            return f"cannot be judged: {type(error).__name__}: {error}"

    def note(self, case: str, wrong: str | None) -> None:
        """Count a case."""
        part = "/".join(case.split("/")[:2])
        if part in self.covered:
            self.covered[part][0] += 1
        if wrong is not None:
            self.tally.add(case, wrong.replace(str(self.place), ""))

    def fuzzer(self) -> Any:
        """At work on all targets."""
        from .fuzz import Fuzzer

        fuzzer = Fuzzer(self.targets(), self.place, self.seed, self.options.inputs)
        fuzzer.poll()
        return fuzzer

    def targets(self) -> dict[str, Any]:
        """All that is fuzzed."""
        from .learnt import here
        from .targets import targets

        return targets(self.place, dict(self.stages), here)

    def one(self, case: str) -> int:
        """Repeat a case; the exit status."""
        from .fuzz import limit_memory
        from .targets import right

        if case.startswith("fuzz/"):
            target = self.targets()[case.split("/")[1]]
            known = right(target)
            limit_memory()
            wrong: str | None = target.fault(f"{self.seed}/{case}", known)
        else:
            wrong = self.wrong(case)
        print(f"{case}: {'did not come to it' if wrong is None else wrong or 'as it should be'}")
        return 1 if wrong else 0

    def keep(self, folder: Path, seconds: float) -> None:
        """Leave a line in the record."""
        from .record import keep, record

        minutes = self.options.minutes
        made = record(self.tally, self.seed, minutes, seconds, self.covered)
        folder.mkdir(parents=True, exist_ok=True)
        keep(folder, made, f"bash scripts/soak.sh {minutes:g} --seed {self.seed}")
