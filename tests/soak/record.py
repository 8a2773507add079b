"""What a soak has come to: counted, printed, and kept in results/reliability."""

import json
import platform
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cwrnn_cli.training.manifest import certified, machine, program

RECORD = "soaks.jsonl"
KINDS = ("kill", "fault", "random", "two", "fuzz")
_SHOWN = 40  # different failures of a kind, kept with a case each
_RANDOM = re.compile(
    r"((?:^|[/ ])\.[\w.-]+?\.)([a-z0-9_]{8}|[0-9a-f]{16})\b"
)  # a temporary file's name
_TEMPORARY = r"\1*"
_NUMBER = re.compile(r"\b(0x[0-9a-f]+|\d+)\b|\\x[0-9a-f]{2}")  # where failures of one kind differ


@dataclass
class Tally:
    """Cases and failures of a soak.

    Attributes:
        cases: kind/part -> how many were run.
        failures: kind -> what is wrong -> the cases.
    """

    cases: Counter[str] = field(default_factory=Counter)
    failures: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, case: str, wrong: str, count: int = 1) -> None:
        """One case, or several that went as they should."""
        kind, part, *_ = case.split("/")
        self.cases[f"{kind}/{part}"] += count
        if wrong:
            what = f"{part}: {_NUMBER.sub('N', _RANDOM.sub(_TEMPORARY, ' '.join(wrong.split())))}"
            self.failures.setdefault(kind, {}).setdefault(what, []).append(case)

    def of(self, kind: str) -> tuple[int, int]:
        """Cases and failures of a kind."""
        cases = sum(n for name, n in self.cases.items() if name.split("/")[0] == kind)
        return cases, sum(map(len, self.failures.get(kind, {}).values()))

    @property
    def failed(self) -> int:
        """Of all kinds."""
        return sum(self.of(kind)[1] for kind in KINDS)

    def lines(self) -> Iterable[str]:
        """To print: counts, then each different failure with a case that repeats it."""
        for kind in KINDS:
            cases, failures = self.of(kind)
            yield f"{kind:7} {cases:9,} cases {failures:7,} failures"
        parts = [f"{n.removeprefix('fuzz/')} {c:,}" for n, c in self.cases.items() if "fuzz/" in n]
        if parts:
            yield "inputs: " + ", ".join(parts)
        for found in self.failures.values():
            for what, cases in sorted(found.items(), key=lambda item: -len(item[1])):
                yield f"{len(cases):6,}  {what}  (--case {cases[0]})"


def record(
    tally: Tally, seed: int, minutes: float, seconds: float, covered: dict[str, list[int]]
) -> dict[str, Any]:
    """A line of the record."""
    failures = [
        {
            "kind": kind,
            "what": what,
            "cases": len(cases),
            "repeat": f"bash scripts/soak.sh --seed {seed} --case {cases[0]}",
        }
        for kind, found in tally.failures.items()
        for what, cases in sorted(found.items(), key=lambda item: -len(item[1]))[:_SHOWN]
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **program(),
        "python": platform.python_version(),
        "machine": machine(),
        "seed": seed,
        "minutes": minutes,
        "seconds": round(seconds),
        "kinds": {k: dict(zip(("cases", "failures"), tally.of(k), strict=True)) for k in KINDS},
        "cases": dict(sorted(tally.cases.items())),
        "covered": covered,
        "failures": failures,
    }


def keep(folder: Path, made: dict[str, Any], command: str) -> None:
    """Append a line to the record, and note it in the folder's manifest."""
    with certified(folder, command, None, {"record": RECORD}):
        with (folder / RECORD).open("a", encoding="utf-8") as file:
            file.write(json.dumps(made) + "\n")
