"""What the paper leaves open, from the command line to the deviations of a run."""

import json
from pathlib import Path

import pytest
import torch

from cwrnn_cli.training.folder import RunFolder
from tests.conftest import one_line_error


def deviations(run: Path) -> dict:
    return {
        each["name"]: each["ours"]
        for each in json.loads((run / "config.json").read_text())["deviations"]
    }


def test_readings_of_task_1_train_and_are_named(cwrnn, piece, tmp_path):
    common = ["train", "--data", piece, "--runs", 1, "--epochs", 4, "--params", 100]
    cwrnn(*common, "--model", "cw", "--clock-origin", 1, "--scale-rate", "--out", "cw")
    assert deviations(tmp_path / "cw").items() >= {"clock_origin": 1, "scale_rate": True}.items()
    lstm = ["--model", "lstm", "--cell-output", "sigmoid", "--delta-clip", 0.5]
    cwrnn(*common, *lstm, "--out", "lstm")
    found = deviations(tmp_path / "lstm")
    assert (found["cell_output"], found["delta_clip"]) == ("sigmoid", 0.5)
    said = cwrnn("eval", "lstm", "--data", piece).stdout
    assert "cell_output" in said and "delta_clip" in said


def test_a_rate_that_is_scaled_is_that_of_so_much_less(cwrnn, piece, tmp_path):
    common = ["train", "--data", piece, "--runs", 1, "--epochs", 5, "--params", 100, "--model"]
    constant = ["srn", "--no-momentum-ramp", "--momentum", 0.75]
    cwrnn(*common, *constant, "--scale-rate", "--lr", 4e-4, "--out", "scaled")
    cwrnn(*common, *constant, "--lr", 1e-4, "--out", "less")
    scaled, less = (
        (tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("scaled", "less")
    )
    assert [json.loads(a)["mse_median"] for a in scaled] == pytest.approx(
        [json.loads(b)["mse_median"] for b in less], rel=1e-6
    )


def weights(run: Path) -> dict:
    return RunFolder(run).checkpoint().weights


@pytest.mark.parametrize(
    "option", [["--delta-clip", 1e-3], ["--scale-rate"], ["--weight-std", "scaled"]]
)
@pytest.mark.parametrize("task", ["audio", "timit", "iamondb"])
def test_an_option_reaches_the_engine_of_every_task(request, cwrnn, tmp_path, task, option):
    data = request.getfixturevalue({"audio": "piece", "timit": "spoken", "iamondb": "lines"}[task])
    smallest = {"audio": 100, "timit": 500, "iamondb": 10000}[task]
    common = ["train", "--task", task, "--data", data, "--runs", 1, "--epochs", 2]
    common += ["--params", smallest, "--model", "cw"]
    cwrnn(*common, "--out", "plain")
    cwrnn(*common, *option, "--out", "other")
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "other")
    assert plain.keys() == other.keys()
    assert not all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize("option", [["--loss-at", "every"], ["--batch", 2]])
def test_so_does_one_of_task_2(cwrnn, spoken, tmp_path, option):
    common = ["train", "--task", "timit", "--data", spoken, "--runs", 1, "--epochs", 2]
    common += ["--params", 500, "--model", "lstm"]
    cwrnn(*common, "--out", "plain")
    cwrnn(*common, *option, "--out", "other")
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "other")
    assert not all(torch.equal(plain[name], other[name]) for name in plain)


def test_readings_of_task_3_train_and_are_named(cwrnn, lines, tmp_path):
    common = ["train", "--task", "iamondb", "--data", lines, "--runs", 1, "--epochs", 2]
    options = ["--params", 1000, "--model", "cw", "--reduction", "sum", "--weight-std", "scaled"]
    cwrnn(*common, *options, "--out", "run")
    found = deviations(tmp_path / "run")
    assert (found["reduction"], found["weight_std"]) == ("sum", "scaled")
    assert RunFolder(tmp_path / "run").config().weight_std == "scaled"
    said = cwrnn("compare", "--task", "iamondb", "--run", "run", "--data", lines, "--out", "table")
    assert "weight_std scaled" in said.stdout and "reduction sum" in said.stdout


def test_readings_of_task_2_train_and_are_named(cwrnn, spoken, tmp_path):
    common = ["train", "--task", "timit", "--data", spoken, "--runs", 2, "--epochs", 2]
    options = ["--params", 500, "--model", "cw", "--loss-at", "every", "--batch", 4]
    cwrnn(*common, *options, "--out", "run")
    found = deviations(tmp_path / "run")
    assert (found["loss_at"], found["batch"]) == ("every", 4)
    again = cwrnn("eval", "run", "--data", spoken, "--json").stdout
    assert json.loads(again)["networks"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "gru", "--delta-clip", 1], "--delta-clip: not with --model gru"),
        (["--model", "cw", "--hold-out", 1], "--hold-out: not an option of --task audio"),
        (["--model", "cw", "--delta-clip", 0], "--delta-clip 0: expected a bound above 0"),
        (["--model", "cw", "--clock-origin", 2], "--clock-origin 2: expected 0 or 1"),
        (
            ["--model", "srn", "--clock-origin", 1],
            "--clock-origin: only a clockwork model",
        ),
        (["--model", "cw", "--cell-output", "tanh"], "--cell-output: only an LSTM has cells"),
        (["--model", "cw", "--loss-at", "every"], "--loss-at: not an option of --task audio"),
        (["--model", "cw", "--reduction", "sum"], "--reduction: not an option of --task audio"),
        (
            ["--model", "cw", "--weight-std", "narrow"],
            "Invalid value for '--weight-std': 'narrow' is not a valid float, nor scaled.",
        ),
    ],
)
def test_a_reading_that_does_not_fit_is_one_line(cwrnn, piece, options, said):
    result = cwrnn("train", "--data", piece, *options, expect=2)
    assert one_line_error(result).startswith(said)
