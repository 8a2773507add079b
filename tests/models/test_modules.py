"""The modules of trained networks, against networks whose modules do what they were made to."""

import numpy as np
import pytest
import torch

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.models.modules import (
    ALL,
    READOUT,
    contributions,
    each_silenced,
    input_gradients,
    modules_of,
    silenced,
)
from tests.conftest import random_ensemble, shape_of

CLOCKED = ["cw", "cwlstm", "cwgru"]


def inputs(networks: int, features: int = 3, steps: int = 19) -> torch.Tensor:
    rng = np.random.default_rng(7)
    return torch.from_numpy(rng.standard_normal((networks, 2, steps, features)))


def test_modules_lie_as_the_outputs_do():
    ensemble = random_ensemble("cw", 7, 1, 3, (1, 2, 8), (4, 2, 1), bidirectional=True)
    found = [(m.name, m.period, m.units.start, m.units.stop) for m in modules_of(ensemble.shape)]
    assert found == [
        ("1", 1, 0, 4), ("2", 2, 4, 6), ("8", 8, 6, 7),
        ("1 reverse", 1, 7, 11), ("2 reverse", 2, 11, 13), ("8 reverse", 8, 13, 14),
    ]  # fmt: skip
    hidden = ensemble.hidden(inputs(1))[0]  # (B, T, 2n)
    for module in modules_of(ensemble.shape):
        own = hidden[..., module.units]
        if module.direction:
            own = own.flip(1)
        held = own[:, 1 : module.period]  # of the first period
        assert (held == own[:, :1]).all()
        assert own.shape[1] < module.period or not (own[:, module.period] == own[:, 0]).all()


def test_offsets_are_named():
    cell = shape_of("cw", 0, 6, 1, ((1, 0), (4, 0), (4, 2))).cell
    names = [m.name for m in modules_of(shape_of("cw", 0, 6, 1, ((1, 0), (4, 0), (4, 2))))]
    assert names == ["1", "4", "4@2"] and cell.module_offsets == (0, 0, 2)


@pytest.mark.parametrize("model", ["srn", "lstm", "gru"])
def test_what_has_no_clock_has_no_modules(model):
    with pytest.raises(ValueError, match="no clock: all of it is one module"):
        modules_of(shape_of(model, 0, 6, 1))


@pytest.mark.parametrize("model", CLOCKED)
def test_contributions_add_up_to_the_output(model):
    ensemble = random_ensemble(model, 8, 3, 3, output_size=2, bidirectional=True)
    hidden = ensemble.hidden(inputs(3))
    total = contributions(ensemble, hidden).sum(0) + ensemble.bias_out[:, None, None]
    torch.testing.assert_close(total, ensemble.readout(hidden))


@pytest.mark.parametrize("model", CLOCKED)
def test_silence_in_the_readout_is_the_output_without_the_modules_contribution(model):
    ensemble = random_ensemble(model, 8, 3, 3, output_size=2, bidirectional=True)
    x = inputs(3)
    every = contributions(ensemble, ensemble.hidden(x))
    before = {name: weight.clone() for name, weight in ensemble.state_dict().items()}
    for module, own in zip(modules_of(ensemble.shape), every, strict=True):
        without = silenced(ensemble, module, READOUT)
        torch.testing.assert_close(without(x), ensemble(x) - own)
        assert not without.weight_out[:, :, module.units].any()
    assert all(torch.equal(before[n], weight) for n, weight in ensemble.state_dict().items())


@pytest.mark.parametrize("mask", ["upper", "full"])
@pytest.mark.parametrize("model", CLOCKED)
def test_silence_for_all_leaves_the_others_as_if_the_module_gave_0(model, mask):
    """Other modules must not depend on how the silenced one begins, nor on what it hears."""
    options = {"bidirectional": True, "mask": mask, "periods": (1, 2, 4)}
    ensemble = random_ensemble(model, 9, 2, 3, **options)
    x = inputs(2)
    for module in modules_of(ensemble.shape):
        without = silenced(ensemble, module, ALL)
        changed = without.part(torch.arange(2))
        suffix = "_reverse" if module.direction else ""
        with torch.no_grad():  # other outputs of that module
            for name in ("weight_ih", "bias"):
                weight = changed.get_parameter(name + suffix)
                weight.view(2, -1, 9, *weight.shape[2:])[:, :, module.inside] += 1
        others = torch.ones(18, dtype=torch.bool)
        others[module.units] = False
        a, b = without.hidden(x), changed.hidden(x)
        torch.testing.assert_close(a[..., others], b[..., others])
        assert not torch.allclose(a[..., ~others], b[..., ~others])
        torch.testing.assert_close(without(x), changed(x))
        if mask == "full":  # there every module has the others as listeners
            heard = ensemble.hidden(x)[..., others]
            assert not torch.allclose(a[..., others], heard)


def test_a_silenced_module_still_hears_itself_and_slower_ones():
    ensemble = random_ensemble("cw", 9, 1, 3)
    module = modules_of(ensemble.shape)[1]
    x = inputs(1)
    without = silenced(ensemble, module, ALL)
    own = (..., module.units)
    torch.testing.assert_close(without.hidden(x)[own], ensemble.hidden(x)[own])


def test_a_module_that_nothing_reads_can_be_silenced_without_a_trace():
    ensemble = random_ensemble("cw", 9, 2, 3)
    module = modules_of(ensemble.shape)[2]
    with torch.no_grad():
        ensemble.weight_out[:, :, module.units] = 0
        ensemble.weight_hh[:, :6, module.units] = 0
    x = inputs(2)
    for other, kind, networks in each_silenced(ensemble):
        same = torch.equal(networks(x), ensemble(x))
        assert same == (other is None or other.period == module.period), (other, kind)


@pytest.mark.parametrize("model", CLOCKED)
@pytest.mark.parametrize("slow_input", ["sample", "haar"])
def test_gradients_of_the_modules_add_up_to_the_inputs(model, slow_input):
    options = {"bidirectional": True, "slow_input": slow_input, "output_size": 3}
    network = random_ensemble(model, 9, 1, 3, **options)
    x = inputs(1)[0, 0]  # (T, m)

    def objective(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.log_softmax(dim=1)[:, 1].sum()

    found, outputs = input_gradients(network, x, objective)
    whole = x.clone().requires_grad_()
    wanted = network(whole[None, None])[0, 0]
    objective(wanted).backward()
    torch.testing.assert_close(outputs, wanted.detach())
    torch.testing.assert_close(found.sum(0), whole.grad)
    if slow_input == "sample":  # nothing is read between ticks
        for module, own in zip(modules_of(network.shape), found, strict=True):
            at = torch.arange(len(x)) % module.period != 0
            assert not own[at.flip(0) if module.direction else at].any()
            assert own.any()


def test_a_gradient_comes_through_the_module_that_alone_reads_the_input():
    network = random_ensemble("cw", 9, 1, 3)
    with torch.no_grad():
        network.weight_ih[:, :6] = 0
    found, _ = input_gradients(network, inputs(1)[0, 0], lambda outputs: outputs.sum())
    assert not found[:2].any() and found[2].any()


def test_networks_stay_apart():
    both = random_ensemble("cw", 9, 2, 3)
    module = modules_of(both.shape)[1]
    x = inputs(2)
    alone = both.part(torch.tensor([1]))
    one: Ensemble = silenced(alone, module, ALL)
    torch.testing.assert_close(silenced(both, module, ALL)(x)[1:], one(x[1:]))
