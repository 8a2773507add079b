"""A signal ends training soon, wherever it comes, and nothing but an epoch is done again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.audio.engines import AudioTrainer
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted, train

ROOT = Path(__file__).parents[2]
# an epoch takes a while, the fourth one for ever, in code that lets Python see no signal
SLOW = """
import ctypes, sys
from pathlib import Path
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.iamondb.engines import CompiledEngine
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted, train
learn, epochs = CompiledEngine.train, []
def slowly(self, *words):
    epochs.append(1)
    found = learn(self, *words)
    if len(epochs) == 4:
        print("in it", flush=True)
    sleep = ctypes.CDLL(None).poll
    until = 60_000 if len(epochs) == 4 else 600
    import time
    end = time.monotonic() + until / 1000
    while (left := end - time.monotonic()) > 0:
        sleep(None, 0, int(left * 1000) + 1)
    return found
CompiledEngine.train = slowly
run = RunFolder(Path(sys.argv[1]))
train(run.config(), TASKS["iamondb"].load(Path(sys.argv[2])), run)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_epoch_that_does_not_end_is_given_up_and_those_before_it_are_not(
    lines, tmp_path, number
):
    data = TASKS["iamondb"].load(lines)
    config = configure(data, "srn", 1000, runs=1, epochs=6, device="cpu")
    runs = [RunFolder(tmp_path / name) for name in ("through", "stopped")]
    for run in runs:
        run.start(config)
    train(config, data, runs[0])
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(runs[1].path), str(lines)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # as a test's own process may ignore it, and its children then do
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "in it\n"
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate()
    assert time.monotonic() - began < 20  # it is 2 where the machine has nothing else to do
    assert process.returncode == 130
    assert said.endswith("after epoch 3, saved; the same command with --resume goes on\n")
    assert runs[1].checkpoint().epoch == 3
    train(config, data, runs[1])
    one, other = (run.checkpoint() for run in runs)
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert one.generators == other.generators


def test_many_short_epochs_are_trained_in_pieces_and_noted_as_ever(piece, tmp_path, monkeypatch):
    data = TASKS["audio"].load(piece)
    config = configure(data, "srn", 100, runs=1, epochs=500, device="cpu")
    runs = [RunFolder(tmp_path / name) for name in ("whole", "pieces")]
    for run in runs:
        run.start(config)
    train(config, data, runs[0])
    monkeypatch.setattr("cwrnn_cli.training.loop._PIECE_SECONDS", 0.0)
    advance, pieces = AudioTrainer.advance, []

    def noted(self):
        before = self.epoch
        found = advance(self)
        pieces.append(self.epoch - before)
        return found

    monkeypatch.setattr(AudioTrainer, "advance", noted)
    train(config, data, runs[1])
    assert pieces == [1] * 500
    assert (runs[0].path / "metrics.jsonl").read_text().count("\n") == 100
    texts = [(run.path / "metrics.jsonl").read_text() for run in runs]
    assert texts[0] == texts[1]
    one, other = (run.checkpoint() for run in runs)
    for mine, theirs in ((one.weights, other.weights), (one.extra, other.extra)):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_signal_in_the_last_epoch_is_not_lost(piece, tmp_path, monkeypatch):
    """A comparison would go on with the next run."""
    data = TASKS["audio"].load(piece)
    config = configure(data, "srn", 100, runs=1, epochs=3, device="cpu")
    run = RunFolder(tmp_path / "run")
    run.start(config)
    advance = AudioTrainer.advance

    def stopped(self):
        found = advance(self)
        if self.finished:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(AudioTrainer, "advance", stopped)
    with pytest.raises(Interrupted) as caught:
        train(config, data, run)
    assert caught.value.epoch == 3 == run.checkpoint().epoch
    assert not (run.path / "previous.pt").exists()
    monkeypatch.undo()
    train(config, data, run)  # nothing is left to do
