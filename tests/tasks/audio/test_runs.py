"""Runs that end, are killed, are interrupted, diverge."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cwrnn_cli.tasks.audio.data import load
from cwrnn_cli.tasks.audio.evaluate import arrays, evaluate_networks
from cwrnn_cli.tasks.audio.task import AudioTask
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted, train
from data_prep.errors import UserError

ROOT = Path(__file__).parents[3]
evaluate = AudioTask().evaluate_run


def config_of(piece, model="cw", **options):
    options = {"params": 100, "runs": 2, "epochs": 60} | options
    return configure(load(piece), model, **options)


def trained(piece, path, config, **options):
    folder = RunFolder(path)
    if not folder.exists:
        folder.start(config)
    train(config, load(piece), folder, **options)
    return folder


def assert_identical(one: RunFolder, other: RunFolder):
    a, b = one.checkpoint(), other.checkpoint()
    assert a.epoch == b.epoch and a.generators == b.generators
    for mine, theirs in ((a.weights, b.weights), (a.velocity, b.velocity)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert a.extra.keys() == b.extra.keys() >= {"excursions", "largest_gradient"}
    assert all(torch.equal(a.extra[name], b.extra[name]) for name in a.extra)
    read = [(f.path / "metrics.jsonl").read_text() for f in (one, other)]
    assert read[0] == read[1]


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_a_run_learns_and_leaves_a_whole_folder(piece, tmp_path, model):
    config = config_of(piece, model, epochs=100, lr=3e-4, momentum_ramp=False)
    epochs = []
    folder = trained(piece, tmp_path / "run", config, progress=lambda e, s: epochs.append(e))
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "metrics.jsonl",
    ]
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").open()]
    assert [line["epoch"] for line in lines] == epochs == list(range(1, 101))
    assert folder.config() == config
    recorded = json.loads((folder.path / "config.json").read_text())
    assert recorded["versions"]["torch"] == torch.__version__
    assert {d["name"] for d in recorded["deviations"]} >= {"epochs", "runs"}
    found = AudioTask().summary(evaluate(folder))
    assert found["epochs"] == 100 and found["diverged"] < 3
    if model != "srn":  # which learns next to nothing here: the paper's point
        assert found["metrics"]["mse"]["mean"] < 0.9 * lines[0]["mse_median"]
    if model == "cw":
        forbidden = ~torch.from_numpy(config.cell.clock.mask())
        assert not folder.checkpoint().weights["weight_hh"][:, forbidden].any()


VICTIM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from cwrnn_cli.tasks.audio.data import load
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
folder = RunFolder(Path({run!r}))
config = folder.config()
train(config, load(Path(config.data_path)), folder, lambda e, s: print(e, flush=True), 0.0)
"""


@pytest.mark.parametrize(
    ("model", "kill_after"), [("cw", [1, 30]), ("lstm", [17]), ("srn", [3, 4])]
)
def test_killed_and_resumed_is_bit_identical(piece, tmp_path, model, kill_after):
    """SIGKILL in the middle of training, checkpointing after every chunk, more than once."""
    config = config_of(piece, model, epochs=400, runs=3)
    through = trained(piece, tmp_path / "through", config)
    folder = RunFolder(tmp_path / "killed")
    folder.start(config)
    code = VICTIM.format(root=str(ROOT), run=str(folder.path))
    for lines in kill_after:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        seen = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        process.communicate()
        assert seen[-1].strip() and process.returncode == -signal.SIGKILL
        done = folder.checkpoint().epoch if folder.has_checkpoint else 0
        assert int(seen[-1]) - 4 <= done < 400  # the chunk that was told may not be saved yet
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 399, "half a li')
    trained(piece, folder.path, config)
    assert_identical(through, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_resumes(piece, tmp_path, number):
    config = config_of(piece)
    through = trained(piece, tmp_path / "through", config)

    def press(epoch, values):
        if epoch == 20:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as stop:
        trained(piece, tmp_path / "stopped", config, progress=press)
    folder = RunFolder(tmp_path / "stopped")
    assert 20 <= stop.value.epoch == folder.checkpoint().epoch < 60
    trained(piece, folder.path, config)
    assert_identical(through, folder)


def test_where_chunks_end_changes_nothing(piece, tmp_path, monkeypatch):
    config = config_of(piece, epochs=90)
    weights = []
    for lines in (100, 7, 1):
        monkeypatch.setattr("cwrnn_cli.tasks.audio.engines.LOG_LINES", lines)
        folder = trained(piece, tmp_path / str(lines), config)
        assert folder.checkpoint().epoch == 90
        weights.append(folder.checkpoint().weights)
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)


