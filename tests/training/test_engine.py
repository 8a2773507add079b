"""What autograd trains: torch's own steps, for every network of an ensemble by itself."""

import numpy as np
import pytest
import torch

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.training.engine import AutogradEngine, LargestGradients
from tests.conftest import shape_of


class GivenGradients(AutogradEngine):
    """Updates with gradients that are handed in; clips to a length if told to."""

    def __init__(self, ensemble, optimizer, gradients, clip=None):
        super().__init__(ensemble, [], optimizer)
        self.gradients, self.clip, self.lengths = gradients, clip, []

    def train(self, active, rates, momenta):
        chosen = self.select(active)
        for rate, momentum in zip(rates.tolist(), momenta.tolist(), strict=True):
            for name, weight in chosen.networks.named_parameters():
                weight.grad = self.gradients[self.updates][name][active].clone()
            chosen.step(rate, momentum, self.clip)
        chosen.put_back()
        self.lengths.extend(self.gradient_lengths)
        return np.zeros((1, len(active)))


def setting(updates=4):
    ensemble = Ensemble(shape_of("srn", 2, 5, 3), 2, dtype=torch.float64)
    ensemble.draw([np.random.default_rng(i) for i in range(2)], 0.5)
    rng = np.random.default_rng(5)
    gradients = [
        {
            name: torch.from_numpy(0.3 * rng.standard_normal(weight.shape))
            for name, weight in ensemble.named_parameters()
        }
        for _ in range(updates)
    ]
    return ensemble, gradients


@pytest.mark.parametrize(
    ("name", "clip", "rates"),
    [
        ("nesterov", None, (0.1, 0.1)),
        ("nesterov", 0.5, (0.1, 0.1)),
        ("adam", None, (0.1, 0.1)),
        ("adam", 2.0, (0.1, 0.1)),
    ],
)
def test_two_networks_are_each_by_itself_with_torchs_optimiser(name, clip, rates):
    ensemble, gradients = setting()
    alone = [[w.detach()[r].clone().requires_grad_() for w in ensemble.parameters()]
             for r in range(2)]  # fmt: skip
    engine = GivenGradients(ensemble, name, gradients, clip)
    each = np.full(2, rates[0])
    for _ in range(2):  # two calls: momentum and the count of updates go on
        engine.train(np.arange(2), each, np.full(2, 0.9))
    for r, (rate, own) in enumerate(zip(rates, alone, strict=True)):
        if name == "adam":
            optimiser = torch.optim.Adam(own, lr=rate, betas=(0.9, 0.999))
        else:
            optimiser = torch.optim.SGD(own, lr=rate, momentum=0.9, nesterov=True)
        for update in range(4):
            for w, gradient in zip(own, gradients[update].values(), strict=True):
                w.grad = gradient[r].clone()
            length = torch.nn.utils.clip_grad_norm_(own, clip or torch.inf)
            assert engine.lengths[update][r] == pytest.approx(length.item(), rel=1e-12)
            optimiser.step()
        for w, theirs in zip(ensemble.parameters(), own, strict=True):
            torch.testing.assert_close(w[r], theirs, rtol=1e-5, atol=1e-8)
    assert clip is None or any((lengths > clip).any() for lengths in engine.lengths)


def test_only_active_networks_change_and_the_state_goes_on():
    ensemble, gradients = setting()
    before = {n: w.detach().clone() for n, w in ensemble.named_parameters()}
    engine = GivenGradients(ensemble, "adam", gradients)
    engine.train(np.array([1]), np.full(2, 0.1), np.full(2, 0.9))
    for name, weight in ensemble.named_parameters():
        assert torch.equal(weight[0], before[name][0])
        assert not torch.equal(weight[1], before[name][1])
    state = engine.state()
    other, _ = setting()
    again = GivenGradients(other, "adam", gradients)
    again.load(state)
    for one in (engine, again):
        one.train(np.array([0, 1]), np.full(2, 0.1), np.full(2, 0.9))
    for mine, theirs in zip(ensemble.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_longest_gradient_is_kept_with_its_epoch():
    largest = LargestGradients(3)
    largest.update(0, np.arange(3), np.array([[1.0, 5.0, 0.0], [2.0, 4.0, 0.0]]))
    assert largest.length.tolist() == [2, 5, 0] and largest.epoch.tolist() == [2, 1, -1]
    largest.update(2, np.array([0, 2]), np.array([[2.0, np.nan], [1.0, 9.0]]))
    assert largest.length.tolist() == [2, 5, np.inf] and largest.epoch.tolist() == [2, 1, 3]
    again = LargestGradients.of(largest.state(), 3)
    again.update(4, np.array([1, 2]), np.array([[np.inf, 1e99]]))
    assert again.length.tolist() == [2, np.inf, np.inf] and again.epoch.tolist() == [2, 5, 3]
    assert largest.epoch.tolist() == [2, 1, 3]
    found = again.arrays()
    assert found["largest_gradient"].dtype == np.float32
    assert found["largest_gradient_at"].tolist() == [2, 5, 3]


def test_what_earlier_versions_did_not_note_stays_unknown():
    unknown = LargestGradients.of({}, 2)
    unknown.update(7, np.arange(2), np.ones((1, 2)))
    assert np.isnan(unknown.length).all() and unknown.epoch.tolist() == [-1, -1]


def test_gradients_whose_squares_are_beyond_float32():
    ensemble, gradients = setting(1)
    engine = GivenGradients(ensemble.float(), "nesterov", [
        {name: torch.full_like(w, 1e25, dtype=torch.float32) for name, w in gradients[0].items()}
    ])  # fmt: skip
    engine.train(np.arange(2), np.full(1, 0.1), np.full(1, 0.9))
    count = sum(w[0].numel() for w in ensemble.parameters())
    np.testing.assert_allclose(engine.gradient_lengths, 1e25 * count**0.5, rtol=1e-6)
