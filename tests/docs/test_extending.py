"""docs/extending.md: its Python as a package with entry points, its command lines as typed."""

import doctest
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    """A folder with the page's files and its entry points, as pip would install them."""
    folder = tmp_path_factory.mktemp("mine")
    for text in PYTHON:
        if name := re.match(r"# (\w+\.py)", text):
            with (folder / name[1]).open("a") as file:
                file.write(text + "\n\n")
    (points,) = [text for kind, text in BLOCKS if kind == "ini"]
    groups = re.findall(r"^(\S+) =\n((?:    .*\n)+)", points, re.M)
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    text = "\n".join(f"[{name}]\n" + re.sub("^ +", "", lines, flags=re.M) for name, lines in groups)
    (info / "entry_points.txt").write_text(text)
    return folder


def run(folder: Path, where: Path, line: str) -> subprocess.CompletedProcess:
    words = shlex.split(line)
    command = {
        "python": [sys.executable, str(folder / words[-1])],
        "cwrnn": [sys.executable, "-m", "cwrnn_cli", *words[1:]],
    }[words[0]]
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)


def test_the_command_lines_work_as_typed(mine, tmp_path):
    lines = [line[2:] for _, text in BLOCKS for line in text.splitlines() if line.startswith("$ ")]
    assert len(lines) == 7
    outputs = []
    for line in lines:
        result = run(mine, tmp_path, line)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        outputs.append(result.stdout)
    assert "100 leaky SRN" in outputs[1] and "100 CW-RNN" in outputs[1]
    config = json.loads((tmp_path / "runs/audio-leaky-100-seed0/config.json").read_text())
    assert config["leak"] == 0.9
    assert {"name": "model", "paper": ["srn", "lstm", "cw"], "ours": "leaky"} in config[
        "deviations"
    ]
    # a fourth task: trained, evaluated, compared
    found = json.loads(outputs[4])
    assert found["task"] == "copy" and found["data"]["name"] == "coin tosses"
    assert 0 < found["metrics"]["mse"]["mean"] < 1.1
    assert [row.split()[:2] for row in outputs[5].splitlines()[2:]] == [
        ["200", "SRN"],
        ["200", "CW-RNN"],
        ["200", "leaky"],
    ]
    for name in ("results.h5", "table.txt", "comparison.json"):
        assert (tmp_path / "runs/compare-copy" / name).exists()
    page = (tmp_path / "report.html").read_text()
    assert "copy: coin tosses" in page and "200 leaky" in page  # the printed table, and a clock
    assert "Clock of 3 modules" in page
    # killed at any moment and resumed, as any other
    line = "cwrnn train --task copy --model lstm --params 200 --runs 2 --resume"
    assert run(mine, tmp_path, line).returncode == 0


def test_mistakes_with_them_are_one_line(mine, tmp_path):
    for line, message in (
        ("cwrnn train --model srn --leak 0.3", "only a leaky SRN has a leak, not --model srn"),
        ("cwrnn train --task copy --model cw", "data/copy.h5: no such file"),
        ("cwrnn train --task copy --model cw --data none", "none: no such file"),
        ("cwrnn train --task copy --model cw --noise 1", "--noise: not an option of --task copy"),
    ):
        result = run(mine, tmp_path, line)
        errors = [text for text in result.stderr.splitlines() if text.startswith("Error: ")]
        assert result.returncode == 2 and len(errors) == 1 and message in errors[0]


def test_a_broken_package_is_named_and_takes_nothing_else_with_it(tmp_path):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cwrnn.cells]\nhollow = nomodule:Hollow\n")
    line = "cwrnn train --model srn --params 100 --runs 1 --epochs 2"
    result = run(tmp_path, tmp_path, line)
    assert (
        result.returncode == 0 and "cell hollow: nomodule:Hollow cannot be loaded" in result.stderr
    )
    (info / "entry_points.txt").write_text("[cwrnn.tasks]\nhollow = nomodule:Hollow\n")
    result = run(tmp_path, tmp_path, line)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "task hollow: nomodule:Hollow cannot be loaded" in result.stderr


def test_the_examples_say_what_they_show(mine, monkeypatch):
    monkeypatch.syspath_prepend(str(mine))
    names = vars(importlib.import_module("copying"))
    examples = [text for text in PYTHON if text.startswith(">>>")]
    assert examples
    runner = doctest.DocTestRunner()
    for text in examples:
        runner.run(doctest.DocTestParser().get_doctest(text, dict(names), "extending", None, 0))
    assert not runner.failures
    importlib.import_module("cwrnn_cli.training.optimizer").OPTIMIZERS.pop("rmsprop")
    sys.modules.pop("copying")
