"""A device whose memory is full: one line, what would fit, and nothing half written."""

from pathlib import Path

import pytest
import torch

from cwrnn_cli.tasks.audio.engines import CompiledEngine
from cwrnn_cli.tasks.iamondb.engines import CompiledEngine as OfLines
from cwrnn_cli.training import loop, memory
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.memory import Memory, fitting_runs
from tests.conftest import one_line_error

GIB = 2**30
SAID = (  # torch's words
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 10.00 GiB of "
    "which 1.00 GiB is free. Of the allocated memory 8.00 GiB is allocated by PyTorch, and 1.00 "
    "GiB is reserved by PyTorch but unallocated."
)


def full_at(monkeypatch, engine, epoch: int, has: Memory | None) -> None:
    """Let an engine's memory be full when it has trained so many times."""
    train, calls = engine.train, []

    def fail(self, *arguments):
        calls.append(arguments)
        if len(calls) > epoch:
            raise torch.OutOfMemoryError(SAID)
        return train(self, *arguments)

    monkeypatch.setattr(engine, "train", fail)
    monkeypatch.setattr(memory, "memory_of", lambda device: has)


def words(data, *more):
    return ("train", "--model", "cw", "--params", 100, "--epochs", 300, "--data", data,
            "--out", "run", "--device", "cpu", *more)  # fmt: skip


def test_how_many_would_fit():
    # 9 GiB and the 2 that were asked for are 0.11 of a run; 10 are there, a tenth kept back
    assert fitting_runs(100, Memory(9 * GIB, 10 * GIB), 2 * GIB) == 81
    assert fitting_runs(3, Memory(9 * GIB, 10 * GIB), 50 * GIB) == 0
    assert fitting_runs(100, Memory(GIB, 10 * GIB), 0) == 99  # never as many as did not fit
    assert fitting_runs(1, Memory(0, 0), 0) == 0


def test_the_line_says_it_and_nothing_is_left(cwrnn, piece, monkeypatch):
    full_at(monkeypatch, CompiledEngine, 0, Memory(9 * GIB, 10 * GIB))
    message = one_line_error(cwrnn(*words(piece, "--runs", 10), expect=2))
    assert message == (
        "--device cpu: its memory is full with --runs 10: a run takes 1126 MiB or more, of 10240; "
        "--runs 8 would fit"
    )
    assert not Path("run").exists()


def test_after_a_checkpoint_it_is_kept(cwrnn, piece, monkeypatch):
    full_at(monkeypatch, CompiledEngine, 2, Memory(9 * GIB, 10 * GIB))
    monkeypatch.setattr(
        "cwrnn_cli.cli.train.train", lambda *given: loop.train(*given, checkpoint_seconds=0.0)
    )
    message = one_line_error(cwrnn(*words(piece, "--runs", 2), expect=2))
    assert message.endswith("--runs 1 would fit; epoch 3 is saved, --resume goes on from there")
    assert RunFolder(Path("run")).checkpoint().epoch == 3


@pytest.mark.parametrize(("runs", "has", "says"), [
    (2, None, "with --runs 2; take fewer, or --device cpu"),
    (2, Memory(9 * GIB, GIB), "not even --runs 1 would fit; take --device cpu"),
    (1, Memory(9 * GIB, GIB), "with --runs 1; take --device cpu"),
])  # fmt: skip
def test_what_else_it_may_say(cwrnn, piece, monkeypatch, runs, has, says):
    full_at(monkeypatch, CompiledEngine, 0, has)
    assert one_line_error(cwrnn(*words(piece, "--runs", runs), expect=2)).endswith(says)


def test_a_smaller_batch_where_there_are_batches(cwrnn, lines, monkeypatch):
    full_at(monkeypatch, OfLines, 0, Memory(9 * GIB, GIB))
    given = words(lines, "--task", "iamondb", "--runs", 1, "--params", 700)
    message = one_line_error(cwrnn(*given, expect=2))
    assert message.endswith("with --runs 1; take a smaller --batch, or --device cpu")


def test_a_cell_of_a_comparison(cwrnn, piece, monkeypatch):
    full_at(monkeypatch, CompiledEngine, 0, Memory(9 * GIB, 10 * GIB))
    given = ("compare", "--sizes", 100, "--models", "cw", "--runs", 10, "--epochs", 3)
    message = one_line_error(cwrnn(*given, "--data", piece, "--out", "grid", expect=2))
    assert "--runs 8 would fit" in message
    assert not list(Path("grid/cells").glob("*"))


def test_nothing_is_said_of_memory_on_the_cpu():
    assert memory.memory_of("cpu") is None and memory.memory_of("mps") is None
