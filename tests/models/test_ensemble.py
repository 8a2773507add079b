import numpy as np
import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.models import CELLS
from cwrnn_cli.models.ensemble import SCALED, Ensemble, Shape
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


@pytest.mark.parametrize("std", [0.3, SCALED])
def test_weights_depend_on_the_networks_own_generator_only(std):
    company = random_ensemble("lstm", 5, 3, scale=std)
    alone = random_ensemble("lstm", 5, 1)
    alone.draw([np.random.default_rng(2)], std)
    for name, weight in alone.named_parameters():
        assert torch.equal(weight[0], company.get_parameter(name)[2])


def test_initial_weights_are_gaussian_and_masked():
    ensemble = random_ensemble("cw", 60, 20, scale=0.1)
    allowed = torch.from_numpy(Clock.of(60, [1, 2, 4]).mask())
    assert not ensemble.weight_hh[:, ~allowed].any()
    drawn = ensemble.weight_hh[:, allowed]
    assert drawn.std().item() == pytest.approx(0.1, rel=0.01)
    assert drawn.mean().item() == pytest.approx(0, abs=0.002)


@pytest.mark.parametrize("model", list(CELLS))
def test_a_number_times_what_is_drawn_in_the_order_of_the_weights(model):
    ensemble = random_ensemble(model, 9, 2, input_size=3, scale=0.1, dtype=torch.float32)
    for i in range(2):
        generator = np.random.default_rng(i)
        for name, size in ensemble.shape.weights().items():
            drawn = torch.from_numpy(0.1 * generator.standard_normal(size))
            ensemble.shape.cell.initialise_(name, drawn)
            assert torch.equal(ensemble.get_parameter(name)[i], drawn.float())


def inputs_of(model: str, **options) -> dict[str, np.ndarray]:
    """1 / variance of what each scaled weight of one direction or the other is drawn from."""
    common = {"input_size": 3, "output_size": 2, "bidirectional": True} | options
    ones = random_ensemble(model, 6, 2, scale=1.0, **common)
    scaled = random_ensemble(model, 6, 2, scale=SCALED, **common)
    found = {}
    for name, weight in scaled.named_parameters():
        one = ones.get_parameter(name)
        assert torch.equal(weight == 0, one == 0)
        ratio = torch.where(one == 0, np.inf, one / weight)[0].detach().numpy()
        found[name] = ratio**2
    return found


def test_scaled_weights_follow_from_the_inputs_of_their_unit():
    feeding = np.repeat([6, 4, 2], 2)  # a module of 2 is fed by itself and the slower ones
    allowed = Clock.of(6, [1, 2, 4]).mask()
    for suffix in ("", "_reverse"):
        clockwork = inputs_of("cw")
        np.testing.assert_allclose(clockwork["weight_ih" + suffix], np.full((6, 3), 3.0))
        expected = np.where(allowed, feeding[:, None], np.inf)
        np.testing.assert_allclose(clockwork["weight_hh" + suffix], expected)
        np.testing.assert_allclose(clockwork["bias" + suffix], feeding)
        lstm = inputs_of("lstm", peepholes=True)
        for name in ("weight_hh", "bias", "weight_peephole"):
            found = lstm[name + suffix]
            np.testing.assert_allclose(found, np.full_like(found, 6))
    for found in (clockwork, lstm, inputs_of("srn"), inputs_of("gru")):
        np.testing.assert_allclose(found["weight_out"], np.full((2, 12), 12.0))
        np.testing.assert_allclose(found["bias_out"], np.full(2, 12.0))
    with pytest.raises(ValueError, match="expected a number or 'scaled'"):
        random_ensemble("srn", 6, 1, scale="narrow")


def test_forget_bias():
    ensemble = Ensemble(Shape(LSTMSpec(5, forget_bias=5.0), 0, 1), 2)
    ensemble.draw([np.random.default_rng(i) for i in range(2)], 0.1)
    assert (ensemble.bias[:, 5:10] == 5).all()
    assert (ensemble.bias[:, :5].abs() < 1).all()
