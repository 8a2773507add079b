"""What a killed `prepare` leaves behind: nothing that runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# parses a line, says who did, and waits
_PREPARES = """
import sys, time
from data_prep.iamondb import PathOptions, _parsed

def files():
    for number in range(1024):
        yield "a01-000u", number, "place", b"<a/>"
    print("begun", flush=True)
    time.sleep(60)
    yield "a01-000u", 9999, "place", b"<a/>"

if __name__ == "__main__":
    list(_parsed(files(), PathOptions(), None))
"""


def children(of: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(of)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_workers_end_with_the_process_that_began_them_however_it_was_killed(tmp_path):
    program = tmp_path / "prepares.py"
    program.write_text(_PREPARES)
    where = {
        "cwd": Path(__file__).parents[2],
        "env": os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    }
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, **where) as process:
        assert process.stdout.readline() == b"begun\n"
        workers = children(process.pid)
        assert len(workers) >= 2  # one of the pool, and multiprocessing's own
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(runs, workers))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_an_interrupt_waits_for_nothing_that_was_begun(tmp_path):
    program = tmp_path / "prepares.py"
    program.write_text(
        "from data_prep import iamondb; import time\n"
        "def _parse(given): time.sleep(0.1); return 'slow'\n"  # 512 of them are begun
        "iamondb._parse = _parse\n" + _PREPARES.replace("range(1024)", "range(512)")
    )
    where = {"env": os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}}
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **where
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        workers = children(process.pid)
        assert len(workers) >= 2
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
        assert time.monotonic() - began < 2
    until = time.monotonic() + 5
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(runs, workers))
