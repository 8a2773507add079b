"""What modules tell of a word, by probes for a label that was planted in one of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.timit.analysis import (
    TIMES,
    chances,
    groups_of,
    probe_rows,
    right_words,
    states,
)
from cwrnn_cli.tasks.timit.data import TimitData
from cwrnn_cli.tasks.timit.probe import STRENGTHS, chosen, fit, folds
from data_prep.store import Split
from tests.conftest import shape_of

WORDS, CLASSES, EACH = [f"word {i}" for i in range(6)], 6, 20


def split(rng: np.random.Generator, each: int = EACH) -> Split:
    """Words of 20 to 30 frames of noise, the class in the first of them only."""
    labels = rng.permutation(np.repeat(np.arange(CLASSES), each))
    parts = [rng.standard_normal((int(rng.integers(20, 31)), CLASSES)) for _ in labels]
    for part, label in zip(parts, labels, strict=True):
        part[0] = 0.1 * part[0] + 3 * (np.arange(CLASSES) == label)
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    names = [str(i) for i in range(len(labels))]
    shift, scale = np.zeros((1, CLASSES)), np.ones((1, CLASSES))
    frames = np.concatenate(parts).astype(np.float32)
    return Split(frames, offsets, names, shift, scale, labels)


@pytest.fixture(scope="module")
def data() -> TimitData:
    rng = np.random.default_rng(11)
    groups = [WORDS[:3], WORDS[3:5], WORDS[5:]]
    return TimitData(
        "planted", True, "", Path("planted.h5"), split(rng), split(rng), WORDS, groups, {}
    )


@pytest.fixture(scope="module")
def network() -> Ensemble:
    """Two networks; both modules see the input only, the slow one at the first step only."""
    ensemble = Ensemble(shape_of("cw", CLASSES, 16, CLASSES, (1, 64), (8, 8)), 2)
    rng = np.random.default_rng(2)
    with torch.no_grad():
        drawn = 0.3 * rng.standard_normal(ensemble.weight_ih.shape)
        ensemble.weight_ih.copy_(torch.from_numpy(drawn))
    return ensemble


def test_a_probe_finds_the_planted_label_in_the_slow_module_only(data, network):
    rows = probe_rows(network, data)
    assert [row["source"] for row in rows[:: len(TIMES)]] == ["1", "64", "all", "input"]
    chance, among = chances(data)["word"], chances(data)["beginning"]
    for row in rows:
        where = row["source"], row["time"]
        if row["source"] in {"64", "all"}:
            assert row["word"] > 0.95 and row["beginning"] > 0.95 and row["ending"] > 0.95, where
        else:
            assert row["word"] < chance + 0.12 and row["beginning"] < among + 0.15, where


def test_states_are_those_at_the_relative_times(data, network):
    found, frames = states(network, data.test)
    assert found.shape == (2, len(data.test), len(TIMES), 16)
    for index in (0, 5):
        word = data.test[index]
        y = network.hidden(torch.from_numpy(word).expand(2, 1, -1, -1))[:, 0]
        for i, time in enumerate(TIMES):
            step = int(np.ceil(round(time * len(word), 6))) - 1
            torch.testing.assert_close(found[:, index, i].float(), y[:, step])
            np.testing.assert_array_equal(frames[0, index, i], word[step])


def test_a_fit_is_the_ridge_of_the_normal_equations():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((2, 30, 4)) * [1, 2, 5, 0.1] + 3, rng.integers(0, 3, 30)
    strengths = torch.tensor([0.01, 1.0])
    probe = fit(torch.from_numpy(x), torch.from_numpy(labels), 3, strengths)
    for network in range(2):
        z = (x[network] - x[network].mean(0)) / x[network].std(0)
        y = np.eye(3)[labels]
        left = z.T @ z + 30 * float(strengths[network]) * np.eye(4)
        wanted = z @ np.linalg.solve(left, z.T @ (y - y.mean(0))) + y.mean(0)
        np.testing.assert_allclose(probe(torch.from_numpy(x))[network], wanted, rtol=1e-6)


def test_a_constant_feature_tells_nothing():
    x = torch.zeros(1, 6, 2, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    x[0, :, 1] = 5
    x[0, :, 0] = labels
    scores = fit(x, labels, 2, torch.tensor([1e-4]))(x + torch.tensor([0, 100]))
    assert (scores.argmax(2) == labels).all()


def test_the_strength_is_chosen_on_training_words_held_out():
    rng = np.random.default_rng(1)
    labels = torch.arange(4).repeat(10)
    clear = np.eye(4)[labels] + 0.01 * rng.standard_normal((40, 4))
    noise = rng.standard_normal((40, 30))
    tells, nothing = (
        chosen(torch.from_numpy(x)[None], labels, 4) for x in (np.c_[clear, noise], noise)
    )
    assert float(tells) <= 0.1 and float(nothing) >= 1
    every = folds(labels)
    assert torch.stack(every).sum(0).eq(1).all() and len(every) == 5
    assert all((labels[part].bincount() == 2).all() for part in every)
    once = chosen(torch.ones(1, 4, 2, dtype=torch.float64), torch.arange(4), 4)
    assert float(once) == pytest.approx(STRENGTHS[-1])


def test_readings_of_a_word(data):
    labels = np.array([0, 1, 3, 5])
    scores = np.full((1, 4, CLASSES), -1.0)
    scores[0, 0, 0] = 1  # right
    scores[0, 1, 2] = 1  # another word with the right end
    scores[0, 2, [0, 3]] = 2, 1  # another end; among its own it is right
    scores[0, 3, 4] = 1  # another end; its group has no other word
    found = {name: float(rate[0]) for name, rate in right_words(scores, labels, data).items()}
    assert found == {"word": 0.25, "beginning": 2 / 3, "ending": 0.5}
    assert chances(data)["word"] == pytest.approx(1 / 6)
    # test words: 60 of groups of three, 40 of two, 20 alone
    assert chances(data)["beginning"] == pytest.approx((60 / 3 + 40 / 2) / 100)
    assert chances(data)["ending"] == pytest.approx((60 * 3 + 40 * 2 + 20) / 120 / 6)


def test_words_of_no_group_are_alone(data):
    alone = replace(data, groups=[WORDS[:2]])
    assert len(set(groups_of(alone).tolist())) == 5
    assert set(chances(replace(data, groups=[[w] for w in WORDS]))) == {"word", "ending"}
    assert set(chances(replace(data, groups=[WORDS]))) == {"word", "beginning"}
