"""What each cell of the registry is to everybody else."""

import json
from dataclasses import fields
from math import prod

import numpy as np
import pytest
import torch

from cwrnn_cli.models import CELLS
from cwrnn_cli.models.cell import CellSpec, cell_named, option_owners
from cwrnn_cli.models.ensemble import Ensemble, Shape
from cwrnn_cli.paper import AUDIO
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from data_prep.errors import UserError

EVERY = {"periods": (1, 2, 5), "peepholes": True, "forget_bias": 2.0}
VALUES = {
    "periods": (1, 2),
    "module_shares": (2, 1),
    "clock_origin": 1,
    "mask": "full",
    "slow_input": "haar",
    "peepholes": True,
    "forget_bias": 1.0,
    "cell_output": "sigmoid",
}
cells = pytest.mark.parametrize("model", list(CELLS))


def spec_of(model: str, n: int = 9) -> CellSpec:
    return CELLS[model].of_size(n, EVERY)


@cells
@pytest.mark.parametrize("inputs", [0, 3])
def test_weights_are_the_layers_parameters(model, inputs):
    spec = spec_of(model)
    layer = spec.layer(inputs, bidirectional=True)
    wanted = {
        name + suffix: shape
        for suffix in ("", "_reverse")
        for name, shape in spec.weights(inputs).items()
    }
    assert {name: tuple(w.shape) for name, w in layer.named_parameters()} == wanted
    for field in fields(spec):  # all of its options reach the layer
        assert getattr(layer.cells[0], field.name) == getattr(spec, field.name)


@cells
@pytest.mark.parametrize("directions", [1, 2])
def test_the_count_is_that_of_the_real_tensors(model, directions):
    """But for what a mask forbids, which stays 0, and clock periods, which are no tensors."""
    spec = spec_of(model)
    ensemble = Ensemble(Shape(spec, 3, 1, directions == 2), 1, dtype=torch.float64)
    ensemble.draw([np.random.default_rng(0)], 0.1)
    drawn = sum(
        int(weight.count_nonzero())
        for name, weight in ensemble.named_parameters()
        if not name.endswith("_out")
    )
    assert spec.parameter_count(3, directions) == drawn + len(getattr(spec, "periods", ()))
    assert drawn <= directions * sum(prod(shape) for shape in spec.weights(3).values())


@cells
def test_json_there_and_back(model):
    spec = spec_of(model)
    values = json.loads(json.dumps(spec.to_json()))
    assert values["model"] == model
    assert CellSpec.from_json(values) == spec
    # a field of another cell stands in every config.json, as absent
    for other in CELLS.values():
        for field in fields(other):
            if "absent" in field.metadata and not hasattr(spec, field.name):
                assert spec.to_json()[field.name] == field.metadata["absent"]
    del values["hidden_size"]
    with pytest.raises(KeyError):
        CellSpec.from_json(values)


@cells
@pytest.mark.parametrize("given_state", [False, True])
def test_forward_is_the_layers(model, given_state):
    """R networks at once, as each one's ordinary layer by itself."""
    torch.manual_seed(0)
    spec = spec_of(model)
    layers = [spec.layer(3, batch_first=True, dtype=torch.float64) for _ in range(2)]
    x = torch.randn(2, 4, 11, 3, dtype=torch.float64)
    names = spec.weights(3)
    weights = {n: torch.stack([layer.get_parameter(n) for layer in layers]) for n in names}
    states = None
    if given_state:
        count = layers[0].states
        states = tuple(torch.randn(2, 4, 9, dtype=torch.float64) for _ in range(count))
    for backend in ("auto", "reference"):
        y, last = spec.forward(x, weights, states, backend=backend)
        assert y.shape == (2, 4, 11, 9)
        for r, layer in enumerate(layers):
            own = None if states is None else tuple(s[r][None] for s in states)
            wanted, end = layer(x[r], own if own is None or len(own) > 1 else own[0])
            torch.testing.assert_close(y[r], wanted)
            ends = end if isinstance(end, tuple) else (end,)
            assert len(ends) == len(last)
            for mine, theirs in zip(last, ends, strict=True):
                torch.testing.assert_close(mine[r], theirs[0])


@cells
def test_the_state_is_that_of_the_last_valid_step(model):
    torch.manual_seed(0)
    spec = spec_of(model)
    shapes = spec.weights(3).items()
    weights = {n: torch.randn(1, *shape, dtype=torch.float64) / 3 for n, shape in shapes}
    for name, weight in weights.items():
        spec.initialise_(name, weight[0])
    x = torch.randn(1, 2, 8, 3, dtype=torch.float64)
    _, last = spec.forward(x, weights, lengths=torch.tensor([8, 5]))
    _, whole = spec.forward(x[:, :1], weights)
    _, short = spec.forward(x[:, 1:, :5], weights)
    for mine, first, second in zip(last, whole, short, strict=True):
        torch.testing.assert_close(mine, torch.cat([first, second], dim=1))


@cells
def test_options_of_other_cells_are_refused_in_one_line(model, piece):
    data = TASKS["audio"].load(piece)
    own = {option.name for option in CELLS[model].options}
    others = [name for name in option_owners() if name not in own]
    assert set(option_owners()) == set(VALUES)  # a new option needs a value here
    for name in others:
        with pytest.raises(UserError) as caught:
            configure(data, model, 250, **{name: VALUES[name]})
        flag = "--" + name.replace("_", "-")
        assert caught.value.message.startswith(f"{flag}: only a")
        assert caught.value.message.endswith(f", not --model {model}")
        assert "\n" not in caught.value.message


@cells
def test_the_smallest_size_is_one_and_the_one_below_is_not(model):
    options = {"periods": (1, 2, 5)}
    least = CELLS[model].smallest(options)
    assert CELLS[model].of_size(least, options).hidden_size == least
    with pytest.raises(ValueError):
        CELLS[model].of_size(least - 1, options)


@cells
def test_what_the_paper_has_is_no_deviation(model):
    cell = CELLS[model]
    n = AUDIO.hidden_sizes[1000].get(model, 40)
    assert cell.of_size(n, cell.published(AUDIO)).deviations(AUDIO) == {}


def test_other_modules_are_deviations():
    other = CELLS["cw"].of_size(40, {"periods": (1, 2), "module_shares": (3, 1)})
    assert other.deviations(AUDIO) == {
        "periods": (AUDIO.periods, (1, 2)),
        "module_sizes": ("equal", (30, 10)),
    }


def test_names_labels_and_colours_tell_cells_apart():
    for name, cell in CELLS.items():
        assert cell_named(name) is cell and cell.name == name
    for value in ("label", "colour"):
        assert len({getattr(cell, value) for cell in CELLS.values()}) == len(CELLS)
    with pytest.raises(ValueError, match="model 'mlp': expected srn, .* or cwgru"):
        cell_named("mlp")
