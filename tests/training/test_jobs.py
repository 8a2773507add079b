"""Several cells of a grid at once: the same numbers as one after the other, whatever happens."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.grid import RESULTS, Grid, open_grid, run_grid
from cwrnn_cli.training.jobs import one_thread
from cwrnn_cli.training.loop import Interrupted
from data_prep.errors import UserError

ROOT = Path(__file__).parents[2]
EPOCHS = 60
CELLS = ("gru-1000", "gru-1100")  # by autograd, which adds up otherwise on several threads
VICTIM = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from tests.training.test_jobs import grid_of
from cwrnn_cli.training.grid import run_grid
grid, data = grid_of(Path({lines!r}))
first = Path({out!r}) / "cells/gru-1000/metrics.jsonl"
def show(epoch, values):
    if first.exists() and len(first.read_text().splitlines()) >= 3:
        print(epoch, flush=True)
run_grid(grid, data, Path({out!r}), show, 2)
"""


def grid_of(lines: Path):
    data = TASKS["iamondb"].load(lines)
    options = {"runs": 1, "epochs": EPOCHS, "patience": EPOCHS}
    cells = (cell.split("-") for cell in CELLS)
    return Grid([configure(data, model, int(size), **options) for model, size in cells]), data


def trained(lines: Path, out: Path, jobs: int, progress=None) -> Path:
    grid, data = grid_of(lines)
    open_grid(out, grid, resume=True)
    with one_thread():
        run_grid(grid, data, out, progress, jobs)
    return out


@pytest.fixture(scope="module")
def in_turn(lines, tmp_path_factory) -> Path:
    """One after the other, in this process."""
    return trained(lines, tmp_path_factory.mktemp("in") / "turn", 0)


def cells_of(out: Path) -> dict[str, RunFolder]:
    return {cell: RunFolder(out / "cells" / cell) for cell in CELLS}


def noted(folder: RunFolder) -> int:
    """Epochs that it has noted."""
    path = folder.path / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def assert_identical(one: Path, other: Path) -> None:
    rows = []
    for out in (one, other):
        found = {}
        with h5py.File(out / RESULTS) as file:
            file.visititems(
                lambda name, value, found=found: (
                    found.update({name: value[()]}) if isinstance(value, h5py.Dataset) else None
                )
            )
        rows.append(found)
    assert rows[0].keys() == rows[1].keys() and len(rows[0]) > len(CELLS)
    for name, values in rows[0].items():
        np.testing.assert_array_equal(rows[1][name], values, err_msg=name)
    for mine, theirs in zip(cells_of(one).values(), cells_of(other).values(), strict=True):
        a, b = mine.checkpoint(), theirs.checkpoint()
        assert a.epoch == b.epoch and a.generators == b.generators
        for name, weight in a.weights.items():
            np.testing.assert_array_equal(b.weights[name], weight)


@pytest.mark.parametrize("jobs", [1, 2])
def test_how_many_at_once_changes_no_number(lines, in_turn, tmp_path, jobs):
    said = []
    out = trained(lines, tmp_path / "out", jobs, lambda epoch, _: said.append(epoch))
    assert_identical(in_turn, out)
    assert said == sorted(said) and said[-1] == EPOCHS * len(CELLS) and len(said) > EPOCHS


def in_the_middle(out: Path) -> bool:
    return noted(cells_of(out)["gru-1000"]) >= 3


def assert_saved(folder: RunFolder) -> None:
    """In the middle, and not an epoch is lost."""
    assert 3 <= folder.checkpoint().epoch == noted(folder) < EPOCHS


def test_ctrl_c_saves_all_and_resumes(lines, in_turn, tmp_path):
    out, pressed = tmp_path / "out", []

    def press(epoch, values):
        if in_the_middle(out) and not pressed:
            pressed.append(epoch)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as stop:
        trained(lines, out, 2, press)
    assert_saved(cells_of(out)["gru-1000"])
    assert stop.value.epoch == max(noted(folder) for folder in cells_of(out).values())
    assert str(stop.value) == f"interrupted after epoch {stop.value.epoch}"
    assert not (out / RESULTS).exists()
    assert_identical(in_turn, trained(lines, out, 2))


def test_a_process_that_is_killed_stops_the_others(lines, in_turn, tmp_path):
    out = tmp_path / "out"
    victim, other = cells_of(out).values()

    def kill(epoch, values):
        if in_the_middle(out):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if str(victim.path).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                        os.kill(int(process.name), signal.SIGKILL)

    with pytest.raises(UserError, match="cells/gru-1000: its process was ended by SIGKILL"):
        trained(lines, out, 2, kill)
    assert noted(victim) < EPOCHS  # so it was in the middle; of the other not an epoch is lost
    assert noted(other) == (other.checkpoint().epoch if other.has_checkpoint else 0)
    assert_identical(in_turn, trained(lines, out, 0))


def test_a_mistake_in_one_is_said_in_its_one_line(lines, in_turn, tmp_path):
    grid, _ = grid_of(lines)
    out = tmp_path / "out"
    open_grid(out, grid, resume=False)
    broken = cells_of(out)["gru-1000"]
    broken.start(grid.cells[0])
    (broken.path / "checkpoint.pt").write_text("nothing")
    with pytest.raises(UserError, match=r"cells/gru-1000/checkpoint.pt: damaged; train again"):
        trained(lines, out, 1)
    assert not cells_of(out)["gru-1100"].exists
    (broken.path / "checkpoint.pt").unlink()
    assert_identical(in_turn, trained(lines, out, 0))


def test_killed_itself_nobody_goes_on(lines, in_turn, tmp_path):
    out = tmp_path / "out"
    open_grid(out, grid_of(lines)[0], resume=False)
    code = VICTIM.format(root=str(ROOT), lines=str(lines), out=str(out))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert int(process.stdout.readline()) >= 3
        process.kill()
        # the processes that it has started hold this pipe, too: it ends when all of them have
        process.communicate()
    assert 3 <= noted(cells_of(out)["gru-1000"]) < EPOCHS
    assert_identical(in_turn, trained(lines, out, 0))


def test_killed_while_its_configuration_was_written_a_cell_begins_anew(lines, tmp_path):
    grid, _ = grid_of(lines)
    folder = RunFolder(tmp_path / "cell")
    folder.path.mkdir()
    (folder.path / ".config.json.ab_8dfgh.json").write_text("{")
    folder.start_or_resume(grid.cells[0])
    assert [path.name for path in folder.path.iterdir()] == ["config.json"]


def test_and_a_grid_does(lines, tmp_path):
    grid, _ = grid_of(lines)
    (tmp_path / ".config.json.ab_8dfgh.json").write_text("{")
    open_grid(tmp_path, grid, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
