"""`cwrnn bench gpu-check`: is a GPU right, and how fast? Every step a process with a limit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data_prep.errors import UserError

from ..reporting.tables import table
from .on_device import FLASHRNN
from .options import BENCH

TREE = Path(__file__).resolve().parents[2]
LIMIT = 470.0  # seconds, of all steps
_PASSED, _FAILED, _LATE, _SKIPPED = "passed", "FAILED", "TOO LATE", "skipped"
_WIDE = "wide layer"
_MARK = "pytest.mark.gpu"
_TESTS = "tests"  # the step that says whether it is right
_SHOWN = 12  # lines of what a step that failed said last


@dataclass(frozen=True)
class Step:
    """A process to run.

    Attributes:
        name: of the step.
        words: behind the interpreter; FOLDER is a new folder to write into.
        limit: seconds.
        without: why it is not run here; "": it is.
    """

    name: str
    words: tuple[str, ...]
    limit: float
    without: str = ""


def marked() -> list[str]:
    """Files with tests that need a GPU; others may import what is not installed there."""
    found = (TREE / "tests").rglob("test_*.py")
    return sorted(str(p.relative_to(TREE)) for p in found if _MARK in p.read_text("utf-8"))


def steps_on(device: str) -> list[Step]:
    """All of them, on a GPU."""
    layers = ("--device", device, "--lengths", "320", "--seconds", "1")
    narrow = (*layers, "--batches", "1,32", "--widths", "64,256")
    flashrnn = "" if find_spec(FLASHRNN) else "FlashRNN is not installed"
    return [
        _tests(190, "-m", "gpu", *marked()),
        _bench("figure3", 120, "--device", device, "--seconds", "100"),  # compiles what comes next
        _bench("ensemble", 50, "--device", device, "--runs", "1,100,500", "--seconds", "0.5"),
        _bench("layer", 65, *narrow),
        _bench(_WIDE, 40, *layers, "--batches", "32", "--widths", "1024"),
        # last and with what time is left, as it compiles its kernels
        _bench(FLASHRNN, 200, *narrow, "--flashrnn", without=flashrnn),
    ]


def steps_interpreted() -> list[Step]:
    """The same in small, on the CPU with Triton's interpreter where a GPU's kernels would run.

    The training loops are the CPU's own.
    """
    layers = ("--device", "cpu", "--batches", "2", "--lengths", "6")
    flashrnn = "it needs a GPU"
    return [
        _tests(300, "-m", "not gpu", "-k", "interpret", "tests/kernels", "tests/tasks"),
        _bench("figure3", 120, "--device", "cpu", "--runs", "1", "--epochs", "4"),
        _bench("ensemble", 120, "--device", "cpu", "--runs", "1", "--seconds", "0"),
        _bench("layer", 120, *layers, "--widths", "16", "--repeats", "1"),
        _bench(_WIDE, 120, *layers, "--widths", "24", "--repeats", "1"),
        _bench(FLASHRNN, 100, *layers, "--flashrnn", without=flashrnn),
    ]


def _tests(limit: float, *words: str) -> Step:
    pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml", f"FOLDER/{_TESTS}.xml")
    return Step(_TESTS, (*pytest, *words), limit)


def _bench(name: str, limit: float, *words: str, without: str = "") -> Step:
    command = "layer" if name in (_WIDE, FLASHRNN) else name
    all_words = ("-m", "cwrnn_cli", "-q", "bench", command, *words, "--out", "FOLDER/found")
    return Step(name, all_words, limit, without)


def run(
    steps: list[Step],
    interpreted: bool,
    seconds: float = LIMIT,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Do all steps; one that fails does not stop the next.

    Args:
        steps: what to do.
        interpreted: whether Triton's kernels are interpreted.
        seconds: for all; a step that has no time left is too late.
        say: told how each ended.

    Returns:
        The JSON: ``correct``, whether all tests passed and there were some; ``passed``, whether all
        steps did; ``seconds``; ``steps`` with ``status``, ``about``, ``text`` and what they found.

    Raises:
        UserError: this is not the source tree, whose tests are run.
    """
    if not (TREE / "tests" / "kernels").is_dir():
        raise UserError("gpu-check: runs from the source tree, for its tests; see README.md")
    begun, done = time.monotonic(), []
    for step in steps:
        left = seconds - (time.monotonic() - begun)
        done.append(_do(step, min(step.limit, left), interpreted))
        say(f"{step.name}: {done[-1]['status']}, {done[-1]['about']}")
    return {
        "interpreted": interpreted,
        "correct": all(d["status"] == _PASSED for d in done if d["name"] == _TESTS),
        "passed": all(d["status"] in (_PASSED, _SKIPPED) for d in done),
        "seconds": round(time.monotonic() - begun, 1),
        "steps": done,
    }


