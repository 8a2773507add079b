"""`cwrnn keep`: a run without what only training needs."""

import json
from pathlib import Path

import pytest
import torch

from cwrnn_cli import load
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.manifest import digests
from tests.conftest import one_line_error

TASKS = {
    "iamondb": ("--task", "iamondb", "--model", "cw", "--params", 1000, "--runs", 2),
    "audio": ("--model", "lstm", "--params", 100, "--runs", 2),
}


def trained(cwrnn, task: str, lines: Path, piece: Path) -> None:
    data = {"iamondb": lines, "audio": piece}[task]
    cwrnn("train", *TASKS[task], "--data", data, "--epochs", 2, "--out", "run")


@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize("task", TASKS)
def test_it_is_evaluated_as_the_run_is(cwrnn, lines, piece, task, precision):
    trained(cwrnn, task, lines, piece)
    said = cwrnn("keep", "run", "--out", "small", "--precision", precision).stdout
    data = {"iamondb": lines, "audio": piece}[task]
    assert said == f"small: kept; see `cwrnn eval small --data {data}`\n"
    whole, small = (
        json.loads(cwrnn("eval", run, "--data", data, "--json").stdout) for run in ("run", "small")
    )
    # where the data were is nobody's business
    assert not any(str(data) in path.read_text() for path in Path("small").glob("config.json"))
    configuration = json.loads(Path("small/manifest.json").read_text())["configuration"]
    assert configuration["data_path"] == data.name
    near = 1e-6 if precision == "float32" else 0.05
    assert whole["networks"] == small["networks"]
    for name, values in whole["metrics"].items():
        assert small["metrics"][name]["mean"] == pytest.approx(values["mean"], rel=near)
    layers = [load(Path(run), network=1)[0].state_dict() for run in ("run", "small")]
    for name, weight in layers[0].items():
        if weight.is_floating_point():
            rounded = weight.to(getattr(torch, precision)).to(weight.dtype)
            assert torch.equal(layers[1][name], rounded)
    sizes = [(Path(run) / "checkpoint.pt").stat().st_size for run in ("run", "small")]
    assert sizes[1] < sizes[0]
    manifests = [json.loads((Path(r) / "manifest.json").read_text()) for r in ("run", "small")]
    assert manifests[1].pop("weights")["as"] == precision
    assert manifests[1]["files"] == digests(Path("small"))
    assert manifests[0]["sessions"] == manifests[1]["sessions"]


def test_it_cannot_be_trained_on(cwrnn, lines, piece):
    trained(cwrnn, "iamondb", lines, piece)
    cwrnn("keep", "run", "--out", "small")
    before = {path.name: path.read_bytes() for path in Path("small").iterdir()}
    words = (*TASKS["iamondb"], "--data", lines, "--epochs", 2, "--out", "small", "--resume")
    message = one_line_error(cwrnn("train", *words, expect=2))
    assert "small: holds only the weights to evaluate; train again into another --out" in message
    assert before == {path.name: path.read_bytes() for path in Path("small").iterdir()}


def test_mistakes(cwrnn, lines, piece):
    trained(cwrnn, "iamondb", lines, piece)
    assert "no run folder" in one_line_error(cwrnn("keep", "none", "--out", "small", expect=2))
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    assert "exists already" in one_line_error(cwrnn("keep", "run", "--out", "run", expect=2))
    assert before == {path.name: path.read_bytes() for path in Path("run").iterdir()}
    cwrnn("keep", "run", "--out", "kept")
    assert "kept already" in one_line_error(cwrnn("keep", "kept", "--out", "small", expect=2))
    run = RunFolder(Path("run"))
    last = run.checkpoint()
    last.extra["best.bias"][0, 0] = 1e5
    run.save(last)
    message = one_line_error(cwrnn("keep", "run", "--out", "small", expect=2))
    assert "run: best.bias is too large for float16" in message
    for damaged in ("{", "[1]"):
        Path("run/manifest.json").write_text(damaged)
        words = ("keep", "run", "--out", "small", "--precision", "float32")
        message = one_line_error(cwrnn(*words, expect=2))
        assert "run/manifest.json: damaged" in message
    assert not Path("small").exists()
