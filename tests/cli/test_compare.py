"""`cwrnn compare --run`: runs of `cwrnn train` as they are, side by side."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.jobs import cores
from cwrnn_cli.training.loop import train
from cwrnn_cli.training.manifest import digests
from data_prep import store
from tests.conftest import check_csv, one_line_error


@pytest.fixture(scope="module")
def runs(lines, tmp_path_factory) -> list[Path]:
    """Two of the same name in folders of their own, of 3 and 2 epochs."""
    data, found = TASKS["iamondb"].load(lines), []
    for name, options in (("one", {"epochs": 3}), ("two", {"epochs": 2, "lr": 1e-2})):
        folder = RunFolder(tmp_path_factory.mktemp(name) / "srn")
        config = configure(data, "srn", 700, runs=1, batch=4, **options)
        folder.start(config)
        train(config, data, folder)
        found.append(folder.path)
    return found


def compare(cwrnn, runs, *words, **more):
    given = [word for run in runs for word in ("--run", run)]
    return cwrnn("compare", "--task", "iamondb", *given, *words, **more)


def test_table_curves_and_json(cwrnn, runs, tmp_path):
    result = compare(cwrnn, runs, "--at", "1,3,3", "--out", "both")
    names_of_two = f"{runs[1].parent.name}-srn"
    out = tmp_path / "both"
    text = (out / "table.txt").read_text()
    assert text.count("validation by epoch 3") == 1 and "synthetic writers" in text
    shown = result.stdout  # narrower: what the runs have in common is said once
    assert shown.splitlines()[0] == text.splitlines()[0]
    assert "all depart from the protocol by batch 4, output_size 4" in shown
    assert "by N: validation by epoch N, CER %" in shown
    (head,) = [line for line in shown.splitlines() if line.startswith("parameters")]
    assert head.split()[-4:] == ["by", "1", "by", "3"] and "units" not in head.split()
    assert any(line.startswith("all: ") and "units " in line for line in shown.splitlines())
    assert len(head) < 120
    (other,) = [line for line in shown.splitlines() if names_of_two in line]
    assert " lr 0.01 " in other and "batch" not in other and other.endswith("–")
    found = json.loads(
        compare(cwrnn, runs, "--at", "1,3", "--out", "both", "--resume", "--json").stdout
    )
    assert found["task"] == "iamondb" and [r["run"] for r in found["runs"]] == list(map(str, runs))
    names = [f"{run.parent.name}-srn" for run in runs]  # of one name: told apart by their folders
    for name, run, row in zip(names, runs, found["runs"], strict=True):
        assert name in text
        noted = (run / "metrics.jsonl").read_text()
        assert (out / f"{name}.jsonl").read_text() == noted
        lowest = [min(json.loads(line)["valid_cer"]) for line in noted.splitlines()]
        last = min(lowest) if len(lowest) == 3 else None  # the other did not come so far
        assert row["validation"] == {"1": lowest[0], "3": last}
        summary = json.loads((out / f"{name}.json").read_text())
        assert {k: v for k, v in row.items() if k not in ("run", "validation")} == summary
        assert summary["split"] == "test" and summary["epochs"] == len(lowest)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    lines = text.splitlines()
    assert lines[-1].rstrip().endswith("–") and "lr 0.01, batch 4" in lines[-1]


def test_runs_that_differ_in_their_seeds_are_one_cell(cwrnn, lines, runs, tmp_path):
    data, task, folders = TASKS["iamondb"].load(lines), TASKS["iamondb"], [runs[1]]
    for seed, networks in ((0, 1), (1, 2)):
        folder = RunFolder(tmp_path / f"s{seed}")
        options = {"seed": seed, "runs": networks, "epochs": 2, "lr": 2e-3}
        folder.start(configure(data, "srn", 700, **options))
        train(folder.config(), data, folder)
        folders.append(folder.path)
    errors = [task.arrays(task.evaluate_run(RunFolder(path)))["cer"] for path in folders]
    result = compare(cwrnn, folders, "--at", "1", "--out", "out")
    apart, together = result.stdout.split("runs that differ in their seeds only, together")
    assert apart.count("700 SRN") == 3 and together.count("700 SRN") == 2
    found = json.loads(compare(cwrnn, folders, "--out", "out", "--resume", "--json").stdout)
    alone, cell = found["cells"]
    assert (alone["networks"], cell["networks"], cell["runs"]) == (1, 3, ["s0", "s1"])
    every = np.concatenate(errors[1:])
    assert cell["cer"]["mean"] == pytest.approx(every.mean())
    assert (cell["cer"]["min"], cell["cer"]["max"]) == (every.min(), every.max())
    assert cell["cut_short"] == 3 and cell["diverged"] == 0
    (row,) = [line for line in together.splitlines() if "lr 0.002" in line]
    assert f"{100 * every.mean():.1f}" in row and f"{100 * every.max():.1f}" in row


def test_a_run_given_twice_is_shown_once_under_its_own_name(cwrnn, runs, tmp_path):
    text = compare(cwrnn, [runs[0], runs[0]], "--at", "1").stdout
    assert text.count("700 SRN") == 1
    found = {path.name for path in (tmp_path / "runs" / "compare-iamondb-runs").iterdir()}
    files = {"table.txt", "table.csv", "curves.png", "results.h5", "srn.json", "srn.jsonl"}
    assert found == files | {"manifest.json"}
    (tmp_path / "link").symlink_to(runs[0])
    text = compare(cwrnn, [runs[0], "link"], "--at", "1", "--out", "other").stdout
    assert text.count("700 SRN") == 1


def test_every_networks_rows_and_a_manifest(cwrnn, runs, tmp_path):
    shown = compare(cwrnn, runs, "--at", "1,2", "--split", "valid", "--out", "both")
    out, task = tmp_path / "both", TASKS["iamondb"]
    names = [f"{run.parent.name}-srn" for run in runs]
    with h5py.File(out / "results.h5") as file:
        assert set(file) == set(names)
        for name, run in zip(names, runs, strict=True):
            wanted = task.arrays(task.evaluate_run(RunFolder(run), None, "valid"))
            assert set(file[name]) == set(wanted) | {"characters"}  # of each line
            for array, values in wanted.items():
                np.testing.assert_array_equal(file[name][array][()], values)
            summary = json.loads((out / f"{name}.json").read_text())
            assert json.loads(file[name].attrs["summary"]) == summary
    manifest = json.loads((out / "manifest.json").read_text())
    asked = manifest["configuration"]
    assert (asked["split"], asked["at"], list(asked["runs"])) == ("valid", [1, 2], names)
    for name, run in zip(names, runs, strict=True):
        values = json.loads((run / "config.json").read_text())
        assert "data_path" not in asked["runs"][name] and values | asked["runs"][name] == values
    assert manifest["data"]["name"] == "stand-in handwriting"
    assert manifest["files"] == digests(out)
    assert set(manifest["files"]) == {p.name for p in out.iterdir()} - {"manifest.json"}
    assert all(f"both/{file}" in shown.stderr for file in (*manifest["files"], "manifest.json"))
    compare(cwrnn, runs[:1], "--at", "1", "--out", "both", "--resume")
    again = json.loads((out / "manifest.json").read_text())
    assert len(again["sessions"]) == 2 and list(again["configuration"]["runs"]) == ["srn"]
    assert again["files"] == digests(out) != manifest["files"]


def test_runs_of_two_corpora(cwrnn, runs, lines, tmp_path):
    whole = store.read(lines)
    splits = {name: replace(split, frames=2 * split.frames) for name, split in whole.splits.items()}
    store.write(tmp_path / "other.h5", replace(whole, splits=splits))
    data, folder = TASKS["iamondb"].load(tmp_path / "other.h5"), RunFolder(tmp_path / "run")
    config = configure(data, "srn", 700, runs=1, epochs=1)
    folder.start(config)
    train(config, data, folder)
    compare(cwrnn, [runs[0], folder.path], "--at", "1", "--out", "both")
    found = json.loads((tmp_path / "both" / "manifest.json").read_text())["data"]
    assert [source["sha256"] for source in found] == [store.read(lines).sha256, data.sha256]


def test_what_cannot_be_evaluated_leaves_no_folder(cwrnn, runs, tmp_path):
    shutil.copytree(runs[0], "cut")
    Path("cut/checkpoint.pt").unlink()
    for more in ([], ["--resume"]):
        message = one_line_error(compare(cwrnn, [*runs, "cut"], *more, expect=2))
        assert message.startswith("cut: not trained yet")
    assert not list(tmp_path.glob("runs/*")) and not list(tmp_path.glob("runs/.*"))


def test_data_that_have_moved(cwrnn, runs, lines, tmp_path):
    shutil.copytree(runs[0], "moved")
    config = Path("moved/config.json")
    values = json.loads(config.read_text()) | {"data_path": str(tmp_path / "gone.h5")}
    config.write_text(json.dumps(values))
    assert "gone.h5" in one_line_error(compare(cwrnn, ["moved"], expect=2))
    assert "700 SRN" in compare(cwrnn, ["moved"], "--data", lines).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--task iamondb --run nowhere", "nowhere: no run folder"),
        ("--task timit --run RUN", "a run of task iamondb, not timit"),
        (
            "--task iamondb --run RUN --at x",
            "--at x: expected numbers with commas between, such as 25,50",
        ),
        (
            "--task iamondb --run RUN --at 0",
            "--at 0: expected numbers with commas between, such as 25,50",
        ),
    ],
)
def test_mistakes_end_in_one_line(cwrnn, runs, words, message):
    given = [str(runs[0]) if word == "RUN" else word for word in words.split()]
    assert message in one_line_error(cwrnn("compare", *given, expect=2))
    assert not Path("runs").exists()


def test_nothing_is_written_over_without_a_word(cwrnn, runs, tmp_path):
    compare(cwrnn, runs[:1], "--at", "1")
    out = tmp_path / "runs" / "compare-iamondb-runs"
    before = (out / "table.txt").read_bytes()
    message = one_line_error(compare(cwrnn, runs, "--at", "1", expect=2))
    assert message.startswith("runs/compare-iamondb-runs: exists already; go on with --resume")
    assert (out / "table.txt").read_bytes() == before
    compare(cwrnn, runs, "--at", "1", "--resume")
    assert (out / "table.txt").read_bytes() != before
    Path("text").write_text("")
    Path("full").mkdir()
    Path("full/mine").write_text("")
    Path("grid").mkdir()
    for name in ("table.txt", "config.json"):
        Path("grid", name).write_text("")
    for name in ("full", "grid", runs[0]):
        message = one_line_error(compare(cwrnn, runs, "--out", name, "--resume", expect=2))
        assert message == f"{name}: holds no comparison of runs; choose another --out"
    message = one_line_error(compare(cwrnn, runs, "--out", "text", expect=2))
    assert message.startswith("text: exists already")


def test_several_at_once_where_they_can_be(cwrnn, piece, lines, runs, monkeypatch):
    """And the default: as many as cores for task 3, none of task 1's, whose loops fill them."""
    said = []
    monkeypatch.setattr(
        "cwrnn_cli.cli.compare.run_grid", lambda *words: said.append(words[-1]) or sys.exit(0)
    )
    words = ("compare", "--data", piece, "--sizes", 100, "--out")
    cwrnn(*words, "default")
    cwrnn(*words, "three", "--jobs", 3)
    cwrnn("compare", "--task", "iamondb", "--data", lines, "--out", "lines")
    assert said == [0, 3, cores()]
    message = one_line_error(cwrnn(*words, "two", "--data", piece, "--jobs", 2, expect=2))
    assert message == "--jobs: with one --data only"
    message = one_line_error(compare(cwrnn, runs, "--jobs", 2, expect=2))
    assert message == "--jobs: not with --run, which trains nothing"
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = one_line_error(cwrnn(*words, "other", "--jobs", 2, expect=2))
    assert message.startswith("--jobs: not under torchrun")
    assert not any(Path(name).exists() for name in ("two", "other"))


