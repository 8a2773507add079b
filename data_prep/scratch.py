"""Temporary folders that no killed process leaves for ever."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_PREFIX = "cwrnn-"
_YOUNG = 60.0  # seconds within which one is not yet locked, perhaps


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new temporary folder, gone on leaving; those of killed processes are cleared away first.

    A folder in use is locked, and a lock ends with the process that holds it.
    """
    for old in Path(gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            _clear(old)
    with TemporaryDirectory(prefix=_PREFIX) as name:
        handle = os.open(name, os.O_RDONLY) if os.name == "posix" else None
        try:
            if handle is not None:
                _lock(handle)
            yield Path(name)
        finally:
            if handle is not None:
                os.close(handle)


def _lock(handle: int) -> None:
    """Raises OSError where another process has it."""
    import fcntl  # noqa: PLC0415  (not on Windows)

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _clear(old: Path) -> None:
    """Take a folder away if it is this user's and nobody uses it; else OSError, or nothing."""
    if os.name != "posix":
        return
    handle = os.open(old, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        about = os.fstat(handle)
        ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
        if ours and time.time() - about.st_mtime > _YOUNG:
            _lock(handle)
            shutil.rmtree(old)
    finally:
        os.close(handle)
