"""Files of others, read within bounds: regular ones only, each opened once, none beyond a budget.

What is checked, such as a checksum, and what is read are then the same bytes, whatever happens to
the path in between; and a pipe, a device or a file of many gigabytes ends in a line.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path

from .errors import UserError

_AT_ONCE = 1 << 30  # bytes; Linux gives no more than twice that


@contextmanager
def regular_file(path: Path) -> Iterator[FileIO]:
    """Open a regular file for reading, unbuffered; closed on leaving.

    Raises:
        UserError: there is none, it cannot be opened, or it is a pipe, a device or a folder.
    """
    # a pipe that nobody writes to would block
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot be read ({reason})", place=path) from error
    with ExitStack() as stack:
        stack.callback(os.close, handle)
        kind = os.fstat(handle).st_mode
        if not stat.S_ISREG(kind):
            what = "Is a directory" if stat.S_ISDIR(kind) else "a pipe or a device"
            raise UserError(f"cannot be read ({what}); expected a file", place=path)
        yield stack.enter_context(FileIO(handle, "rb", closefd=False))


def content_of(path: Path, most: int) -> bytes:
    """All of a regular file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        UserError: see :func:`regular_file`; or it is larger.
    """
    with regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(f"{size} bytes; expected at most {most}", place=path)
        parts, left = [], size + 1  # one more: it may grow meanwhile
        try:
            while left and (part := file.read(min(left, _AT_ONCE))):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            raise UserError(reason, place=path) from error
    if not left:
        raise UserError("grows while it is read; wait until it is written", place=path)
    return parts[0] if len(parts) == 1 else b"".join(parts)
