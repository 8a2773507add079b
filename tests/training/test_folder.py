import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder, check_free, writing
from cwrnn_cli.training.folders import claimed_folder, newest_run
from cwrnn_cli.training.loop import train
from data_prep.errors import UserError

ROOT = Path(__file__).parents[2]
SMALL = ("--model", "srn", "--params", "100", "--runs", "1", "--device", "cpu")


@pytest.fixture
def corpus(piece):
    return TASKS["audio"].load(piece)


def config_of(corpus, **options):
    return configure(corpus, "srn", 100, **{"runs": 1, "epochs": 30, "device": "cpu"} | options)


def started(*words: object, cwd: Path) -> subprocess.Popen:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cwrnn_cli", *map(str, words)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_two_at_once_train_in_two_folders(piece, tmp_path):
    words = ("train", *SMALL, "--epochs", 20, "--data", piece)
    for _ in range(2):
        pair = [started(*words, "--lr", rate, cwd=tmp_path) for rate in ("1e-4", "3e-4")]
        assert [each.wait() for each in pair] == [0, 0]
    runs = [RunFolder(path) for path in (tmp_path / "runs").iterdir()]
    assert len(runs) == 4
    weights = {1e-4: [], 3e-4: []}
    for run in runs:
        weights[run.config().lr].append(run.checkpoint().weights["weight_hh"])
    for one, other in weights.values():
        assert torch.equal(one, other)
    assert not torch.equal(weights[1e-4][0], weights[3e-4][0])


def test_of_two_in_one_folder_one_is_refused_even_if_the_other_sleeps(cwrnn, piece, tmp_path):
    words = ("train", *SMALL, "--epochs", 10**6, "--data", piece, "--out", "run")
    first = started(*words, cwd=tmp_path)
    try:
        while not (tmp_path / "run" / "config.json").exists():
            assert first.poll() is None
            time.sleep(0.1)
        os.kill(first.pid, signal.SIGSTOP)
        for more in ((), ("--resume",)):
            refused = cwrnn(*words, *more, expect=2).stderr
            assert f"run: in use by process {first.pid}; let it end, or stop it" in refused
    finally:
        first.kill()
        first.wait()
    assert RunFolder(tmp_path / "run").config().epochs == 10**6


