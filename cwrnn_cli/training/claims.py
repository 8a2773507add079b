"""Who trains which unit under torchrun: a counter in torch's store, and the folders' locks.

A process adds one to the counter, and takes the unit of that number, the longest first: no two take
the same. torchrun starts all processes anew when one is killed, or when a machine joins, and the
counter with them; what is done is in the folders, and the rest is dealt out again. One of before
may still be at a unit then: it holds the lock of the unit's folder, which the system lets go when
the process ends, however it ends. Who took that unit from the counter waits for it, nobody else.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from torch import distributed as dist

from data_prep.errors import UserError
from data_prep.locks import InUse, locked

from . import distributed
from .units import Unit, longest_first

_POLL = 0.5  # seconds between two looks at what others still train
_REPORT = 1.0  # seconds between two words of how many epochs are done
_PARTING = 5.0  # seconds that the first process waits for the others to have seen the end
# keys in the store
_OPENED, _NEXT, _EPOCHS, _ENDED, _LEFT = "opened", "next", "epochs", "ended", "left"


class Claims:
    """The units of all processes.

    Args:
        device: "cpu" or "cuda", of which each process takes one.
    """

    def __init__(self, device: str) -> None:
        with _first_is_there():
            self._store = distributed.store(device)
        self._rank, self._world = distributed.rank(), distributed.world_size()
        self._said, self._when = 0, 0.0

    def open(self, blocks: Mapping[str, int], epochs: int) -> None:
        """The first process says that the folder is there; the counters begin.

        Args:
            blocks: how its cells are cut.
            epochs: that are done.
        """
        for key, value in ((_NEXT, "0"), (_EPOCHS, str(epochs)), (_OPENED, json.dumps(blocks))):
            self._store.set(key, value)
        for key in (_ENDED, _LEFT):  # of the time before a restart
            self._store.delete_key(key)

    def opened(self) -> dict[str, int]:
        """How the cells are cut, once the folder is there."""
        with _first_is_there():
            found: dict[str, int] = json.loads(self._store.get(_OPENED))
        return found

    def report(self, epochs: int) -> int | None:
        """Add to what all have done.

        Args:
            epochs: that this process has done so far.

        Returns:
            All processes' epochs; None: it was too soon.
        """
        if time.monotonic() - self._when < _REPORT:
            return None
        with _first_is_there():
            found = int(self._store.add(_EPOCHS, epochs - self._said))
        self._said, self._when = epochs, time.monotonic()
        return found

    def take(self, units: Sequence[Unit], tick: Callable[[], object]) -> Iterator[Unit]:
        """Units for this process, one at a time, until all are done.

        Args:
            units: of the grid, in the same order in all processes.
            tick: called now and then while others train the last.

        Raises:
            UserError: the first process is gone.
        """
        order, mine = longest_first(units), list[Unit]()
        while (number := self._number()) < len(order):
            mine.append(order[number])
            yield from _locked(order[number])
        watched = order if self._rank == 0 else mine
        while True:
            watched = [unit for unit in watched if not unit.done]
            if self._has_ended(not watched):
                return
            for unit in watched:
                if unit in mine:  # a process of before was at it
                    yield from _locked(unit)
            tick()
            time.sleep(_POLL)

    def _number(self) -> int:
        with _first_is_there():
            return int(self._store.add(_NEXT, 1)) - 1

    def _has_ended(self, none_left: bool) -> bool:
        """Whether all units are done: the first process, which looks at all of them, says so."""
        with _first_is_there():
            if self._rank == 0 and none_left:
                self._store.set(_ENDED, "")
            ended = self._store.check([_ENDED])
            if ended and self._rank:
                self._store.add(_LEFT, 1)
            return bool(ended)

    def part(self) -> None:
        """The first process may hold the store: it stays until the others need it no more."""
        until = time.monotonic() + _PARTING
        with suppress(dist.DistError):
            while self._rank == 0 and time.monotonic() < until:
                if self._store.add(_LEFT, 0) >= self._world - 1:
                    return
                time.sleep(_POLL / 10)


def _locked(unit: Unit) -> Iterator[Unit]:
    """The unit, while its folder is ours; nothing if it is done, or another process is at it."""
    if unit.done:
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(unit.folder.path, 0))
        except InUse:
            return
        if not unit.done:
            yield unit


@contextmanager
def _first_is_there() -> Iterator[None]:
    """Make one line of it if the store, which the first process or its torchrun holds, is gone."""
    try:
        yield
    except dist.DistError as error:
        raise UserError(
            "the first process, or its torchrun, is gone; the same command with --resume goes on"
        ) from error
