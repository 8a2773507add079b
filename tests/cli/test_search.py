"""`cwrnn search` as its users type it."""

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.iamondb.engines import IamondbTrainer
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted
from tests.conftest import check_csv, one_line_error

SMALL = ("search", "--task", "iamondb", "--params", 700, "--trials", 3, "--epochs", 2)


@pytest.fixture
def search(cwrnn, lines):
    start = (*SMALL, "--batch", 5, "--data", lines)
    return lambda *words, **more: cwrnn(*start, "--model", "srn", "--out", "found", *words, **more)


def test_json_table_and_files(cwrnn, search, lines):
    result = search("--search", "lr,clip", "--json")
    found = json.loads(result.stdout)
    out = Path("found")
    assert json.loads((out / "trials.json").read_text()) == found
    assert sorted(path.name for path in out.iterdir()) == [
        *("best.json", "config.json", "manifest.json", "study.log"),
        *("table.csv", "table.txt", "trials", "trials.json"),
    ]
    check_csv(out, found["trials"])
    assert found["judged_by"] == "valid" and found["judged_on_training_set"] is False
    assert found["runs"] == 1 and found["seed"] == 1000  # reported results use 0
    assert list(found["search"]) == list(found["trials"][0]["parameters"]) == ["lr", "clip"]
    text = (out / "table.txt").read_text()
    assert "judged by the split valid; mean error over runs: 1" in text
    assert f"best: trial {found['best']['trial']}: {found['best']['command']}\n" in text
    shown = [line.split()[0] for line in text.splitlines() if "." in line and line[0].isdigit()]
    wanted = sorted(found["trials"], key=lambda row: (row["value"], row["number"]))
    assert [int(word) for word in shown] == [row["number"] for row in wanted]
    assert " (published" in text and "best)" in text
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["sessions"][0]["commit"] == found["trials"][0]["commit"]
    assert "trials/000/metrics.jsonl" in manifest["files"]
    assert search("--search", "lr,clip", "--resume").stdout == text


def test_the_first_trial_is_the_published_run(cwrnn, search, lines):
    first = json.loads(search("--json").stdout)["trials"][0]
    run = ("train", "--task", "iamondb", "--model", "srn", "--params", 700, "--runs", 1)
    run += ("--epochs", 2, "--batch", 5, "--seed", 1000, "--data", lines, "--out", "one")
    cwrnn(*run)
    task = TASKS["iamondb"]
    errors = task.selection(task.evaluate_run(RunFolder(Path("one")), split="valid"))
    assert first["errors"] == errors.tolist() and first["value"] == errors[0]


def test_the_best_is_a_command_that_trains(cwrnn, search):
    words = ("--model", "cw", "--params", 1500, "--search", "lr,clock", "--decay")
    best = json.loads(search(*words, "--json").stdout)["best"]
    command = shlex.split(best["command"])
    assert "--decay" in command and "--seed" not in command and "--epochs" not in command
    cwrnn(*command[1:], "--epochs", 1, "--runs", 1, "--out", "one")
    config = RunFolder(Path("one")).config()
    assert config.lr == best["options"]["lr"] and config.decay and config.batch == 5
    assert (config.seed, config.params, config.model) == (0, 1500, "cw")


def test_its_folder_is_no_run_and_says_what_to_use(cwrnn, search):
    search()
    for words in (("eval", "found"), ("report", "found"), ("keep", "found", "--out", "kept")):
        message = one_line_error(cwrnn(*words, expect=2))
        assert message == (
            "found: a search's folder, not a run's; its best.json has the command to train with "
            "what was found"
        )


def test_interrupted_it_says_how_to_go_on(search, monkeypatch):
    advance = IamondbTrainer.advance

    def stop(self):
        if self.epoch == 1:
            raise Interrupted(1)
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(IamondbTrainer, "advance", stop)
        said = search(expect=130).stderr
    assert "interrupted after epoch 1 of a trial, saved; the same command with --resume" in said
    assert not Path("found/trials.json").exists()
    for words, name in (
        (("--epochs", 3), "epochs"),
        (("--seed", 1), "seed"),
        (("--search", "lr"), "--search"),
        (("--batch", 4), "batch"),
    ):
        message = one_line_error(search(*words, "--resume", expect=2))
        assert f"found: a search that differs in {name}; resume with the same options" in message
    search("--resume")
    assert json.loads(Path("found/trials.json").read_text())["trials"][2]["epochs"] == 2
    assert "exists already; go on with --resume" in one_line_error(search(expect=2))


def test_interrupted_while_a_trial_is_judged_it_goes_on_too(search, monkeypatch):
    def stop(*arguments):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(type(TASKS["iamondb"]), "selection", stop)
        assert "the same command with --resume goes on" in search(expect=130).stderr
    search("--resume")
    rows = json.loads(Path("found/trials.json").read_text())["trials"]
    assert [row["resumed"] for row in rows] == [True, False, False]


def test_words_that_were_held_out_judge(cwrnn, spoken):
    words = ("search", "--task", "timit", "--model", "srn", "--params", 200, "--trials", 2)
    words += ("--epochs", 2, "--data", spoken)
    text = cwrnn(*words, "--out", "a").stdout
    assert "judged by the split train, which the networks are trained on;" in text
    text = cwrnn(*words, "--hold-out", 1, "--out", "b").stdout
    assert "judged by the split valid; mean error" in text


def test_it_is_verified(cwrnn, search):
    search("--out", "results/found")
    assert "every number is that of its raw rows" in cwrnn("verify").stdout
    path = Path("results/found/trials/001/trial.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"value": 0.001}))
    said = cwrnn("verify", expect=1).stdout
    assert all(
        f"found/{name}:" in said for name in ("trials.json", "best.json", "table.txt", "table.csv")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--search x", "--search x: --task iamondb with --model srn can search lr, momentum, clip"),
        ("--search clock", "--search clock: --task iamondb with --model srn can search lr, mom"),
        ("--search ,", "--search : --task iamondb with --model srn can search"),
        (
            "--task timit --search clip",
            "--task timit with --model srn can search lr, momentum, wei",
        ),
        ("--search lr --lr 1e-3", "--search lr: --lr is given already"),
        ("--model cw --search clock --periods 1,2", "--search clock: --periods is given already"),
        ("--lr 1e-3 --momentum 0.5 --clip 1", "nothing to search: --lr, --momentum, --clip are"),
        ("--trials 0", "--trials 0: expected at least 1"),
        ("--epochs 0", "--epochs 0: expected at least 1"),
        ("--periods 1,2", "--periods: only a clockwork model has clock periods, not --model srn"),
        ("--out full", "full: exists already; go on with --resume"),
        ("--out full --resume", "full: holds no search; choose another --out"),
        ("--out text --resume", "text: no run folder; choose another --out"),
        ("--data nothing.h5", "nothing.h5: no such file"),
    ],
)
def test_mistakes_end_in_one_line(search, words, message):
    Path("text").write_text("hello")
    Path("full").mkdir()
    (Path("full") / "config.json").write_text("{}")
    assert message in one_line_error(search(*words.split(), expect=2))
    assert not Path("found").exists()
    assert [path.name for path in Path("full").iterdir()] == ["config.json"]


def test_without_optuna_it_says_what_to_install(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = one_line_error(search(expect=2))
    assert message == "search: needs Optuna, which is not installed: pip install optuna"
