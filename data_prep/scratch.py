"""Temporary folders that no killed process leaves for ever."""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError
from .locks import LOCK, is_free, locked


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder among the system's temporary ones, gone on leaving; see the next."""
    place = Path(tempfile.gettempdir())
    with temporary_folder(place, "cwrnn-", place) as folder:
        yield folder


@contextmanager
def temporary_folder(parent: Path, prefix: str, named: Path) -> Iterator[Path]:
    """A new folder, gone on leaving; those that killed processes have left are cleared away first.

    One in use is locked, and a lock ends with the process that holds it.

    Args:
        parent: where to make it.
        prefix: of its name, and of those to clear away.
        named: what to name in an error.

    Raises:
        UserError: it cannot be made.
    """
    drop_stale_folders(parent, prefix)
    folder = parent / f"{prefix}{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}); choose another place"
        raise UserError(reason, named) from error
    try:
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_stale_folders(parent: Path, prefix: str) -> None:
    """Take away the folders of :func:`temporary_folder` that killed processes have left."""
    for stale in parent.iterdir():
        if re.fullmatch(re.escape(prefix) + r"[0-9a-f]{16}", stale.name):
            with suppress(OSError):
                if stale.lstat().st_uid == os.getuid() and not stale.is_symlink():
                    _drop_if_free(stale)


def _drop_if_free(folder: Path) -> None:
    how = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    handle = os.open(folder / LOCK, how, 0o600)
    try:
        if is_free(handle):  # never where there are no locks
            shutil.rmtree(folder)
    finally:
        os.close(handle)
