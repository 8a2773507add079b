"""A run of task 3 in two processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cwrnn_cli.training.folder import RunFolder
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


def test_of_a_process_that_dies_the_other_makes_one_line(lines, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = ("train", "--task", "iamondb", "--model", "gru", "--params", 1000, "--runs", 1)
    words += ("--epochs", 10000, "--patience", 10000, "--data", lines, "--out", "run")
    first, second = (
        subprocess.Popen(
            [sys.executable, "-m", "cwrnn_cli", "-q", *map(str, words)],
            cwd=tmp_path,
            env=ENVIRONMENT | place | {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while first.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.05)
    second.kill()
    _, said = first.communicate(timeout=30)
    assert first.returncode == 2 and second.wait() == -signal.SIGKILL
    lines = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert lines == [
        "Error: another process that trains this run has ended; "
        "the same command with --resume goes on"
    ]
    assert "Traceback" not in said
    second.stderr.close()