def test_a_folder_is_claimed_by_making_it(tmp_path):
    assert [claimed_folder(tmp_path / "runs", "a").name for _ in range(3)] == ["a", "a-2", "a-3"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder"):
        claimed_folder(tmp_path / "file", "a")


def commands(piece: Path) -> dict[str, tuple[object, ...]]:
    """Each that resumes, as small as can be."""
    of_one, of_all = ("--model", "srn", "--params", 100), ("--models", "srn", "--sizes", 100)
    more = ("--runs", 1, "--epochs", 2, "--device", "cpu", "--data", piece)
    return {
        "train": ("train", *of_one, *more),
        "compare": ("compare", *of_all, *more),
        "scan": ("scan", *of_all, "--rates", "1e-4", *more),
        "vary": ("scan", *of_all, "--rates", "1e-4", "--vary", "momentum=0.5,0.9", *more),
        "search": ("search", *of_one, "--trials", 1, *more),
    }


@pytest.mark.parametrize("name", ["train", "compare", "scan", "vary", "search"])
def test_killed_in_its_first_moment_it_begins(cwrnn, piece, name):
    left = (".lock", ".config.json.0123456789abcdef.tmp", ".config.json.ab_8dfgh.json")
    for more in ((), ("--resume",)):
        out = Path(f"out{len(more)}")
        (out / "cells").mkdir(parents=True)
        for each in left:
            (out / each).write_text("{")
        cwrnn(*commands(piece)[name], *more, "--out", out)
        assert not [path for path in out.rglob(".*")]
        cwrnn(*commands(piece)[name], "--resume", "--out", out)


@pytest.mark.parametrize("name", ["compare", "scan", "search"])
def test_two_at_work_in_one_folder_are_one_too_many(cwrnn, piece, name):
    holder = subprocess.Popen(
        [sys.executable, "-c", "from pathlib import Path\nfrom data_prep.locks import locked\n"
         "with locked(Path('out')):\n print(flush=True)\n input()"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    refused = cwrnn(*commands(piece)[name], "--out", "out", "--resume", expect=2).stderr
    assert f"out: in use by process {holder.pid}; let it end" in refused
    holder.communicate(b"\n")
    assert not Path("out").exists()


def with_both(corpus, tmp_path):
    """A run that has ended, with the checkpoint before the last; they are the same."""
    config, run = config_of(corpus, epochs=2), RunFolder(tmp_path / "run")
    run.start(config)
    train(config, corpus, run)
    newest, before = run.path / "checkpoint.pt", run.path / "previous.pt"
    content = newest.read_bytes()
    before.write_bytes(content)
    return config, run, newest, before, content


def test_a_damaged_checkpoint_is_replaced_by_the_one_before_it(corpus, tmp_path, capsys):
    config = config_of(corpus)
    through, run = RunFolder(tmp_path / "through"), RunFolder(tmp_path / "run")
    for folder in (through, run):
        folder.start(config)
    train(config, corpus, through)
    assert not (through.path / "previous.pt").exists()

    def stop(epoch, values):
        if epoch == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, corpus, run, stop, checkpoint_seconds=0.0)
    newest, before = (run.path / name for name in ("checkpoint.pt", "previous.pt"))
    epoch = run.checkpoint().epoch
    assert before.exists()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    found = run.checkpoint().epoch
    assert found < epoch
    line = f"run/checkpoint.pt: damaged; previous.pt, of epoch {found}, is taken instead"
    assert line in capsys.readouterr().err
    run.start_or_resume(config)
    assert line in capsys.readouterr().err and not before.exists()
    assert run.checkpoint().epoch == found
    train(config, corpus, run)
    one, other = through.checkpoint(), run.checkpoint()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    metrics = [(folder.path / "metrics.jsonl").read_text() for folder in (through, run)]
    assert metrics[0] == metrics[1] and not before.exists()


def test_killed_between_two_renames_it_goes_on_from_the_one_before(corpus, tmp_path, capsys):
    config, run = config_of(corpus, epochs=2), RunFolder(tmp_path / "run")
    run.start(config)
    train(config, corpus, run)
    (run.path / "checkpoint.pt").rename(run.path / "previous.pt")
    assert run.has_checkpoint and run.checkpoint().epoch == 2
    run.start_or_resume(config)
    assert (run.path / "checkpoint.pt").exists() and not (run.path / "previous.pt").exists()
    assert not capsys.readouterr().err


def test_both_damaged_are_refused_and_left_as_they_are(corpus, tmp_path):
    config, run = config_of(corpus, epochs=2), RunFolder(tmp_path / "run")
    run.start(config)
    for name in ("checkpoint.pt", "previous.pt"):
        (run.path / name).write_bytes(name.encode())
    with pytest.raises(UserError, match="damaged; train again"):
        run.start_or_resume(config)
    for name in ("checkpoint.pt", "previous.pt"):
        assert (run.path / name).read_bytes() == name.encode()


def test_what_cannot_be_read_is_not_taken_for_damaged(corpus, tmp_path):
    """The last checkpoint is not given up for the one before it because a disk or a right fails."""
    config, run, newest, before, content = with_both(corpus, tmp_path)
    newest.unlink()
    newest.mkdir()
    for act in (run.checkpoint, run.mend, run.settle, lambda: run.start_or_resume(config)):
        with pytest.raises(UserError, match="checkpoint.pt: cannot be read"):
            act()
    assert newest.is_dir() and before.read_bytes() == content


def test_a_damaged_line_of_metrics_takes_no_other_with_it(tmp_path, capsys):
    run, lines = RunFolder(tmp_path), [b'{"epoch": %d}\n' % epoch for epoch in (1, 2, 3, 4)]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_bytes(lines[0] + b'{"epoch\x9f: 2}\n' + lines[2] + lines[3] + lines[0][:5])
    run.cut_metrics(3)
    assert metrics.read_bytes() == lines[0] + lines[2]
    assert capsys.readouterr().err.endswith("metrics.jsonl, line 2: damaged; left out\n")


def test_data_that_have_moved_are_found_at_their_new_place(corpus, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(config_of(corpus), number=3)
    run.start_or_resume(replace(config_of(corpus), data_path="/elsewhere/a.h5"))
    assert run.config().data_path == "/elsewhere/a.h5" and run.number == 3


def test_the_newest_is_the_one_that_began_last_whatever_the_clock_says(cwrnn, piece):
    for seed in (1, 2, 3):
        cwrnn("train", *SMALL, "--epochs", 1, "--data", piece, "--seed", seed)
    runs = {seed: Path(f"runs/audio-srn-100-seed{seed}") for seed in (1, 2, 3)}
    for seed, run in runs.items():
        os.utime(run / "checkpoint.pt", (seed % 3, seed % 3))
        assert RunFolder(run).number == seed
    assert newest_run(Path("runs"), None).path == runs[3]
    (runs[3] / "config.json").write_text(json.dumps({"number": 3}))
    shown = cwrnn("eval")
    assert shown.stdout.startswith(f"{runs[2]}\n")
    assert f"passed over: {runs[3]}/config.json: no batch" in shown.stderr


def test_what_is_left_of_a_killed_process_is_cleared_by_who_writes(tmp_path):
    left = tmp_path / ".checkpoint.pt.0123456789abcdef.tmp"
    left.touch()
    check_free(tmp_path)
    assert left.exists()
    with writing(tmp_path):
        assert not left.exists()


def test_what_is_hidden_there_and_not_ours_stays(corpus, tmp_path):
    """A folder with nothing but hidden files in it may be trained in: of a repository, a home."""
    run, git = RunFolder(tmp_path), tmp_path / ".git"
    others = [git / "HEAD", tmp_path / ".a.config.json", tmp_path / ".settings.old.txt"]
    git.mkdir()
    for each in others:
        each.touch()
    with writing(tmp_path):
        run.start(config_of(corpus))
        assert (tmp_path / "config.json").exists()
        run.discard()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)


def test_metrics_are_on_the_disk_before_the_checkpoint_that_they_lead_to(
    corpus, tmp_path, monkeypatch
):
    """Else a power cut could leave the one without the other."""
    run, done = RunFolder(tmp_path / "run"), []
    config = config_of(corpus, epochs=3)
    run.start(config)

    def noting(name, of):
        real = getattr(os, name)

        def noted(*arguments, **more):
            done.append((name, of(*arguments)))
            return real(*arguments, **more)

        monkeypatch.setattr(os, name, noted)

    for name in ("write", "fsync"):
        noting(name, lambda handle, *content: os.fstat(handle).st_ino)
    noting("rename", lambda before, after: after)
    train(config, corpus, run)
    metrics = (run.path / "metrics.jsonl").stat().st_ino
    before = [call for call, what in done[: done.index(("rename", "checkpoint.pt"))]
              if what == metrics]  # fmt: skip
    assert before[-2:] == ["write", "fsync"]


def test_a_configuration_that_is_a_pipe_or_endless_is_a_line(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="run: no run folder"):
        run.config()
    run.path.mkdir()
    os.mkfifo(run.path / "config.json")
    with pytest.raises(UserError, match="config.json: cannot be read .a pipe or a device"):
        run.config()
    assert run.number == 0
    (run.path / "config.json").unlink()
    (run.path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="config.json: not a readable run configuration"):
        run.config()
    assert run.number == 0


def test_pipes_in_a_folder_hold_up_nobody_who_writes_there(tmp_path):
    run = RunFolder(tmp_path)
    os.mkfifo(tmp_path / ".config.json.0123456789abcdef.tmp")
    os.mkfifo(tmp_path / "metrics.jsonl")
    with writing(tmp_path), pytest.raises(UserError, match="metrics.jsonl: cannot be read .a pipe"):
        run.cut_metrics(1)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_where_memory_is_full_a_checkpoint_is_not_damaged(corpus, tmp_path, monkeypatch):
    """The one before it would be put in its place, or a run given up that is whole."""
    _, run, newest, before, content = with_both(corpus, tmp_path)

    def full(file, **options):
        return torch.empty(1 << 60)

    monkeypatch.setattr(torch, "load", full)
    for call in (run.checkpoint, run.mend):
        with pytest.raises(MemoryError):
            call()
    assert newest.read_bytes() == content and before.exists()
