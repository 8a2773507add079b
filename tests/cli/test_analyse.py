"""`cwrnn analyse`: what is written and what is refused, on runs of all tasks."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from cwrnn_cli.evidence.folders import check_folder
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from cwrnn_cli.training.manifest import digests
from tests.conftest import one_line_error


def run_of(task: str, file: Path, path: Path, model: str, params: int, **options) -> Path:
    """A run of two epochs."""
    data = TASKS[task].load(file)
    folder = RunFolder(path)
    config = configure(data, model, params, runs=2, epochs=2, **options)
    folder.start(config)
    train(config, data, folder)
    return folder.path


@pytest.fixture(scope="module")
def runs(piece, spoken, lines, tmp_path_factory) -> dict[str, Path]:
    """Name -> run."""
    place = tmp_path_factory.mktemp("runs")
    return {
        "audio": run_of("audio", piece, place / "a", "cw", 250),
        "timit": run_of("timit", spoken, place / "w", "cw", 500, periods=(1, 2, 4)),
        "cwgru": run_of("timit", spoken, place / "g", "cwgru", 900, periods=(1, 4)),
        "iamondb": run_of("iamondb", lines, place / "h", "cwlstm", 1500, periods=(1, 2)),
        "srn": run_of("audio", piece, place / "s", "srn", 100),
        "one": run_of("timit", spoken, place / "o", "cw", 500, periods=(2,)),
    }


@pytest.mark.parametrize(
    ("name", "tables", "figures"),
    [
        ("audio", {"modules", "spectrum", "ablation"}, {"spectrum", "ablation"}),
        ("timit", {"probes", "ablation"}, {"probes", "ablation"}),
        ("cwgru", {"probes", "ablation"}, {"probes", "ablation"}),
        ("iamondb", {"ablation", "shares", "saliency"}, {"ablation", "saliency"}),
    ],
)
def test_a_folder_of_tables_figures_and_a_manifest(cwrnn, runs, name, tables, figures):
    out = Path("deep/here")
    shown = cwrnn("analyse", runs[name], "--out", out, "--json")
    result = json.loads(shown.stdout)
    assert json.loads((out / "analysis.json").read_text()) == result
    assert result["run"] == str(runs[name])
    for table in tables:
        with (out / f"{table}.csv").open() as file:
            rows = list(csv.DictReader(file))
        wanted = [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in result[table]
        ]
        assert rows == wanted and rows
    for figure in figures:
        with Image.open(out / f"{figure}.png") as image:
            assert len(image.convert("RGB").getcolors(1 << 20)) > 5
    manifest = json.loads((out / "manifest.json").read_text())
    names = {"analysis.json", "table.txt"}
    names |= {f"{t}.csv" for t in tables} | {f"{f}.png" for f in figures}
    assert manifest["files"] == digests(out) and set(manifest["files"]) == names
    assert manifest["data"]["sha256"] == RunFolder(runs[name]).config().data_sha256
    text = (out / "table.txt").read_text()
    assert text.startswith(f"cwrnn analyse {runs[name]} --out {out}\n")
    assert "silenced: a module's outputs count as 0" in text
    again = cwrnn("analyse", runs[name], "--out", "again").stdout
    assert again == f"{runs[name]}\n" + text.partition("\n")[2]


def test_its_tables_are_verified(cwrnn, runs):
    cwrnn("analyse", runs["audio"], "--out", "here")
    assert check_folder(Path("here"), "here") == []
    table = Path("here/ablation.csv")
    table.write_text(table.read_text().replace(",2,", ",3,", 1))
    manifest = json.loads(Path("here/manifest.json").read_text())
    manifest["files"] = digests(Path("here"))
    Path("here/manifest.json").write_text(json.dumps(manifest))
    (found,) = check_folder(Path("here"), "here")
    assert found.file == "here/ablation.csv" and ",2," in str(found)


def test_weights_that_were_kept_are_analysed(cwrnn, runs, spoken):
    cwrnn("keep", runs["timit"], "--out", "kept", "--precision", "float32")
    whole = json.loads(cwrnn("analyse", runs["timit"], "--out", "a", "--json").stdout)
    words = ("kept", "--data", spoken, "--out", "b", "--json")
    kept = json.loads(cwrnn("analyse", *words).stdout)
    assert kept["probes"] == whole["probes"] and kept["ablation"] == whole["ablation"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("srn", "all of its SRN is one module"), ("one", "all of its CW-RNN is one module")],
)
def test_a_network_of_one_module_is_refused(cwrnn, runs, name, says):
    error = one_line_error(cwrnn("analyse", runs[name], "--out", "here", expect=2))
    assert says in error and "--model cw, cwlstm, cwgru" in error and not Path("here").exists()


def test_what_cannot_be_analysed_is_refused_and_leaves_nothing(cwrnn, runs, spoken):
    run = runs["audio"]
    refused = {
        ("nowhere", "--out", "x"): "nowhere: no run folder",
        (run, "--out", "x", "--lines", "3"): "--lines: not an option for a run of task audio",
        (run, "--out", "x", "--data", spoken): "audio",
        (runs["timit"], "--out", "x", "--data", "none.h5"): "none.h5",
    }
    for words, says in refused.items():
        assert says in one_line_error(cwrnn("analyse", *words, expect=2))
        assert not Path("x").exists()
    Path("full").mkdir()
    Path("full/note").write_text("mine")
    assert "full" in one_line_error(cwrnn("analyse", run, "--out", "full", expect=2))
    assert [p.name for p in Path("full").iterdir()] == ["note"]


def test_a_damaged_checkpoint_is_refused(cwrnn, runs, tmp_path):
    path = runs["audio"]
    for name in ("config.json", "checkpoint.pt"):
        (tmp_path / "hurt").mkdir(exist_ok=True)
        (tmp_path / "hurt" / name).write_bytes((path / name).read_bytes())
    whole = bytearray((path / "checkpoint.pt").read_bytes())
    whole[len(whole) // 2] ^= 255
    (tmp_path / "hurt" / "checkpoint.pt").write_bytes(whole)
    assert "damaged" in one_line_error(cwrnn("analyse", "hurt", "--out", "x", expect=2))
    assert not Path("x").exists()
