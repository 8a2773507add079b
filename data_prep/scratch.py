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
from .locks import locked


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
            with suppress(OSError, UserError):
                if stale.lstat().st_uid == os.getuid() and not stale.is_symlink():
                    with locked(stale, patience=0):
                        shutil.rmtree(stale)
