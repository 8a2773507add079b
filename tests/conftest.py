import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import settings

from cwrnn_cli.cli import main
from cwrnn_cli.models import CELLS
from cwrnn_cli.models.ensemble import Ensemble, Shape
from data_prep import audio
from tests import corpora

# compiled code makes the first example slow, and the machine may be busy
settings.register_profile("cwrnn", deadline=None, derandomize=True)
settings.load_profile("cwrnn")


def interpreted(module: str) -> str:
    """What a module of the tests prints where Triton's kernels are interpreted."""
    words = [sys.executable, "-m", module]
    where = {"cwd": Path(__file__).parents[1], "env": os.environ | {"TRITON_INTERPRET": "1"}}
    result = subprocess.run(words, **where, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """In the tests' own process no epoch is given up: that would end it, on a busy machine."""
    monkeypatch.setattr("cwrnn_cli.training.loop.GRACE_SECONDS", 600.0)


@pytest.fixture(scope="session")
def piece(tmp_path_factory) -> Path:
    """The built-in piece, prepared as by default."""
    path = tmp_path_factory.mktemp("data") / "built-in.h5"
    audio.prepare(path)
    return path


@pytest.fixture(scope="session")
def spoken(tmp_path_factory) -> Path:
    """A few words of task 2."""
    path = tmp_path_factory.mktemp("words") / "timit.h5"
    corpora.write_timit(path)
    return path


@pytest.fixture(scope="session")
def lines(tmp_path_factory) -> Path:
    """A few lines of task 3."""
    path = tmp_path_factory.mktemp("lines") / "iamondb.h5"
    corpora.write_iamondb(path)
    return path


@pytest.fixture
def cwrnn(tmp_path, monkeypatch):
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, expect: int = 0) -> Result:
        monkeypatch.setattr(sys, "argv", ["cwrnn", *map(str, words)])  # manifests have it
        result = CliRunner().invoke(main, [str(word) for word in words], prog_name="cwrnn")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == expect, result.output
        return result

    return run


def one_line_error(result: Result) -> str:
    """The message of a user's mistake: exit 2, one line on stderr, no traceback."""
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and result.stderr.endswith(lines[0] + "\n"), result.stderr
    return lines[0].removeprefix("Error: ")


def shape_of(
    model: str,
    input_size: int,
    hidden_size: int,
    output_size: int,
    periods=(),
    sizes=(),
    peepholes: bool = False,
    bidirectional: bool = False,
    **options,
) -> Shape:
    """A network's shape from a cell's name and options."""
    own = {"periods": periods, "module_sizes": sizes or None, "peepholes": peepholes}
    cell = CELLS[model].of_size(hidden_size, own | options)
    return Shape(cell, input_size, output_size, bidirectional)


def random_ensemble(
    model: str,
    hidden_size: int,
    networks: int,
    input_size: int = 0,
    periods=(1, 2, 4),
    sizes=None,
    peepholes: bool = True,
    scale: float = 0.3,
    dtype=torch.float64,
    output_size: int = 1,
    **options,
) -> Ensemble:
    sizes_of = (input_size, hidden_size, output_size)
    shape = shape_of(model, *sizes_of, periods, sizes, peepholes, **options)
    ensemble = Ensemble(shape, networks, dtype=dtype)
    ensemble.draw([np.random.default_rng(i) for i in range(networks)], scale)
    return ensemble


def check_csv(folder: Path, rows: list[dict]) -> None:
    """Whether table.csv of a folder has these rows of its JSON, to the last digit, and no more."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(rows) > 0
    columns = {}
    for row, cells in zip(rows, found, strict=True):
        left = dict(cells)
        todo = list(row.items())
        while todo:
            name, value = todo.pop(0)
            if isinstance(value, dict):
                todo += [(f"{name}.{key}", each) for key, each in value.items()]
                continue
            text = left.pop(name)
            columns[name] = True
            if isinstance(value, str) or value is None:
                assert text == (value or "")
            else:
                assert json.loads(text) == value
        assert not any(left.values())  # what other rows have
    assert set(columns) == set(found[0])
