"""`cwrnn bench handwriting` and `precision`, at sizes where nothing is said of their speed."""

import json

import pytest
import torch

from cwrnn_cli.benchmarks.precision import Rounded
from cwrnn_cli.models import CELLS
from tests.conftest import one_line_error


def test_handwriting(cwrnn, lines):
    words = ("--data", lines, "--sizes", "700", "--repeats", 1, "--batches", 24)
    found = json.loads(cwrnn("bench", "handwriting", *words, "--json").stdout)
    assert found["data"] == "stand-in handwriting" and found["standin"] is True
    assert (found["batches"], found["lines"]) == (3, 8)  # of 20 lines there are no more
    rows = {(row["params"], row["model"], row["by"]): row for row in found["rows"]}
    by = ("cwrnn", "torch.nn", "torch.nn padded")
    assert list(rows) == [(700, m, b) for m in CELLS for b in by]
    base = rows[700, "lstm", "torch.nn"]["s_per_epoch"]
    for row in rows.values():
        assert row["torch_lstm_over_this"] == pytest.approx(base / row["s_per_epoch"])
    assert rows[700, "lstm", "torch.nn padded"]["padded_torch_lstm_over_this"] == 1


def test_handwriting_as_a_table(cwrnn, lines):
    words = ("--data", lines, "--sizes", "700", "--repeats", 1, "--batches", 1)
    text = cwrnn("bench", "handwriting", *words).stdout
    assert "data: stand-in handwriting; training only, batches of 8 lines" in text
    rows = [line for line in text.splitlines() if line.startswith("700 ")]
    assert len(rows) == 3 * len(CELLS) and all(f"700 {c.label}" in text for c in CELLS.values())


def test_precision(cwrnn):
    words = ("bench", "precision", "--units", 16, "--steps", 8)
    found = json.loads(cwrnn(*words, "--json").stdout)
    assert (found["units"], found["steps"]) == (16, 8)
    rows = {(row["cell"], row["precision"]): row for row in found["rows"]}
    assert {cell for cell, _ in rows} == {cell.label for cell in CELLS.values()}
    for cell in CELLS.values():
        for what in ("outputs", "gradients"):
            exact, tf32, bfloat16 = (
                rows[cell.label, precision][what]
                for precision in ("float32 (ieee)", "TF32", "bfloat16 factors")
            )
            assert 0 < exact < 1e-5 < tf32 < bfloat16 < 0.1
    assert json.loads(cwrnn(*words, "--json").stdout) == found  # the seed is fixed
    assert "CW-RNN" in cwrnn(*words).stdout


def test_rounding_is_to_the_nearest_of_so_many_bits():
    one = torch.eye(1)
    step = 2.0**-7  # of bfloat16, behind a leading 1
    with Rounded(7):
        for given, wanted in ((1 + 0.4 * step, 1.0), (1 + 0.6 * step, 1 + step), (-1.0, -1.0)):
            assert (torch.full((1, 1), given) @ one).item() == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("precision --units 4", "--units 4: expected at least 8"),
        ("precision --steps 0", "--steps 0: expected at least 1"),
        ("handwriting", "data/iamondb.h5: cannot be read"),
        ("handwriting --data none.h5", "none.h5: cannot be read"),
        ("handwriting --batches 0", "--batches 0: expected at least 1"),
        ("handwriting --data LINES --sizes x", "--sizes x: expected numbers"),
        ("handwriting --data LINES --sizes 2", "--sizes 2: 2 parameters: the smallest"),
    ],
)
def test_mistakes_end_in_one_line(cwrnn, lines, words, message):
    given = [str(lines) if word == "LINES" else word for word in words.split()]
    assert message in one_line_error(cwrnn("bench", *given, expect=2))
