"""A task of another package: `train`, `eval`, `compare` and `load` handle it as they do ours.

This is the whole of such a task; nothing here or below ``cwrnn_cli`` knows of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).parents[2]

TASK = '''
"""The copy task: at each step, which symbol came two steps before."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.paper import Protocol
from cwrnn_cli.reporting import page
from cwrnn_cli.reporting.figures import boxes
from cwrnn_cli.reporting.tables import percent_plus_minus, table
from cwrnn_cli.training.engine import AutogradEngine
from cwrnn_cli.training.evaluation import Evaluation, statistics
from cwrnn_cli.training.stopping import AtTheEnd, Measured
from cwrnn_cli.training.task import Data, Problem, Task
from cwrnn_cli.training.trainer import EnsembleTrainer
from data_prep import store

SYMBOLS, STEPS, LAG = 3, 12, 2
COPY = Protocol(
    task="copy", section="none", input_size=SYMBOLS, output_size=SYMBOLS, bidirectional=False,
    periods=(1, 2), hidden_sizes={150: {}}, learning_rates={"srn": 0.1, "lstm": 0.3, "cw": 0.1},
    momentum=0.9, momentum_ramp=False, weight_std=0.4, forget_bias=None, peepholes=False,
    runs=2, epochs=150, results={}, metric="error",
)


@dataclass(frozen=True)
class CopyData(Data):
    task = "copy"
    splits: dict[str, store.Split]

    def tensors(self, split, networks):
        """(R, S, T, symbols) inputs, (R, S, T - LAG) symbols to say."""
        x = torch.from_numpy(self.splits[split].frames).view(1, -1, STEPS, SYMBOLS)
        return x.expand(networks, -1, -1, -1), x[:, :, :-LAG].argmax(3).expand(networks, -1, -1)


def split_of(rng, count):
    frames = np.eye(SYMBOLS, dtype=np.float32)[rng.integers(0, SYMBOLS, count * STEPS)]
    names, one = [str(i) for i in range(count)], np.ones((1, SYMBOLS))
    return store.Split(frames, np.arange(count + 1) * STEPS, names, 0 * one, one)


class CopyEngine(AutogradEngine):
    def __init__(self, config, data):
        generators = config.generators()
        ensemble = Ensemble(config.shape, config.networks)
        ensemble.draw(generators, config.weight_std)
        super().__init__(ensemble, generators, config.optimizer)
        self.data = data

    def train(self, active, rates, momenta):
        chosen, losses = self.select(active), []
        x, wanted = self.data.tensors("train", len(active))
        for rate, momentum in zip(rates, momenta.tolist(), strict=True):
            chosen.networks.zero_grad()
            said = chosen.networks(x)[:, :, LAG:].permute(0, 3, 1, 2)
            loss = cross_entropy(said, wanted, reduction="none").mean((1, 2))
            loss.sum().backward()
            losses.append(loss.detach())
            chosen.step(rate, momentum)
        chosen.put_back()
        return torch.stack(losses).numpy()


class CopyTrainer(EnsembleTrainer):
    def __init__(self, config, data):
        super().__init__(config, CopyEngine(config, data), AtTheEnd(config.networks), updates=1)

    def measure(self, active, losses):
        line = {"loss": float(np.median(losses[-1]))}
        return Measured(losses[-1], ~np.isfinite(losses[-1]), line)


@dataclass(frozen=True)
class CopyEvaluation(Evaluation[CopyData]):
    error: np.ndarray


