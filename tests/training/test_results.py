"""results.h5, written and read back."""

import json

import h5py
import numpy as np
import pytest

from cwrnn_cli.models import CELLS
from cwrnn_cli.training.results import Cell, read_results, write_results, write_runs


def cell(model, params, diverged=(False, True, False)):
    rng = np.random.default_rng(params)
    arrays = {
        "error": rng.uniform(size=len(diverged)).astype(np.float32),
        "diverged": np.array(diverged),
        "best": rng.uniform(size=(2, 5)),
    }
    summary = {"model": model, "params": params, "task": "audio", "é": [1, None, 0.5]}
    return Cell({"model": model, "params": params, "periods": [1, 2]}, summary, arrays)


@pytest.fixture
def cells():
    """Not in the order of tables."""
    return [cell("cw", 1000), cell("srn", 100), cell("cw", 100), cell("lstm", 1000)]


def test_all_of_it_comes_back(cells, tmp_path):
    shared = {"targets": np.arange(6, dtype=np.float32).reshape(2, 3)}
    write_results(tmp_path / "results.h5", cells, shared)
    found = read_results(tmp_path / "results.h5")
    assert found.folder == tmp_path
    for wanted in cells:
        back = found.cells[wanted.config["model"], wanted.config["params"]]
        assert (back.config, back.summary) == (wanted.config, wanted.summary)
        assert back.arrays.keys() == wanted.arrays.keys()
        for name, values in wanted.arrays.items():
            assert back.arrays[name].dtype == values.dtype
            np.testing.assert_array_equal(back.arrays[name], values)
    assert list(found.shared) == ["targets"]
    np.testing.assert_array_equal(found.shared["targets"], shared["targets"])


def test_models_come_as_in_tables(cells, tmp_path):
    write_results(tmp_path / "r.h5", cells, {})
    found = read_results(tmp_path / "r.h5")
    assert list(found.cells) == [("srn", 100), ("lstm", 1000), ("cw", 100), ("cw", 1000)]
    assert [key for key, _ in found.by_size()] == [
        ("srn", 100),
        ("cw", 100),
        ("lstm", 1000),
        ("cw", 1000),
    ]
    assert found.sizes == [100, 1000] and found.first is found.cells["srn", 100].summary
    assert found.summaries["cw", 100]["params"] == 100


def test_the_layout_that_others_read(cells, tmp_path):
    write_results(tmp_path / "r.h5", cells, {"labels": np.arange(3)})
    with h5py.File(tmp_path / "r.h5") as file:
        assert set(file) == {"srn", "lstm", "cw", "labels"} <= set(CELLS) | {"labels"}
        assert set(file["cw"]) == {"100", "1000"}
        assert set(file["cw/100"].attrs) == {"config", "summary"}


def test_runs_stand_under_their_names(cells, tmp_path):
    write_runs(tmp_path / "r.h5", {"mine": cells[0], "theirs-cw": cells[2]})
    with h5py.File(tmp_path / "r.h5") as file:
        assert set(file) == {"mine", "theirs-cw"}
        assert json.loads(file["mine"].attrs["config"]) == cells[0].config
        assert json.loads(file["mine"].attrs["summary"]) == cells[0].summary
        np.testing.assert_array_equal(file["theirs-cw/error"][()], cells[2].arrays["error"])


def test_finite_leaves_the_diverged_out(cells, tmp_path):
    write_results(tmp_path / "r.h5", [*cells[:2], cell("lstm", 100, (True, True))], {})
    found = read_results(tmp_path / "r.h5").finite("error")
    wanted = cells[0].arrays["error"][[0, 2]]
    np.testing.assert_array_equal(found["cw", 1000], wanted)
    assert found["lstm", 100].shape == (0,)


def test_it_appears_whole_or_not_at_all(cells, tmp_path):
    path = tmp_path / "results.h5"

    def fails():
        yield cells[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(path, fails(), {})
    assert not any(tmp_path.iterdir())
    write_results(path, cells, {})
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_results(path, fails(), {})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
