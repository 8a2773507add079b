"""What TensorBoard itself reads of a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.curves import CurvesFolder, scalars
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from tests.conftest import one_line_error

ROOT = Path(__file__).parents[2]
SMALL = ("train", "--model", "srn", "--params", 100, "--runs", 1, "--device", "cpu")


def read(folder: Path):
    """Tag -> its points, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}


def noted_in(folder: Path):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check(folder: Path, several: bool = True):
    """The curves have what metrics.jsonl has, each epoch once; the points of all of them."""
    curves, noted = read(folder), noted_in(folder)
    wanted = {}
    for line in noted:
        rest = {name: value for name, value in line.items() if name != "epoch"}
        for tag, value in scalars(rest, several).items():
            wanted.setdefault(tag, []).append((line["epoch"], pytest.approx(value)))
    points = {tag: [(p.step, p.value) for p in own] for tag, own in curves.items()}
    assert points == wanted and len(noted) > 1
    return curves


def test_the_curves_of_a_run(cwrnn, piece):
    cwrnn(*SMALL, "--epochs", 40, "--data", piece, "--out", "run", "--tensorboard")
    curves = check(Path("run"))
    assert {"mse_median", "diverged"} < set(curves)
    cwrnn("verify", "run")
    cwrnn("keep", "run", "--out", "kept")
    assert not (Path("kept") / "tensorboard").exists()


@pytest.mark.parametrize("runs", [1, 2])
def test_of_several_networks_the_curves_are_of_least_median_and_greatest(cwrnn, lines, runs):
    more = ("--task", "iamondb", "--runs", runs, "--epochs", 2, "--data", lines, "--out", "run")
    cwrnn(*SMALL, *more, "--tensorboard")
    names = {"ctc", "valid_cer", "largest_gradient"}
    if runs > 1:
        names = {f"{name}/{of}" for name in names for of in ("min", "median", "max")}
    assert names < set(check(Path("run"), several=runs > 1))


def test_killed_and_resumed_no_point_is_there_twice_nor_lost(cwrnn, piece, tmp_path):
    words = (*SMALL, "--epochs", 20000, "--data", piece, "--out", "run", "--tensorboard")
    process = subprocess.Popen(
        [sys.executable, "-m", "cwrnn_cli", *map(str, words)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = Path("run/metrics.jsonl")
    while not metrics.exists() or metrics.read_text().count("\n") < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (events,) = Path("run/tensorboard").iterdir()
    with events.open("ab") as file:
        file.write(b"half a record")
    cwrnn(*words, "--resume")
    assert len(check(Path("run"))["mse_median"]) == 100
    raw = b"".join(path.read_bytes() for path in Path("run/tensorboard").iterdir())
    assert raw.count(b"mse_median") == 100 and b"half" not in raw


def test_a_run_that_began_without_gets_all_of_its_curves(piece, tmp_path):
    data = TASKS["audio"].load(piece)
    config = configure(data, "srn", 100, runs=1, epochs=200, device="cpu")
    run = CurvesFolder(tmp_path)
    run.start(config)
    train(config, data, RunFolder(tmp_path))
    assert not (tmp_path / "tensorboard").exists()
    train(config, data, run)
    first = check(tmp_path)["mse_median"]
    train(config, data, run)
    assert check(tmp_path)["mse_median"] == first
    (events,) = (tmp_path / "tensorboard").iterdir()
    events.write_bytes(events.read_bytes()[:-40])  # as much of it as a full disk took
    run.cut_metrics(200)
    assert [p.step for p in check(tmp_path)["mse_median"]] == [p.step for p in first]


def test_a_tensorboard_that_looks_on_sees_each_point_once(piece, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = TASKS["audio"].load(piece)
    config = configure(data, "srn", 100, runs=1, epochs=200, device="cpu")
    run = CurvesFolder(tmp_path)
    run.start(config)
    train(config, data, run)
    looking = EventAccumulator(str(tmp_path / "tensorboard"))
    looking.Reload()
    times = [(point.step, point.wall_time) for point in looking.Scalars("mse_median")]
    noted = noted_in(tmp_path)
    run.cut_metrics(100)  # as resuming does
    assert noted_in(tmp_path) == noted[:50]
    for line in noted[50:]:
        run.append_metrics(line)
    looking.Reload()
    again = [(point.step, point.wall_time) for point in looking.Scalars("mse_median")]
    assert again[:50] == times[:50] and again[50:] != times[50:]
    assert [step for step, _ in again] == [step for step, _ in times]


def test_what_does_not_start_leaves_nothing(piece, tmp_path):
    data = TASKS["audio"].load(piece)
    run = CurvesFolder(tmp_path / "run")
    run.start(configure(data, "srn", 100, runs=1, epochs=2, device="cpu"))
    run.cut_metrics(0)
    run.append_metrics({"epoch": 1, "mse_median": 0.5})
    assert (run.path / "tensorboard").exists()
    run.discard()
    assert not run.path.exists()


def test_what_is_no_number_has_no_point():
    line = {"a": None, "b": [None, 2.0, 4.0], "c": 3, "d": [None, None], "e": [1.0]}
    several = {"b/min": 2.0, "b/median": 3.0, "b/max": 4.0, "c": 3}
    assert scalars(line, True) == several | {"e/min": 1.0, "e/median": 1.0, "e/max": 1.0}
    assert scalars(line, False)["e"] == 1.0


def test_without_tensorboard_it_says_what_to_install(cwrnn, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer", None)
    message = one_line_error(cwrnn(*SMALL, "--tensorboard", expect=2))
    assert message == (
        "--tensorboard: needs TensorBoard, which is not installed: pip install tensorboard"
    )
    assert not list(tmp_path.iterdir())
