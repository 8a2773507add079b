"""Statistics of networks' errors, against numbers that are known otherwise."""

import numpy as np
import pytest

from cwrnn_cli import statistics
from cwrnn_cli.statistics import LEVEL, share, spearman


def test_statistics_are_numpys():
    values = np.random.default_rng(0).normal(size=101)
    found = statistics.statistics(values)
    assert found["mean"] == values.mean() and found["std"] == values.std(ddof=1)
    assert found["median"] == np.median(values) and found["q75"] == np.quantile(values, 0.75)


def test_statistics_of_one_network_have_no_deviation_and_of_none_nothing():
    assert statistics.statistics(np.array([0.5]))["std"] is None
    assert set(statistics.statistics(np.array([])).values()) == {None}
    assert statistics.median(np.array([0.5])) == {"median": 0.5, "low": None, "high": None}
    assert set(statistics.median(np.array([])).values()) == {None}


def test_intervals_of_medians_cover_the_true_one_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(300):
        found = statistics.median(rng.normal(3, 1, 40))
        assert found["low"] <= found["median"] <= found["high"]
        hits.append(found["low"] <= 3 <= found["high"])
    assert np.mean(hits) == pytest.approx(LEVEL, abs=0.04)


def test_intervals_of_ratios_of_means_cover_the_true_one_as_often_as_they_say():
    rng, groups, hits = np.random.default_rng(0), np.repeat([0, 1], 30), []
    for _ in range(200):
        above, below = (rng.normal(mean, 0.5, 60) + groups for mean in (5.5, 2.5))
        low, high = statistics.ratio_of_means((above, groups), (below, groups))
        hits.append(low <= 2 <= high)  # groups differ, and are no chance
    assert np.mean(hits) == pytest.approx(LEVEL, abs=0.04)


def test_one_network_of_a_sequence_gives_no_interval():
    two, one = (np.ones(4), np.array([0, 0, 1, 1])), (np.ones(3), np.array([0, 0, 1]))
    assert statistics.ratio_of_means(two, one) is None
    assert statistics.ratio_of_means(two, two) == (1, 1)


def test_diverged_networks_count_under_both_conventions():
    errors = np.array([0.1, 0.2, 0.3, 50.0, np.nan])
    diverged = np.array([False, False, False, True, True])
    found = statistics.conventions(errors, diverged, np.full(5, 0.25))
    assert found["survivors"]["median"] == 0.2
    assert found["as_constant"]["median"] == 0.25
    assert found["as_infinite"]["median"] == 0.3


def test_more_than_half_diverged_have_no_finite_median():
    diverged = np.array([False, True, True])
    found = statistics.conventions(np.array([0.1, np.inf, np.nan]), diverged, 1.0)
    assert found["as_infinite"] == {"median": None, "low": 0.1, "high": None}
    assert found["as_constant"]["median"] == 1.0


def test_the_deviation_within_groups_is_free_of_what_differs_between_them():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), 400)
    values = 10.0 * groups + rng.normal(0, 0.5, 2000)
    assert statistics.within(values, groups) == pytest.approx(0.5, rel=0.05)
    assert values.std() > 10
    assert statistics.within(np.array([1.0, 2.0]), np.array([0, 1])) is None


def test_wins_count_pairs_with_ties_and_diverged_ones():
    ours, others = np.array([0.1, 0.5, 0.3, 0.2, 9.0]), np.array([0.2, 0.4, 0.3, 0.1, 9.0])
    diverged = np.array([0, 0, 0, 0, 1], bool), np.array([0, 0, 0, 1, 1], bool)
    found = statistics.wins(ours, others, diverged)
    assert (found["pairs"], found["won"], found["ties"], found["share"]) == (5, 2, 2, 0.4)
    # Clopper and Pearson's interval for 2 of 5
    assert (found["low"], found["high"]) == pytest.approx((0.0527, 0.8534), abs=1e-4)


def test_ratios_with_words_resampled_are_wider_where_words_differ():
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=50)  # how hard a word is, for both models
    above = rng.uniform(size=(100, 50)) < hard
    below = rng.uniform(size=(100, 50)) < hard[rng.permutation(50)] / 2
    found = statistics.ratio(above, below, np.arange(50))
    assert found["ratio"] == above.mean() / below.mean()
    assert found["low_words"] < found["low"] < found["ratio"]
    assert found["ratio"] < found["high"] < found["high_words"]


def test_ratios_cover_the_true_one_as_often_as_they_say():
    """Rates of 0.4 and 0.2 over endless words: other words and networks each time."""
    rng, hits = np.random.default_rng(1), []
    for _ in range(200):
        hard = rng.beta(2, 3, size=50)
        wrong = [rng.uniform(size=(20, 50)) < share * hard for share in (1.0, 0.5)]
        found = statistics.ratio(*wrong, np.arange(50))
        hits.append(found["low_words"] <= 2.0 <= found["high_words"])
    assert np.mean(hits) >= LEVEL - 0.04


def test_words_are_resampled_with_all_their_examples():
    rng = np.random.default_rng(0)
    hard = np.repeat(rng.uniform(size=25), 2)  # two examples of a word are as hard
    above, below = rng.uniform(size=(100, 50)) < hard, rng.uniform(size=(100, 50)) < 0.3
    whole = statistics.ratio(above, below, np.repeat(np.arange(25), 2))
    single = statistics.ratio(above, below, np.arange(50))
    assert whole["ratio"] == single["ratio"]
    wide, narrow = (r["high_words"] - r["low_words"] for r in (whole, single))
    assert wide > 1.2 * narrow


def test_one_network_in_each_group_tells_nothing_of_others():
    found = statistics.median(np.arange(5.0), np.arange(5))
    assert (found["median"], found["low"], found["high"]) == (2.0, None, None)
    assert statistics.median(np.arange(5.0), np.array([0, 1, 2, 3, 3]))["low"] is not None


def test_a_median_over_groups_is_resampled_within_them():
    """Five groups far apart: the median is that of the middle one, however many are drawn."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), 21)
    values = 10.0 * groups + rng.normal(size=105)
    found = statistics.median(values, groups)
    assert 19 < found["low"] < found["median"] < found["high"] < 21
    pooled = statistics.median(values)
    assert pooled["high"] - pooled["low"] > 2 * (found["high"] - found["low"])
    assert statistics.median(values[:21], groups[:21]) == statistics.median(values[:21])
    infinite = np.where(groups > 2, np.inf, values)
    assert statistics.median(infinite, groups)["median"] == found["median"]


def test_a_share_has_its_exact_interval():
    found = share(48, 48)
    assert found["share"] == found["high"] == 1
    assert found["low"] == pytest.approx(0.025 ** (1 / 48))
    half = share(5, 10)
    assert half["low"] == pytest.approx(1 - half["high"])


def test_spearman_is_of_ranks():
    values = np.array([1.0, 2, 5, 3])
    assert spearman(values, np.exp(values)) == {"rho": 1, "p": 0}
    assert spearman(values, -values)["rho"] == pytest.approx(-1)
    # by hand: 1 - 6 Σ d² / n (n² - 1)
    assert spearman(values, np.array([1.0, 2, 3, 4]))["rho"] == pytest.approx(1 - 6 * 2 / 60)
    nothing = {"rho": None, "p": None}
    assert spearman(values[:2], values[:2]) == nothing
    assert spearman(values, np.ones(4)) == nothing
