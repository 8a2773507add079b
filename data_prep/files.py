"""Files that appear whole or not at all, their checksums, and folders with one writer at a time.

All that is written to stay goes through :func:`write_bytes` and :func:`append_bytes`. A process
that is killed leaves at most a temporary file, ``.NAME.X.tmp``, or a temporary folder, ``.NAME.X``,
and the next to write there takes it away: whoever writes one holds a lock on it, which ends with
him.
"""

import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import MAKE_ROOM, NO_ROOM, UserError
from .locks import is_free, own_lock
from .scratch import drop_stale_folders, scratch_folder, temporary_folder

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp")


@contextmanager
def atomic_write(path: Path) -> Iterator[io.BytesIO]:
    """Give a binary file in memory; on success :func:`write_bytes` makes ``path`` of it.

    After an error, or if the process is killed, ``path`` is as it was before.

    Raises:
        UserError: as there.
    """
    file = io.BytesIO()
    yield file
    write_bytes(path, file.getbuffer())


def write_bytes(path: Path, content: bytes | memoryview, former: str | None = None) -> None:
    """Write a file, whole or not at all: synced beside ``path``, then renamed to it.

    Args:
        path: of the file; folders above it are made.
        content: all of it.
        former: name, in the same folder, that the file has from now on which was there before;
            None: it is gone.

    Raises:
        UserError: the folder cannot be made, or the file not be written.
    """
    path = Path(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _drop_stale(folder, path.name)
            _replace(folder, path.name, content, former)
            os.fsync(folder)
        finally:
            os.close(folder)


def _replace(folder: int, name: str, content: bytes | memoryview, former: str | None) -> None:
    temporary, handle = _new_temporary(folder, name)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
        if former is not None:
            with suppress(FileNotFoundError):
                os.rename(name, former, src_dir_fd=folder, dst_dir_fd=folder)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    finally:
        os.close(handle)


def _new_temporary(folder: int, name: str) -> tuple[str, int]:
    """Name of a new file that nobody else takes away, and the file, open."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        temporary = f".{name}.{secrets.token_hex(8)}.tmp"
        handle = os.open(temporary, how, 0o666, dir_fd=folder)
        if own_lock(handle) and os.fstat(handle).st_nlink:
            return temporary, handle
        os.close(handle)  # it was nobody's for a moment, and somebody takes it away


def _drop_stale(folder: int, name: str | None = None) -> None:
    """Take away what processes that were killed have left of a file, or of all in a folder."""
    for each in os.listdir(folder):
        found = _TEMPORARY.fullmatch(each)
        if found and name in (None, found["name"]):
            with suppress(OSError):
                # a pipe would block
                how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                handle = os.open(each, how, dir_fd=folder)
                try:
                    if is_free(handle):
                        os.unlink(each, dir_fd=folder)
                finally:
                    os.close(handle)


def drop_stale(folder: Path) -> None:
    """Take away the temporary files that processes which were killed have left in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _drop_stale(handle)
    finally:
        os.close(handle)


def append_text(path: Path, text: str, sync: bool = False) -> None:
    """Write behind a text file in UTF-8; see :func:`append_bytes`."""
    append_bytes(path, text.encode(), sync)


def append_bytes(path: Path, content: bytes, sync: bool = False) -> None:
    """Write behind a file; a process that is killed may leave a part of ``content``.

    Args:
        path: of the file, which may be new.
        content: to write.
        sync: whether it is on the disk when this returns.

    Raises:
        UserError: the file cannot be written.
    """
    with _writing(path):
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(path, how, 0o666)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)


def sync(path: Path) -> None:
    """What was appended to a file is on the disk when this returns.

    Raises:
        UserError: the disk does not take it.
    """
    with _writing(path):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make of an error of the file system one line that names the place."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = MAKE_ROOM if error.errno in NO_ROOM else "choose another place"
        raise UserError(f"cannot be written ({reason}); {advice}", path) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        UserError: the folder cannot be made or written.
    """
    write_bytes(path, text.encode())


def sha256_of(path: Path, skip: int = 0) -> str:
    """Hex SHA-256 of a file's bytes, from byte ``skip`` on."""
    with Path(path).open("rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_occupied(place: Path) -> bool:
    """Whether there is a file at a place, or in a folder or below it.

    What begins with a dot does not count, as locks and what a process has left that was killed; nor
    do folders with nothing in them.
    """
    if not place.is_dir():
        return os.path.lexists(place)
    return any(is_occupied(each) for each in place.iterdir() if not each.name.startswith("."))


@contextmanager
def whole_folder(keep: Path) -> Iterator[Path]:
    """Give a new folder beside ``keep`` to write into; on success it is renamed to ``keep``.

    Args:
        keep: must not exist yet, or be empty; it appears whole or not at all.

    Raises:
        UserError: there is something in ``keep``, or it cannot be written.
    """
    prefix = f".{keep.name}."
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        drop_stale_folders(keep.parent, prefix)  # of one that was killed when it was done
        raise UserError("exists already; choose another folder", place=keep)
    with _writing(keep):
        keep.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(keep.parent, prefix, keep) as beside:
        whole = beside / keep.name
        with _writing(keep):
            whole.mkdir()
        yield whole
        with _writing(keep):
            os.sync()  # not everything in it need have been written by write_bytes
            whole.replace(keep)
            sync(keep.parent)


@contextmanager
def filled_folder(keep: Path | None, fill: Callable[[Path], object]) -> Iterator[Path]:
    """A folder that ``fill`` has filled: ``keep``, which stays, or a temporary one.

    Args:
        keep: as in :func:`whole_folder`.
        fill: called with the folder to write into.

    Raises:
        UserError: as there.
    """
    if keep is None:
        with scratch_folder() as folder:
            fill(folder)
            yield folder
        return
    with whole_folder(keep) as whole, _writing(keep):
        fill(whole)
    yield keep
