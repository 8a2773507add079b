import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep import locks
from data_prep.errors import UserError
from data_prep.locks import LOCK, locked

ROOT = Path(__file__).parents[2]
HOLDER = """
import subprocess, sys
from pathlib import Path
from data_prep.locks import locked
with locked(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of a folder, and the number of another that it has started."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(process.stdout.readline())
    yield process
    process.kill()
    process.communicate()
    os.kill(child, signal.SIGKILL)


def test_the_second_is_told_who_is_the_first_and_comes_in_after_it(holder, tmp_path):
    run = tmp_path / "run"
    os.kill(holder.pid, signal.SIGSTOP)  # one that sleeps is no less the first
    with (
        pytest.raises(UserError, match=f"in use by process {holder.pid}; let it end") as e,
        locked(run, patience=0),
    ):
        pass
    assert e.value.place == str(run)
    holder.kill()
    with locked(run):  # though the process that the first one has started lives on
        assert (run / LOCK).read_text().split()[0] == str(os.getpid())
    assert not any(run.iterdir())


def test_after_an_orderly_end_nothing_is_left_of_it(holder, tmp_path):
    holder.stdin.write("\n")
    holder.stdin.flush()
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "a").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a"]


def test_one_process_may_ask_again(tmp_path):
    with locked(tmp_path), locked(tmp_path / "." / "."):
        (tmp_path / "other").symlink_to(tmp_path)
        with locked(tmp_path / "other"):
            pass
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_a_forked_process_has_no_part_in_it(tmp_path):
    with locked(tmp_path):
        child = os.fork()
        if not child:
            code = 1
            try:
                with locked(tmp_path, patience=0):
                    pass
            except UserError:
                code = 42
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        assert (tmp_path / LOCK).exists()


def test_where_there_are_no_locks_a_line_says_so(tmp_path, monkeypatch, capsys):
    def none(handle, how):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    for _ in range(2):  # as a grid does in each of its runs
        with locked(tmp_path):
            pass
    assert capsys.readouterr().err.count("its file system has no locks") == 1


def test_a_place_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be written") as e, locked(place):
            pass
        assert e.value.place == str(place)
