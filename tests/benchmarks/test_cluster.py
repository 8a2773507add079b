"""What a comparison costs on many processes: the deal of units, and what grids have noted."""

import json

import pytest

from cwrnn_cli.benchmarks import cluster
from cwrnn_cli.evidence.folders import check_folder
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from data_prep.files import write_text
from tests.conftest import one_line_error


def unit(process: str, began: float, seconds: float, runs: int = 1) -> dict:
    span = {"began": began, "seconds": seconds, "resumed": False}
    return span | {"process": process, "runs": runs, "first_run": 0}


def pieces(*seconds: float) -> list[cluster.Piece]:
    return [cluster.Piece(each, each) for each in seconds]


def test_units_are_dealt_out_the_longest_first():
    run = cluster.simulated(pieces(1.0, 5.0, 2.0, 4.0), processes=2, overhead=0.5)
    # 5 | 4 2 -> 5.5 | 4.5; then 2 -> 7.0 on the second; 1 -> 7.0 on the first
    assert (run.seconds, run.work, run.idle) == (7.0, 12.0, 0.0)
    assert run.busy == 12.0 / 14.0
    alone = cluster.simulated(pieces(5.0, 1.0), processes=3, overhead=0.0)
    assert (alone.seconds, alone.idle) == (5.0, 4.0 + 5.0)


def test_what_a_unit_will_take_is_not_known_when_it_is_dealt_out():
    wrong = [cluster.Piece(3.0, 1.0), cluster.Piece(2.0, 1.0), cluster.Piece(1.0, 10.0)]
    assert cluster.simulated(wrong, processes=2, overhead=0.0).seconds == 11.0


def test_a_unit_of_many_runs_is_cut_and_one_of_one_run_is_not():
    units = [unit("a", 0, 100.0, runs=50), unit("a", 0, 100.0), unit("a", 0, 90.0, runs=2)]
    found = cluster.cut(units, 1.0, 30.0)
    assert [piece.seconds for piece in found] == [25.0] * 4 + [100.0] + [45.0] * 2
    assert [piece.expected for piece in found] == [12.5] * 4 + [1.0] + [1.0] * 2


def test_what_lies_between_units_and_behind_the_last():
    units = [unit("a", 10, 4), unit("a", 14.5, 3.5), unit("b", 10.25, 5), unit("a", 18.25, 1.75)]
    assert cluster.overheads(units) == [0.5, 0.25]
    run = cluster.observed(units, processes=2)
    assert (run.seconds, run.work, run.idle) == (10.0, 14.25, 4.75)
    assert cluster.observed(units, processes=3).idle == 14.75


def test_grids_are_simulated_from_what_they_have_noted(cwrnn, piece, tmp_path):
    data = TASKS["audio"].load(piece)
    for model, seconds in (("cw", 60.0), ("srn", 30.0)):
        folder = RunFolder(tmp_path / "cells" / f"{model}-100")
        folder.start_or_resume(configure(data, model, 100, "--sizes", runs=100))
        path = folder.path / "times.json"
        write_text(path, json.dumps({"units": [unit("a", 0.0, seconds, runs=100)]}))
    words = ("bench", "cluster-cost", tmp_path, "--processes", "1,3,9", "--times", "1,10")
    found = json.loads(cwrnn(*words, "--overhead", 1, "--json", "--out", "results/cost").stdout)
    rows = found["rows"]
    assert [row["seconds"] for row in rows] == [93.0, 31.0, 31.0, 930.0, 310.0, 124.0]
    assert [row["bound_s"] for row in rows] == [90.0, 30.0, 30.0, 900.0, 300.0, 100.0]
    assert not check_folder(tmp_path / "results" / "cost", "cost")
    bench = tmp_path / "results" / "cost" / "bench.json"
    write_text(bench, bench.read_text().replace('"seconds": 93.0', '"seconds": 94.0'))
    assert check_folder(tmp_path / "results" / "cost", "cost")
    text = cwrnn(*words, "--overhead", 0).stdout.splitlines()
    assert text[3].startswith("times  processes  units") and len(text) == 5 + 6
    assert "--longest" in one_line_error(cwrnn(*words, "--longest", 0, expect=2))
    line = one_line_error(cwrnn(*words[:2], tmp_path / "cells", expect=2))
    assert "that has ended" in line
    write_text(path, json.dumps({"units": [unit("a", 0.0, 30.0) | {"resumed": True}]}))
    assert "expected a grid that ran through" in one_line_error(cwrnn(*words, expect=2))


def test_a_small_grid_is_measured(cwrnn, piece, tmp_path, monkeypatch):
    small = "--sizes 100 --models srn,cw --runs 4 --epochs 20 --block 1"
    monkeypatch.setattr(cluster, "_SMALL", tuple(small.split()))
    words = ("bench", "cluster", "--data", piece, "--processes", "1,2")
    one, two = json.loads(cwrnn(*words, "--out", "results/cluster", "--json").stdout)["rows"]
    for row in (one, two):
        assert row["units"] == 8 and 0 < row["busy"] <= 1
        assert 0 < row["overhead_per_unit_s"] <= row["largest_overhead_s"]
        assert row["train_s"] < row["command_s"]
    assert one["idle_per_process_s"] == pytest.approx(0, abs=1e-6)
    assert two["idle_per_process_s"] >= 0
    folder = tmp_path / "results" / "cluster"
    assert not check_folder(folder, "cluster")
    write_text(folder / "bench.txt", (folder / "bench.txt").read_text().replace("busy", "idle"))
    assert check_folder(folder, "cluster")