def test_task_1_has_no_such_report(cwrnn, piece):
    small = ("--params", 100, "--runs", 1, "--epochs", 2, "--data", piece)
    cwrnn("train", "--model", "srn", *small, "--out", "run")
    message = one_line_error(cwrnn("compare", "--run", "run", expect=2))
    assert message == "--run: not an option of --task audio"


def test_a_size_of_0_is_not_the_largest(cwrnn, piece):
    message = one_line_error(cwrnn("compare", "--sizes", "0", "--data", piece, expect=2))
    assert message.startswith("--sizes 0: expected numbers")


def test_a_model_of_which_nothing_is_left_stands_in_the_report_all_the_same(cwrnn, spoken):
    words = ("--task", "timit", "--sizes", "200", "--runs", 1, "--epochs", 2, "--data", spoken)
    result = cwrnn("compare", *words, "--models", "srn,cw", "--lr", "srn=3e38", "--out", "grid")
    row = next(line for line in result.stdout.splitlines() if line.startswith("200 SRN"))
    assert row.split()[-1] == "1/0" and "–" in row
    assert Path("grid/figure4.png").stat().st_size > 1000


def test_a_cells_options_go_to_the_models_that_have_them(cwrnn, piece, tmp_path):
    words = ("compare", "--data", piece, "--sizes", "100", "--runs", "1", "--epochs", "2")
    cwrnn(*words, "--models", "srn,cw", "--periods", "1,3,9", "--out", "both")
    found = json.loads((tmp_path / "both" / "comparison.json").read_text())["cells"]
    check_csv(tmp_path / "both", found)
    periods = {
        cell["model"]: [d["ours"] for d in cell["deviations"] if d["name"] == "periods"]
        for cell in found
    }
    assert periods == {"srn": [], "cw": [[1, 3, 9]]}
    error = one_line_error(cwrnn(*words, "--models", "srn,lstm", "--periods", "1,3", expect=2))
    assert "--periods" in error and "not --model srn" in error


