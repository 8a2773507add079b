import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock, apart, parse_periods, parse_shares, shared_out


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


def test_other_masks():
    full, lower = (Clock((1, 2, 2), (1, 1, 1), (), feeds) for feeds in ("full", "lower"))
    assert full.mask().all() and full.merged().feeds == "full" and full.recurrent_parameters() == 9
    assert (lower.mask() == Clock((1, 2, 2), (1, 1, 1)).mask().T).all()
    assert not full.cascades and not lower.chained and Clock((3,), (2,), (), "full").cascades


def test_merged_joins_modules_of_one_period():
    assert Clock((1, 2, 2, 4), (3, 1, 2, 5)).merged() == Clock((1, 2, 4), (3, 3, 5))


def test_offsets_are_sorted_along_and_none_if_all_are_0():
    clock = Clock.of(5, [8, 4, 8], [1, 2, 2], [6, 1, 2])
    assert clock == Clock((4, 8, 8), (2, 2, 1), (1, 2, 6))
    assert str(clock) == "4@1, 8@2, 8@6" and clock.blocks == (range(1), range(1, 3))
    assert Clock.of(3, 3, None, [0, 0, 0]) == Clock.of(3, 3) == Clock((1, 2, 4), (1, 1, 1))
    assert clock.merged() == clock and not clock.chained
    joined = Clock((4, 4, 8), (1, 2, 3), (1, 1, 2)).merged()
    assert joined == Clock((4, 8), (3, 3), (1, 2)) and joined.chained


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
        ((4, [1, 2], None, [0]), "1 module offsets for 2"),
        ((4, [1, 2], None, [0, 2]), "of period 2 must be a whole number from 0 to 1, not 2"),
        ((4, [1, 2], None, [0, True]), "not True"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        Clock.of(*arguments)


def test_periods_as_typed():
    assert parse_periods("9") == 9
    assert parse_periods("3,1,2") == (3, 1, 2)
    assert parse_periods("7,") == (7,)
    assert parse_periods("8@0,8@2, 4") == ((8, 0), (8, 2), (4, 0))
    assert apart(parse_periods("8@0,8@2,4")) == ((8, 8, 4), (0, 2, 0))
    assert apart(9) == (9, None) and apart((1, 2)) == ((1, 2), None)
    for wrong in ("", "a", "1,x", "0", "-1,2", "1.5", "8@", "8@x", "@2", "8@-1", "8@1@2"):
        with pytest.raises(ValueError, match="expected periods"):
            parse_periods(wrong)


def test_units_are_shared_out():
    assert shared_out(16, (4, 2, 1, 1)) == (8, 4, 2, 2)
    assert shared_out(19, (4, 2, 1, 1)) == (10, 5, 2, 2)  # 9.5, 4.75, 2.375: the first two get more
    assert shared_out(11, (1,) * 9) == Clock.of(11, 9).sizes
    assert parse_shares("4,2,1") == (4, 2, 1)
    assert parse_shares("spectrum") == "spectrum"
    for wrong in ("", "4,0", "a", "1,-2", "0.5,1"):
        with pytest.raises(ValueError, match="whole numbers of at least 1"):
            parse_shares(wrong)


@given(st.integers(1, 500), st.lists(st.integers(1, 30), min_size=1, max_size=9))
def test_shares_add_up_and_are_fair(units, shares):
    sizes = shared_out(units, shares)
    assert sum(sizes) == units
    for size, share in zip(sizes, shares, strict=True):
        assert abs(size - units * share / sum(shares)) <= 1
