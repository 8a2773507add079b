import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from data_prep import files, locks
from data_prep.errors import UserError
from data_prep.files import (
    append_text,
    atomic_write,
    drop_stale,
    filled_folder,
    is_occupied,
    sha256_of,
    whole_folder,
    write_bytes,
    write_text,
)

ROOT = Path(__file__).parents[2]
CALLS = ("open", "write", "fsync", "rename", "mkdir", "rmdir", "unlink")


def killed_at_every_call(do):
    """Do it, killed at one call of :data:`CALLS` after the other, until it comes to its end."""
    for number in range(1, 100):
        child = os.fork()
        if not child:
            killed_at(number)
            do()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not code:
            return
        assert code == -signal.SIGKILL
        yield number


def killed_at(number: int) -> None:
    left = number

    def fatal(call):
        def wrapped(*words, **more):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*words, **more)

        return wrapped

    for name in CALLS:
        setattr(os, name, fatal(getattr(os, name)))


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    write_text(path, "new, ü")
    assert path.read_text(encoding="utf-8") == "new, ü"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    assert sha256_of(path, skip=3) == hashlib.sha256(path.read_bytes()[3:]).hexdigest()


def test_a_place_that_cannot_be_written_is_named_without_an_option(tmp_path):
    write_text(tmp_path / "file", "")
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="cannot be written .*; choose another place") as e:
            write_text(path, "x")
        assert e.value.place == str(path) and "--" not in e.value.reason


def test_a_folder_is_filled_and_kept_or_gone(tmp_path):
    def fill(folder):
        write_text(folder / "a", "x")

    def fail(folder):
        fill(folder)
        raise RuntimeError

    with filled_folder(None, fill) as folder:
        assert (folder / "a").read_text() == "x"
    assert not folder.exists()
    kept = tmp_path / "deep" / "kept"
    with pytest.raises(RuntimeError), filled_folder(kept, fail):
        pass
    assert not list(kept.parent.iterdir())
    with filled_folder(kept, fill) as folder:
        assert folder == kept
    assert (kept / "a").read_text() == "x"
    with pytest.raises(UserError, match="exists already") as e, filled_folder(kept, fill):
        pass
    assert e.value.place == str(kept) and "--" not in e.value.reason
    with pytest.raises(UserError, match="cannot be written"), filled_folder(kept / "a/b", fill):
        pass


def test_an_error_within_a_whole_folder_is_not_one_of_writing(tmp_path):
    kept = tmp_path / "kept"
    with pytest.raises(FileNotFoundError), whole_folder(kept) as new:
        write_text(new / "a", "x")
        (tmp_path / "none").read_text()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be written") as e, whole_folder(kept) as new:
        write_text(kept / "b", "x")  # somebody else was faster
    assert e.value.place == str(kept)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "b"]


def test_killed_at_any_call_the_old_file_is_there_or_the_new_and_the_next_tidies_up(tmp_path):
    path, former = tmp_path / "a", tmp_path / "before"
    kills = left = 0
    path.write_bytes(b"old")
    for _ in killed_at_every_call(lambda: write_bytes(path, b"new", former="before")):
        kills += 1
        there = [file.read_bytes() for file in (path, former) if file.exists()]
        assert there in ([b"old"], [b"new"], [b"new", b"old"])
        left += len(list(tmp_path.glob(".a.*.tmp")))
        write_bytes(path, b"old")
        former.unlink(missing_ok=True)
        assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert kills >= 6 and left >= 3
    assert path.read_bytes() == b"new" and former.read_bytes() == b"old"


def test_killed_at_any_call_a_folder_is_whole_or_not_there_and_the_next_tidies_up(tmp_path):
    kept = tmp_path / "kept"
    kills = left = 0

    def fill():
        with whole_folder(kept) as new:
            write_bytes(new / "a", b"x")

    for _ in killed_at_every_call(fill):
        kills += 1
        assert not kept.exists() or (kept / "a").read_bytes() == b"x"
        left += len(list(tmp_path.glob(".kept.*")))
        with whole_folder(tmp_path / "other"):
            pass
        with suppress(UserError) if kept.exists() else nullcontext(), whole_folder(kept):
            pass
        assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "other"]
        (tmp_path / "other").rmdir()
        shutil.rmtree(kept)
    assert kills >= 8 and left >= 5 and (kept / "a").exists()


@pytest.mark.parametrize("name", ["open", "write", "fsync", "rename"])
def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path, monkeypatch, name):
    path, call, calls = tmp_path / "a", getattr(os, name), []
    write_text(path, "old")

    def fail(*words, **more):
        calls.append(name)
        if name == "open" and len(calls) == 1:  # the folder
            return call(*words, **more)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(UserError, match="cannot be written .No space left on device.") as e:
        write_text(path, "new")
    monkeypatch.undo()
    assert e.value.place == str(path) and path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_temporary_file_of_a_living_process_is_not_taken_away(tmp_path):
    path = tmp_path / "a"
    code = f"""
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from data_prep.files import write_bytes
fsync = os.fsync
def wait(handle):
    print("writing", flush=True)
    input()
    fsync(handle)
os.fsync = wait
write_bytes(Path({str(path)!r}), b"slow")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    write_text(path, "fast")
    drop_stale(tmp_path)
    process.communicate("\n\n")
    assert process.returncode == 0 and path.read_text() == "slow"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_temporary_file_that_is_looked_at_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    """Another process takes its lock to see whether it is nobody's, and then takes it away."""
    seen = []

    def looked_at(handle):
        if not seen:
            (temporary,) = tmp_path.iterdir()
            seen.append((temporary, os.open(temporary, os.O_RDONLY)))
            assert locks.is_free(seen[0][1])
        return locks.own_lock(handle)

    def taken_away(handle):
        with suppress(FileNotFoundError):
            os.unlink(seen[0][0])

    monkeypatch.setattr(files, "own_lock", looked_at)
    monkeypatch.setattr(os, "fsync", taken_away)
    write_bytes(tmp_path / "file", b"all of it")
    os.close(seen[0][1])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"all of it"


def test_lines_are_appended_and_a_place_that_takes_none_is_named(tmp_path):
    path = tmp_path / "a"
    append_text(path, "ü\n")
    append_text(path, "b\n", sync=True)
    assert path.read_text(encoding="utf-8") == "ü\nb\n"
    with pytest.raises(UserError, match="cannot be written") as e:
        append_text(tmp_path, "x")
    assert e.value.place == str(tmp_path)
    with pytest.raises(UserError, match="No space left"):
        append_text(Path("/dev/full"), "x")


def test_what_a_killed_process_has_left_is_nothing(tmp_path):
    (tmp_path / "cells" / "one").mkdir(parents=True)
    (tmp_path / ".lock").touch()
    (tmp_path / "cells" / ".a.0123456789abcdef.tmp").touch()
    assert not is_occupied(tmp_path) and not is_occupied(tmp_path / "none")
    (tmp_path / "cells" / "one" / "a").touch()
    assert is_occupied(tmp_path) and is_occupied(tmp_path / "cells" / "one" / "a")
