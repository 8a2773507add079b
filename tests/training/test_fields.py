"""config.json is input: nothing in it reaches a loop before it is what it may be."""

import json
from dataclasses import fields

import pytest

import cwrnn_cli
from cwrnn_cli.clock import Clock
from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks import TASKS, task_of
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.fields import RULES
from cwrnn_cli.training.folder import RunFolder
from data_prep.errors import UserError

WRONG = {
    "hidden_size": [-1, 0, 1.5, True, "9", None, 1 << 40],
    "periods": [[-1, 2], [0, 2], [1 << 40, 1 << 41], [2, 1], [1], "12", 2, [1, "2"], [[1], [2]]],
    "module_sizes": [[4, 4], [-3, 12], [0, 9], [4.5, 4.5], None],
    "clock_origin": [2, -1, True, "0"],
    "nonlinearity": ["sin", 3, [], {}],
    "params": [0, -1, 1e3, 1 << 50],
    "input_size": [-1, 1 << 40, "0"],
    "output_size": [0, -5, 1 << 40],
    "bidirectional": [1, "no", None],
    "runs": [0, -1, 10**9, 2.0],
    "sequences": [0, -1, 1 << 60],
    "length": [0, -320, 1 << 60],
    "batch": [0, None],
    "seed": [-1, 0.5, 1 << 200],
    "epochs": [0, 10**12, float("nan")],
    "patience": [0, -1, 1.5],
    "stop_on": [3, "luck"],
    "lr": [0, -1, 10**400, float("nan"), float("inf"), "1e-3", True, None],
    "momentum": [1, -0.1, float("nan"), None],
    "momentum_ramp": [1, None],
    "weight_std": [0, -1, float("inf"), "wide", None],
    "loss": [3, "none", None],
    "noise": [-1, float("nan"), None],
    "data_name": [3, "x" * 100_000],
    "data_sha256": ["xyz", 3, "a" * 63],
    "standin": [0, "yes"],
    "device": ["", "auto", "gpu", "cuda:x", "cuda:", 0, None, "meta"],
    "data_path": [3, None],
    "optimizer": ["sgd", None, []],
    "clip": [0, -1, float("inf"), "1"],
    "decay": [1],
    "hold_out": [-1, 4],
    "scale_rate": [0],
    "delta_clip": [0, -1],
    "loss_at": ["first", None, "every"],
    "reduction": ["max", None, "sum"],
    "first_run": [-1, 1.5, 1, 1 << 40],  # of a run that is no block
    "part_of": [-1, "2", 1 << 40],
    "data_options": [[], None, 3],
    "task": [3, "none", None],
    "model": ["none", 3, None, []],
}


@pytest.fixture
def run(tmp_path, piece):
    """A small run that was just begun."""
    config = configure(TASKS["audio"].load(piece), "cw", runs=1, periods=(1, 2), params=100)
    folder = RunFolder(tmp_path / "run")
    folder.start(config)
    return folder


def test_every_field_has_a_rule():
    own = {field.name for field in fields(TrainConfig)} - {"cell"}
    assert RULES.keys() == own and own <= WRONG.keys()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_ends_in_one_line_that_names_it(run, name):
    path = run.path / "config.json"
    values = json.loads(path.read_text())
    task_of(run)
    for wrong in WRONG[name]:
        path.write_text(json.dumps(values | {name: wrong}))
        with pytest.raises(UserError) as found:
            task_of(run)
        message = found.value.message
        assert message.startswith(f"{path}: ") and len(message) < 400 + len(str(path))
        words = name.replace("_", " "), name, name.rstrip("s").replace("_", " ")
        assert any(word in message for word in (*words, "clock period", "networks")), message
    values.pop(name, None)  # those of a block no other run has
    if name in {"task", "model", "hidden_size", "periods", "lr", "data_path"}:
        path.write_text(json.dumps(values))
        with pytest.raises(UserError, match=f"no .*{name}|{name}"):
            cwrnn_cli.load(run.path)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "[" * 100_000, '{"task": 1e999}', "\x00"])
def test_what_is_no_configuration(run, text):
    (run.path / "config.json").write_text(text)
    with pytest.raises(UserError):
        cwrnn_cli.load(run.path)


@pytest.mark.parametrize("bias", [10**400, -(10**400), float("nan"), float("inf"), True, "5"])
def test_a_forget_bias_is_a_number(bias):
    with pytest.raises(ValueError, match="forget_bias must be"):
        CELLS["lstm"].of_size(3, {"forget_bias": bias})


def test_no_hostile_clock_can_be_made():
    for periods, sizes in (
        ((-1,), (1,)),
        ((0,), (1,)),
        ((1,), (0,)),
        ((1 << 40,), (1,)),
        ((2, 1), (1, 1)),
        ((1, 2), (1,)),
        ((), ()),
        ((1.5,), (1,)),
        ((True,), (1,)),
    ):
        with pytest.raises(ValueError, match="period|size"):
            Clock(periods, sizes)


def test_counting_the_weights_of_a_large_clock_takes_no_memory():
    clock = Clock(tuple(range(1, 50_001)), (20,) * 50_000)
    assert clock.recurrent_parameters() == 20 * 20 * 50_000 * 50_001 // 2
