import csv

from cwrnn_cli.reporting.csv import csv_text, write_csv
from tests.conftest import check_csv

ROWS = [
    {"model": "a, b", "lr": 3e-4, "sizes": {"100": {"mean": 0.1 + 0.2, "diverged": 0}}},
    {"model": 'said "x"', "lr": None, "errors": [0.5, None], "ok": True, "other": "null\nline"},
]


def test_the_names_and_numbers_of_the_json(tmp_path):
    assert write_csv(tmp_path, ROWS) == tmp_path / "table.csv"
    check_csv(tmp_path, ROWS)
    first, second = csv.DictReader(csv_text(ROWS).splitlines(keepends=True))
    assert list(first) == [
        *("model", "lr", "sizes.100.mean", "sizes.100.diverged", "errors", "ok", "other")
    ]
    assert first["sizes.100.mean"] == "0.30000000000000004" and first["errors"] == ""
    assert (second["lr"], second["errors"], second["ok"]) == ("", "[0.5, null]", "true")


def test_of_nothing_it_has_the_names_that_are_asked_for():
    assert csv_text([], ["a", "b"]) == "a,b\n"


def test_what_is_no_number_is_empty_and_what_is_no_text_escaped():
    row = {"x": float("nan"), "y": float("inf"), "name": "caf\udce9"}
    assert csv_text([row]) == "x,y,name\n,,caf\\udce9\n"
