"""A comparison in shares, and under torchrun: the same rows, whoever trains what and is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from data_prep.locks import locked
from tests.conftest import one_line_error

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
KILLS = int(os.environ.get("CWRNN_KILLS", "3"))
WORDS = ("compare", "--task", "iamondb", "--sizes", "1000", "--models", "lstm,cw", "--runs", "5")
EPOCHS, UNITS = 60, 10  # of a unit; of all with a run each
WORDS += ("--epochs", str(EPOCHS), "--patience", str(EPOCHS))


def torchrun(*words: object, processes: int = 2) -> list[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", processes]
    return [str(word) for word in (*program, *words)]


def started(folder: Path, *command: str) -> subprocess.Popen:
    with (folder / "said.txt").open("a") as said:
        return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=said, stderr=said)


def ended(folder: Path, process: subprocess.Popen) -> None:
    assert process.wait(600) == 0, (folder / "said.txt").read_text()


def result(out: Path) -> bytes:
    return (out / "results.h5").read_bytes()


@pytest.fixture(scope="module")
def words(lines) -> tuple[str, ...]:
    return ("-m", "cwrnn_cli", *WORDS, "--data", str(lines))


@pytest.fixture(scope="module")
def one(words, tmp_path_factory) -> bytes:
    """What one process comes to, without torchrun and in whole cells."""
    folder = tmp_path_factory.mktemp("one")
    ended(folder, started(folder, sys.executable, *words, "--out", "one"))
    return result(folder / "one")


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_as_many_processes_as_you_like(words, one, tmp_path, processes):
    command = torchrun("--standalone", *words, "--block", 1, "--out", "out", processes=processes)
    ended(tmp_path, started(tmp_path, *command))
    assert result(tmp_path / "out") == one
    units = json.loads((tmp_path / "out/cells/lstm-1000/times.json").read_text())["units"]
    assert [unit["first_run"] for unit in units] == [0, 1, 2, 3, 4]


def test_a_folder_that_was_there_is_refused_however_often_it_starts_anew(words, tmp_path):
    short = (*words, "--epochs", 1, "--patience", 1, "--out", "out", "--block", 5)
    ended(tmp_path, started(tmp_path, *torchrun("--standalone", *short)))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = torchrun("--standalone", "--max-restarts", 2, *short, processes=1)
    assert started(tmp_path, *again).wait(300)
    assert (tmp_path / "said.txt").read_text().count("out: exists already") == 3
    other = torchrun("--standalone", *short, "--seed", 5, "--resume", processes=1)
    assert started(tmp_path, *other).wait(300)
    assert "holds a comparison with other options" in (tmp_path / "said.txt").read_text()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_shares_in_any_order_and_a_collection(cwrnn, lines, one, tmp_path):
    common = (*WORDS, "--data", lines, "--out", "out")
    line = one_line_error(cwrnn(*common, "--collect", expect=2))
    assert line == "out: nothing there to collect; start its shards first (--shard I/N)"
    found = []
    for shard in (2, 3):
        words = (*common, "--block", 1, "--shard", f"{shard}/3")
        found += json.loads(cwrnn(*words, "--json").stdout)["units"]
    line = one_line_error(cwrnn(*common, "--collect", expect=2))
    assert f"{10 - len(found)} of 10 units are not trained yet" in line
    again = one_line_error(cwrnn(*common, "--block", 1, "--collect", expect=2))
    assert again == line  # what the shards were given does no harm
    assert not (tmp_path / "out/results.h5").exists()
    words = (*common, "--block", 1, "--shard", "1/3")
    text = cwrnn(*words).stdout
    assert "shard 1 of 3 is trained" in text and "--collect" in text
    assert len(set(found)) == len(found)
    cwrnn(*words)  # again: there is nothing left to do
    cwrnn(*common, "--collect")
    assert result(tmp_path / "out") == one
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert "--collect" not in manifest["command"] and manifest["files"]["results.h5"]
    assert [kind["units"] for kind in manifest["trained_by"]] == [10]


def test_units_of_other_processors_are_told(cwrnn, lines, tmp_path):
    common = ("compare", "--task", "iamondb", "--sizes", 1000, "--models", "srn", "--runs", 3)
    common += ("--epochs", 1, "--data", lines, "--out", "out")
    cwrnn(*common, "--block", 1, "--shard", "1/1")
    path = tmp_path / "out/cells/srn-1000/units/1/times.json"
    path.write_text(path.read_text().replace('"processor": "', '"processor": "another '))
    said = cwrnn(*common, "--collect").stderr
    assert "trained on different processors" in said and "another" in said and ": 2 units" in said
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [kind["units"] for kind in manifest["trained_by"]] == [2, 1]


def test_a_share_waits_for_another_that_opens_the_folder(cwrnn, lines, monkeypatch, tmp_path):
    monkeypatch.setattr("cwrnn_cli.cli.cluster._PATIENCE", 0.1)
    common = ("compare", "--task", "iamondb", "--sizes", 1000, "--models", "srn", "--runs", 2)
    common += ("--epochs", 1, "--data", lines, "--out", "out", "--shard", "1/2")
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from data_prep.locks import locked
with locked(Path({str(tmp_path / "out")!r})):
    print("held", flush=True); sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        assert "in use by process" in one_line_error(cwrnn(*common, expect=2))
        holder.stdin.close()
    cwrnn(*common)
    with locked(tmp_path / "out"):
        pass  # and holds it no longer


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--shard 3", "--shard 3: expected I/N, from 1/N to N/N, such as 3/16"),
        ("--shard 0/4", "--shard 0/4: expected I/N"),
        ("--shard 5/4", "--shard 5/4: expected I/N"),
        ("--shard 1/2 --collect", "--shard, --collect: expected one of them"),
        ("--shard 1/2 --jobs 2", "--jobs: not with --shard"),
        ("--shard 1/2 --data x.h5 --data y.h5", "--shard: with one --data only"),
        ("--all --shard 1/2", "--shard: not with --all"),
    ],
)
def test_mistakes(cwrnn, tmp_path, words, message):
    assert one_line_error(cwrnn("compare", *words.split(), expect=2)).startswith(message)
    assert not list(tmp_path.iterdir())


def test_shares_are_not_for_torchrun(cwrnn, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for option in (("--shard", "1/2"), ("--collect",)):
        line = one_line_error(cwrnn("compare", *option, expect=2))
        assert line.startswith(f"{option[0]}: not under torchrun")


def processes_below(parent: int) -> list[int]:
    """Numbers of the processes that a process has started, and these, and so on."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stat = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(stat[1]), []).append(int(path.parent.name))
    found, todo = [], [parent]
    while todo:
        found += (more := children.get(todo.pop(), []))
        todo += more
    return found


