"""scan.h5 of a factorial scan, and the journal of its rows."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.factorial import rows_of
from cwrnn_cli.training.rows import Cell, Journal, Rows, is_factorial, read_rows, write_rows
from data_prep.errors import UserError

FACTORS = {
    "cell": ["tanh", "2tanh", "sigmoid"],
    "peepholes": ["yes", "no"],
    "bias": ["0", "1", "5"],
    "std": ["0.1", "0.02"],
}
ABOUT = {"task": "audio", "metric": "nmse_paper", "published_on": "train"}


def table(published=None):
    """2304 cells of 15 networks."""
    rng = np.random.default_rng(0)
    cells = [
        Cell("lstm", params, ramp, lr, dict(zip(FACTORS, labels, strict=True)))
        for labels in np.array(np.meshgrid(*FACTORS.values())).reshape(4, -1).T.tolist()
        for ramp in (True, False)
        for lr in (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 1e-3)
        for params in (100, 250, 500, 1000)
    ]
    error = rng.random((len(cells), 15)).astype(np.float32)
    error[0, 0], error[0, 1] = np.inf, np.nan
    groups = np.arange(15, dtype=np.int32) % 5
    return Rows(ABOUT, FACTORS, cells, error, ~np.isfinite(error), published, groups)


def test_what_is_written_is_read_and_small(tmp_path):
    rows, path = table(), tmp_path / "scan.h5"
    assert len(rows.cells) == 2304
    write_rows(path, rows)
    assert is_factorial(path) and path.stat().st_size < 250_000
    found = read_rows(path)
    assert found.cells == rows.cells and found.factors == FACTORS and found.about == ABOUT
    assert found.published is None
    for name in ("error", "diverged", "sequence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))
    with h5py.File(path) as file:  # groups note the time: no two files would be the same
        assert all(isinstance(value, h5py.Dataset) for value in file.values())


def test_what_is_compared_is_kept_once_where_it_is_what_choices_are_made_by(tmp_path):
    write_rows(tmp_path / "one.h5", table())
    error = table().error
    write_rows(tmp_path / "same.h5", table(error))
    write_rows(tmp_path / "other.h5", table(2 * error))
    one, same, other = (
        (tmp_path / f"{name}.h5").stat().st_size for name in ("one", "same", "other")
    )
    assert same < one + 2000 and other > one + 50_000
    np.testing.assert_array_equal(read_rows(tmp_path / "same.h5").published, error)
    np.testing.assert_array_equal(read_rows(tmp_path / "other.h5").published, 2 * error)


def _of_another_size(rows):
    rows.cells[5] = replace(rows.cells[5], params=99)


def _of_no_level(rows):
    rows.cells[5] = replace(rows.cells[5], settings=rows.cells[5].settings | {"std": "0.5"})


@pytest.mark.parametrize(
    "change, expected",
    [
        (_of_another_size, "not every size of every combination"),
        (lambda rows: rows.cells.append(rows.cells[-1]), r"error is of shape \(2304, 15\)"),
        (_of_no_level, "0.5 is no level of std"),
        (lambda rows: rows.about.update(task="a"), "a is no task"),
    ],
)
def test_rows_that_are_no_scans_are_refused(tmp_path, change, expected):
    rows = table()
    change(rows)
    write_rows(tmp_path / "scan.h5", rows)
    with pytest.raises(UserError, match=expected):
        read_rows(tmp_path / "scan.h5")


@pytest.fixture
def config(piece):
    return configure(TASKS["audio"].load(piece), "srn", 100, runs=1, epochs=3)


def test_a_journal_gives_back_every_bit_and_drops_a_torn_line(tmp_path, config):
    path, errors = tmp_path / "cells" / "rows.jsonl", np.array([0.1, 1 / 3, np.inf, np.nan])
    Journal(path).add("one", config, {"error": errors})
    with path.open("a") as file:
        file.write('{"name": "two", "val')
    found = Journal(path)
    np.testing.assert_array_equal(found.of("one", config)["error"], errors)
    assert found.of("two", config) is None
    found.add("three", config, {"error": errors})
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["one", "three"]


def test_a_journal_is_json_and_keeps_what_json_has_not(tmp_path, config):
    values = {"error": np.array([np.nan, np.inf, -np.inf, 0.1]), "diverged": np.array([True])}
    Journal(tmp_path / "rows.jsonl").add("one", config, values)
    text = (tmp_path / "rows.jsonl").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    found = Journal(tmp_path / "rows.jsonl").of("one", config)
    for name, each in values.items():
        np.testing.assert_array_equal(np.array(found[name]), each, strict=True)


@pytest.mark.parametrize(
    "change",
    [
        {"diverged": [False]},
        {"error": [[0.5], [0.5, 1.0]]},
        {"error": ["nan", True]},
        {"published": [10**400]},
    ],
)
def test_a_line_without_its_networks_errors_is_named(tmp_path, config, change):
    path, none = tmp_path / "rows.jsonl", np.zeros(config.networks)
    cell = Cell("srn", 100, config.momentum_ramp, config.lr, {})
    Journal(path).add(cell.name, config, {"error": none, "published": none, "diverged": none > 1})
    rows_of([(config, {})], {}, Journal(path))
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"values": row["values"] | change}) + "\n")
    with pytest.raises(UserError, match=r"rows.jsonl, srn-100-.*: expected a row of a scan"):
        rows_of([(config, {})], {}, Journal(path))


def test_a_journal_of_other_options_is_refused(tmp_path, config, piece):
    path = tmp_path / "rows.jsonl"
    Journal(path).add("one", config, {"error": np.zeros(1)})
    other = configure(TASKS["audio"].load(piece), "srn", 100, runs=1, epochs=4)
    with pytest.raises(UserError, match=r"rows.jsonl: one: a run that differs in epochs; resume"):
        Journal(path).of("one", other)


@pytest.mark.parametrize("line", [b"not JSON", b'{"name": "\xff"}', b"[]", b"[" * 100_000])
def test_a_damaged_line_of_the_journal_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"name": "cw-100"}\n' + line + b"\n")
    with pytest.raises(UserError, match=r"rows.jsonl, line 2: expected a row of a scan"):
        Journal(path)
