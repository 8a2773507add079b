"""The cache of compiled code: what is stale there, and a word to whom compiling keeps waiting."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...console import quiet


def drop_stale(folder: Path) -> None:
    """Forget compiled code that is older than any source of the folder or of the folders in it.

    Numba compares a function with its own file only; ours have others of these compiled in.
    """
    newest = max(source.stat().st_mtime_ns for source in folder.rglob("*.py"))
    for index in folder.rglob("__pycache__/*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest:
                index.unlink()
        except OSError:
            pass  # somebody else did, or may: then Numba keeps its cache elsewhere


@contextmanager
def log_compilation(what: str) -> Iterator[None]:
    """Say on stderr that ``what`` is being compiled, if it takes longer than a second."""
    if quiet():
        yield
        return
    message = f"compiling {what} (once; it is kept for the next time) ..."
    timer = threading.Timer(1.0, lambda: print(message, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
