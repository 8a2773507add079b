"""Beam search against all texts there are."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.tasks.iamondb.decode import BeamOptions, BeamSearch, language_model
from data_prep.errors import UserError

TEXTS = [[1, 2, 1], [1, 2], [2, 2, 1, 1]]


def best_of_all(log_p: np.ndarray, language: np.ndarray, weight: float, bonus: float):
    """Every text that fits, with torch's CTC as its probability."""
    steps, units = log_p.shape
    found = []
    for length in range(steps + 1):
        for text in itertools.product(range(1, units), repeat=length):
            loss = torch.nn.functional.ctc_loss(
                torch.from_numpy(log_p), torch.tensor(text, dtype=torch.int64), (steps,), (length,),
                reduction="sum",
            ).item()  # fmt: skip
            context, prior = 0, 0.0
            for unit in text:
                prior += weight * language[context, unit] + bonus
                context = (context * units + unit) % len(language)
            found.append((-loss + prior, text))
    return max(found)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 5), ngram=st.integers(0, 3))
def test_it_finds_the_likeliest_text(seed, steps, ngram):
    logits = torch.from_numpy(2 * np.random.default_rng(seed).standard_normal((1, steps, 3)))
    # wide enough to keep everything
    search = BeamSearch(BeamOptions(200, ngram, 0.7, 0.3), TEXTS, 3)
    (found,) = search(logits, torch.tensor([steps]))
    language = language_model(TEXTS, 3, ngram) if ngram else np.zeros((1, 3))
    weight, bonus = (0.7, 0.3) if ngram else (0.0, 0.0)
    _, text = best_of_all(logits.log_softmax(dim=2)[0].numpy(), language, weight, bonus)
    assert tuple(found.tolist()) == text


def test_it_reads_no_further_than_the_end():
    logits = torch.nn.functional.one_hot(torch.tensor([[1, 0, 2, 2]]), 3).double() * 30
    search = BeamSearch(BeamOptions(3), TEXTS, 3)
    assert search(logits, torch.tensor([2]))[0].tolist() == [1]
    assert search(logits, torch.tensor([4]))[0].tolist() == [1, 2]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_language_model(order):
    model = np.exp(language_model(TEXTS, 3, order))
    assert model.shape == (3 ** (order - 1), 3)
    np.testing.assert_allclose(model.sum(axis=1), 1)
    assert not model[:, 0].any() and (model[:, 1:] > 0).all()
    if order == 1:  # 5 ones and 4 twos, 2 kinds, by hand
        np.testing.assert_allclose(model[0], [0, (5 + 2 / 2) / 11, (4 + 2 / 2) / 11])
    if order == 2:  # after a 2: two 1s and one 2
        np.testing.assert_allclose(model[2, 1], (2 + 2 * 6 / 11) / 5)


def test_options():
    with pytest.raises(UserError, match="--beam 0"):
        BeamOptions(0)
    with pytest.raises(UserError, match="--ngram 4"):
        BeamOptions(5, 4)
