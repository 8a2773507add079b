"""Who takes which unit: every one once, and those of a process that gives no sign of life."""

from pathlib import Path

import pytest
from torch import distributed as dist

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training import claims as module
from cwrnn_cli.training.claims import Claims
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.grid import Grid, open_grid
from cwrnn_cli.training.units import Unit, train_units
from data_prep.errors import UserError


@pytest.fixture
def two(monkeypatch) -> list[Claims]:
    """Two processes' claims, by one store."""
    store = dist.HashStore()
    monkeypatch.setattr(module.distributed, "store", lambda device: store)
    monkeypatch.setattr(module.distributed, "world_size", lambda: 2)
    monkeypatch.setattr(module, "_SIGN", 0.02)
    monkeypatch.setattr(module, "_POLL", 0.01)
    found = []
    for rank in range(2):
        monkeypatch.setattr(module.distributed, "rank", lambda rank=rank: rank)
        found.append(Claims("cpu"))
    return found


@pytest.fixture
def work(piece, tmp_path) -> tuple[list[Unit], object]:
    data = TASKS["audio"].load(piece)
    grid = Grid([configure(data, "srn", 100, "--sizes", runs=4, epochs=2)])
    return open_grid(Path(tmp_path / "out"), grid, False, grid.blocks(1)), data


def test_every_unit_is_taken_once_and_the_others_stay_until_the_end(two, work):
    units, data = work
    first, second = (claims.take(units, lambda: None) for claims in two)
    taken = [next(first), next(second), next(first), next(second)]
    assert sorted(unit.name for unit in taken) == sorted(unit.name for unit in units)
    train_units(units, data)
    assert next(first, None) is None  # all is done
    two[0].part()
    assert next(second, None) is None


def test_units_of_a_process_without_a_sign_of_life_are_free(two, work, monkeypatch):
    units, data = work
    ticks = []
    monkeypatch.setattr(module, "_SILENCE", 0.3)
    first, second = two[0].take(units, lambda: ticks.append(1)), two[1].take(units, lambda: None)
    lost = next(second)
    second.close()  # and its lock is gone
    for _ in range(3):
        train_units([next(first)], data)
    two[1]._over.set()
    assert next(first) == lost
    assert len(ticks) > 5  # not at once
    train_units([lost], data)
    assert next(first, None) is None


def test_a_ticket_that_was_drawn_by_a_process_lost_at_once_is_not(two, work, monkeypatch):
    units, data = work
    monkeypatch.setattr(module, "_SILENCE", 0.3)
    two[1]._store.add("next", 1)  # and no word of whose it is
    first = two[0].take(units, lambda: None)
    for _ in units:
        train_units([next(first)], data)
    assert next(first, None) is None


def test_while_it_gives_signs_its_units_are_its_own(two, work, monkeypatch):
    units, data = work
    monkeypatch.setattr(module, "_SILENCE", 0.3)

    class Enough(Exception):
        pass

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 100:
            raise Enough

    ticks: list[int] = []
    first, second = two[0].take(units, tick), two[1].take(units, lambda: None)
    next(second)
    second.close()
    for _ in range(3):
        train_units([next(first)], data)
    with pytest.raises(Enough):
        next(first)


def test_all_train_the_same(two):
    two[0].open("a grid", {"cw-100": 3}, 0)
    assert two[1].opened("a grid") == {"cw-100": 3}
    with pytest.raises(UserError, match="the first process trains something else"):
        two[1].opened("another")
