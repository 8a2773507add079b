import pytest

from cwrnn_cli.reporting.tables import (
    Table,
    counted,
    number,
    percent,
    percent_plus_minus,
    plus_minus,
    said_once,
    table,
)


def test_columns_are_as_wide_as_they_need_to_be():
    found = table(("model", "error", ""), [["CW-RNN", "0.5", "x"], ["SRN", "0.4321", ""]])
    assert found.splitlines() == [
        "model    error",
        "------  ------  -",
        "CW-RNN     0.5  x",
        "SRN     0.4321",
    ]


def test_a_table_without_rows():
    assert table(("a", "bcd"), []) == "a  bcd\n-  ---"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.0000"),
        (0.0123456, "0.0123"),
        (-0.05, "-0.0500"),
        (0.1, "0.100"),
        (12.3456, "12.346"),
        (9999.0, "9999.000"),
        (10000.0, "1.0e+04"),
        (-23456.0, "-2.3e+04"),
        (1e-4, "0.0001"),
        (0.99e-4, "9.9e-05"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_what_all_rows_have_in_common_is_said_once():
    rows = [["a", "1", "x", "–", "7"], ["a", "2", "x", "–", "8"]]
    found = Table(("kind", "run", "of", "none", "value"), rows)
    said, narrow = said_once(found, ("kind",))
    assert said == "of x" and narrow.header == ["kind", "run", "value"]
    assert list(narrow.rows) == [("a", "1", "7"), ("a", "2", "8")]
    assert said_once(Table(found.header, rows[:1]), ()) == ("", Table(found.header, rows[:1]))


def test_one_is_no_plural():
    assert [counted(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_plus_minus():
    assert plus_minus(0.5, 0.0123) == "0.500±0.0123"
    assert plus_minus(0.5, None) == "0.500"  # of one network
    assert plus_minus(None, None) == "–"


def test_percent():
    assert percent(0.16849) == "16.8" and percent(1.0) == "100.0" and percent(0.0) == "0.0"
    assert percent(None) == "–"
    assert percent_plus_minus({"mean": 0.168, "std": 0.035}) == "16.8±3.5"
    assert percent_plus_minus({"mean": 0.168, "std": None}) == "16.8"
    assert percent_plus_minus({"mean": None, "std": None}) == "–"
