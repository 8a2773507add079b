"""`cwrnn bench`, at sizes where nothing is said of their speed."""

import json
import resource
from pathlib import Path

import pytest
import torch

from cwrnn_cli.benchmarks import machine
from cwrnn_cli.benchmarks.machine import spread
from cwrnn_cli.benchmarks.precision import Rounded
from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks.iamondb.engines import LAYOUTS
from cwrnn_cli.training.manifest import digests
from tests.conftest import one_line_error


def rows_of(cell) -> list[str]:
    """Who trains it in `bench handwriting`: the compiled loop, if it has one, and the others."""
    compiled = ["cwrnn"] if cell in LAYOUTS else []
    return [*compiled, "cwrnn by autograd", "torch.nn", "torch.nn padded"]


def test_handwriting(cwrnn, lines):
    words = ("--data", lines, "--sizes", "900", "--repeats", 1, "--batches", 24)
    found = json.loads(cwrnn("bench", "handwriting", *words, "--json").stdout)
    assert found["data"] == "stand-in handwriting" and found["standin"] is True
    assert (found["batches"], found["lines"]) == (3, 8)  # of 20 lines there are no more
    rows = {(row["params"], row["model"], row["by"]): row for row in found["rows"]}
    assert list(rows) == [(900, m, b) for m, cell in CELLS.items() for b in rows_of(cell)]
    base = rows[900, "lstm", "torch.nn"]["s_per_epoch"]
    for row in rows.values():
        assert row["torch_lstm_over_this"] == pytest.approx(base / row["s_per_epoch"])
        autograd = rows[900, row["model"], "cwrnn by autograd"]["ms_per_update"]
        assert row["autograd_over_this"] == pytest.approx(autograd / row["ms_per_update"])
    assert rows[900, "lstm", "torch.nn padded"]["padded_torch_lstm_over_this"] == 1


def test_handwriting_as_a_table(cwrnn, lines):
    words = ("--data", lines, "--sizes", "900", "--repeats", 1, "--batches", 1, "--lines", 2)
    text = cwrnn("bench", "handwriting", *words).stdout
    assert "data: stand-in handwriting; training only, 2 lines per update; cwrnn itself" in text
    rows = [line for line in text.splitlines() if line.startswith("900 ")]
    assert len(rows) == sum(len(rows_of(cell)) for cell in CELLS.values()) and all(
        f"900 {c.label}" in text for c in CELLS.values()
    )


def test_precision(cwrnn):
    words = ("bench", "precision", "--units", 16, "--steps", 8)
    found = json.loads(cwrnn(*words, "--json").stdout)
    assert (found["units"], found["steps"]) == (16, 8)
    rows = {(row["cell"], row["precision"]): row for row in found["rows"]}
    assert {cell for cell, _ in rows} == {cell.label for cell in CELLS.values()}
    for cell in CELLS.values():
        for what in ("outputs", "gradients"):
            exact, thrice, tf32, bfloat16 = (
                rows[cell.label, precision][what]
                for precision in ("float32 (ieee)", "TF32 three times", "TF32", "bfloat16 factors")
            )
            assert 0 < exact < 1e-5 < tf32 < bfloat16 < 0.1
            assert 0 < thrice < min(1e-5, 4 * exact)
    assert json.loads(cwrnn(*words, "--json").stdout) == found  # the seed is fixed
    assert "CW-RNN" in cwrnn(*words).stdout


KEPT = {
    "layer --widths 16 --batches 1 --lengths 5 --repeats 2 --seconds 0": {
        "widths": [16], "batches": [1], "lengths": [5], "repeats": 2, "seconds": 0.0,
    },
    "ensemble --runs 1 --repeats 2 --seconds 0": {"runs": [1], "repeats": 2, "seconds": 0.0},
    "handwriting --data LINES --sizes 900 --batches 1 --repeats 2": {
        "sizes": [900], "batches": 1, "lines": 8, "repeats": 2, "seconds": 600.0,
    },
    "precision --units 16 --steps 8": {"units": 16, "steps": 8},
}  # fmt: skip


