"""What all tasks' reports open with, and the files of a comparison."""

import json

import pytest

from cwrnn_cli.reporting import page
from cwrnn_cli.reporting.tables import Table
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.timit import report
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.grid import RESULTS, Grid, open_grid, run_grid
from cwrnn_cli.training.results import Cell, Results, read_results
from tests.conftest import check_csv

SUMMARY = {
    "task": "timit",
    "model": "lstm",
    "params": 500,
    "hidden_size": 5,
    "parameter_count": 518,
    "networks": 30,
    "diverged": 2,
    "cut_short": 0,
    "standin": True,
    "data": {"name": "speech", "sha256": "00"},
    "deviations": [
        {"name": "lr", "ours": 0.01, "paper": 0.0003},
        {"name": "periods", "ours": [1, 2], "paper": [1, 2, 4]},
    ],
}


def test_network_line():
    assert page.network_line(SUMMARY) == "LSTM, 5 cells, 518 parameters"
    other = SUMMARY | {"model": "cw"}
    assert page.network_line(other, " per direction") == (
        "CW-RNN, 5 hidden units per direction, 518 parameters"
    )


def test_data_and_cells_by_their_names():
    assert page.data_of(SUMMARY) == "speech (synthetic voices, not TIMIT)"
    assert page.data_of(SUMMARY | {"standin": False}) == "speech"
    assert page.cell_name(("cw", 1000)) == "1000 CW-RNN"


def test_deviation_lines():
    assert page.deviation_lines(SUMMARY) == [
        "deviates from the paper: lr 0.01, paper 0.0003",
        "deviates from the paper: periods [1, 2], paper [1, 2, 4]",
    ]
    assert page.deviation_lines(SUMMARY | {"deviations": []}) == []


def test_what_the_paper_does_not_state_is_our_default():
    departs = [{"name": "epochs", "ours": 10, "paper": 2000}]
    for task, said in (
        ("audio", "deviates from the paper: epochs 10, paper 2000"),  # Section 4.1 has a number
        (
            "iamondb",  # our limit
            "deviates from our default, the paper names none: epochs 10, our default 2000",
        ),
    ):
        assert page.deviation_lines({"task": task, "deviations": departs}) == [said]


@pytest.mark.parametrize(
    ("name", "standin", "said"),
    [
        ("TIMIT", False, "paper"),
        ("TIMIT", True, "paper, on TIMIT"),
        ("dsp", False, "paper, on TIMIT"),
    ],
)
def test_what_the_papers_numbers_are_on(name, standin, said):
    table = Table(("errors", "paper"), [["1", "2"]])
    about = {"data": {"name": name}, "standin": standin}
    assert page.beside(table, about, "TIMIT").header[1] == said


def test_count_lines_say_nothing_of_nothing():
    reasons = {"diverged": "diverged", "cut_short": "were cut short"}
    assert page.count_lines(SUMMARY, reasons) == ["2 of 30 networks diverged"]


def test_comparison_leaves_out_what_is_too_long(tmp_path):
    cells = {key: Cell({}, SUMMARY | {"model": key[0]}, {}) for key in (("lstm", 500), ("cw", 500))}
    results = Results(tmp_path, cells, {})
    found = page.comparison(results, ["deviations", "data"], ratios={"500": 2.0})
    assert list(found) == ["task", "cells", "ratios"] and found["task"] == "timit"
    assert [cell["model"] for cell in found["cells"]] == ["lstm", "cw"]
    assert set(SUMMARY) - set(found["cells"][0]) == {"deviations", "data"}


@pytest.fixture(scope="module")
def grid(tmp_path_factory, spoken):
    """A real one: two models, of which one diverged at one size."""
    out, data = tmp_path_factory.mktemp("grid") / "grid", TASKS["timit"].load(spoken)
    options = {"runs": 2, "epochs": 2}
    cells = [
        configure(data, "srn", 200, lr=3e38, **options),
        configure(data, "cw", 200, periods=(1, 2), lr=1e-2, **options),
        configure(data, "cw", 300, periods=(1, 2), lr=1e-2, **options),
    ]
    open_grid(out, Grid(cells), resume=False)
    run_grid(Grid(cells), data, out)
    return read_results(out / RESULTS)


def test_write_report(grid):
    task = TASKS["timit"]
    files = page.write_report(task, grid, "cwrnn compare --task timit")
    assert [file.name for file in files] == [
        "table.txt",
        "table.csv",
        "comparison.json",
        "figure4.png",
        "confusion-cw-300.png",
    ]
    assert all(file.parent == grid.folder and file.stat().st_size > 200 for file in files)
    text = files[0].read_text(encoding="utf-8")
    assert text == f"cwrnn compare --task timit\n{task.comparison_text(grid)}\n"
    assert "200 SRN" in text and "2/0" in text and "300 CW-RNN" in text
    found = json.loads(files[2].read_text(encoding="utf-8"))
    check_csv(grid.folder, found["cells"])
    assert found == json.loads(json.dumps(task.comparison(grid)))
    assert [(c["model"], c["params"]) for c in found["cells"]] == list(map(tuple, grid.cells))
    assert found["cells"][0]["diverged"] == 2 and "confusion" not in found["cells"][0]
    assert found["ratios"] == {"200": {}, "300": {}}  # of diverged networks there is none


def test_a_caption_names_all_networks_or_those_that_did_not_diverge(grid):
    assert page.drawn_networks(grid).startswith(
        "networks that did not diverge, left out: 200 SRN 2"
    )
    whole = {key: cell for key, cell in grid.cells.items() if key[0] == "cw"}
    assert page.drawn_networks(Results(grid.folder, whole, {})) == "all networks"


def test_captions_say_which_data_and_which_command(grid, drawn):
    errors = grid.finite("error")
    caption = "data: stand-in speech (synthetic voices, not TIMIT); cwrnn compare --runs 2"
    page.write_report(TASKS["timit"], grid, "cwrnn compare --runs 2")
    (text,) = drawn.figure.texts  # of Figure 4
    words = text.get_text().replace("\n", " ")
    assert words.startswith(caption) and "left out: 200 SRN 2 of 2" in words
    assert len(drawn.figure.axes[0].patches) == sum(len(values) > 0 for values in errors.values())
    drawn.into(report)
    page.write_report(TASKS["timit"], grid, "cwrnn compare")
    (axis, _) = drawn.figure.axes  # the confusions, and the bar of colours
    assert "data: stand-in speech (synthetic voices, not TIMIT)" in axis.get_title()
    assert [t.get_text() for t in axis.get_xticklabels()] == ["rising", "falling", "level"]
