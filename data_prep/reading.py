"""Files of others, read within bounds: regular ones only, each opened once, none beyond a budget.

What is checked, such as a checksum, and what is read are then the same bytes, whatever happens to
the path in between; and a pipe, a device, a file of many gigabytes or one that is all hole ends in
a line.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader, BytesIO, FileIO, TextIOWrapper
from pathlib import Path
from typing import Any

from .errors import UserError
from .memory import free_bytes

SMALL = 1 << 24  # bytes of a file that is read as text or JSON
_AT_ONCE = 1 << 30  # bytes; Linux gives no more than twice that
_LARGE = 1 << 26  # bytes from which a file's holes and the memory matter
_DENSE = 8  # a packed file system stores ours in less, but not in so much less
_LONGEST = 1 << 26  # bytes of a line: of metrics.jsonl with all networks there may be, some 2^23


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


def content_of(path: Path, most: int, begins: tuple[bytes, ...] = ()) -> bytes:
    """All of a regular file.

    Args:
        path: of the file.
        most: bytes that it may have.
        begins: what it begins with, one of them. Of a file that does not only the first bytes are
            read, and given back.

    Raises:
        UserError: see :func:`regular_file`; or it is larger, than the memory too, or hardly more
            than a hole.
    """
    with regular_file(path) as file:
        size = _size(file, path, most)
        parts, left = [], size + 1  # one more: it may grow meanwhile
        try:
            if begins:
                first = file.read(max(map(len, begins))) or b""
                if not first.startswith(begins):
                    return first
                file.seek(0)  # so that it is read in one piece
            while left and (part := file.read(min(left, _AT_ONCE))):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            raise UserError(reason, place=path) from error
    if not left:
        raise UserError("grows while it is read; wait until it is written", place=path)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def text_of(path: Path, most: int = SMALL, errors: str = "strict") -> str:
    """A text file, read as :meth:`pathlib.Path.read_text` does.

    Args:
        path: of the file.
        most: bytes that it may have.
        errors: what is made of bytes that are no UTF-8, as of :func:`open`.

    Raises:
        UserError: see :func:`content_of`.
        UnicodeDecodeError: it is no UTF-8.
    """
    content = BytesIO(content_of(path, most))
    return TextIOWrapper(content, encoding="utf-8", errors=errors).read()


def json_of(path: Path, most: int = SMALL) -> Any:
    """What a file of JSON holds.

    Raises:
        UserError: see :func:`content_of`.
        ValueError: it is no UTF-8, or no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text_of(path, most))


def lines_of(path: Path, most: int) -> Iterator[bytes]:
    """The lines of a regular file with their ends, one after the other: it is never held whole.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        UserError: see :func:`regular_file`; or it is larger, or hardly more than a hole; or a line
            is longer than any of ours.
    """
    with regular_file(path) as file:
        left = _size(file, path, most, held=False)
        lines = BufferedReader(file)
        try:
            while left and (line := lines.readline(min(left, _LONGEST + 1))):
                if len(line) > _LONGEST:
                    raise UserError(f"a line of more than {_LONGEST} bytes", place=path)
                left -= len(line)
                yield line
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            raise UserError(reason, place=path) from error


def _size(file: FileIO, path: Path, most: int, held: bool = True) -> int:
    """Of an open file, if it may be read.

    Args:
        file: the file, at its beginning.
        path: its name.
        most: bytes that it may have.
        held: whether memory must have them all.

    Raises:
        UserError: it is too large, or hardly more than a hole, which a few bytes on a disk are.
    """
    status = os.fstat(file.fileno())
    if status.st_size > most:
        raise UserError(f"{status.st_size} bytes; expected at most {most}", place=path)
    if status.st_size <= _LARGE:
        return status.st_size
    there = 512 * getattr(status, "st_blocks", status.st_size)
    if there < status.st_size // _DENSE and _has_hole(file, status.st_size):
        reason = f"{status.st_size} bytes, of which {there} are there: the rest is a hole"
        raise UserError(f"{reason}; copy or make it again", place=path)
    if held and status.st_size > (free := free_bytes()):
        raise UserError(f"{status.st_size} bytes, and {free} of memory are free", place=path)
    return status.st_size


def _has_hole(file: FileIO, size: int) -> bool:
    """Whether a file has one, as far as the system says: packed ones have few blocks, and none."""
    try:
        return file.seek(0, os.SEEK_HOLE) < size
    except (AttributeError, OSError):
        return False
    finally:
        file.seek(0)