@pytest.fixture
def first_setting(monkeypatch):
    """JAX compiles each cell once, not in all its settings."""
    if machine.has_jax():
        from cwrnn_cli.benchmarks import jax_cells

        every = jax_cells.settings
        monkeypatch.setattr(jax_cells, "settings", lambda cell: every(cell)[:1])


@pytest.mark.usefixtures("first_setting")
@pytest.mark.parametrize("words", KEPT)
def test_a_folder_of_the_result(cwrnn, lines, words):
    name, *given = [str(lines) if word == "LINES" else word for word in words.split()]
    Path("here").mkdir()  # an empty one is taken
    shown = cwrnn("bench", name, *given, "--out", "here", "--json")
    found = json.loads(Path("here/bench.json").read_text())
    assert json.loads(shown.stdout) == found
    wanted = {"bench.json", "bench.txt", "table.csv"} | (
        {"bench.png"} if name == "layer" else set()
    )
    assert {path.name for path in Path("here").iterdir()} == wanted | {"manifest.json"}
    assert all(f"here/{file}" in shown.stderr for file in (*wanted, "manifest.json"))
    manifest = json.loads(Path("here/manifest.json").read_text())
    assert manifest["configuration"] == KEPT[words] and manifest["sessions"][0]["ended"]
    assert manifest["files"] == digests(Path("here")) and set(manifest["files"]) == wanted
    data = manifest["data"]
    assert data["name"] == found["data"] if name == "handwriting" else data is None
    for row in found["rows"] if name != "precision" else []:
        assert len(row["rounds_ms"]) == 2 and min(row["rounds_ms"]) > 0
    before = Path("here/bench.json").read_bytes()
    message = one_line_error(cwrnn("bench", name, *given, "--out", "here", expect=2))
    assert message == "here: exists already; choose another folder"
    assert Path("here/bench.json").read_bytes() == before


def test_a_figure_without_what_it_shows_is_refused_before_anything_is_measured(cwrnn, monkeypatch):
    monkeypatch.setattr(machine, "peak_gflops", lambda: pytest.fail("measured"))
    found = cwrnn("bench", "layer", "--models", "lstm", "--plot", "p.png", expect=2)
    assert one_line_error(found) == (
        "--plot: shows srn and cw; name both in --models, or leave --plot out"
    )


