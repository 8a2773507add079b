"""The training loop: chunks of epochs, progress, checkpoints, and an orderly stop on Ctrl-C."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..models.ensemble import Ensemble
from ..tasks import audio
from .config import TrainConfig
from .engines import AutogradEngine, CompiledEngine, Engine
from .folder import Checkpoint, RunFolder

LOG_LINES = 100  # of metrics.jsonl per run
CHECKPOINT_SECONDS = 10.0

Progress = Callable[[int, dict[str, Any]], None]


class Interrupted(Exception):
    """Ctrl-C or SIGTERM came; the state is saved.

    Attributes:
        epoch: epochs done.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"interrupted after epoch {epoch}")
        self.epoch = epoch


def make_engine(
    config: TrainConfig, data: audio.AudioData
) -> tuple[Engine, list[np.random.Generator]]:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    ensemble = Ensemble(config.shape, config.networks)
    generators = config.generators()
    ensemble.draw(generators, config.weight_std, config.forget_bias)
    targets = torch.from_numpy(np.tile(data.targets, (config.runs, 1)))
    rates = torch.full((config.networks,), config.lr)
    if config.device == "cpu":
        return CompiledEngine(ensemble, targets, rates), generators
    return AutogradEngine(ensemble.to(config.device), targets, rates), generators


def train(
    config: TrainConfig,
    data: audio.AudioData,
    folder: RunFolder,
    progress: Progress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train a run to its last epoch, from its checkpoint if the folder has one.

    Killed at any moment and called again, it ends with bit-identical weights on the same machine.

    Args:
        config: of the run; the folder has been started with it.
        data: the sequences.
        folder: where the run lives.
        progress: called with the epochs done and a summary after every chunk.
        checkpoint_seconds: at most so long, and one chunk, lies between two checkpoints.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is of the last epoch done.
        UserError: a damaged checkpoint, or a place that cannot be written.
    """
    engine, generators = make_engine(config, data)
    states = json.dumps([generator.bit_generator.state for generator in generators])
    epoch = 0
    diverged_at = np.full(config.networks, -1, np.int64)
    if folder.has_checkpoint:
        last = folder.checkpoint()
        epoch, states = last.epoch, last.generators
        diverged_at = last.diverged_at.numpy()
        engine.restore(last.weights, last.velocity)
    folder.cut_metrics(epoch)

    def save() -> None:
        folder.save(
            Checkpoint(
                epoch, engine.weights(), engine.velocity(), states, torch.from_numpy(diverged_at)
            )
        )

    chunk = max(config.epochs // LOG_LINES, 1)
    saved = time.monotonic()
    with _deferred_signals() as stop:
        while epoch < config.epochs:
            count = min(chunk - epoch % chunk, config.epochs - epoch)
            losses = engine.run(config.momenta(epoch, count))
            mse = losses.astype(np.float64) * (2 / config.length)
            worse = audio.diverged(mse)
            first = np.where(worse.any(axis=0), epoch + worse.argmax(axis=0), -1)
            diverged_at = np.where(diverged_at < 0, first, diverged_at)
            epoch += count
            summary = _summary(epoch, mse[-1])
            folder.append_metrics(summary)
            if progress:
                progress(epoch, summary)
            stopping = bool(stop)
            done = epoch == config.epochs
            if stopping or done or time.monotonic() - saved > checkpoint_seconds:
                save()
                saved = time.monotonic()
            if stopping and not done:
                raise Interrupted(epoch)


def _summary(epoch: int, mse: np.ndarray) -> dict[str, Any]:
    """MSE of the epoch's forward pass over the networks that are still numbers."""
    sane = mse[~audio.diverged(mse)]
    quartiles = np.quantile(sane, (0.25, 0.5, 0.75)) if len(sane) else [None] * 3
    return {
        "epoch": epoch,
        "mse_q25": quartiles[0],
        "mse_median": quartiles[1],
        "mse_q75": quartiles[2],
        "diverged": len(mse) - len(sane),
    }


@contextmanager
def _deferred_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list; a second SIGINT interrupts at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
