import numpy as np
import pytest
import torch

from cwrnn_cli.tasks.audio import data as audio
from data_prep import store
from data_prep.errors import UserError
from tests.conftest import random_ensemble


def test_metrics_by_hand():
    targets = np.array([[1.0, -1.0, 1.0, -1.0], [0.5, -0.5, 0.5, -0.5]])
    outputs = np.zeros((2, 4))
    found = audio.metrics(outputs, targets)
    assert found["mse"].tolist() == [1.0, 0.25]
    assert found["nmse"].tolist() == [1.0, 1.0]
    assert found["nmse_paper"].tolist() == [1.0, 0.5]
    loss = audio.half_sum_of_squares(torch.tensor(outputs), torch.tensor(targets))
    assert loss.tolist() == [2.0, 0.5]


def test_diverged():
    values = np.array([0.0, 4.0, 4.1, np.inf, np.nan])
    assert audio.diverged(values).tolist() == [False, False, True, True, True]


def test_load(piece):
    data = audio.load(piece)
    assert data.targets.shape == (5, 320) and data.standin and data.source == "built-in piece"
    assert (data.targets.min(axis=1) == -1).all() and len(data.names) == 5


def test_sequences_of_unequal_length_are_not_for_this_task(tmp_path):
    split = store.Split(
        np.zeros((5, 1), np.float32),
        np.array([0, 2, 5]),
        ["a", "b"],
        np.zeros((1, 1)),
        np.ones((1, 1)),
    )
    path = tmp_path / "c.h5"
    store.write(path, store.Corpus("audio", False, {"source": {"name": "x"}}, {"train": split}))
    with pytest.raises(UserError, match="sequences of one length"):
        audio.load(path)


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_a_network_continues_past_what_it_learnt(model):
    ensemble = random_ensemble(model, 9, 2)
    x = torch.empty(2, 1, 30, 0, dtype=torch.float64)
    expected = ensemble(x)[1, 0, :, 0].detach().numpy()
    wave = audio.continue_network(*ensemble.member(1), 100)
    assert wave.shape == (100,)
    np.testing.assert_allclose(wave[:30], expected)
