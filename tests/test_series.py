"""Series of clock periods, by name."""

import pytest

from cwrnn_cli.clock import Clock, parse_periods
from cwrnn_cli.series import SERIES, parse_series, series


@pytest.mark.parametrize(
    ("text", "periods"),
    [
        ("exp:9", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("exp:3:3", (3, 6, 12)),
        ("linear:9", (1, 2, 3, 4, 5, 6, 7, 8, 9)),
        ("linear:3:4", (4, 5, 6)),
        ("fib:9", (1, 2, 3, 5, 8, 13, 21, 34, 55)),
        ("fib:4:4", (4, 5, 8, 13)),
        ("prime:9", (1, 2, 3, 5, 7, 11, 13, 17, 19)),
        ("prime:3:2", (2, 3, 5)),
        ("prime:3:24", (24, 29, 31)),
        ("log:5", (1, 7, 11, 14, 16)),
        ("log:1:7", (7,)),
    ],
)
def test_as_typed(text, periods):
    assert parse_periods(text) == periods


@pytest.mark.parametrize("name", list(SERIES))
@pytest.mark.parametrize("lowest", [1, 2, 5, 8])
def test_all_begin_with_the_lowest_and_ascend(name, lowest):
    for modules in range(1, 12):
        found = series(name, modules, lowest)
        assert len(found) == modules and found[0] == lowest and len(set(found)) == modules
        assert Clock.of(modules, found).periods == found


def test_random_periods_follow_from_the_seed():
    found = [parse_series(f"random:9:1:{seed}") for seed in range(20)]
    assert parse_series("random:9") == parse_series("random:9:1") == found[0]
    assert len(set(found)) == 20 and max(map(max, found)) <= 256
    # log-uniform: about as many up to 16 as above
    below = sum(period <= 16 for periods in found for period in periods[1:])
    assert 50 < below < 110


@pytest.mark.parametrize(
    "text", ["exp:", "exp:0", "exp:9:0", "exp:9:1:5", "ex:9", "fib:-1", "random:9:1:2:3", "exp:999"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="expected a series of exp, linear, fib, prime, log, rand"):
        parse_periods(text)