def test_run_i_is_the_same_whatever_runs_beside_it(piece, tmp_path):
    one = trained(piece, tmp_path / "one", config_of(piece, runs=1))
    four = trained(piece, tmp_path / "four", config_of(piece, runs=4))
    for name, weight in one.checkpoint().weights.items():
        assert torch.equal(weight, four.checkpoint().weights[name][:5])
    other_seed = trained(piece, tmp_path / "seed", config_of(piece, runs=1, seed=1))
    assert not torch.equal(
        one.checkpoint().weights["weight_hh"], other_seed.checkpoint().weights["weight_hh"]
    )


def test_diverged_networks_are_counted_not_averaged(piece, tmp_path):
    config = config_of(piece, "srn", lr=3e-3, momentum_ramp=False, epochs=200)
    folder = trained(piece, tmp_path / "run", config)
    evaluation = evaluate(folder)
    found = AudioTask().summary(evaluation)
    assert 0 < found["diverged"] == evaluation.diverged.sum()
    at = evaluation.diverged_at
    assert (at[evaluation.diverged] >= 0).all() and (at < 200).all()
    assert found["diverged"] == sum(part["diverged"] for part in found["sequences"])
    for metric in found["metrics"].values():
        assert all(value is None or np.isfinite(value) for value in metric.values())
    json.dumps(found, allow_nan=False)
    rows = arrays(evaluation)  # what they are, whether it diverged or not
    assert rows["mse"].dtype == np.float32
    with np.errstate(over="ignore"):
        wanted = evaluation.metrics["mse"].astype(np.float32)
    np.testing.assert_array_equal(rows["mse"], wanted)
    assert not (rows["mse"][rows["diverged"]] <= 4).any()
    # the MSE of an epoch is the one before its update: the last update's comes after all of them
    assert (rows["excursions"][rows["diverged_at"] < 0] == 0).all()
    once = rows["diverged_at"] >= 0
    assert (rows["excursions"][once] >= 1).all()
    assert (rows["excursions"] <= np.where(once, 200 - rows["diverged_at"], 0)).all()
    longest, at = rows["largest_gradient"], rows["largest_gradient_at"]
    assert (longest > 0).all() and (at >= 1).all() and (at <= 200).all()
    assert longest[once].min() > np.median(longest[~once])


def test_momentum_ramps_as_in_sutskever_et_al(piece):
    config = config_of(piece, epochs=3000)
    ramp = config.momenta(0, 3000)
    assert [ramp[t] for t in (0, 249, 250, 500, 1000)] == pytest.approx(
        [0.5, 0.5, 0.75, 1 - 1 / 6, 0.9]
    )
    assert ramp[2249] < 0.95 and (ramp[2250:] == np.float32(0.95)).all()
    np.testing.assert_array_equal(config.momenta(700, 50), ramp[700:750])
    constant = config_of(piece, momentum_ramp=False)
    assert (constant.momenta(0, 10) == np.float32(0.95)).all()


