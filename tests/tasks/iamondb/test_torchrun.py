"""Task 3 in two processes: of one run, and of a comparison."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.grid import Grid, run_grid
from cwrnn_cli.training.jobs import one_thread
from cwrnn_cli.training.results import read_results
from tests.tasks.iamondb.test_iamondb import trained

ROOT = Path(__file__).parents[3]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def torchrun(folder: Path, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*TORCHRUN, "-m", "cwrnn_cli", *map(str, words)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("batch", [5, 19])  # of 20 lines: with 19, one is left for two processes
def test_two_processes_train_as_one(lines, tmp_path, batch):
    one = trained(lines, tmp_path / "one", epochs=3, batch=batch).checkpoint()
    common = ("train", "--task", "iamondb", "--model", "cw", "--params", 1000, "--runs", 2)
    options = (*common, "--epochs", 3, "--batch", batch, "--data", lines, "--out", "two", "--json")
    result = torchrun(tmp_path, *options)
    assert result.returncode == 0, result.stderr
    two = RunFolder(tmp_path / "two").checkpoint()
    for name, weight in one.weights.items():
        torch.testing.assert_close(weight, two.weights[name], rtol=1e-3, atol=1e-6)
    assert torch.equal(one.extra["best_epoch"], two.extra["best_epoch"])
    assert json.loads(result.stdout)["networks"] == 2  # one object, from the first process
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 3


def test_two_processes_share_a_comparison(lines, tmp_path):
    options = ("compare", "--task", "iamondb", "--sizes", 1000, "--runs", 1, "--epochs", 2)
    result = torchrun(tmp_path, *options, "--data", lines, "--out", "grid", "--json")
    assert result.returncode == 0, result.stderr
    cells = json.loads(result.stdout)["cells"]
    assert [cell["model"] for cell in cells] == ["srn", "lstm", "cw"]
    assert (tmp_path / "grid" / "table.txt").exists()


SHARED = """
import os, sys
from cwrnn_cli.cli import compare, main

class Bar:
    n = 0
    def update(self, more):
        self.n += more
        print(os.getpid(), self.n, flush=True)
    def close(self):
        pass

compare.progress_bar = lambda *about: Bar()
main(sys.argv[1:], prog_name="cwrnn")
"""


def test_one_of_two_killed_in_the_middle_of_a_comparison_and_resumed(lines, tmp_path):
    command = ["compare", "--task", "iamondb", "--sizes", 1000, "--runs", 1, "--epochs", 60]
    command += ["--models", "gru,srn", "--data", lines, "--out"]
    data = handwriting.load(lines)
    grid = Grid([configure(data, m, 1000, runs=1, epochs=60) for m in ("gru", "srn")])
    with one_thread():
        run_grid(grid, data, tmp_path / "whole")
    (tmp_path / "shared.py").write_text(SHARED)
    with subprocess.Popen(
        [*TORCHRUN, "shared.py", *map(str, command), "killed"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said = (line.split() for line in process.stdout)
        gru = tmp_path / "killed" / "cells" / "gru-1000" / "metrics.jsonl"
        # the one that trains the GRU, by autograd, is long at it
        victim = next(int(pid) for pid, n in said if gru.exists() and 3 <= int(n) < 30)
        os.kill(victim, signal.SIGKILL)
        process.communicate()
    assert process.returncode != 0 and not (tmp_path / "killed" / "results.h5").exists()
    resumed = torchrun(tmp_path, *command, "killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    first, second = (read_results(tmp_path / out / "results.h5") for out in ("whole", "killed"))
    assert set(first.cells) == {("gru", 1000), ("srn", 1000)} == set(second.cells)
    for name, cell in first.cells.items():
        for array, values in cell.arrays.items():
            np.testing.assert_array_equal(second.cells[name].arrays[array], values)
