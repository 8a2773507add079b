import numpy as np
import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.models.ensemble import Ensemble, Shape
from cwrnn_cli.models.lstm import LSTMSpec
from tests.conftest import random_ensemble


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_a_member_computes_what_its_place_in_the_ensemble_does(model):
    ensemble = random_ensemble(model, 9, 4, input_size=2)
    x = torch.randn(4, 3, 11, 2, dtype=torch.float64)
    outputs = ensemble(x)
    assert outputs.shape == (4, 3, 11, 1)
    for i in range(4):
        layer, readout = ensemble.member(i)
        torch.testing.assert_close(readout(layer(x[i])[0]), outputs[i])


def test_weights_depend_on_the_networks_own_generator_only():
    company = random_ensemble("lstm", 5, 3)
    alone = random_ensemble("lstm", 5, 1)
    alone.draw([np.random.default_rng(2)], 0.3)
    for name, weight in alone.named_parameters():
        assert torch.equal(weight[0], company.get_parameter(name)[2])


def test_initial_weights_are_gaussian_and_masked():
    ensemble = random_ensemble("cw", 60, 20, scale=0.1)
    allowed = torch.from_numpy(Clock.of(60, [1, 2, 4]).mask())
    assert not ensemble.weight_hh[:, ~allowed].any()
    drawn = ensemble.weight_hh[:, allowed]
    assert drawn.std().item() == pytest.approx(0.1, rel=0.01)
    assert drawn.mean().item() == pytest.approx(0, abs=0.002)


def test_forget_bias():
    ensemble = Ensemble(Shape(LSTMSpec(5, forget_bias=5.0), 0, 1), 2)
    ensemble.draw([np.random.default_rng(i) for i in range(2)], 0.1)
    assert (ensemble.bias[:, 5:10] == 5).all()
    assert (ensemble.bias[:, :5].abs() < 1).all()
