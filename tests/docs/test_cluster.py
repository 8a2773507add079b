"""docs/cluster.md: its job array and its torchrun over two machines run as they stand there."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
SCRIPT, SUBMITTED, MACHINES, _ = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
SMALL = ["--sizes", "500", "--models", "srn,cw", "--runs", "3", "--epochs", "3"]


@pytest.fixture
def place(spoken, tmp_path, monkeypatch) -> Path:
    """A folder with a corpus in its place, where `cwrnn` and `torchrun` are this program's."""
    (tmp_path / "data").mkdir()
    shutil.copy(spoken, tmp_path / "data" / "timit.h5")
    (tmp_path / "bin").mkdir()
    for name, module in (("cwrnn", "cwrnn_cli"), ("torchrun", "torch.distributed.run")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(command: str, *words: str, **variables: str) -> str:
    result = subprocess.run(
        ["bash", "-euc", command, "shards.sh", *words],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def one(place) -> bytes:
    done(f"cwrnn compare --task timit --data data/timit.h5 --out one {' '.join(SMALL)}")
    return (place / "one" / "results.h5").read_bytes()


def test_the_job_array(place, one):
    assert len(re.findall(r"^#SBATCH ", SCRIPT, re.M)) == 6
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", SCRIPT).groups())
    assert first == 1 and f'"$SLURM_ARRAY_TASK_ID/{last}"' in SCRIPT
    # as many shares as there are units, or else some have nothing to do
    fewer = SCRIPT.replace(f"ID/{last}", "ID/2")
    for task in ("2", "1"):
        done(fewer, *SMALL, "--block", "2", SLURM_ARRAY_TASK_ID=task)
    submitted = [line for line in SUBMITTED.splitlines() if "--wrap" in line]
    collect = re.search(r'--wrap "(.*)"', submitted[0])[1]
    done(f"{collect} {' '.join(SMALL)}")
    assert (place / "runs/words/results.h5").read_bytes() == one


def test_two_machines_meet(place, one):
    """Two addresses of this machine stand for two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = MACHINES.strip().replace("node1:29500", f"127.0.0.1:{port}")
    command = command.replace("--nproc-per-node 16", "--nproc-per-node 1")
    assert "--nnodes 1:2 " in command  # the first waits half a minute for a second
    machines = []
    for address in ("127.0.0.1", "127.0.0.2"):
        own = command.replace("torchrun ", f"torchrun --local-addr {address} ")
        own = f"exec env {own} {' '.join(SMALL)} --block 1"
        machines.append(subprocess.Popen(["bash", "-c", own], stderr=subprocess.PIPE, text=True))
    for machine in machines:
        _, said = machine.communicate(timeout=600)
        assert machine.returncode == 0, said
    assert (place / "runs/words/results.h5").read_bytes() == one
