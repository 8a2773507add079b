"""Temporary folders of killed processes, and of those that are at work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep import locks
from data_prep.scratch import scratch_folder, temporary_folder

_HOLDS = """
import time
from data_prep.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_what_a_killed_process_left_is_cleared_and_what_is_in_use_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    where = {"cwd": Path(__file__).parents[2], "stdout": subprocess.PIPE, "text": True}
    foreign = tmp_path / "cwrnn-link"
    foreign.symlink_to(tmp_path)
    with subprocess.Popen([sys.executable, "-c", _HOLDS], **where) as process:
        folder = Path(process.stdout.readline().strip())
        long_ago = time.time() - 3600
        os.utime(folder, (long_ago, long_ago))
        with scratch_folder() as other:
            assert other.is_dir() and folder.is_dir() and folder.parent == tmp_path
        process.send_signal(signal.SIGKILL)
    assert (folder / "file").exists()
    with scratch_folder() as other:
        assert other.is_dir() and not folder.exists()
    assert not other.exists() and foreign.is_symlink()


def test_where_there_are_no_locks_nothing_is_cleared_away(tmp_path, monkeypatch):
    def none(handle, how):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with temporary_folder(tmp_path, "x-", tmp_path) as one:
        with temporary_folder(tmp_path, "x-", tmp_path) as other:
            assert one.is_dir() and other.is_dir()
