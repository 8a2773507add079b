"""`cwrnn scan` as its users type it."""

import json
import shlex
from pathlib import Path

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.folder import RunFolder
from tests.conftest import check_csv, one_line_error

SMALL = ("scan", "--task", "timit", "--sizes", "200", "--runs", 1, "--epochs", 2)


@pytest.fixture
def scan(cwrnn, spoken):
    return lambda *words, **more: cwrnn(*SMALL, "--data", spoken, *words, **more)


def test_json_table_and_files(scan, spoken, tmp_path):
    words = ("--models", "srn", "--rates", "1e-6,3e-2", "--momentum-ramp")
    result = scan(*words, "--json", "--verbose")
    found = json.loads(result.stdout)
    assert found["best"] == {"srn, ramp": 3e-2}
    assert found["command"] == shlex.join(map(str, ["cwrnn", *SMALL, "--data", spoken, *words]))
    assert [row["lr"] for row in found["rows"]] == [1e-6, 3e-2]
    out = tmp_path / "runs" / "scan-timit"
    assert json.loads((out / "scan.json").read_text()) == found
    assert "written: runs/scan-timit/scan.json, runs/scan-timit/scan.txt" in result.stderr
    check_csv(out, found["rows"])
    # resumed, with one rate more: nothing is trained twice
    weights = out / "cells" / "srn-200-ramp-0.03" / "checkpoint.pt"
    before = weights.stat().st_mtime_ns
    words = ("--models", "srn", "--rates", "1e-6,3e-2,1e-5", "--momentum-ramp", "--resume")
    text = scan(*words).stdout
    assert weights.stat().st_mtime_ns == before
    assert text == (out / "scan.txt").read_text()
    assert "best for srn, ramp: 0.03" in text and "1e-05" in text
    config = json.loads((weights.parent / "config.json").read_text())
    assert config["seed"] == 1000  # held out: reported results use 0


def test_rates_are_chosen_by_words_that_were_held_out(scan, spoken):
    """By their errors, which are not what the networks stop by."""
    words = ("--models", "srn", "--rates", "1e-6,3e-2", "--momentum-ramp", "--hold-out", 1)
    found = json.loads(scan(*words, "--epochs", 20, "--json").stdout)
    assert found["judged_by"] == "valid"
    assert "judged by the split valid\n" in Path("runs/scan-timit/scan.txt").read_text()
    for row in found["rows"]:
        place = Path(f"runs/scan-timit/cells/srn-200-ramp-{row['lr']:g}")
        valid = TASKS["timit"].evaluate_run(RunFolder(place), spoken, "valid")
        assert len(valid.labels) == 3 and valid.config.sequences == 12
        assert row["score"] == row["sizes"]["200"]["mean"] == valid.error.mean()
    assert found["best"]["srn, ramp"] == min(found["rows"], key=lambda row: row["score"])["lr"]
    message = one_line_error(scan(*words[:-1], 2, "--epochs", 20, "--resume", expect=2))
    assert "a run that differs in sequences, hold_out; resume" in message


def test_models_may_have_rates_of_their_own_and_momenta_are_both_tried(scan):
    rates = ("--rates", "1e-5", "--rates", "cw=1e-3,1e-4")
    found = json.loads(scan("--models", "cw,srn", *rates, "--json").stdout)
    rows = [(row["model"], row["momentum_ramp"], row["lr"]) for row in found["rows"]]
    assert rows == [
        ("cw", True, 1e-3),
        ("cw", True, 1e-4),
        ("cw", False, 1e-3),
        ("cw", False, 1e-4),
        ("srn", True, 1e-5),
        ("srn", False, 1e-5),
    ]
    assert set(found["best"]) == {"cw, ramp", "cw, constant", "srn, ramp", "srn, constant"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rates x", "--rates x: expected rates such as 1e-4,3e-4, or MODEL=1e-4,3e-4"),
        ("--rates mlp=1e-4", "--rates mlp=1e-4: expected rates"),
        ("--rates cw=", "--rates cw=: expected rates"),
        ("--rates 1e-4,-1", "--rates 1e-4,-1: expected rates such as"),
        ("--models mlp", "'mlp' is none of"),
        ("--sizes 0", "--sizes 0: expected numbers with commas between, such as 100,1000"),
        ("--epochs 0", "--epochs 0: expected at least 1"),
        ("--hold-out 4", "--hold-out 4: expected 0 to 3"),
        ("--hold-out -1", "--hold-out -1: expected 0 to 3"),
        ("--hold-out 3", "timit.h5 has 3 training examples of 'falling', and one has to stay"),
        ("--task audio --hold-out 1", "--hold-out: not an option of --task audio"),
        ("--clip 2", "--clip: not an option of --task timit"),
        ("--out full", "full: exists already; go on with --resume"),
        ("--out text", "text: no run folder; choose another --out"),
        ("--out text --resume", "text: no run folder; choose another --out"),
    ],
)
def test_mistakes_end_in_one_line(scan, words, message):
    Path("text").write_text("hello")
    Path("full").mkdir()
    (Path("full") / "something").write_text("")
    assert message in one_line_error(scan(*words.split(), expect=2))
    assert not Path("runs").exists()


def test_another_scan_is_not_resumed(scan):
    words = ("--models", "srn", "--rates", "1e-3", "--momentum-ramp")
    scan(*words)
    assert "runs/scan-timit: exists already" in one_line_error(scan(*words, expect=2))
    before = Path("runs/scan-timit/manifest.json").read_bytes()
    message = one_line_error(scan(*words, "--epochs", 3, "--resume", expect=2))
    assert "srn-200-ramp-0.001: a run that differs in epochs; resume with the same" in message
    assert Path("runs/scan-timit/manifest.json").read_bytes() == before


def test_what_is_no_scan_is_not_resumed_and_stays(cwrnn, scan, piece):
    cwrnn("train", "--data", piece, "--model", "srn", "--params", 100, "--runs", 1, "--epochs", 1,
          "--out", "run")  # fmt: skip
    Path("thesis").mkdir()
    (Path("thesis") / "manifest.json").write_text("mine")
    (Path("thesis") / "cells").mkdir()
    (Path("thesis") / "scan.txt").write_text("mine")
    for name in ("run", "thesis"):
        before = {p: p.read_bytes() for p in sorted(Path(name).rglob("*")) if p.is_file()}
        words = ("--models", "srn", "--rates", "1e-3", "--out", name, "--resume")
        assert f"{name}: holds no scan" in one_line_error(scan(*words, expect=2))
        assert before == {p: p.read_bytes() for p in sorted(Path(name).rglob("*")) if p.is_file()}