def test_a_figure_that_the_disk_does_not_take_is_no_figure_left_out(cwrnn, monkeypatch):
    monkeypatch.setattr(machine, "has_jax", lambda: False)  # its settings take long to compile
    words = ("bench", "layer", "--widths", 16, "--batches", 1, "--lengths", 4, "--repeats", 1)
    more = ("--seconds", 0, "--models", "srn,cw", "--out")
    cwrnn(*words, *more, "whole")
    *others, most = sorted(path.stat().st_size for path in Path("whole").iterdir())
    assert Path("whole/bench.png").stat().st_size == most > others[-1] + 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (others[-1] + 1000, hard))
    try:
        found = cwrnn(*words, *more, "here", expect=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "bench.png: cannot be written" in one_line_error(found) and not Path("here").exists()


def test_what_is_kept_is_what_is_shown(cwrnn):
    words = ("bench", "precision", "--units", 16, "--steps", 8)
    assert cwrnn(*words, "--out", "a/b").stdout == Path("a/b/bench.txt").read_text()


def test_a_benchmark_that_fails_leaves_no_folder(cwrnn, monkeypatch):
    def fail(units, steps):
        raise ZeroDivisionError

    monkeypatch.setattr("cwrnn_cli.benchmarks.precision.run", fail)
    cwrnn("bench", "precision", "--out", "here", expect=70)
    assert not list(Path().iterdir())


def test_rounds_are_kept_with_four_digits():
    found = spread([0.00123456, 0.5, 0.25])
    assert found["rounds_ms"] == [1.235, 500, 250] and found["ms"] == 250
    assert (found["ms_min"], found["ms_max"]) == (1.23456, 500)


def test_rounding_is_to_the_nearest_of_so_many_bits():
    one = torch.eye(1)
    step = 2.0**-7  # of bfloat16, behind a leading 1
    with Rounded(7):
        for given, wanted in ((1 + 0.4 * step, 1.0), (1 + 0.6 * step, 1 + step), (-1.0, -1.0)):
            assert (torch.full((1, 1), given) @ one).item() == wanted


def test_rests_are_multiplied_too():
    given = torch.full((1, 1), 1 + 2.0**-9)  # of TF32's 10 bits, the last but one
    rest = torch.full((1, 1), 1 + 2.0**-13)  # beyond them
    with Rounded(10, rests=True):
        assert (given @ rest).item() == ((1 + 2.0**-9) * (1 + 2.0**-13))
        assert (rest @ given).item() == ((1 + 2.0**-9) * (1 + 2.0**-13))
        added = torch.addmm(torch.ones(1, 1), rest, given).item()  # what is added counts once
    assert added == 1 + (1 + 2.0**-9) * (1 + 2.0**-13)
    with Rounded(10):
        assert (given @ rest).item() == 1 + 2.0**-9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("precision --units 4", "--units 4: expected at least 8"),
        ("precision --steps 0", "--steps 0: expected at least 1"),
        ("handwriting", "data/iamondb.h5: cannot be read"),
        ("handwriting --data none.h5", "none.h5: cannot be read"),
        ("handwriting --batches 0", "--batches 0: expected at least 1"),
        ("handwriting --data LINES --sizes x", "--sizes x: expected numbers"),
        ("handwriting --data LINES --sizes 2", "--sizes 2: 2 parameters: the smallest"),
    ],
)
def test_mistakes_end_in_one_line(cwrnn, lines, words, message):
    given = [str(lines) if word == "LINES" else word for word in words.split()]
    assert message in one_line_error(cwrnn("bench", *given, expect=2))


def test_saving(cwrnn, piece, tmp_path):
    words = ("bench", "saving", "--data", piece, "--models", "cw", "--params", 100, "--runs", 2)
    found = json.loads(cwrnn(*words, "--seconds", 0.5, "--place", tmp_path, "--json").stdout)
    (row,) = found["rows"]
    assert (row["model"], row["params"], row["networks"]) == ("cw", 100, 2 * 5)
    assert 0.5 <= row["seconds"] and row["checkpoints"] >= 1 and row["bytes"] > 10 * 100 * 4
    once = row["lock"] / row["seconds"]  # and a digest with each checkpoint, every 10 s
    assert row["safety_share"] == pytest.approx(row["digest"] / 10 + once)
    assert row["written_share"] >= row["metrics"] / row["seconds"]
    assert not list(tmp_path.iterdir())  # what was trained is gone
    text = cwrnn(*words, "--seconds", 0.1, "--place", tmp_path).stdout
    assert "digests and lock: %" in text and "100 CW-RNN" in text


def test_layers_of_some_cells_only(cwrnn):
    words = ("bench", "layer", "--widths", 16, "--batches", 1, "--lengths", 4, "--repeats", 1)
    more = ("--seconds", 0, "--models", "srn", "--out", "here", "--json")
    found = json.loads(cwrnn(*words, *more).stdout)
    names = {row["cell"] for row in found["rows"] if row["backend"] != "jax"}
    assert names == {"torch.nn.RNN", "SRN"}
    assert json.loads(Path("here/manifest.json").read_text())["configuration"]["models"] == ["srn"]
    assert not Path("here/bench.png").exists()  # it is of the CW-RNN
    message = one_line_error(cwrnn(*words, "--models", "srm", expect=2))
    assert message.startswith("--models srm: 'srm' is none of")
