"""`cwrnn runs`: what has been trained, and in what two runs differ."""

import csv
import io
import json
import shutil
import tracemalloc
from pathlib import Path

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.listing import look_at
from data_prep.locks import locked
from tests.conftest import one_line_error


@pytest.fixture
def trained(cwrnn, piece):
    """Two runs, a grid of two, and a search's like: a folder whose config.json is of several."""
    words = ("train", "--data", piece, "--params", 100, "--runs", 1)
    cwrnn(*words, "--model", "cw", "--epochs", 3, "--out", "runs/cw")
    cwrnn(*words, "--model", "srn", "--epochs", 2, "--lr", 1e-4, "--out", "runs/srn")
    grid = ("--models", "cw,srn", "--sizes", "100", "--runs", 1, "--epochs", 1)
    cwrnn("compare", "--data", piece, *grid, "--out", "runs/grid")
    return Path("runs")


def test_all_are_listed_with_what_they_came_to(cwrnn, trained):
    found = json.loads(cwrnn("runs", "--json").stdout)["runs"]
    assert [row["run"] for row in found] == [
        "runs/cw", "runs/grid/cells/cw-100", "runs/grid/cells/srn-100", "runs/srn"
    ]  # fmt: skip
    assert [(row["model"], row["epoch"], row["epochs"]) for row in found] == [
        ("cw", 3, 3), ("cw", 1, 1), ("srn", 1, 1), ("srn", 2, 2)
    ]  # fmt: skip
    lines = (trained / "cw" / "metrics.jsonl").read_text().splitlines()
    assert found[0]["best"] == min(json.loads(line)[found[0]["metric"]] for line in lines)
    assert {row["state"] for row in (found[0], found[3])} == {"trained"}
    assert {row["state"] for row in found if "/cells/" in row["run"]} == {"trained"}
    rows = list(csv.DictReader(io.StringIO(cwrnn("runs", "--csv").stdout)))
    assert [float(row["best"]) for row in rows] == [row["best"] for row in found]
    text = cwrnn("runs").stdout
    assert "3 of 3" in text and text.count("\n") == 2 + len(found)
    assert cwrnn("runs", "--task", "timit").stdout == "runs: no runs\n"


def test_states(cwrnn, trained):
    (trained / "srn" / "config.json").write_text("{")
    (trained / "cw" / "manifest.json").unlink()
    shutil.copytree(trained / "cw", trained / "killed")
    (trained / "killed" / "checkpoint.pt").unlink()
    for name in ("checkpoint.pt", "metrics.jsonl"):
        (trained / "grid" / "cells" / "cw-100" / name).unlink()
    with locked(trained / "grid" / "cells" / "srn-100"):
        found = json.loads(cwrnn("runs", "--json").stdout)["runs"]
    states = {row["run"].removeprefix("runs/"): row["state"] for row in found}
    assert states["cw"] == "stopped" and states["grid/cells/cw-100"] == "not begun"
    assert states["killed"] == "no checkpoint"
    assert states["grid/cells/srn-100"].startswith("at work (process ")
    assert states["srn"].startswith("cannot be read: not a readable run configuration")


def test_lines_are_read_one_after_the_other(piece, tmp_path):
    """And not held: lines of a few bytes are many times as much in memory."""
    run, count = RunFolder(tmp_path / "run"), 1 << 15
    run.start(configure(TASKS["audio"].load(piece), "srn", 100, runs=1))
    look_at(run.path)
    (run.path / "metrics.jsonl").write_text('{"epoch": 7, "mse": 3.5}\n' * count)
    calls = (
        lambda: look_at(run.path).epoch == 7,
        lambda: run.cut_metrics(6) is None,
    )
    for call in calls:
        tracemalloc.start()
        try:
            assert call()
            assert tracemalloc.get_traced_memory()[1] < 16 * count
        finally:
            tracemalloc.stop()


def test_what_differs(cwrnn, trained):
    found = json.loads(cwrnn("runs", "diff", "runs/cw", "runs/srn", "--json").stdout)
    assert found["model"] == {"a": "cw", "b": "srn"}
    assert found["lr"] == {"a": 3e-4, "b": 1e-4} and found["epoch"] == {"a": 3, "b": 2}
    assert "data_sha256" not in found and "momentum" not in found
    assert "periods" in cwrnn("runs", "diff", "runs/cw", "runs/srn").stdout
    assert "periods" in cwrnn("runs", "diff", "cw", "srn").stdout  # as the list names them
    assert cwrnn("runs", "diff", "runs/cw", "runs/cw").stdout == "nothing differs\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--in", "nowhere"), "nowhere: no such folder"),
        (("--json", "--csv"), "--json and --csv: only one of them"),
        (("diff", "runs/grid", "runs/cw"), "runs/grid: many runs, a folder each"),
        (("diff", "runs/cw", "nowhere"), "nowhere: cannot be read: no run folder"),
    ],
)
def test_mistakes_are_one_line(cwrnn, trained, words, message):
    assert message in one_line_error(cwrnn("runs", *words, expect=2))
