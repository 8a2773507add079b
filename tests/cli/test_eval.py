"""`cwrnn eval --out`: what a run is worth, as JSON and as rows of every network."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from cwrnn_cli.training.manifest import digests
from cwrnn_cli.training.results import read_results
from tests.conftest import one_line_error


@pytest.fixture(scope="module")
def runs(piece, spoken, lines, tmp_path_factory) -> dict[str, Path]:
    """Task -> a run of two epochs."""
    found = {}
    for (task, file), params in zip(
        {"audio": piece, "timit": spoken, "iamondb": lines}.items(), (100, 200, 700), strict=True
    ):
        data = TASKS[task].load(file)
        folder = RunFolder(tmp_path_factory.mktemp("run") / task)
        config = configure(data, "srn", params, runs=2, epochs=2)
        folder.start(config)
        train(config, data, folder)
        found[task] = folder.path
    return found


@pytest.mark.parametrize(
    ("task", "words", "asked"),
    [
        ("audio", "", {"split": "train"}),
        ("timit", "", {"split": "test"}),
        ("iamondb", "--split valid", {"split": "valid"}),
        ("iamondb", "--beam 2 --ngram 1", {"split": "test", "beam": 2, "ngram": 1}),
    ],
)
def test_what_is_shown_is_kept_with_every_networks_rows(cwrnn, runs, task, words, asked):
    run, out, experiment = RunFolder(runs[task]), Path("deep/here"), TASKS[task]
    shown = cwrnn("eval", run.path, *words.split(), "--out", out, "--json")
    result = json.loads(shown.stdout)
    assert json.loads((out / "eval.json").read_text()) == result
    assert result == json.loads(cwrnn("eval", run.path, *words.split(), "--json").stdout)

    split, options = asked["split"], {n: v for n, v in asked.items() if n != "split"}
    evaluation = experiment.evaluate_run(run, None, split, **options)
    found = read_results(out / "eval.h5")
    (cell,) = found.cells.values()
    assert {"run": result["run"], **cell.summary} == result and cell.config["data_path"] == ""
    for kept, wanted in (
        (cell.arrays, experiment.arrays(evaluation)),
        (found.shared, experiment.shared_arrays(evaluation)),
    ):
        assert kept.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_array_equal(kept[name], values)

    manifest = json.loads((out / "manifest.json").read_text())
    trained = json.loads(json.dumps(run.config().computed()))
    assert manifest["configuration"] == {**asked, "run": trained}
    assert manifest["data"]["sha256"] == run.config().data_sha256
    assert manifest["files"] == digests(out) and set(manifest["files"]) == {"eval.json", "eval.h5"}
    assert all(f"{out}/{name}" in shown.stderr for name in ("eval.json", "eval.h5", "manifest"))


def test_the_run_is_named_as_it_was_typed(cwrnn, runs, tmp_path):
    (tmp_path / "link").symlink_to(runs["audio"])
    cwrnn("eval", "link", "--out", "here")
    assert json.loads(Path("here/eval.json").read_text())["run"] == "link"
    for path in Path("here").iterdir():
        assert str(runs["audio"]).encode() not in path.read_bytes()


def test_nothing_is_written_over_and_nothing_half(cwrnn, runs, tmp_path):
    Path("full").mkdir()
    Path("full/mine").write_text("")
    message = one_line_error(cwrnn("eval", runs["audio"], "--out", "full", expect=2))
    assert message == "full: exists already; choose another folder"
    message = one_line_error(cwrnn("eval", runs["iamondb"], "--beam", 0, "--out", "x", expect=2))
    assert message.startswith("--beam 0")
    message = one_line_error(cwrnn("eval", runs["timit"], "--file", "a", "--out", "x", expect=2))
    assert message == "--out: not with --file"
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine"]


def test_pipes_in_the_place_of_files_hold_up_nobody(cwrnn, runs, tmp_path):
    shutil.copytree(runs["iamondb"], "run")
    Path("run/manifest.json").unlink(missing_ok=True)
    for name in ("run/manifest.json", "line.xml"):
        os.mkfifo(name)
    shown, right = (cwrnn("eval", run, "--json").stdout for run in ("run", runs["iamondb"]))
    assert json.loads(shown)["metrics"] == json.loads(right)["metrics"]
    message = one_line_error(cwrnn("eval", "run", "--file", "line.xml", expect=2))
    assert message == "line.xml: cannot be read (a pipe or a device); expected a file"
    assert "run/manifest.json: not a manifest" in one_line_error(cwrnn("report", "run", expect=2))
    message = one_line_error(cwrnn("keep", "run", "--out", "kept", expect=2))
    assert message.startswith("run/manifest.json: damaged (cannot be read (a pipe or a device)")


def test_of_a_run_that_has_not_ended_it_is_said(cwrnn, piece):
    words = ("train", "--model", "cw", "--params", 100, "--runs", 1, "--data", piece, "--out", "r")
    cwrnn(*words, "--epochs", 2)
    assert "not finished" not in cwrnn("eval", "r").stderr
    config = json.loads(Path("r/config.json").read_text())
    Path("r/config.json").write_text(json.dumps(config | {"epochs": 5}))
    assert "r: not finished, 2 of 5 epochs" in cwrnn("eval", "r").stderr
