"""`cwrnn scan --vary` as its users type it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted
from cwrnn_cli.training.rows import Journal, read_rows
from tests.conftest import one_line_error
from tests.sealed import edited

SOUND = ("scan", "--sizes", "100,250", "--runs", 1, "--epochs", 20, "--rates", "1e-4,1e-3")
WORDS = ("scan", "--task", "timit", "--sizes", 500, "--runs", 2, "--epochs", 3, "--rates", "1e-3")
OUT = Path("runs/scan-audio")


@pytest.fixture
def sound(cwrnn, piece):
    return lambda *words, **more: cwrnn(*SOUND, "--data", piece, *words, **more)


def test_every_combination_is_trained_and_options_of_a_cell_only_with_it(sound):
    varied = ("--vary", "peepholes=yes,no", "--vary", "weight-std=0.10,0.02")
    result = sound("--models", "srn,lstm", *varied, "--no-momentum-ramp", "--json")
    found = json.loads(result.stdout)
    assert found["factors"] == {"peepholes": ["yes", "no"], "weight-std": ["0.1", "0.02"]}
    at = [(row["model"], tuple(row["settings"].values())) for row in found["combinations"]]
    assert list(dict.fromkeys(at)) == [
        *(("srn", (std,)) for std in ("0.1", "0.02")),
        *(("lstm", (p, std)) for p in ("yes", "no") for std in ("0.1", "0.02")),
    ]
    rows = read_rows(OUT / "scan.h5")
    names = [cell.name for cell in rows.cells]
    assert len(set(names)) == len(names) == 24 and rows.error.shape == (24, 5)
    assert names[0] == "srn-100-constant-0.0001,weight-std=0.1"
    assert names[-1] == "lstm-250-constant-0.001,peepholes=no,weight-std=0.02"
    assert [path.name for path in (OUT / "cells").iterdir()] == ["rows.jsonl"]
    assert len((OUT / "manifest.json").read_text()) < 10_000
    lstm = json.loads((OUT / "manifest.json").read_text())["configuration"][1]
    assert lstm["model"] == "lstm" and lstm["seed"] == 1000
    assert lstm["varied"]["lr"] == [1e-4, 1e-3] and lstm["varied"]["peepholes"] == [True, False]
    with Image.open(OUT / "effects.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20)) > 5


def test_its_networks_are_those_of_a_run_with_the_same_options(cwrnn, sound, piece):
    sound("--models", "lstm", "--vary", "forget-bias=1,2", "--no-momentum-ramp")
    points = read_rows(OUT / "scan.h5").points()
    run = ("--model", "lstm", "--params", 100, "--lr", 1e-3, "--forget-bias", 2, "--seed", 1000)
    run += ("--no-momentum-ramp", "--runs", 1, "--epochs", 20, "--data", piece, "--out", "one")
    cwrnn("train", *run)
    task = TASKS["audio"]
    errors = task.selection(task.evaluate_run(RunFolder(Path("one"))))
    np.testing.assert_array_equal(
        points["lstm-100-constant-0.001,forget-bias=2"]["error"], errors.astype(np.float32)
    )


def test_momentum_is_a_factor_that_every_scan_has(sound):
    both = ("--models", "srn", "--vary")
    found = json.loads(sound(*both, "weight-std=0.1,0.02", "--json").stdout)
    assert list(found["factors"]) == ["weight-std", "momentum-ramp"]
    (OUT / "cells" / "rows.jsonl").unlink()
    found = json.loads(sound(*both, "momentum-ramp=no,yes", "--resume", "--json").stdout)
    assert found["factors"] == {"momentum-ramp": ["no", "yes"]}
    shown = [row for row in found["effects"] if row["level"] == "yes"]
    assert [row["factor"] for row in shown] == ["momentum-ramp"]


def test_choices_are_by_one_split_and_comparisons_by_another(cwrnn, spoken):
    words = (*WORDS, "--models", "srn", "--data", spoken, "--no-momentum-ramp")
    varied = ("--vary", "noise=0,0.6", "--vary", "stop-on=cross_entropy,train_error")
    found = json.loads(cwrnn(*words, *varied, "--out", "s", "--json").stdout)
    assert (found["judged_by"], found["published_on"], found["metric"]) == (
        "train",
        "test",
        "error",
    )
    assert {row["measure"] for row in found["effects"]} == {"published", "error"}
    train = ("--model", "srn", "--params", 500, "--lr", 1e-3, "--noise", 0, "--runs", 2)
    train += ("--epochs", 3, "--seed", 1000, "--no-momentum-ramp", "--data", spoken)
    cwrnn("train", "--task", "timit", *train, "--out", "one")
    task = TASKS["timit"]
    test = task.evaluate_run(RunFolder(Path("one")), spoken)
    first = next(iter(read_rows(Path("s/scan.h5")).points().values()))
    np.testing.assert_array_equal(first["published"], test.error.astype(np.float32))
    np.testing.assert_array_equal(first["error"], test.lowest.astype(np.float32))
    assert "on the split test" in Path("s/scan.txt").read_text()


def test_interrupted_it_goes_on_where_it_was(cwrnn, sound, monkeypatch):
    words = ("--models", "srn", "--vary", "weight-std=0.1,0.02", "--no-momentum-ramp")
    sound(*words, "--out", "whole")
    add = Journal.add

    def stop(self, *row):
        add(self, *row)
        if len(self._rows) == 5:
            raise Interrupted(20)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", stop)
        assert "--resume goes on" in sound(*words, "--out", "broken", expect=130).stderr
    journal = Path("broken/cells/rows.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    journal.write_text("".join(lines) + '{"name": "srn-')  # killed within a line
    trained = []
    monkeypatch.setattr(
        Journal, "add", lambda self, *row: (trained.append(row[0]), add(self, *row))
    )
    message = one_line_error(sound(*words, "--epochs", 9, "--out", "broken", "--resume", expect=2))
    assert "a run that differs in epochs; resume with the same options" in message
    sound(*words, "--out", "broken", "--resume")
    assert len(trained) == 3
    assert Path("broken/scan.h5").read_bytes() == Path("whole/scan.h5").read_bytes()


def test_it_is_verified_and_run_again(cwrnn, sound):
    sound("--models", "srn", "--vary", "weight-std=0.1,0.02", "--out", "results/factorial")
    assert "every number is that of its raw rows" in cwrnn("verify").stdout
    found = json.loads(cwrnn("verify", "--rerun", "factorial", "--json").stdout)
    assert found["agrees"] and len(found["rows"]) == 16
    assert all(row["identical"] for row in found["rows"])
    with edited(Path("results/factorial/scan.h5")) as file:
        file["error"][...] *= 9
    said = cwrnn("verify", expect=1).stdout
    assert "factorial/scan.json:" in said and "factorial/scan.txt:" in said
    assert not json.loads(cwrnn("verify", "--rerun", "factorial", "--json", expect=1).stdout)[
        "agrees"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--vary x=1,2", "--vary x=1,2: 'x' cannot be varied; expected NAME=X,Y with a NAME of"),
        ("--vary forget-bas=1,2", "Did you mean 'forget-bias'?"),
        ("--vary forget_bias=1,2", "Did you mean 'forget-bias'?"),
        ("--vary seed=1,2", "'seed' cannot be varied"),
        ("--vary runs=1,2", "'runs' cannot be varied"),
        ("--vary weight-std", "--vary weight-std: '' is not a valid float"),
        ("--vary weight-std=0.1,wide", "'wide' is not a valid float, nor scaled"),
        ("--vary weight-std=0.1,x", "--vary weight-std=0.1,x: 'x' is not a valid float"),
        ("--vary weight-std=0.1,-1", "--weight-std -1: expected a standard deviation above 0"),
        ("--vary weight-std=0.1", "expected two values or more, each once"),
        ("--vary weight-std=0.1,0.10", "expected two values or more, each once"),
        ("--vary peepholes=yes,maybe", "'maybe': expected yes or no"),
        ("--vary forget-bias=none,1", "'none' is not a valid float"),
        ("--vary loss=half_sum_of_squares,none", "'none' is not one of"),
        ("--vary periods=1,2;2,x", "--vary periods=1,2;2,x: --periods"),
        ("--vary noise=0,1", "--noise: not an option of --task audio"),
        (
            "--models cw --vary peepholes=yes,no",
            "--peepholes: only an LSTM has peepholes, not --model cw",
        ),
        ("--weight-std 1 --vary weight-std=1,2", "--weight-std is given already"),
        ("--vary epochs=1,2 --vary epochs=3,4", "--epochs is given already"),
    ],
)
def test_mistakes_end_in_one_line_before_data_are_read(cwrnn, tmp_path, words, message):
    found = cwrnn("scan", "--sizes", 100, "--data", "nothing.h5", *words.split(), expect=2)
    assert message in one_line_error(found)
    assert not list(tmp_path.iterdir())


def test_none_is_a_value_where_the_protocol_has_none(cwrnn, lines):
    words = (
        "scan",
        "--task",
        "iamondb",
        "--sizes",
        700,
        "--runs",
        1,
        "--epochs",
        1,
        "--data",
        lines,
    )
    more = ("--models", "srn", "--rates", "1e-3", "--no-momentum-ramp", "--vary", "clip=none,5")
    found = json.loads(cwrnn(*words, *more, "--json").stdout)
    assert found["factors"] == {"clip": ["none", "5"]}
    assert found["metric"] is None and found["nearest"] == []  # Table 3 has no medians
    names = [cell.name for cell in read_rows(Path("runs/scan-iamondb/scan.h5")).cells]
    assert names[0].endswith(",clip=none")


def test_values_with_commas_have_semicolons_between_them(sound):
    result = sound(
        "--models", "cw", "--vary", "module-shares=2,1;none", "--periods", "1,4", "--json"
    )
    assert json.loads(result.stdout)["factors"]["module-shares"] == ["2,1", "none"]


def test_combinations_that_other_splits_judge_are_refused(cwrnn, spoken):
    words = (*WORDS, "--models", "srn", "--data", spoken, "--vary", "hold-out=0,1")
    assert "not all combinations are judged by one split" in one_line_error(cwrnn(*words, expect=2))
    assert not Path("runs").exists()
