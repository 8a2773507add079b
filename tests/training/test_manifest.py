"""What a result folder says of its birth."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training import manifest
from cwrnn_cli.training.manifest import MANIFEST, certified, digests
from data_prep import store


def read(folder):
    return json.loads((Path(folder) / MANIFEST).read_text())


def test_a_session_that_was_killed_has_no_end(piece, tmp_path):
    data = TASKS["audio"].load(piece)
    with pytest.raises(ZeroDivisionError), certified(tmp_path, "cwrnn x", data, {"a": 1}):
        assert read(tmp_path)["sessions"][0]["ended"] is None
        _ = 1 / 0
    with certified(tmp_path, "cwrnn x", data, {"a": 1}):
        pass
    found = read(tmp_path)
    killed, ended = found["sessions"]
    assert killed["ended"] is None and ended["started"] <= ended["ended"]
    assert found["command"] == "cwrnn x" and found["configuration"] == {"a": 1}
    made = found["data"].pop("provenance")
    assert found["data"] == {"name": "built-in piece", "sha256": data.sha256, "standin": True}
    assert made == data.provenance == store.read(piece).provenance
    assert made["source"]["name"] == "built-in piece"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_files_that_a_command_left(tmp_path):
    texts = {name: name.upper() for name in ("b.txt", "a.json", "deep/c.png")}
    others = ["checkpoint.pt", "best.pt", ".a.json.x1.json", "cells/srn-100/metrics.jsonl"]
    others += ["other/manifest.json", "other/d.txt", "other/deep/e.txt"]
    for name, text in {**texts, **dict.fromkeys(others, "")}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    wanted = {name: sha(texts[name]) for name in sorted(texts)}
    with certified(tmp_path, "cwrnn x", None, {}):
        assert read(tmp_path)["files"] is None
    found = read(tmp_path)
    assert found["data"] is None
    assert found["files"] == digests(tmp_path) == wanted and list(found["files"]) == list(wanted)
    with pytest.raises(ZeroDivisionError), certified(tmp_path, "cwrnn x", None, {}):
        (tmp_path / "b.txt").write_text("half")
        _ = 1 / 0
    assert read(tmp_path)["files"] is None  # those of the first session are stale


def test_the_program_the_place_and_the_time(tmp_path):
    with certified(tmp_path, "cwrnn x", None, {}):
        pass
    (session,) = read(tmp_path)["sessions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", session["started"])
    assert session["machine"]["processor"] and session["machine"]["cores"] > 0
    assert session["threads"] > 0 and session["versions"]["torch"].startswith("2.")


def test_the_commit_and_whether_its_program_was_changed(tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    monkeypatch.setattr(manifest, "_TREE", tree)

    def git(*words):
        who = ("-c", "user.name=n", "-c", "user.email=e")
        result = subprocess.run(["git", "-C", tree, *who, *words], capture_output=True, text=True)
        return result.stdout.strip()

    def session():
        with certified(tmp_path / "results", "cwrnn x", None, {}):
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


LEFT = {
    "train": {"config.json", "metrics.jsonl"},
    "compare": {"config.json", "results.h5", "table.txt", "table.csv", "comparison.json"},
    "scan": {"scan.json", "scan.txt", "table.csv"},
}


@pytest.mark.parametrize("command", LEFT)
def test_the_commands_write_it_and_a_resumed_one_adds_to_it(cwrnn, piece, monkeypatch, command):
    own = {
        "train": ["--model", "srn", "--params", "100"],
        "compare": ["--models", "srn", "--sizes", "100"],
        "scan": ["--models", "srn", "--sizes", "100", "--rates", "1e-4", "--momentum-ramp"],
    }
    words = [command, *own[command], "--runs", "1", "--epochs", "2", "--data", str(piece)]
    words += ["--out", "here"]
    for more in ([], ["--resume"]):
        monkeypatch.setattr(sys, "argv", ["cwrnn", *words, *more])
        cwrnn(*words, *more)
    found = read("here")
    assert found["command"] == " ".join(["cwrnn", *words])
    assert len(found["sessions"]) == 2 and all(s["ended"] for s in found["sessions"])
    assert found["files"] == digests(Path("here")) and set(found["files"]) >= LEFT[command]
    if command == "train":
        written = json.loads(Path("here/config.json").read_text())
        assert written == found["configuration"] | {"number": 1}
    else:
        (cell,) = found["configuration"]
        (run,) = Path("here/cells").iterdir()
        values = json.loads((run / "config.json").read_text())
        assert "data_path" not in cell and values | cell == values
        assert set(values) - set(cell) == {"data_path", "parameter_count", "deviations", "versions"}