def _do(step: Step, limit: float, interpreted: bool) -> dict[str, Any]:
    about = {"name": step.name, "command": " ".join(("python", *step.words)), "seconds": 0.0}
    if step.without:
        return about | {"status": _SKIPPED, "about": step.without, "text": ""}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        status, said = _process(step, limit, interpreted, folder)
        about["seconds"] = round(time.monotonic() - begun, 1)
        more = _tests_found(folder) if step.name == _TESTS else _bench_found(folder)
    if status != _PASSED:
        more["text"] = "\n".join(said.strip().splitlines()[-_SHOWN:])
        more.setdefault("about", f"nothing within {max(limit, 0):.0f} s")
    elif "about" not in more:
        status, more["about"] = _FAILED, "it has left nothing"
    return about | {"status": status, "text": ""} | more


def _process(step: Step, limit: float, interpreted: bool, folder: Path) -> tuple[str, str]:
    """How it ended, and what it said."""
    paths = filter(None, [str(TREE), os.environ.get("PYTHONPATH")])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    env |= {"TRITON_INTERPRET": "1"} if interpreted else {}
    if limit <= 0:
        return _LATE, ""
    with subprocess.Popen(
        [sys.executable, *(word.replace("FOLDER", str(folder)) for word in step.words)],
        cwd=TREE,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            said, _ = process.communicate()
            return _LATE, said
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return (_FAILED if process.returncode else _PASSED), said


def _tests_found(folder: Path) -> dict[str, Any]:
    """Of pytest's report: every test with its outcome and seconds."""
    path = folder / f"{_TESTS}.xml"
    if not path.exists():
        return {}
    tests = []
    for case in ElementTree.parse(path).iter("testcase"):
        outcomes = {"failure": _FAILED, "error": _FAILED, "skipped": _SKIPPED}
        outcome = [outcomes[part.tag] for part in case if part.tag in outcomes]
        name = f"{case.get('classname')}::{case.get('name')}"
        seconds = float(case.get("time", 0))
        tests.append({"name": name, "outcome": (outcome or [_PASSED])[0], "seconds": seconds})
    counts = {o: sum(t["outcome"] == o for t in tests) for o in (_PASSED, _FAILED, _SKIPPED)}
    about = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return {"tests": tests, "about": about} if counts[_PASSED] + counts[_FAILED] else {}


def _bench_found(folder: Path) -> dict[str, Any]:
    """Of a benchmark's folder."""
    found = folder / "found"
    if not (found / BENCH).exists():
        return {}
    result = json.loads((found / BENCH).read_text(encoding="utf-8"))
    text = (found / "bench.txt").read_text(encoding="utf-8").rstrip("\n")
    about = f"{len(result['rows'])} rows"
    if "wall_s" in result:
        about = text.splitlines()[-1]
    return {"about": about, "text": text, "result": result}


def check_text(result: Mapping[str, Any]) -> str:
    """What `cwrnn bench gpu-check` shows: the steps, then every test, then every benchmark."""
    steps = result["steps"]
    rows = [[s["name"], s["status"], f"{s['seconds']:.0f}", s["about"]] for s in steps]
    where = "interpreted on the CPU: nothing here is a GPU's" if result["interpreted"] else ""
    right = "right" if result["correct"] else "NOT shown to be right"
    begin = f"{result['machine']['gpu'] or result['machine']['processor']}: {right}; {where}"
    parts = [
        begin.removesuffix("; "),
        table(("step", "ended", "s", "found"), rows) + f"\n\nall: {result['seconds']:.0f} s",
    ]
    for step in steps:
        parts += [f"{step['name']}: {step['command']}"] * bool(step["text"] or step.get("tests"))
        if step.get("tests"):
            tests = [[t["outcome"], f"{t['seconds']:.1f}", t["name"]] for t in step["tests"]]
            parts.append(table(("ended", "s", "test"), tests))
        parts += [step["text"]] * bool(step["text"])
    return "\n\n".join(parts)