class CopyTask(Task[CopyData, CopyEvaluation]):
    name, protocol = "copy", COPY
    splits, default_split, selection_split = ("train", "test"), "test", "train"
    without_data = "symbols at random"
    progress = ("loss",)

    def load(self, path):
        corpus = store.read(path, "copy")
        return CopyData("random", True, corpus.sha256, path, corpus.splits)

    def prepare_default(self, path):
        rng = np.random.default_rng(0)
        splits = {"train": split_of(rng, 20), "test": split_of(rng, 10)}
        store.write(path, store.Corpus("copy", True, {}, splits))
        return f"made {path}"

    def problem(self, data):
        return Problem(SYMBOLS, SYMBOLS, len(data.splits["train"]), STEPS, "cross_entropy", {})

    def trainer(self, config, data):
        return CopyTrainer(config, data)

    def networks(self, run):
        ensemble = Ensemble(run.config().shape, run.config().networks)
        ensemble.load_state_dict(run.checkpoint().weights)
        return ensemble

    @torch.no_grad()
    def evaluate(self, run, data, split, **options):
        last, ensemble = run.checkpoint(), self.networks(run)
        x, wanted = data.tensors(split, ensemble.networks)
        error = (ensemble(x)[:, :, LAG:].argmax(3) != wanted).double().mean((1, 2)).numpy()
        diverged = last.extra["diverged_at"].numpy() >= 0
        return CopyEvaluation(run.config(), data, split, last.epoch, ensemble, diverged, error)

    def selection(self, evaluation):
        return np.where(evaluation.diverged, 1.0, evaluation.error)

    def best_network(self, run, data=None):
        return int(self.selection(self.evaluate_run(run, data, self.selection_split)).argmin())

    def summary(self, evaluation):
        errors = statistics(evaluation.error[evaluation.finite])
        return evaluation.heading() | {"split": evaluation.split, "metrics": {"error": errors}}

    def arrays(self, evaluation):
        return {"error": evaluation.error, "diverged": evaluation.diverged}

    def text(self, summary):
        errors = percent_plus_minus(summary["metrics"]["error"])
        return f"{page.network_line(summary)}\\n{summary['split']} set: {errors} % errors"

    def comparison(self, results):
        return page.comparison(results)

    def comparison_text(self, results):
        rows = [
            [page.cell_name(key), percent_plus_minus(summary["metrics"]["error"])]
            for key, summary in results.by_size()
        ]
        return table(("parameters", "test errors %"), rows)

    def figures(self, out, results, caption):
        boxes(out / "errors.png", results.finite("error"), caption, {}, "test errors")
        return [out / "errors.png"]
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A folder as pip would leave it after `pip install copytask`."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "copytask.py").write_text(TASK)
    metadata = folder / "copytask-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: copytask\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cwrnn.tasks]\ncopy = copytask:CopyTask\n")
    return folder


@pytest.fixture(scope="module")
def python(package, tmp_path_factory):
    """Run Python where the package is installed, in a folder that the commands share."""
    here = tmp_path_factory.mktemp("here")

    def run(*words: object) -> subprocess.CompletedProcess:
        path = os.pathsep.join([str(ROOT), str(package)])
        found = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=here,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stderr
        return found

    run.here = here
    return run


@pytest.fixture(scope="module")
def trained(python) -> dict:
    words = ("-m", "cwrnn_cli", "train", "--task", "copy", "--model", "cw", "--json")
    result = python(*words)
    assert "made data/copy.h5" in result.stderr
    return json.loads(result.stdout)


def test_train(trained, python):
    assert (trained["task"], trained["model"], trained["runs"]) == ("copy", "cw", 2)
    assert trained["deviations"] == [] and trained["paper"] is None
    assert trained["parameter_count"] == pytest.approx(150, rel=0.1)
    assert trained["metrics"]["error"]["min"] < 0.2  # by chance it would be 2/3
    run = python.here / trained["run"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 150


def test_eval_and_load(trained, python):
    shown = python("-m", "cwrnn_cli", "eval", "--task", "copy", "--split", "train").stdout
    assert shown.startswith(f"{trained['run']}\nCW-RNN, ") and "train set: " in shown
    code = (
        "import torch, cwrnn_cli\n"
        f"layer, readout = cwrnn_cli.load({trained['run']!r})\n"
        "print(type(layer).__name__, readout(layer(torch.eye(3)[None])[0]).shape)"
    )
    assert python("-c", code).stdout == "ClockworkRNN torch.Size([1, 3, 3])\n"


def test_compare(trained, python):
    words = ("compare", "--task", "copy", "--epochs", 3, "--out", "grid", "--json")
    found = json.loads(python("-m", "cwrnn_cli", *words).stdout)
    assert [cell["model"] for cell in found["cells"]] == ["srn", "lstm", "cw"]
    table = (python.here / "grid" / "table.txt").read_text()
    assert table.startswith("cwrnn compare --task copy") and "150 CW-RNN" in table
    assert (python.here / "grid" / "errors.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(python.here / "grid" / "results.h5") as file:
        assert file["lstm/150/error"].shape == (2,)