def test_the_error_that_is_noted_is_the_mse_whatever_the_loss(piece, tmp_path):
    for loss in ("half_sum_of_squares", "half_mean_of_squares"):
        folder = trained(piece, tmp_path / loss, config_of(piece, loss=loss, epochs=1))
        noted = json.loads((folder.path / "metrics.jsonl").read_text())
        start = replace(folder.checkpoint(), weights=folder.config().start()[0].state_dict())
        mse = evaluate_networks(folder.config(), load(piece), start).metrics["mse"]
        assert noted["mse_median"] == pytest.approx(np.median(mse), rel=1e-6)


def test_the_weights_start_as_far_from_0_as_asked_for(piece):
    wide = config_of(piece, weight_std=0.4).start()[0].state_dict()
    for name, weight in config_of(piece).start()[0].state_dict().items():
        torch.testing.assert_close(wide[name], 4 * weight)


def test_defaults_are_the_papers(piece):
    data = load(piece)
    for model, lr, units in (("srn", 3e-4, 31), ("lstm", 3e-5, 15), ("cw", 3e-4, 40)):
        config = configure(data, model)
        assert (config.lr, config.hidden_size, config.epochs, config.runs) == (lr, units, 2000, 100)
        assert config.momentum == 0.95 and not config.deviations()
        assert getattr(config.cell, "forget_bias", None) == (5.0 if model == "lstm" else None)
    assert configure(data, "srn", 500).hidden_size == 22  # Table 1, not the formula's 21
    assert configure(data, "srn", 600).hidden_size == 23
    assert configure(data, "cw", periods=[1, 3, 9]).deviations() == [
        {"name": "hidden_size", "paper": 40, "ours": 37},
        {"name": "periods", "paper": tuple(2**i for i in range(9)), "ours": (1, 3, 9)},
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "--runs 0"),
        ({"epochs": 0}, "--epochs 0"),
        ({"seed": -1}, "--seed -1"),
        ({"lr": 0.0}, "--lr 0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"momentum": 1.0}, "--momentum 1"),
        ({"weight_std": 0.0}, "--weight-std 0: expected a standard deviation above 0"),
        ({"weight_std": float("inf")}, "--weight-std inf"),
        ({"params": 3}, "--params 3: .* the smallest such network"),
        ({"model": "srn", "periods": [1, 2]}, "only a clockwork model has clock periods"),
        ({"model": "mlp"}, "expected srn, lstm"),
    ],
)
def test_options_out_of_range(piece, options, message):
    with pytest.raises(UserError, match=message):
        config_of(piece, **options)


def test_config_survives_json(piece):
    config = config_of(piece, periods=[1, 5])
    again = TrainConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config and not config.differences(again)
    assert config.differences(config_of(piece, loss="half_mean_of_squares", periods=[1, 5])) == [
        "loss"
    ]
    assert config.differences(config_of(piece, lr=1.0, seed=3, periods=[1, 5])) == ["seed", "lr"]


def test_damaged_folders(piece, tmp_path):
    config = config_of(piece)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="no run folder"):
        folder.config()
    folder.start(config)
    with pytest.raises(UserError, match="not trained yet"):
        folder.checkpoint()
    with pytest.raises(UserError, match="exists already"):
        folder.start(config)
    (folder.path / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="damaged"):
        train(config, load(piece), folder)
    (folder.path / "config.json").write_text('{"task": "audio"}')
    with pytest.raises(UserError, match="no batch, .*; expected a run's whole configuration"):
        folder.config()


def test_data_that_changed_is_noticed(piece, tmp_path):
    copy = tmp_path / "piece.h5"
    copy.write_bytes(piece.read_bytes())
    folder = trained(copy, tmp_path / "run", config_of(copy, epochs=2))
    moved = tmp_path / "moved.h5"
    copy.rename(moved)
    with pytest.raises(UserError, match=r"piece\.h5: cannot be read"):
        evaluate(folder)
    assert evaluate(folder, moved).epoch == 2
    from data_prep import audio

    audio.prepare(copy, start=1.0)
    with pytest.raises(UserError, match="not the data of this run"):
        evaluate(folder)
