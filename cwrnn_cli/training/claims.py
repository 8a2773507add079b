"""Who trains which unit under torchrun: a counter in a store, signs of life, the folders' locks.

A process adds one to the counter, and takes the unit of that number, the longest first: no two take
the same. torchrun starts all processes anew when one is killed, or when a machine joins, and the
counter with them; what is done is in the folders, and the rest is dealt out again.

A machine may be lost without a word, which torchrun does not see. So each process gives a sign of
life now and then, and when the first has nothing else to do it deals the units of those that give
none any more out again. Whoever trains a unit holds the lock of its folder, which the system lets
go when a process ends, however it ends: that guards against a process from before a restart, and,
where locks are of all machines and last, one that is only cut off.
"""

import json
import threading
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
_SIGN, _SILENCE = 5.0, 60.0  # seconds between two signs of life; without one, a process is lost
_PARTING = 5.0  # seconds that the first process waits for the others to have seen the end
# keys in the store
_OPENED, _NEXT, _EPOCHS, _ENDED, _LEFT = "opened", "next", "epochs", "ended", "left"
_TAKER, _AGAIN, _ALIVE = "taker/", "again/", "alive/"


class Claims:
    """The units of all processes.

    Args:
        device: "cpu" or "cuda", of which each process takes one.
    """

    def __init__(self, device: str) -> None:
        self._store = distributed.store(device)
        self._rank, self._world = distributed.rank(), distributed.world_size()
        self._said, self._when = 0, 0.0
        self._heard: dict[int, tuple[int, float]] = {}  # rank -> its last sign, and when it came
        self._over = threading.Event()
        threading.Thread(target=self._give_signs, daemon=True).start()

    def open(self, grid: str, blocks: Mapping[str, int], epochs: int) -> None:
        """The first process says that the folder is there.

        Args:
            grid: what is trained, as a digest.
            blocks: how its cells are cut.
            epochs: that are done.
        """
        self._store.add(_EPOCHS, epochs)
        self._store.set(_OPENED, json.dumps([grid, dict(blocks)]))

    def opened(self, grid: str) -> dict[str, int]:
        """How the cells are cut, once the folder is there.

        Raises:
            UserError: the first process trains something else, or is gone.
        """
        with _first_is_there():
            first, blocks = json.loads(self._store.get(_OPENED))
        if first != grid:
            raise UserError(
                "the first process trains something else: the same command, corpus and --device "
                "are needed on all machines"
            )
        found: dict[str, int] = blocks
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

        Each number is a ticket: for the unit of that number, and those beyond for what the first
        process deals out again. The others stay until that has said by :meth:`part` that nothing is
        left to do.

        Args:
            units: of the grid, in the same order in all processes.
            tick: called now and then while others train the last.

        Raises:
            UserError: the first process is gone.
        """
        order, mine = longest_first(units), list[Unit]()
        again = _Again(self, order) if self._rank == 0 else None
        while True:
            with _first_is_there():
                ticket = int(self._store.add(_NEXT, 1)) - 1
                self._store.set(f"{_TAKER}{ticket}", str(self._rank))
            while (number := self._unit_of(ticket, len(order))) is None:
                if again.all_done() if again else self._has_ended():
                    return
                mine = [unit for unit in mine if not unit.done]
                for unit in mine:  # a process from before the restart was at it
                    yield from _locked(unit)
                tick()
                time.sleep(_POLL)
            mine.append(order[number])
            yield from _locked(order[number])

    def _unit_of(self, ticket: int, count: int) -> int | None:
        """What a ticket is for; None: nothing yet."""
        if ticket < count:
            return ticket
        with _first_is_there():
            key = f"{_AGAIN}{ticket}"
            return int(self._store.get(key)) if self._store.check([key]) else None

    def _has_ended(self) -> bool:
        with _first_is_there():
            if ended := bool(self._store.check([_ENDED])):
                self._over.set()
                self._store.add(_LEFT, 1)
            return ended

    def is_lost(self, ticket: int) -> bool:
        """Whether who has a ticket has given no sign of life for long."""
        with _first_is_there():
            if self._store.check([f"{_TAKER}{ticket}"]):
                taker = int(self._store.get(f"{_TAKER}{ticket}"))
                sign = int(self._store.add(f"{_ALIVE}{taker}", 0))
            elif ticket < int(self._store.add(_NEXT, 0)):
                taker, sign = -1 - ticket, 0  # lost between drawing it and saying so
            else:
                return False  # nobody has it yet
        if self._heard.get(taker, (-1, 0.0))[0] != sign:
            self._heard[taker] = sign, time.monotonic()
        return time.monotonic() - self._heard[taker][1] > _SILENCE

    def deal_again(self, ticket: int, number: int) -> None:
        """A ticket beyond the units is for this one."""
        with _first_is_there():
            self._store.set(f"{_AGAIN}{ticket}", str(number))

    def _give_signs(self) -> None:
        with suppress(dist.DistError):
            while not self._over.is_set():
                self._store.add(f"{_ALIVE}{self._rank}", 1)
                self._over.wait(_SIGN)

    def part(self) -> None:
        """The first process has done what was left; it stays until the others know, who need it.

        Those that are still on their way are waited for longer than those that have been here.
        """
        self._over.set()
        with suppress(dist.DistError):
            self._store.set(_ENDED, "")
            began = time.monotonic()
            while self._store.add(_LEFT, 0) < self._world - 1:
                here = all(self._store.add(f"{_ALIVE}{rank}", 0) for rank in range(self._world))
                if time.monotonic() - began > (_PARTING if here else _SILENCE):
                    return
                time.sleep(_POLL / 10)


class _Again:
    """What the first process deals out again: units of processes that are lost.

    Args:
        claims: of the first process.
        order: all units, by their tickets.
    """

    def __init__(self, claims: Claims, order: Sequence[Unit]) -> None:
        self._claims, self._order, self._next = claims, order, len(order)
        self._tickets = dict(enumerate(range(len(order))))  # of units that are left, the last one

    def all_done(self) -> bool:
        """Whether all units are done; what is lost is dealt out again."""
        self._tickets = {n: t for n, t in self._tickets.items() if not self._order[n].done}
        for number, ticket in self._tickets.items():
            if self._claims.is_lost(ticket):
                self._claims.deal_again(self._next, number)
                self._tickets[number] = self._next
                self._next += 1
        return not self._tickets


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
