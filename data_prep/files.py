"""Files that appear whole or not at all, and their checksums."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import UserError
from .scratch import scratch_folder


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is synced and renamed to ``path``.

    After an error, or if the process is killed, ``path`` is as it was before.

    Raises:
        UserError: the folder cannot be made or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise _not_writable(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's files are private
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        try:
            temporary.replace(path)
        except OSError as error:
            raise _not_writable(path, error) from error
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot be written ({error.strerror}); choose another place", place=path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        UserError: the folder cannot be made or written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path, skip: int = 0) -> str:
    """Hex SHA-256 of a file's bytes, from byte ``skip`` on."""
    with Path(path).open("rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_folder(keep: Path) -> Iterator[Path]:
    """Give a new folder beside ``keep`` to write into; on success it is renamed to ``keep``.

    Args:
        keep: must not exist yet, or be empty; it appears whole or not at all.

    Raises:
        UserError: there is something in ``keep``, or it cannot be written.
    """
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UserError("exists already; choose another folder", place=keep)
    with ExitStack() as stack:
        try:
            keep.parent.mkdir(parents=True, exist_ok=True)
            beside = TemporaryDirectory(prefix=f".{keep.name}.", dir=keep.parent)
            whole = Path(stack.enter_context(beside)) / keep.name
            whole.mkdir()
        except OSError as error:
            raise _not_writable(keep, error) from error
        yield whole
        try:
            whole.replace(keep)
        except OSError as error:
            raise _not_writable(keep, error) from error


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
    try:
        with whole_folder(keep) as whole:
            fill(whole)
    except OSError as error:
        raise _not_writable(keep, error) from error
    yield keep
