import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock, parse_periods, parse_shares, shared_out


def test_defaults_are_exponential_and_at_most_eight():
    assert Clock.of(40).periods == (1, 2, 4, 8, 16, 32, 64, 128)
    assert Clock.of(3).periods == (1, 2, 4)
    assert Clock.of(9, 3) == Clock((1, 2, 4), (3, 3, 3))


def test_units_left_over_go_to_the_fastest_modules():
    assert Clock.of(11, 9).sizes == (2, 2, 1, 1, 1, 1, 1, 1, 1)
    assert Clock.of(40, 9).sizes == (5, 5, 5, 5, 4, 4, 4, 4, 4)


def test_periods_are_sorted_with_their_sizes():
    assert Clock.of(6, [8, 1, 3], [3, 1, 2]) == Clock((1, 3, 8), (1, 2, 3))


def test_mask_lets_slow_drive_fast_only():
    mask = Clock((1, 2, 2), (1, 1, 1)).mask()
    assert mask.tolist() == [[True, True, True], [False, True, True], [False, True, True]]


def test_merged_joins_modules_of_one_period():
    assert Clock((1, 2, 2, 4), (3, 1, 2, 5)).merged() == Clock((1, 2, 4), (3, 3, 5))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=9), st.integers(0, 30))
def test_any_periods_give_a_mask_that_is_block_triangular(periods, extra):
    clock = Clock.of(len(periods) + extra, periods)
    assert clock.hidden_size == len(periods) + extra == clock.starts[-1]
    assert list(clock.periods) == sorted(periods)
    allowed = clock.mask()
    assert np.triu(allowed).sum() == np.triu(np.ones_like(allowed)).sum()
    assert clock.recurrent_parameters() == allowed.sum() == clock.merged().recurrent_parameters()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, [1, 0]), "clock period"),
        ((4, []), "empty"),
        ((4, [1, 2], [2, 3]), "add up to 5"),
        ((4, [1, 2], [4]), "1 module sizes for 2"),
        ((4, [1, 2], [4, 0]), "module size"),
        ((2, 3), "need at least 3 units"),
        ((0,), "hidden_size"),
        ((4, 0), "0 modules"),
        ((4, [1.5, 2]), "whole number"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        Clock.of(*arguments)


def test_periods_as_typed():
    assert parse_periods("9") == 9
    assert parse_periods("3,1,2") == (3, 1, 2)
    assert parse_periods("7,") == (7,)
    for wrong in ("", "a", "1,x", "0", "-1,2", "1.5"):
        with pytest.raises(ValueError, match="expected periods"):
            parse_periods(wrong)


def test_units_are_shared_out():
    assert shared_out(16, (4, 2, 1, 1)) == (8, 4, 2, 2)
    assert shared_out(19, (4, 2, 1, 1)) == (10, 5, 2, 2)  # 9.5, 4.75, 2.375: the first two get more
    assert shared_out(11, (1,) * 9) == Clock.of(11, 9).sizes
    assert parse_shares("4,2,1") == (4, 2, 1)
    for wrong in ("", "4,0", "a", "1,-2", "0.5,1"):
        with pytest.raises(ValueError, match="whole numbers of at least 1"):
            parse_shares(wrong)


@given(st.integers(1, 500), st.lists(st.integers(1, 30), min_size=1, max_size=9))
def test_shares_add_up_and_are_fair(units, shares):
    sizes = shared_out(units, shares)
    assert sum(sizes) == units
    for size, share in zip(sizes, shares, strict=True):
        assert abs(size - units * share / sum(shares)) <= 1
