"""One writer of a folder at a time, by an advisory lock that ends with its process.

The lock is ``flock`` on the folder's ``.lock``, which holds the number of the process and the name
of its machine while it is held, and is gone afterwards. Only those that write ask for it.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from .errors import UserError, shown

LOCK = ".lock"
PATIENCE = 2.0  # seconds: so long a process takes to end whose parent was killed
_POLL = 0.05
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class InUse(UserError):
    """Another process writes in a folder."""


@dataclass
class _Held:
    """A lock of this process.

    Attributes:
        handle: of the file.
        times: that it was asked for and not let go.
    """

    handle: int
    times: int


_held: dict[Path, _Held] = {}


def _in_child() -> None:
    """A process that was forked has no part in its parent's locks, and does not keep them."""
    for held in _held.values():
        with suppress(OSError):
            os.close(held.handle)
    _held.clear()


os.register_at_fork(after_in_child=_in_child)


@contextmanager
def locked(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Be the only process to write in a folder; within one process it may be asked for again.

    A folder that is not there is made, and taken away again if nothing was written. Where the file
    system has no locks a line on stderr says so, once for each folder.

    Args:
        folder: to write in.
        patience: seconds to wait for another process to let go.

    Raises:
        InUse: another process writes in it, which is named.
        UserError: it cannot be made.
    """
    place = folder.resolve()
    if place in _held:
        held, made = _held[place], list[Path]()
        held.times += 1
    else:
        try:
            handle, made = _acquire(folder, time.monotonic() + patience)
        except OSError as error:
            reason = f"cannot be written ({error.strerror}); choose another place"
            raise UserError(reason, folder) from error
        held = _held[place] = _Held(handle, 1)
    try:
        yield
    finally:
        held.times -= 1
        if not held.times and _held.get(place) is held:
            del _held[place]
            with suppress(OSError):
                if _is_there(held.handle, place / LOCK):
                    os.unlink(place / LOCK)
            os.close(held.handle)
            with suppress(OSError):  # of which the first is not empty
                for each in reversed(made):
                    each.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; which of them were not there, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    made = []
    for each in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(each)
            made.append(each)
    return made


def _acquire(folder: Path, until: float) -> tuple[int, list[Path]]:
    """The open lock file, locked; and the folders that were made for it."""
    path, made = folder / LOCK, list[Path]()
    while True:
        try:
            made += _make(folder)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # who had the folder has taken it away
            if time.monotonic() >= until:
                raise
            continue
        try:
            if _try(handle, folder) and _is_there(handle, path):
                with suppress(OSError):  # who holds it is for the others' message only
                    os.truncate(handle, 0)
                    os.write(handle, f"{os.getpid()} {socket.gethostname()}".encode())
                return handle, made
            if time.monotonic() >= until:
                raise InUse(f"in use by {_holder(handle)}; let it end, or stop it", folder)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        time.sleep(_POLL)


def _try(handle: int, folder: Path) -> bool:
    """Whether the lock is ours now; where there are none, it is."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _say_no_locks(folder)
    return True


@cache
def _say_no_locks(folder: Path) -> None:
    line = f"{folder}: its file system has no locks; let no other command write there"
    with suppress(OSError):  # a stderr that takes no more does not end the work
        click.echo(shown(line), err=True)


def _is_there(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at its path: who had the lock takes that away."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """Which process it is, in words."""
    number, _, machine = os.pread(handle, 1000, 0).decode(errors="replace").partition(" ")
    if not number.isdecimal():
        return "another process"
    return f"process {number}" + f" on {machine}" * (machine != socket.gethostname())


def writer_of(folder: Path) -> str | None:
    """Which process writes in a folder, in words; None: none does. Nobody is held up by asking."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def own_lock(handle: int) -> bool:
    """Mark an open file as somebody's, until it is closed; False: another process has done so."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # where there are no locks it is nobody's, and stays
        pass
    return True


def is_free(handle: int) -> bool:
    """Whether an open file is nobody's: who wrote it has ended."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
