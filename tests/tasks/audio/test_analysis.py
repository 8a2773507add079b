"""Spectra and ablation, of a network one module of which plays a known sine."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.audio.analysis import Spectra, ablation_rows
from cwrnn_cli.tasks.audio.data import load, metrics, silence
from cwrnn_cli.tasks.audio.evaluate import evaluate_networks
from cwrnn_cli.training.configure import configure
from data_prep.audio import RATE

STEPS, PERIOD, ANGLE = 320, 2, 0.4  # of a tick, in radians
HZ = ANGLE / (2 * np.pi * PERIOD) * RATE


@pytest.fixture
def evaluation(piece):
    """Of two networks that are the same: the second module goes round, the others are still."""
    data = load(piece)
    config = configure(replace(data, targets=data.targets[:2]), "cw", 100, runs=1)
    ensemble = Ensemble(config.shape, 2)
    n = config.hidden_size
    first = config.cell.clock.starts[1]
    with torch.no_grad():
        turn = 1.3 * torch.tensor([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
        rows = slice(first, first + 2)
        ensemble.weight_hh[:, rows, rows] = turn.float()
        ensemble.bias[:, first] = 0.05
        ensemble.weight_out[:, 0, first] = 0.9
        ensemble.bias_out[:] = 0.1
    assert config.cell.module_sizes[1] >= 2 and config.cell.periods[1] == PERIOD and n >= 4
    last = SimpleNamespace(
        weights=ensemble.state_dict(),
        epoch=1,
        extra={
            "diverged_at": torch.full((2,), -1),
            "largest_gradient": torch.zeros(2),
            "largest_gradient_at": torch.zeros(2, dtype=torch.int64),
        },
    )
    return evaluate_networks(config, replace(data, targets=data.targets[:2]), last)


def test_the_spectrum_peaks_at_the_sine_of_the_module_that_plays_it(evaluation):
    found = Spectra(evaluation, 0, 0)
    rows = {row["module"]: row for row in found.modules()}
    assert rows["2"]["peak_hz"] == pytest.approx(HZ, abs=RATE / STEPS / 2 + 1)
    assert rows["2"]["nyquist_hz"] == RATE / 4
    assert all(rows[name]["peak_hz"] is None and rows[name]["power"] == 0 for name in ("1", "4"))
    np.testing.assert_allclose(
        found.waves["2"] + 0.1, evaluation.outputs[0], atol=1e-6
    )  # and nothing but the bias
    target = evaluation.data.targets[0]
    assert rows["2"]["power"] == pytest.approx(found.waves["2"].var() / target.var())
    spectrum = found.rows()
    assert len(spectrum) == 1 + STEPS // 2
    assert max(spectrum, key=lambda row: row["2"])["frequency_hz"] == rows["2"]["peak_hz"]


def test_only_silencing_the_module_that_plays_changes_the_error(evaluation):
    rows = {(row["module"], row["silenced"]): row for row in ablation_rows(evaluation)}
    intact = rows.pop(("none", ""))
    assert intact["median"] == pytest.approx(np.median(evaluation.metrics["nmse_paper"]))
    constant = metrics(np.full((2, STEPS), 0.1), evaluation.data.targets)
    for (module, _), row in rows.items():
        wanted = intact
        if module == "2":
            wanted = {
                "median": np.median(constant["nmse_paper"]),
                "median_nmse": np.median(constant["nmse"]),
            }
        for name in ("median", "median_nmse"):
            assert row[name] == pytest.approx(wanted[name], rel=1e-5), (module, name)
        assert row["networks"] == 2


def test_diverged_networks_are_left_out(evaluation):
    one = replace(evaluation, diverged=np.array([False, True]))
    rows = ablation_rows(one)
    assert rows[0]["networks"] == 1
    assert rows[0]["median"] == pytest.approx(evaluation.metrics["nmse_paper"][0])
    x = silence(1, STEPS, one.ensemble.weight_hh)
    assert one.ensemble.part(torch.tensor([0]))(x).shape == (1, 1, STEPS, 1)
