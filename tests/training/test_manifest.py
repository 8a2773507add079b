"""What a result folder says of its birth."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training import manifest
from cwrnn_cli.training.manifest import MANIFEST, certified


def read(folder):
    return json.loads((Path(folder) / MANIFEST).read_text())


def test_a_session_that_was_killed_has_no_end(piece, tmp_path):
    data = TASKS["audio"].load(piece)
    with pytest.raises(ZeroDivisionError), certified(tmp_path, "cwrnn x", data):
        assert read(tmp_path)["sessions"][0]["ended"] is None
        _ = 1 / 0
    with certified(tmp_path, "cwrnn x", data):
        pass
    found = read(tmp_path)
    killed, ended = found["sessions"]
    assert killed["ended"] is None and ended["started"] <= ended["ended"]
    assert found["command"] == "cwrnn x"
    assert found["data"] == {"name": "built-in piece", "sha256": data.sha256, "standin": True}


def test_the_program_the_place_and_the_time(piece, tmp_path):
    with certified(tmp_path, "cwrnn x", TASKS["audio"].load(piece)):
        pass
    (session,) = read(tmp_path)["sessions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", session["started"])
    assert session["machine"]["processor"] and session["machine"]["cores"] > 0
    assert session["threads"] > 0 and session["versions"]["torch"].startswith("2.")


def test_the_commit_and_whether_its_program_was_changed(piece, tmp_path, monkeypatch):
    data, tree = TASKS["audio"].load(piece), tmp_path / "tree"
    monkeypatch.setattr(manifest, "_TREE", tree)

    def git(*words):
        who = ("-c", "user.name=n", "-c", "user.email=e")
        result = subprocess.run(["git", "-C", tree, *who, *words], capture_output=True, text=True)
        return result.stdout.strip()

    def session():
        with certified(tmp_path / "results", "cwrnn x", data):
            pass
        return read(tmp_path / "results")["sessions"][-1]

    (tree / "cwrnn_cli").mkdir(parents=True)
    assert session()["commit"] is None and session()["clean"] is None  # no tree of git
    git("init")
    (tree / "cwrnn_cli" / "a.py").write_text("1")
    git("add", "-A")
    git("commit", "-m", "one")
    (tree / "results").mkdir()
    (tree / "results" / "new").write_text("no part of the program")
    assert session()["commit"] == git("rev-parse", "HEAD") and session()["clean"] is True
    (tree / "cwrnn_cli" / "a.py").write_text("2")
    assert session()["clean"] is False


@pytest.mark.parametrize("command", ["train", "compare", "scan"])
def test_the_commands_write_it_and_a_resumed_one_adds_to_it(cwrnn, piece, monkeypatch, command):
    own = {"train": ["--model", "srn"], "compare": ["--models", "srn"], "scan": ["--models", "srn"]}
    sizes = ["--params" if command == "train" else "--sizes", "100"]
    words = [command, *own[command], *sizes, "--runs", "1", "--epochs", "2", "--data", str(piece)]
    words += ["--out", "here", *(["--rates", "1e-4"] if command == "scan" else [])]
    for more in ([], ["--resume"]):
        monkeypatch.setattr(sys, "argv", ["cwrnn", *words, *more])
        cwrnn(*words, *more)
    found = read("here")
    assert found["command"] == " ".join(["cwrnn", *words])
    assert len(found["sessions"]) == 2 and all(s["ended"] for s in found["sessions"])
