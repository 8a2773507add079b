"""What a configuration says of itself: every departure from the paper and our reading of it."""

import json
from dataclasses import fields, replace

import pytest

from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.configure import configure

OURS = ("audio", "timit", "iamondb")
CORPORA = {"audio": "piece", "timit": "spoken", "iamondb": "lines"}
# field -> another value than any protocol's
OTHER = {
    "params": 123,
    "input_size": 7,
    "output_size": 7,
    "bidirectional": None,  # the other one
    "runs": 7,
    "sequences": 7,
    "length": 7,
    "batch": 7,
    "epochs": 2001,
    "patience": 7,
    "stop_on": "train_error",
    "lr": 0.5,
    "momentum": 0.5,
    "momentum_ramp": None,
    "weight_std": 0.5,
    "loss": "half_mean_of_squares",
    "noise": 0.5,
    "optimizer": "adam",
    "clip": 1.0,
    "decay": True,
    "hold_out": 1,
    "scale_rate": True,
    "delta_clip": 1.0,
    "loss_at": "every",
    "reduction": "sum",
}
NO_DEVIATIONS = {
    "task": "says whose protocol",
    "cell": "by its own fields, below",
    "seed": "the paper names none",
    "data_name": "data",
    "data_sha256": "data",
    "data_path": "data",
    "standin": "data; said beside every number",
    "data_options": "data; those that the protocol names, below",
    "device": "says nothing about what is computed",
    "first_run": "of a block of a cell: which of its networks these are",
    "part_of": "of a block of a cell",
}
CORPUS_HAS = {"sequences", "length"}  # not the paper's to say, but in task 1
CELL_OTHER = {
    "hidden_size": 12,
    "nonlinearity": "relu",
    "periods": (1, 2, 3),
    "module_sizes": None,  # a unit more in the first module
    "peepholes": None,
    "forget_bias": 0.0,
    "clock_origin": 1,
    "cell_output": "sigmoid",
    "module_offsets": None,  # of the second module, 1
    "mask": "full",
    "slow_input": "haar",
}


@pytest.fixture(params=OURS)
def task(request) -> str:
    return request.param


def published(request, task: str, model: str = "lstm") -> TrainConfig:
    """The paper's largest network of a task, whatever the size of the test's corpus."""
    protocol = TASKS[task].protocol
    found = configure(TASKS[task].load(request.getfixturevalue(CORPORA[task])), model)
    size = protocol.hidden_sizes[found.params].get(model, 20)
    return replace(
        found,
        cell=CELLS[model].of_size(size, CELLS[model].published(protocol)),
        input_size=protocol.input_size,
        output_size=protocol.output_size,
        data_options=dict(protocol.data_options),
    )


def names(config: TrainConfig) -> set[str]:
    return {deviation["name"] for deviation in config.deviations()}


@pytest.mark.parametrize("model", ["srn", "lstm", "cw"])
def test_the_papers_protocol_deviates_in_nothing(request, task, model):
    config = published(request, task, model)
    assert config.deviations() == []
    again = TrainConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again.deviations() == []


def test_every_field_is_a_deviation_or_has_a_reason_to_be_none(request, task):
    config = published(request, task)
    assert OTHER.keys() | NO_DEVIATIONS.keys() == {f.name for f in fields(TrainConfig)}
    assert not OTHER.keys() & NO_DEVIATIONS.keys()
    for name, value in OTHER.items():
        before = getattr(config, name)
        other = (not before) if value is None else value
        assert other != before
        expected = set() if name in CORPUS_HAS and task != "audio" else {name}
        changed = {name: other}
        if name == "optimizer":  # whose momentum cannot rise: one departure, not two
            changed["momentum_ramp"] = False
        assert names(replace(config, **changed)) == expected, name


@pytest.mark.parametrize("model", list(CELLS))
def test_so_is_every_field_of_every_cell(request, task, model):
    config = published(request, task, model)
    cell, protocol = config.cell, config.protocol
    if cell.like:
        assert names(config) == {"model"}  # the paper has no such cell, whatever its size
    for field in fields(cell):
        before = getattr(cell, field.name)
        other = CELL_OTHER[field.name]
        if field.name == "hidden_size":
            changed = type(cell).of_size(other, type(cell).published(protocol))
        elif field.name == "periods":
            sizes = type(cell).of_size(cell.hidden_size, {"periods": other}).module_sizes
            changed = replace(cell, periods=other, module_sizes=sizes)
        elif field.name == "module_sizes":
            first, *middle, last = before
            changed = replace(cell, module_sizes=(first + 1, *middle, last - 1))
        elif field.name == "module_offsets":
            changed = replace(cell, module_offsets=(0, 1, *[0] * (len(cell.periods) - 2)))
        else:
            changed = replace(cell, **{field.name: (not before) if other is None else other})
        assert changed != cell
        expected = {field.name}
        if cell.like:  # whatever its size
            expected = {"model"} | (expected - {"hidden_size"})
        assert names(replace(config, cell=changed)) == expected, field.name


def test_so_is_how_the_corpus_became_frames(request, task):
    config = published(request, task)
    for name in config.data_options:
        other = replace(config, data_options=config.data_options | {name: 3.5})
        assert names(other) == {name}


def test_a_deviation_says_both_values(request):
    config = published(request, "audio")
    config = replace(config, cell=replace(config.cell, forget_bias=0.0), sequences=2, params=999)
    assert config.deviations() == [
        {"name": "sequences", "paper": 5, "ours": 2},
        {"name": "params", "paper": [100, 250, 500, 1000], "ours": 999},
        {"name": "forget_bias", "paper": 5.0, "ours": 0.0},
    ]


def test_options_are_deviations(request):
    data = TASKS["audio"].load(request.getfixturevalue("piece"))
    options = {"forget_bias": 0.0, "peepholes": False, "momentum_ramp": False, "weight_std": 0.2}
    config = configure(data, "lstm", loss="half_mean_of_squares", **options)
    assert names(config) == {*options, "loss"}
