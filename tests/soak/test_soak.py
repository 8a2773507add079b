"""A small part of the soak: calls of a small training, and some thousand hostile inputs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.errors import UserError
from tests.soak import shim
from tests.soak.cases import unsynced
from tests.soak.mutate import mutated
from tests.soak.record import Tally
from tests.soak.targets import Target

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(not shim.compiler(), reason="needs a C compiler")


def soak(*words: str) -> str:
    command = [sys.executable, "-m", "tests.soak", "--seed", "1", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@needs_compiler
def test_killed_at_calls_of_a_training():
    """At all of them where the machine is idle, in a random order."""
    said = soak("--only", "kill", "--settings", "train-audio", "--minutes", "0.4")
    assert int(said.split("kill: ")[1].split()[0]) > 10


@needs_compiler
def test_a_full_disk_at_calls_of_prepare():
    words = ("--only", "fault", "--faults", "ENOSPC,ENOSPC-on,EDQUOT")
    said = soak(*words, "--settings", "prepare-audio", "--minutes", "0.2")
    assert int(said.split("fault: ")[1].split()[0]) > 10


def test_hostile_inputs():
    said = soak("--only", "fuzz", "--inputs", "2000", "--minutes", "10")
    assert "2,000 cases       0 failures" in said


PROGRAM = """
import os, sys
os.mkdir("a"); file = os.open("a/b", os.O_CREAT | os.O_WRONLY)
os.write(file, b"12345678"); os.close(file)
open("/dev/null", "w").write("not counted")
os.rename("a/b", "a/c")
"""


@needs_compiler
@pytest.mark.parametrize(
    ("action", "at", "left", "status"),
    [
        (shim.COUNT, 0, {"a/c": b"12345678"}, 0),
        (shim.KILL, 1, {}, -9),
        (shim.KILL, 3, {"a/b": b""}, -9),
        (shim.TORN, 3, {"a/b": b"1234"}, -9),
        (shim.KILL, 5, {"a/b": b"12345678"}, -9),
        (shim.TORN, 5, {"a/c": b"12345678"}, -9),
        (shim.FAIL, 5, {"a/b": b"12345678"}, 1),
        (shim.KILL, 6, {"a/c": b"12345678"}, 0),
    ],
)
def test_the_shim(tmp_path, monkeypatch, action, at, left, status):
    """Five calls: mkdir, open, write, close, rename; what lies elsewhere is not counted."""
    place, case = tmp_path / "place", tmp_path / "case"
    place.mkdir()
    case.mkdir()
    environment = shim.environment(place)
    monkeypatch.setenv(shim.VARIABLE, environment[shim.VARIABLE])
    control = shim.attach()
    with shim.armed(control, case, action=action, at=at, error=28):
        words = [sys.executable, "-c", PROGRAM]
        ended = subprocess.run(words, cwd=case, env=environment, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    found = {p.relative_to(case).as_posix(): p.read_bytes() for p in case.rglob("*") if p.is_file()}
    assert found == left
    assert control.calls == (5 if status == 0 else at)
    if action == shim.FAIL:
        assert "No space left on device: 'a/b' -> 'a/c'" in ended.stderr


@needs_compiler
def test_the_shim_refuses_memory(tmp_path, monkeypatch):
    """From the first call below the folder on: until then a process is loaded."""
    environment = shim.environment(tmp_path)
    monkeypatch.setenv(shim.VARIABLE, environment[shim.VARIABLE])
    control = shim.attach()
    code = "x = bytearray(1 << 22); open('new', 'w')\n"
    code += "try: bytearray(1 << 22)\nexcept MemoryError: print('refused')"
    with shim.armed(control, tmp_path, action=shim.COUNT, memory=shim.FAIL_ON, memory_at=1):
        control.least = 1 << 21
        words = [sys.executable, "-c", code]
        ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.stdout == "refused\n" and control.allocations >= 1


@pytest.mark.parametrize(
    ("calls", "wrong"),
    [
        ("write /a/.b.x|fsync /a/.b.x|rename /a/b|fsync /a", ""),
        ("fsync /a/.b.x|write /a/.b.x|rename /a/b|fsync /a", "b is renamed into its place before "),
        ("write /a/.b.x/c|rename /a/b|fsync /a", "b is renamed into its place before /a/.b.x/c "),
        ("write /a/.b.x|fsync /a/.b.x|rename /a/b", "b: the folder is not synced"),
        ("write /a/metrics.jsonl|rename /a/checkpoint.pt|fsync /a", "checkpoint.pt is renamed "),
        ("write /a/log|write /a/.b.x|fsync /a/.b.x|rename /a/b|fsync /a", ""),
    ],
)
def test_what_a_power_cut_could_take(calls, wrong):
    found = unsynced(calls.split("|"))
    assert found.startswith(wrong) and bool(found) == bool(wrong)


def test_mutations_follow_from_the_name():
    good = [os.urandom(50), b"two"]
    made = {mutated(good, str(number)) for number in range(200)}
    assert made == {mutated(good, str(number)) for number in range(200)} and len(made) > 150


def test_a_line_that_a_terminal_would_obey_is_a_fault():
    def read(content):
        error = UserError("right")
        error.message = content.decode()
        raise error

    for said, fault in (("right", False), ("two\nlines", True), ("red \x1b[31m", True)):
        target = Target([b""], read, sealed=lambda _, said=said: said.encode())
        assert bool(target.fault("fuzz/none/1", "")) == fault


def test_failures_that_differ_in_a_number_only_are_one():
    tally = Tally()
    for number in (3, 47):
        wrong = f"byte {number} of run/.config.json.ab_{number:05}.json"
        tally.add(f"fuzz/config/{number}", wrong)
    tally.add("kill/scan/torn/1", "")
    assert tally.of("fuzz") == (2, 2) and tally.of("kill") == (1, 0) and tally.failed == 2
    (what,) = tally.failures["fuzz"]
    assert what == "config: byte N of run/.config.json.*.json"
    assert "(--case fuzz/config/3)" in list(tally.lines())[-1]
