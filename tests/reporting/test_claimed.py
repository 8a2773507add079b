"""Verdicts by rule, on rows whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cwrnn_cli.reporting.claimed import claims_of_grid
from cwrnn_cli.reporting.tables import number
from cwrnn_cli.statistics import conventions
from cwrnn_cli.training.results import Cell, Results


def cell(
    model: str, errors: np.ndarray, paper: float | None, diverged: int = 0, **more: Any
) -> Cell:
    out = np.arange(len(errors)) < diverged
    summary = {
        "task": "audio",
        "model": model,
        "params": 100,
        "networks": len(errors),
        "diverged": diverged,
        "standin": False,
        "data": {"name": "a piece"},
        "paper": None if paper is None else {"median": paper},
        "deviations": [{"name": "runs", "ours": 4, "paper": 100}],
        "medians": conventions(errors, out, 1.0),
    }
    return Cell({}, summary | more, {"error": errors, "diverged": out})


def claims(*cells: Cell, same: bool = True, errors: str | None = None):
    results = Results(Path(), {(c.summary["model"], 100): c for c in cells}, {})
    made = claims_of_grid(results, "cwrnn x", "error", number, "Figure 9", same, errors)
    assert all(claim.command == "cwrnn x" and claim.data == "a piece" for claim in made)
    return made


def around(middle: float, count: int = 40) -> np.ndarray:
    return middle * np.linspace(0.9, 1.1, count)


@pytest.mark.parametrize(
    ("errors", "diverged", "verdict"),
    [
        (around(0.2), 0, "holds"),
        (around(0.39), 0, "open"),  # the interval reaches over twice the paper's
        (around(0.5), 0, "fails"),
        (around(0.05), 0, "holds in part"),  # better
        (np.array([0.2]), 0, "open"),  # one network decides nothing
        (around(0.2), 30, "fails"),  # most diverged
        (around(0.2), 21, "open"),  # the interval reaches down to the paper's
        (np.array([0.2]), 1, "open"),  # one decides nothing, diverged or not
    ],
)
def test_a_number(errors, diverged, verdict):
    (claim,) = claims(cell("cw", errors, 0.2, diverged))
    assert claim.verdict == verdict and claim.says == "Error 0.200"
    assert claim.place == "Figure 9: CW-RNN, 100 parameters"
    assert (f"{diverged} diverged" in claim.found) == bool(diverged)


def test_departures_leave_it_open_and_other_data_untested():
    departs = [{"name": "epochs", "ours": 3, "paper": 2000}]
    (claim,) = claims(cell("cw", around(0.2), 0.2, deviations=departs))
    assert claim.verdict == "open"
    assert "Departs from the protocol: epochs 3, paper 2000" in claim.found
    ours = [{"name": "batch", "ours": 3, "paper": 1}]  # of which the paper says nothing
    (claim,) = claims(cell("cw", around(0.2), 0.2, deviations=ours))
    assert "Departs from the protocol: batch 3, our default 1" in claim.found
    (claim,) = claims(cell("cw", around(0.2), 0.2), same=False)
    assert claim.verdict == "not tested"
    assert not claims(cell("cw", around(0.2), None))


def test_networks_of_other_sizes_than_the_papers_stand_beside_its_numbers():
    sizes = [{"name": "hidden_size", "ours": 44, "paper": 40}]
    other = cell("cw", around(0.2), None, deviations=sizes)
    results = Results(Path(), {("cw", 100): other}, {})
    for same, verdict in ((True, "open"), (False, "not tested")):
        words = ("cwrnn x", "error", number, "Table 9", same, None, {100: {"cw": 0.3}})
        (claim,) = claims_of_grid(results, *words)
        assert claim.verdict == verdict and claim.says == "Error 0.300"
        assert "hidden_size 44, paper 40" in claim.found
    assert not claims_of_grid(results, *words[:-1], {200: {"cw": 0.3}})


def test_orders_only_of_pairs_that_the_paper_orders_so():
    better, worse = around(0.1), around(0.3)
    pair = claims(cell("srn", worse, 0.3), cell("cw", better, 0.1), errors="error")[2:]
    assert [(c.says, c.verdict, c.n) for c in pair] == [("CW-RNN below SRN", "holds", "40 pairs")]
    assert pair[0].found.startswith("in 40 of 40 pairs of one seed (")
    pair = claims(cell("srn", better, 0.3), cell("cw", worse, 0.1), errors="error")[2:]
    assert [c.verdict for c in pair] == ["fails"]
    few = claims(cell("srn", worse[:2], 0.3), cell("cw", better[:2], 0.1), errors="error")[2:]
    assert [c.verdict for c in few] == ["open"]
    assert len(claims(cell("srn", worse, 0.1), cell("cw", better, 0.3), errors="error")) == 2