@pytest.mark.parametrize("jobs", [(), ("--jobs", 1)])
def test_data_that_moved_between_two_sessions_are_taken_from_their_new_place(cwrnn, piece, jobs):
    words = ("compare", "--models", "srn", "--sizes", "100", "--runs", "1", "--epochs", "2", *jobs)
    old, new = Path("old.h5"), Path("new.h5").resolve()
    old.write_bytes(piece.read_bytes())
    cwrnn(*words, "--data", old, "--out", "grid")
    before = Path("grid/table.txt").read_text()
    old.rename(new)
    for name in ("results.h5", "table.txt", "cells/srn-100/checkpoint.pt"):
        (Path("grid") / name).unlink()
    cwrnn(*words, "--data", new, "--out", "grid", "--resume")
    assert json.loads(Path("grid/cells/srn-100/config.json").read_text())["data_path"] == str(new)
    assert Path("grid/table.txt").read_text().splitlines()[1:] == before.splitlines()[1:]
    assert cwrnn("eval", "grid/cells/srn-100").stdout.startswith("grid/cells/srn-100\n")


def test_where_every_network_diverges_there_are_tables_and_figures_all_the_same(cwrnn, piece):
    words = ("compare", "--models", "srn,gru", "--sizes", "100", "--runs", "1", "--epochs", "30")
    rates = ("--lr", "srn=3e38", "--lr", "gru=3e38")
    result = cwrnn(*words, *rates, "--data", piece, "--out", "grid")
    for name in ("100 SRN", "100 GRU"):
        rows = [line.split() for line in result.stdout.splitlines() if line.startswith(name)]
        assert any(row[-1] == "5/5" for row in rows)
    for name in ("results.h5", "table.txt", "comparison.json", "figure3.png", "figure5.png"):
        assert (Path("grid") / name).stat().st_size > 100
