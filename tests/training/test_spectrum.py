"""Modules as large as their bands have energy."""

import json

import numpy as np
import pytest

from cwrnn_cli.clock import by_energy
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.spectrum import energies


def wave(cycles, steps, height=1.0):
    return height * np.sin(2 * np.pi * cycles * np.arange(steps) / steps)[:, None]


def test_each_wave_is_in_the_band_of_its_module():
    """240 steps; Nyquist: 120, 60 and 20 cycles for periods 1, 2 and 6."""
    for cycles, expected in ((1, 2), (20, 2), (21, 1), (60, 1), (61, 0), (119, 0)):
        found = energies([3.0 + wave(cycles, 240)], [1, 2, 6])
        np.testing.assert_allclose(found, 120.0 * np.eye(3)[expected], atol=1e-9)
    for periods in ([1, 2, 6], [1], [1, 3, 3, 9]):  # nothing is lost, whatever the length
        noise = [np.random.default_rng(steps).standard_normal((steps, 2)) for steps in (7, 50, 1)]
        squares = sum(((x - x.mean(axis=0)) ** 2).sum() for x in noise)
        assert sum(energies(noise, periods)) == pytest.approx(squares)
    both = energies([wave(30, 240)], [2, 2, 6])
    assert both[0] == both[1] == pytest.approx(60)
    assert energies([wave(100, 240)], [2]) == pytest.approx((0,))  # too fast for all


def test_units_by_energy():
    assert by_energy(13, (1, 0, 4)) == (3, 1, 9)
    assert by_energy(12, (1, 0, 4)) == (3, 1, 8)
    assert by_energy(7, (0.0, 0.0)) == (4, 3)
    assert by_energy(3, (5, 1, 1)) == (1, 1, 1)
    with pytest.raises(ValueError, match="3 modules need at least 3 units, not 2"):
        by_energy(2, (1, 1, 1))


@pytest.mark.parametrize(
    ("task", "corpus"), [("audio", "piece"), ("timit", "spoken"), ("iamondb", "lines")]
)
@pytest.mark.parametrize("model", ["cw", "cwlstm", "cwgru"])
def test_every_task_has_a_spectrum(task, corpus, model, request):
    data = TASKS[task].load(request.getfixturevalue(corpus))
    options = {"periods": (4, 1, 16), "module_shares": "spectrum"}
    config = configure(data, model, 1000, **options)
    found = energies(data.signals(), [1, 4, 16])
    assert config.cell.periods == (1, 4, 16) and min(config.cell.module_sizes) >= 1
    assert config.cell.module_sizes == by_energy(config.hidden_size, found)
    assert 900 < config.parameter_count() < 1100
    assert "module_sizes" in {each["name"] for each in config.deviations()}
    assert configure(data, model, 1000, module_shares="spectrum").cell.module_sizes


def test_the_command(cwrnn, piece):
    options = ("--params", 250, "--runs", 1, "--epochs", 2, "--data", piece)
    cwrnn("train", "--model", "cw", "--periods", "fib:4:2", "--module-shares", "spectrum", *options)
    config = json.loads(open("runs/audio-cw-250-seed0/config.json").read())
    assert config["periods"] == [2, 3, 5, 8] and sum(config["module_sizes"]) > 10
    assert {"periods", "module_sizes"} <= {each["name"] for each in config["deviations"]}