def is_running(process: int) -> bool:
    with suppress(OSError):
        stat = Path(f"/proc/{process}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


def noted(out: Path) -> int:
    """Epochs that all units have noted so far."""
    found = 0
    for path in out.glob("cells/*/units/*/metrics.jsonl"):
        with suppress(OSError):
            found += path.read_bytes().count(b"\n")
    return found


def workers(below: list[int]) -> list[int]:
    """Those that train, or are about to."""
    found = []
    for process in below:
        with suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if b"cwrnn_cli" in words and is_running(process):
                found.append(process)
    return found


def test_killed_at_random_one_or_all_and_resumed_it_comes_to_the_same(words, one, tmp_path):
    """Of each three kills the last is of all processes; torchrun starts the others anew."""
    chance, out = random.Random(7), tmp_path / "out"
    common = ("--standalone", "--max-restarts", KILLS, *words, "--block", 1, "--out", "out")
    process = started(tmp_path, *torchrun(*common))
    for kill in range(KILLS):
        until = noted(out) + chance.randrange(int(0.8 * EPOCHS * UNITS / KILLS))
        while noted(out) < until or not (trains := workers(processes_below(process.pid))):
            assert process.poll() is None, (tmp_path / "said.txt").read_text()
            time.sleep(0.01)
        if kill % 3 != 2:
            os.kill(victim := chance.choice(trains), signal.SIGKILL)
            while is_running(victim):
                time.sleep(0.01)
            continue
        every = [process.pid, *processes_below(process.pid)]
        for victim in every:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        process.wait(60)
        while any(map(is_running, every)):
            time.sleep(0.01)
        assert not (out / "results.h5").exists()
        process = started(tmp_path, *torchrun(*common, "--resume"))
    ended(tmp_path, process)
    assert result(out) == one
