"""Saying what takes so long when compiled code is compiled."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say on stderr that ``what`` is being compiled, if it takes longer than a second."""
    message = f"compiling {what} (once; it is kept for the next time) ..."
    timer = threading.Timer(1.0, lambda: print(message, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
