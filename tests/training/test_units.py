"""Blocks of a cell: what they come to is the cell, bit for bit, however it was cut."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.grid import (
    RESULTS,
    Grid,
    check_complete,
    collect,
    open_grid,
    run_grid,
)
from cwrnn_cli.training.jobs import one_thread
from cwrnn_cli.training.loop import train
from cwrnn_cli.training.units import (
    UNIT_SECONDS,
    Unit,
    block_of,
    blocks_of,
    cell_folder,
    dealt,
    longest_first,
    merge,
    times_of,
    train_units,
    units_of,
)
from data_prep.errors import UserError

CORPORA = {"audio": "piece", "timit": "spoken", "iamondb": "lines"}
SMALL = {  # one that a compiled loop trains, one that autograd does
    "audio": ({"epochs": 40, "runs": 5}, ("cw", 100), ("gru", 100)),
    "timit": ({"epochs": 8, "runs": 5, "patience": 3}, ("lstm", 500), ("gru", 500)),
    "iamondb": ({"epochs": 3, "runs": 5, "patience": 2}, ("srn", 1000), ("gru", 1000)),
}


def grid_of(task: str, file: Path) -> tuple[Grid, object]:
    options, *cells = SMALL[task]
    data = TASKS[task].load(file)
    if task == "audio":  # whose autograd is slow
        data = replace(data, targets=data.targets[:2, :60], names=data.names[:2])
    return Grid([configure(data, m, p, "--sizes", lr=1e-2, **options) for m, p in cells]), data


def trained(grid: Grid, data, out: Path, block: int | None) -> Path:
    with one_thread():
        open_grid(out, grid, True, grid.blocks(block) if block else None)
        run_grid(grid, data, out)
    return out


def assert_same(grid: Grid, one: Path, other: Path) -> None:
    assert (one / RESULTS).read_bytes() == (other / RESULTS).read_bytes()
    for cell in grid.cells:
        a, b = (cell_folder(out, cell) for out in (one, other))
        for name in ("config.json", "metrics.jsonl"):
            assert (a.path / name).read_bytes() == (b.path / name).read_bytes(), name
        a, b = a.checkpoint(), b.checkpoint()
        assert (a.epoch, a.generators) == (b.epoch, b.generators)
        for mine, theirs in ((a.weights, b.weights), (a.velocity, b.velocity), (a.extra, b.extra)):
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[n], theirs[n]) for n in mine)


@pytest.mark.parametrize("task", CORPORA)
def test_blocks_of_any_size_are_the_cell(request, tmp_path, task):
    grid, data = grid_of(task, request.getfixturevalue(CORPORA[task]))
    whole = trained(grid, data, tmp_path / "whole", None)
    for block in (1, 3):
        out = trained(grid, data, tmp_path / f"by-{block}", block)
        assert_same(grid, whole, out)
        for cell in grid.cells:
            folder = cell_folder(out, cell)
            names = {path.name for path in folder.path.iterdir()}
            assert names == {"config.json", "metrics.jsonl", "checkpoint.pt", "times.json"}
            firsts = [time["first_run"] for time in times_of(folder)]
            assert firsts == ([0] if cell.model == "gru" else list(range(0, 5, block)))


@pytest.fixture
def small(spoken) -> tuple[Grid, object]:
    data = TASKS["timit"].load(spoken)
    options = {"epochs": 3, "runs": 4, "lr": 1e-2}
    return Grid([configure(data, m, 500, "--sizes", **options) for m in ("srn", "lstm")]), data


def test_a_cell_that_was_begun_whole_goes_on_whole(small, tmp_path):
    grid, data = small
    whole = trained(grid, data, tmp_path / "whole", None)
    out = tmp_path / "out"
    open_grid(out, grid, resume=False)
    begun = cell_folder(out, grid.cells[0])
    begun.start(grid.cells[0])
    with pytest.raises(KeyboardInterrupt):
        train(grid.cells[0], data, begun, _stops_after_two, checkpoint_seconds=0)
    epoch = begun.checkpoint().epoch
    assert 0 < epoch < 3
    units = open_grid(out, grid, True, grid.blocks(2))
    assert [unit.name for unit in units] == [
        "srn-500", "lstm-500, runs 0 to 1", "lstm-500, runs 2 to 3",
    ]  # fmt: skip
    assert_same(grid, whole, trained(grid, data, out, None))
    assert [time["resumed"] for time in times_of(begun)] == [True]


def _stops_after_two(epoch, values):
    if epoch == 2:
        raise KeyboardInterrupt


def test_what_was_begun_in_blocks_goes_on_in_these(small, tmp_path):
    grid, _ = small
    units = open_grid(tmp_path / "out", grid, False, grid.blocks(3))
    assert [unit.config.runs for unit in units] == [3, 1, 3, 1]
    again = open_grid(tmp_path / "out", grid, True, grid.blocks(1))
    assert [u.folder.path for u in again] == [u.folder.path for u in units]
    assert blocks_of(again) == {"srn-500": 3, "lstm-500": 3}


def test_a_unit_of_another_run_is_not_collected(small, tmp_path):
    """Whether a whole cell or a block: what is there is that of this grid, or refused."""
    grid, data = small
    other = Grid([replace(cell, seed=7) for cell in grid.cells])
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    for block, name in ((None, "srn-500"), (2, "srn-500/units/2")):
        for place, each in ((out, grid), (theirs, other)):
            shutil.rmtree(place, ignore_errors=True)
            units = open_grid(place, each, True, each.blocks(block) if block else None)
            train_units(units, data)
        shutil.rmtree(out / "cells" / name)
        shutil.copytree(theirs / "cells" / name, out / "cells" / name)
        with pytest.raises(UserError, match="a run that differs in seed"):
            collect(grid, data, out)


def test_a_block_is_done_once_it_is_in_its_cell(small, tmp_path):
    """A process that looked before it was taken there does not begin it anew."""
    grid, data = small
    units = open_grid(tmp_path, grid, True, grid.blocks(2))
    train_units(units, data)
    collect(grid, data, tmp_path)
    assert not (tmp_path / "cells/srn-500/units").exists() and all(unit.done for unit in units)


def test_what_is_not_done_is_named(small, tmp_path):
    grid, data = small
    units = open_grid(tmp_path / "out", grid, False, grid.blocks(2))
    train_units(units[1:3], data)
    begun = units[3]
    begun.folder.start_or_resume(begun.config)
    expected = "2 of 4 units are not trained yet: srn-500, runs 0 to 1 (not begun); "
    expected += "lstm-500, runs 2 to 3 (not begun)"
    with pytest.raises(UserError) as missing:
        check_complete(tmp_path / "out", units)
    assert expected in missing.value.message
    train_units([units[0], begun], data)
    check_complete(tmp_path / "out", units)


def test_killed_while_blocks_become_a_cell_it_becomes_the_same(small, tmp_path):
    grid, data = small
    whole = trained(grid, data, tmp_path / "whole", None)
    out, cell = tmp_path / "out", grid.cells[0]
    units = open_grid(out, grid, False, grid.blocks(2))
    train_units(units, data)
    folder, before = cell_folder(out, cell), tmp_path / "before"
    shutil.copytree(folder.path / "units", before)
    merge(cell, folder, units[:2])
    (folder.path / "checkpoint.pt").unlink()  # it comes last
    shutil.copytree(before, folder.path / "units")
    assert not Unit(cell, folder, 1.0).done
    merge(cell, folder, units[:2])
    shutil.copytree(before, folder.path / "units")  # or the blocks were not gone yet
    assert_same(grid, whole, trained(grid, data, out, None))
    assert not (folder.path / "units").exists()


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.jsonl", "times.json"])
def test_a_damaged_block_is_trained_again(small, tmp_path, name):
    grid, data = small
    whole = trained(grid, data, tmp_path / "whole", None)
    out = tmp_path / "out"
    units = open_grid(out, grid, False, grid.blocks(2))
    train_units(units, data)
    path = units[1].folder.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80  # of text: no UTF-8 any more
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"2/{name}: damaged; the unit is taken away, to be"):
        run_grid(grid, data, out)
    assert not units[1].done and not (out / RESULTS).exists()
    assert_same(grid, whole, trained(grid, data, out, None))


def test_a_damaged_cell_is_trained_again_when_its_folder_is_taken_away(small, tmp_path):
    grid, data = small
    out = trained(grid, data, tmp_path / "out", None)
    before = (out / RESULTS).read_bytes()
    folder = cell_folder(out, grid.cells[0]).path
    content = bytearray((folder / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match=f"damaged; take {folder} away, and the same command"):
        run_grid(grid, data, out)
    shutil.rmtree(folder)
    run_grid(grid, data, out)
    assert (out / RESULTS).read_bytes() == before


def test_every_run_is_in_one_unit_and_every_unit_in_one_shard(small, tmp_path):
    grid, _ = small
    cells = [replace(cell, runs=runs) for cell in grid.cells for runs in (1, 37, 100)]
    cells = [replace(cell, params=number) for number, cell in enumerate(cells, 1)]
    for block in (1, 16, 99, 100):
        units = units_of(tmp_path, cells, {f"{c.model}-{c.params}": block for c in cells})
        found = [
            (unit.config.params, run)
            for unit in units
            for run in range(unit.config.first_run, unit.config.first_run + unit.config.runs)
        ]
        assert sorted(found) == [(c.params, run) for c in cells for run in range(c.runs)]
        shares = [dealt(units, shard, 7) for shard in range(1, 8)]
        names = [unit.name for share in shares for unit in share]
        assert sorted(names) == sorted(unit.name for unit in units)
        # none has more than another by a unit
        loads = [sum(unit.seconds for unit in share) for share in shares]
        assert max(loads) - min(loads) <= longest_first(units)[0].seconds * 1.001


def test_a_unit_takes_half_a_minute(piece):
    data = TASKS["audio"].load(piece)
    cells = [configure(data, "lstm", 1000, "--sizes"), configure(data, "srn", 100, "--sizes")]
    for cell in cells:
        block = block_of(cell)
        seconds = units_of(Path("nowhere"), [replace(cell, runs=block)], {})[0].seconds
        assert seconds < 1.1 * UNIT_SECONDS
        assert block == cell.runs or (seconds > UNIT_SECONDS / 3 and block % 16 == 0)
    # what trains to the same bits only together is not cut
    autograd = configure(data, "gru", 1000, "--sizes")
    for cell in (replace(cells[0], device="cuda"), autograd):
        assert block_of(cell) == block_of(cell, 7) == cell.runs
    assert block_of(cells[0], 7) == 7


def test_a_block_says_in_its_configuration_what_it_is(small, tmp_path):
    grid, _ = small
    unit = open_grid(tmp_path / "out", grid, False, grid.blocks(3))[1]
    folder = RunFolder(tmp_path / "block")
    folder.start(unit.config)
    assert folder.config() == unit.config
    assert (folder.config().first_run, folder.config().part_of) == (3, 4)
    assert not {"first_run", "part_of"} & grid.cells[0].values().keys()
    assert TrainConfig.from_json(grid.cells[0].values()) == grid.cells[0]
