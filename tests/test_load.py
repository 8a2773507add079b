"""A trained network in one line: the one that `cwrnn eval` evaluates."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import cwrnn_cli
from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from data_prep.errors import UserError

OPTIONS = {
    "audio": {"model": "srn", "params": 100, "runs": 2, "epochs": 30},
    "timit": {"model": "lstm", "params": 300, "runs": 3, "epochs": 4, "lr": 1e-2},
    "iamondb": {"model": "cw", "params": 700, "runs": 2, "epochs": 2, "batch": 4, "lr": 1e-2},
}
tasks = pytest.mark.parametrize("task", list(OPTIONS))


def trained(data: Path, task: str, path: Path, **more) -> RunFolder:
    corpus, folder = TASKS[task].load(data), RunFolder(path)
    config = configure(corpus, **(OPTIONS[task] | more))
    folder.start(config)
    train(config, corpus, folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, piece, spoken, lines) -> dict[str, RunFolder]:
    folder, data = tmp_path_factory.mktemp("runs"), (piece, spoken, lines)
    return {t: trained(d, t, folder / t) for t, d in zip(OPTIONS, data, strict=True)}


def error_of(task: str, found, layer, readout, index: int) -> float:
    """A network's error on the split, anew from its layers, one sequence at a time."""
    data = found.data
    with torch.no_grad():
        if task == "audio":
            target = data.targets[index % len(data.targets)]
            wave = readout(layer(torch.empty(1, len(target), 0))[0])[0, :, 0].numpy()
            return float(np.square(wave.astype(np.float64) - target).mean())
        part = data.split(found.split)
        outputs = [readout(layer(torch.from_numpy(part[i])[None])[0])[0] for i in range(len(part))]
    if task == "timit":
        answers = [int(y[-1].argmax()) for y in outputs]
        return float(np.mean(np.array(answers) != part.labels))
    from cwrnn_cli.tasks.iamondb.data import best_path, error_rate

    read = [data.decode(best_path(y[None], torch.tensor([len(y)]))[0]) for y in outputs]
    return error_rate(part.text, read)


@tasks
def test_layer_and_readout_are_the_evaluated_network(task, runs):
    found = TASKS[task].evaluate_run(runs[task])
    name = {"audio": "mse", "timit": "error", "iamondb": "cer"}[task]
    errors = TASKS[task].arrays(found)[name]
    for index in {0, found.config.networks - 1}:
        layer, readout = cwrnn_cli.load(runs[task].path, index)
        assert not layer.training and not readout.training
        assert type(layer) is type(found.config.cell.layer(found.config.input_size))
        anew = error_of(task, found, layer, readout, index)
        assert anew == pytest.approx(errors[index], rel=1e-4)


@tasks
def test_best_is_the_best_by_which_choices_are_made(task, runs):
    experiment, folder = TASKS[task], runs[task]
    found = experiment.evaluate_run(folder, split=experiment.selection_split)
    best = int(experiment.selection(found).argmin())
    layer, readout = cwrnn_cli.load(str(folder.path))
    wanted, wanted_readout = cwrnn_cli.load(folder.path, np.int64(best))
    for mine, theirs in ((layer, wanted), (readout, wanted_readout)):
        for name, weight in mine.named_parameters():
            assert torch.equal(weight, theirs.get_parameter(name))
    if task == "timit":  # three networks of the same words: another one is not the same
        other, _ = cwrnn_cli.load(folder.path, (best + 1) % 3)
        assert not torch.equal(layer.weight_hh, other.weight_hh)


@tasks
@pytest.mark.parametrize("network", [-1, 999, "worst", 0.0])
def test_no_such_network(task, network, runs):
    count = runs[task].config().networks
    with pytest.raises(UserError, match=f"expected 'best' or 0 to {count - 1}$") as caught:
        cwrnn_cli.load(runs[task].path, network)
    assert repr(network) in caught.value.message


def test_no_such_run(runs, tmp_path):
    with pytest.raises(UserError, match="nowhere: no run folder"):
        cwrnn_cli.load(tmp_path / "nowhere")
    shutil.copytree(runs["timit"].path, tmp_path / "begun")
    (tmp_path / "begun" / "checkpoint.pt").unlink()
    with pytest.raises(UserError, match="begun: not trained yet"):
        cwrnn_cli.load(tmp_path / "begun")


def test_a_run_of_a_task_that_is_not_installed(runs, tmp_path):
    values = json.loads((runs["timit"].path / "config.json").read_text()) | {"task": "choir"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError) as caught:
        cwrnn_cli.load(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / 'config.json'}: task choir: expected")


@pytest.mark.parametrize(("task", "data"), [("audio", "piece"), ("timit", "spoken")])
def test_a_diverged_run(task, data, request, tmp_path):
    path = request.getfixturevalue(data)
    folder = trained(path, task, tmp_path / "run", model="srn", lr=3e38, runs=1, epochs=3)
    with pytest.raises(UserError) as caught:
        cwrnn_cli.load(folder.path)
    assert caught.value.message == (
        f"{folder.path}: every network diverged; train with a lower --lr"
    )
    layer, _ = cwrnn_cli.load(folder.path, 0)  # by its number it can be had
    assert type(layer).__name__ == CELLS["srn"].label


def test_one_network_that_diverged_is_never_the_best(runs, tmp_path):
    shutil.copytree(runs["timit"].path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    last = folder.checkpoint()
    best = int(last.extra["lowest"].argmin())
    last.extra["diverged_at"][best] = 2
    folder.save(last)
    others = last.extra["lowest"].clone()
    others[best] = torch.inf
    assert TASKS["timit"].best_network(folder) == int(others.argmin()) != best


def test_only_task_1_needs_the_data(runs, piece, tmp_path):
    for task, folder in runs.items():
        shutil.copytree(folder.path, tmp_path / task)
        config = tmp_path / task / "config.json"
        values = json.loads(config.read_text())
        config.write_text(json.dumps(values | {"data_path": str(tmp_path / "moved.h5")}))
    cwrnn_cli.load(tmp_path / "timit")
    cwrnn_cli.load(tmp_path / "iamondb")
    with pytest.raises(UserError, match="moved.h5: cannot be read"):
        cwrnn_cli.load(tmp_path / "audio")
    layer, _ = cwrnn_cli.load(tmp_path / "audio", data=piece)
    wanted, _ = cwrnn_cli.load(runs["audio"].path)
    assert torch.equal(layer.weight_hh, wanted.weight_hh)


def test_a_file_is_read_by_the_network_that_load_calls_the_best(runs, tmp_path):
    shutil.copytree(runs["iamondb"].path, tmp_path / "run")
    folder, task = RunFolder(tmp_path / "run"), TASKS["iamondb"]
    points = "".join(f'<Point x="{x}" y="{x % 7}" time="{x / 100}"/>' for x in range(40))
    line = tmp_path / "line.xml"
    line.write_text(f"<W><StrokeSet><Stroke>{points}</Stroke></StrokeSet></W>")
    last = folder.checkpoint()
    last.extra["diverged_at"][:] = 1
    folder.save(last)
    for call in (
        lambda: task.recognise(folder, task.data_of(folder.config()), line),
        lambda: cwrnn_cli.load(folder.path),
    ):
        with pytest.raises(UserError, match="run: every network diverged"):
            call()
