"""What is needed next, made on another thread while this one works."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1  # between two looks whether anybody still wants it


class _End:
    """Behind the last one, with what ended them if that was an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def prefetched(values: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """The values in their order, made ahead on another thread, which is gone when this is left.

    Args:
        values: made by the thread as they are iterated over.
        depth: how many are made and wait, at the most; 0: each is made here when it is wanted.

    Yields:
        An iterator of them. It raises what making the next one raised.
    """
    if depth == 0:
        yield iter(values)
        return
    ready: Queue[T | _End] = Queue(depth)
    unwanted = threading.Event()

    def put(value: T | _End) -> bool:
        while not unwanted.is_set():
            try:
                ready.put(value, timeout=_POLL_SECONDS)
                return True
            except Full:
                pass
        return False

    def make() -> None:
        error: BaseException | None = None
        try:
            for value in values:
                if not put(value):
                    return
        except BaseException as raised:  # whoever iterates gets it, whatever it is
            error = raised
        put(_End(error))

    def take() -> Iterator[T]:
        while True:
            value = ready.get()
            if not isinstance(value, _End):
                yield value
            elif value.error:
                raise value.error
            else:
                return

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        unwanted.set()
        _empty(ready)
        thread.join()


def _empty(queue: "Queue[T]") -> None:
    """Take everything out of a queue, so that who waits to put goes on at once."""
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
