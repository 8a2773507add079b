"""What a user can do wrong, or the system refuses, as one exception; how foreign words are shown.

It lives here because this package is the leftmost: everything else may import it.
"""

import errno
import os
import re

import click

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
MAKE_ROOM = "make room; the same command goes on, with --resume if it has that"
_ADVICE = {  # what to do, by number of the system's error
    errno.EACCES: "; no permission: change it, or choose another place",
    errno.EPERM: "; no permission: change it, or choose another place",
    errno.EROFS: "; choose another place",
    errno.ENAMETOOLONG: "; choose a shorter name",
    errno.ENOENT: "; is the name right?",
    errno.ENOTDIR: "; a part of the name is a file",
    errno.EISDIR: "; expected a file, not a folder",
    errno.ELOOP: "; its links go round in a circle",
}
_LIMITS = {
    errno.EMFILE: "too many open files; raise `ulimit -n`",
    errno.ENFILE: "too many open files on this machine",
    errno.EAGAIN: "no further process or thread can be started; raise `ulimit -u`, or take fewer",
    errno.ENOMEM: "memory is full; take less at once, or raise `ulimit -v`",
}
_HDF5 = re.compile(r"errno = (\d+)|\[Errno (\d+)\]")  # h5py's errors often have it in words only
# in words only, of torch, of HDF5 and of the interpreter
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|std::bad_alloc|Cannot allocate|"
    r"memory allocation failed|[Uu]nable to allocate|[Cc]an't allocate"
)
_LITTLE = 1 << 20  # bytes; who cannot have them has run out of memory
_NO_THREAD = ("can't start new thread", "Resource temporarily unavailable")


def shown(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would obey: safe to show to a user.

    Names of files, of an archive's members and of a corpus' words are other people's. What is not
    printable is escaped as in Python's source: control characters, line breaks, escape sequences,
    marks that reverse the direction of writing, bytes that are no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class UserError(click.ClickException):
    """A user's mistake: one line says what is wrong and what to do; exit 2, no traceback.

    Attributes:
        message: the line, ``place: reason`` where there is a place, as :func:`shown`.
        place: the file it is about, and where in it; None: nothing of the kind.
        reason: what is wrong, without the place.
    """

    exit_code = 2

    def __init__(self, reason: str, place: object = None) -> None:
        self.place = None if place is None else str(place)
        self.reason = reason
        super().__init__(shown(reason if place is None else f"{place}: {reason}"))


def is_of_memory(error: BaseException) -> bool:
    """Whether memory was full, in whatever words of the libraries."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, OSError | RuntimeError | ValueError) and (
        _NO_MEMORY.search(str(error)) is not None
    )


def is_of_limits(error: BaseException) -> bool:
    """Whether a limit of this process, or of the machine, was met, whatever was to be read."""
    return isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno in _LIMITS)


def refused(error: BaseException) -> UserError | None:
    """One line of what the system has refused: memory, files, places, names, processes.

    Args:
        error: anything that was raised.

    Returns:
        The line, or None: the error is none of the system's, but a fault of the program.
    """
    found = _known(error)
    if found is None and _memory_is_full():  # where libraries fail in words of something else
        return UserError(_LIMITS[errno.ENOMEM])
    return found


def _known(error: BaseException) -> UserError | None:
    text = str(error)
    if isinstance(error, UserError):
        return error
    if is_of_memory(error):
        more = f" ({text})" if text and isinstance(error, MemoryError) else ""
        return UserError(_LIMITS[errno.ENOMEM] + more)
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, ImportError):
        return UserError(f"a library cannot be loaded ({text}): is it installed, and memory free?")
    if isinstance(error, UnicodeError):
        return UserError(f"text that cannot be written or read in its encoding ({text})")
    if isinstance(error, RecursionError):
        return UserError("a file is nested too deeply to be read")
    if isinstance(error, RuntimeError) and any(words in text for words in _NO_THREAD):
        return UserError(_LIMITS[errno.EAGAIN])
    return None


def _memory_is_full() -> bool:
    try:
        bytearray(_LITTLE)
    except MemoryError:
        return True
    return False


def _of_system(error: OSError) -> UserError | None:
    found = _HDF5.search(str(error))
    number = error.errno or (int(found[1] or found[2]) if found else None)
    if number is None:
        return None
    reason, name = os.strerror(number), error.filename
    if number in NO_ROOM:
        line = f"cannot be written ({reason}); {MAKE_ROOM}"
        return UserError(line, place=name or "stdout, or a file")
    if number in _LIMITS:
        return UserError(_LIMITS[number], place=name)
    if number == errno.EIO:
        return UserError(reason, place=name or "stdout, or a file")
    if name is None and number not in _ADVICE:
        return None
    return UserError(reason + _ADVICE.get(number, ""), place=name)
