"""A scan of learning rates: what is best, what is counted, what is never looked at."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cwrnn_cli.reporting.scan import scan_text
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.timit.engines import TimitTrainer
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.loop import Interrupted
from cwrnn_cli.training.scan import Point, cell_folder, collect, run_scan
from data_prep.errors import UserError

TOO_MUCH = 3e38  # no network survives this rate


class Unread:
    """A split that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"the test set was read: {name}")


def points_of(data, rates, sizes=(200,), **options):
    options = {"runs": 2, "epochs": 3, "momentum_ramp": False} | options
    return [
        Point([configure(data, "srn", params, lr=rate, **options) for params in sizes])
        for rate in rates
    ]


@pytest.fixture
def words(spoken):
    return TASKS["timit"].load(spoken)


def test_the_best_rate_of_all_sizes_by_what_networks_stop_by(words, tmp_path):
    points = points_of(words, (1e-6, 3e-2, 1e-5), sizes=(200, 300))
    seen = []
    run_scan(points, words, tmp_path, lambda epoch, values: seen.append(epoch))
    assert seen == list(range(1, 19))  # 6 cells of 3 epochs
    found = collect(points, words, tmp_path, "cwrnn scan")
    assert found == json.loads((tmp_path / "scan.json").read_text())
    assert found["best"] == {"srn, constant": 3e-2}
    assert found["data"]["sha256"] == words.sha256 and found["standin"] is True
    assert found["judged_by"] == "train"
    for point, row in zip(points, found["rows"], strict=True):
        means = []
        for config in point.cells:
            lowest = cell_folder(tmp_path, config).checkpoint().extra["lowest"].numpy()
            size = row["sizes"][str(config.params)]
            assert size["mean"] == pytest.approx(lowest.mean())
            assert size["median"] == pytest.approx(np.median(lowest))
            assert (size["diverged"], size["networks"]) == (0, 2)
            means.append(lowest.mean())
        assert row["score"] == pytest.approx(np.mean(means))
    assert min(found["rows"], key=lambda row: row["score"])["lr"] == 3e-2


def test_momenta_are_chosen_for_apart(words, tmp_path):
    points = points_of(words, (1e-6, 3e-2)) + points_of(words, (3e-2, 1e-6), momentum_ramp=True)
    run_scan(points, words, tmp_path)
    assert collect(points, words, tmp_path, "")["best"] == {
        "srn, constant": 3e-2,
        "srn, ramp": 3e-2,
    }


def test_diverged_networks_are_counted_and_never_the_best(words, tmp_path):
    points = points_of(words, (TOO_MUCH, 1e-3))
    run_scan(points, words, tmp_path)
    found = collect(points, words, tmp_path, "")
    worst, other = found["rows"]
    assert worst["sizes"]["200"] == {"mean": None, "median": None, "diverged": 2, "networks": 2}
    assert worst["score"] is None and other["sizes"]["200"]["diverged"] == 0
    assert found["best"] == {"srn, constant": 1e-3}
    none = collect(points[:1], words, tmp_path, "")
    assert none["best"] == {"srn, constant": None}
    assert "best for srn, constant: none, networks diverged at each" in scan_text(none)


def test_what_diverges_in_task_1_counts_as_silence(piece, tmp_path):
    data = TASKS["audio"].load(piece)
    points = points_of(data, (TOO_MUCH,), sizes=(100,), runs=1)
    run_scan(points, data, tmp_path)
    (size,) = collect(points, data, tmp_path, "")["rows"][0]["sizes"].values()
    assert size["diverged"] == size["networks"] == len(data.targets)
    assert size["mean"] == pytest.approx(data.targets.std(axis=1).mean(), rel=1e-6)


def test_interrupted_and_resumed_it_gives_the_same_numbers(words, tmp_path, monkeypatch):
    points = points_of(words, (1e-3, 1e-2))
    run_scan(points, words, tmp_path / "whole")
    wanted = collect(points, words, tmp_path / "whole", "")
    advance = TimitTrainer.advance

    def stop(self):
        if self.config.lr == 1e-2 and self.epoch == 1:
            os.kill(os.getpid(), 15)
        return advance(self)

    monkeypatch.setattr(TimitTrainer, "advance", stop)
    with pytest.raises(Interrupted) as caught:
        run_scan(points, words, tmp_path / "broken")
    assert caught.value.epoch == 2
    monkeypatch.undo()
    first = cell_folder(tmp_path / "broken", points[0].first).path / "checkpoint.pt"
    before = first.stat().st_mtime_ns
    run_scan(points, words, tmp_path / "broken")
    assert collect(points, words, tmp_path / "broken", "") == wanted
    assert first.stat().st_mtime_ns == before  # what was done is not done again


def test_a_scan_with_other_options_is_not_taken_for_this_one(words, tmp_path):
    run_scan(points_of(words, (1e-3,)), words, tmp_path)
    run_scan(points_of(words, (1e-3, 1e-2)), words, tmp_path)  # more rates are welcome
    with pytest.raises(UserError, match="a run that differs in seed; resume with the same options"):
        run_scan(points_of(words, (1e-3,), seed=5), words, tmp_path)


@pytest.mark.parametrize(("task", "params"), [("timit", 200), ("iamondb", 700)])
def test_choices_never_look_at_the_test_set(task, params, request, tmp_path):
    path: Path = request.getfixturevalue({"timit": "spoken", "iamondb": "lines"}[task])
    data = replace(TASKS[task].load(path), test=Unread())
    options = {} if task == "timit" else {"batch": 10}
    points = points_of(data, (1e-3, 1e-2), sizes=(params,), runs=1, epochs=2, **options)
    run_scan(points, data, tmp_path)
    found = collect(points, data, tmp_path, "")
    assert all(row["score"] is not None for row in found["rows"])
    assert found["judged_by"] == {"timit": "train", "iamondb": "valid"}[task]
    with pytest.raises(AssertionError, match="the test set was read"):
        TASKS[task].evaluate_run(cell_folder(tmp_path, points[0].first), data, "test")
