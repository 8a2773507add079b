"""Numbers that only pages quote."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from cwrnn_cli.benchmarks.layer import operations
from cwrnn_cli.evidence.differences import compare_lines, same_values
from cwrnn_cli.evidence.measures import (
    FOLLOWS,
    clock_cost,
    mean_interval,
    scanned,
    seconds_taken,
    steps_followed,
    table1_by_formula,
)


def test_steps_are_counted_up_to_the_first_that_is_off():
    targets = np.zeros((4, 5))
    outputs = np.zeros((4, 5))
    outputs[1, 3] = FOLLOWS + 0.01  # and then on it again
    outputs[2, 0] = -1
    outputs[3, 4] = np.nan
    assert steps_followed(outputs, targets) == [5, 3, 0, 4]


def test_the_interval_of_a_mean():
    found = mean_interval([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.302653
    half = 4.302653 / 3**0.5
    assert found == pytest.approx({"n": 3, "mean": 2, "low": 2 - half, "high": 2 + half}, rel=1e-6)
    assert mean_interval([4.0]) == {"n": 1, "mean": 4, "low": None, "high": None}


def test_ten_sizes_of_table_1_are_not_the_nearest():
    assert table1_by_formula() == {"entries": 36, "nearest": 26}


def test_lines_differ_by_their_numbers_or_by_noise_only():
    found, expected = "a\nb 0.10000000000000001\n", "a\nb 0.1\nc\n"
    exact = compare_lines("f", found, expected)
    assert [(d.place, d.found, d.expected) for d in exact] == [
        ("f:2", "'b 0.10000000000000001'", "'b 0.1'"),
        ("f:3", "nothing", "'c'"),
    ]
    assert [d.place for d in compare_lines("f", found, expected, exact=False)] == ["f:3"]
    assert compare_lines("f", "x 0.5", "x 0.50001", exact=False)
    assert compare_lines("f", "x 0.5", "y 0.5", exact=False)


def test_a_line_too_many_is_one_difference_and_blanks_are_seen():
    text = "".join(f"line {i}\n" for i in range(50))
    (found,) = compare_lines("f", text.replace("line 7\n", "line 7\nnew\n"), text)
    assert (found.line, found.found, found.expected) == (9, "'new'", "nothing")
    (found,) = compare_lines("f", " a\n", "a\n")
    assert (found.found, found.expected) == ("' a'", "'a'")
    assert compare_lines("f", "a", "a\n")


def test_values_of_json_are_equal_but_for_noise():
    value = {"a": [1.0, None, {"b": "x"}], "n": 3}
    assert same_values(value, {"a": [1.0 + 1e-15, None, {"b": "x"}], "n": 3})
    assert same_values([float("nan"), 0.0], [float("nan"), 1e-20])
    assert not same_values(True, 1)
    for other in (
        {"a": [1.1, None, {"b": "x"}], "n": 3},
        {"a": [1.0], "n": 3},
        {"n": 3},
        value | {"n": 4},
    ):
        assert not same_values(value, other)


def test_a_clock_costs_what_its_ticks_do():
    """Powers of two as the benchmarks count them; without fast modules next to nothing."""
    periods = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    paper = clock_cost("audio", "cw", 1000, periods)
    assert paper["units"] == 40
    assert paper["multiply_adds"] == pytest.approx(operations(40, 0, 9)["cascade"])
    slow = clock_cost("audio", "cw", 1000, (8, 16))
    assert slow == {"units": 35, "multiply_adds": 18 * 18 / 8 + 17 * 35 / 16}


def test_every_point_of_a_scan_is_there_by_name():
    """Of one published here, at a rate that was not the best, which its scan.json leaves out."""
    folder = Path(__file__).parents[2] / "results/future/low-pass-guit_em9"
    found = scanned(folder / "scan.h5")
    assert len(found) == 4 * 2 * 3
    name = "cw-250-ramp-0.0001,periods=8,16,32,64,128,256"
    point = found[name]
    with h5py.File(folder / "scan.h5") as file:
        at = (file["params"][()] == 250) & np.isclose(file["lr"][()], 1e-4)
        (row,) = np.flatnonzero(at & (file["level of periods"][()] == 3))
        errors = file["error"][row].astype(float)
    assert point["errors"] == errors.tolist() and point["networks"] == 500
    assert point["mean"] == pytest.approx(errors.mean())
    assert point["median"] == pytest.approx(np.median(errors))
    assert point["low"] < point["median"] < point["high"]


def test_what_commands_took_is_the_sum_of_a_folders_sessions():
    first = {"started": "2026-12-01T12:59:58+00:00", "ended": "2026-12-01T13:00:03+00:00"}
    again = {"started": "2026-12-02T23:59:00+00:00", "ended": "2026-12-03T00:01:00+00:00"}
    assert seconds_taken({"sessions": [first]}) == 5
    assert seconds_taken({"sessions": [first, again]}) == 125
    killed = again | {"ended": None, "command": "cwrnn scan"}
    with pytest.raises(ValueError, match="not ended: cwrnn scan"):
        seconds_taken({"sessions": [first, killed]})
