"""`cwrnn compare` on several prepared files, and on folders of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from cwrnn_cli.training.survey import read_survey
from data_prep import audio
from tests.conftest import check_csv, one_line_error
from tests.sealed import edited

GRID = ("compare", "--sizes", 100, "--models", "srn,cw", "--runs", 2, "--epochs", 3)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Two stretches of the built-in piece, two sequences each."""
    folder = tmp_path_factory.mktemp("sounds")
    audio.prepare(folder / "b.h5", start=1.0, sequences=2, length=40)
    audio.prepare(folder / "a.h5", start=2.0, sequences=2, length=40)
    return folder


@pytest.fixture
def alone(cwrnn, sounds):
    """The grid on one file."""

    def run(name: str) -> dict[str, float]:
        cwrnn(*GRID, "--data", sounds / f"{name}.h5", "--out", f"alone-{name}", "--json")
        cells = json.loads(Path(f"alone-{name}/comparison.json").read_text())["cells"]
        return {f"{c['model']}/{c['params']}": c["medians"]["as_constant"]["median"] for c in cells}

    return run


def test_each_file_trains_as_alone(cwrnn, sounds, alone):
    cwrnn(*GRID, "--data", sounds, "--out", "all")
    rows = read_survey(Path("all/results.h5"))
    assert rows.names == ["a", "b"] and rows.sizes == [100] and rows.models == ["srn", "cw"]
    assert rows.cells["cw", 100]["mse"].shape == (2, 4)
    assert rows.cells["cw", 100]["mse"].dtype == np.float32
    found = json.loads(Path("all/comparison.json").read_text())["sounds"]
    check_csv(Path("all"), found)
    for sound in found:
        expected = alone(sound["name"])
        # the sequences are kept in 16 bits, medians in six digits
        assert sound["medians"]["nmse_paper"] == pytest.approx(expected, rel=1e-4)


def test_a_manifest_for_all(cwrnn, sounds):
    words = ("--data", sounds / "b.h5", "--data", sounds / "a.h5")
    cwrnn(*GRID, *words, "--out", "all")
    manifest = json.loads(Path("all/manifest.json").read_text())
    assert manifest["configuration"]["corpora"] == ["b", "a"]
    assert len(manifest["configuration"]["cells"]) == 2
    assert all("provenance" in source for source in manifest["data"])
    assert {"results.h5", "table.txt", "comparison.json"} <= manifest["files"].keys()
    assert [p.name for p in Path("all/cells").iterdir()] == ["survey.jsonl"]  # no checkpoints


def test_goes_on_where_it_was(cwrnn, sounds):
    cwrnn(*GRID, "--data", sounds, "--out", "whole")
    cwrnn(*GRID, "--data", sounds, "--out", "half")
    journal = Path("half/cells/survey.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:3]) + lines[3][:50])  # killed in the middle of a line
    cwrnn(*GRID, "--data", sounds, "--out", "half", "--resume")
    assert Path("half/results.h5").read_bytes() == Path("whole/results.h5").read_bytes()
    assert journal.read_text() == "".join(lines)


def test_verified_from_its_rows(cwrnn, sounds, tmp_path):
    out = tmp_path / "results" / "sounds"
    cwrnn(*GRID, "--data", sounds, "--out", out)
    pages = tmp_path / "results" / "pages"
    pages.mkdir()
    (pages / "PAGE.md").write_text(
        '{% set s = survey("sounds") %}{{ s.ahead.nmse["100"].srn.sounds }} sounds\n'
    )
    cwrnn("verify", "results", "--write")
    assert "2 sounds" in Path("PAGE.md").read_text()
    assert "every number is that of its raw rows" in cwrnn("verify", "results").stdout
    with edited(out / "results.h5") as file:
        file["cw/100/mse"][1, 0] *= 2
    found = cwrnn("verify", "results", expect=1).stdout
    assert "results/sounds/comparison.json:" in found
    with edited(out / "results.h5") as file:
        file.attrs["survey"] = "nothing"
    assert "results/sounds: found survey: KeyError" in cwrnn("verify", "results", expect=1).stdout


def test_trained_again(cwrnn, sounds, tmp_path):
    words = (*GRID, "--data", sounds / "a.h5", "--data", sounds / "b.h5")
    cwrnn(*words, "--out", "results/sounds")
    again = cwrnn("verify", "results", "--rerun", "sounds", "--json")
    rows = json.loads(again.stdout)["rows"]
    assert [row["name"] for row in rows][:2] == ["a/srn/100", "b/srn/100"]
    assert all(row["agrees"] for row in rows) and len(rows) == 4
    error = cwrnn("verify", "results", "--rerun", "sounds", "--data", sounds / "a.h5", expect=2)
    assert "its command names them" in one_line_error(error)
    manifest = Path("results/sounds/manifest.json")
    noted = manifest.read_text()
    for other, said in (("b.h5", "not the data of this folder"), ("c.h5", "c.h5: no such file")):
        manifest.write_text(noted.replace("a.h5", other))
        error = one_line_error(cwrnn("verify", "results", "--rerun", "sounds", expect=2))
        assert said in error


def test_what_is_there_is_not_written_over(cwrnn, sounds):
    cwrnn(*GRID, "--data", sounds, "--out", "all")
    before = Path("all/manifest.json").read_bytes()
    error = one_line_error(cwrnn(*GRID, "--data", sounds, "--out", "all", expect=2))
    assert "all: exists already" in error
    other = (*GRID, "--seed", 1, "--data", sounds, "--out", "all", "--resume")
    assert "differs in seed" in one_line_error(cwrnn(*other, expect=2))
    assert Path("all/manifest.json").read_bytes() == before
    Path("mine").mkdir()
    Path("mine/file").write_text("")
    words = (*GRID, "--data", sounds, "--out", "mine", "--resume")
    assert "mine: holds no comparison over several" in one_line_error(cwrnn(*words, expect=2))


def test_mistakes_are_one_line(cwrnn, sounds, spoken, tmp_path):
    def error(*words: object) -> str:
        found = one_line_error(cwrnn(*words, "--out", "new", expect=2))
        assert not Path("new").exists()
        return found

    a = ("--data", sounds / "a.h5")
    (tmp_path / "none").mkdir()
    assert "none: a folder without prepared files" in error(*GRID, "--data", "none")
    assert "the same data as" in error(*GRID, *a, *a)
    assert str(spoken) in error(*GRID, *a, "--data", spoken)
    (tmp_path / "broken.h5").write_bytes((sounds / "a.h5").read_bytes()[:3000])
    assert "broken.h5" in error(*GRID, *a, "--data", "broken.h5")
    audio.prepare(tmp_path / "a.h5", start=3.0, sequences=2, length=40)
    assert "the same name as" in error(*GRID, *a, "--data", "a.h5")
    audio.prepare(tmp_path / "long.h5", start=3.0, sequences=2, length=41)
    assert " in length" in error(*GRID, *a, "--data", "long.h5")
    words = ("compare", "--task", "timit", "--data", spoken, "--data", spoken)
    assert error(*words) == "--data: several files, or a folder, are not for --task timit"
    assert "--data" in error("compare", "--run", "x", *a, *a)
