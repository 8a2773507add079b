"""Ways to do the epochs of task 2: the compiled loop, and autograd as its test.

A third, on a GPU, is in :mod:`.fused`.

An update learns from the mean of a few sequences, of one in the protocol; every network has its own
order and its own noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ...kernels.backend import missing_for_triton
from ...kernels.numba.cache import log_compilation
from ...kernels.numba.classifier import Updates
from ...kernels.numba.threads import default_threads, run_all
from ...kernels.sequences import last_valid
from ...models import ClockworkSpec, LSTMSpec, SRNSpec
from ...models.cell import CellSpec, has_loop
from ...models.ensemble import Ensemble
from ...training.config import TrainConfig
from ...training.engine import (
    AutogradEngine,
    Engine,
    TrainState,
    Weights,
    restore,
    states_of,
    summed,
)
from ...training.stopping import EarlyStop, Measured
from ...training.trainer import EnsembleTrainer
from .data import TimitData, cross_entropy, draw_epoch, error_rate, padded
from .layouts import ClockworkWords, LstmWords, Words


@dataclass(frozen=True)
class Learning:
    """How words are learnt, where the paper does not say.

    Attributes:
        batch: sequences per update.
        loss_at: the steps that count in the loss, "last" or "every".
        delta_clip: see :attr:`.TrainConfig.delta_clip`.
    """

    batch: int = 1
    loss_at: str = "last"
    delta_clip: float | None = None


class WordsEngine(Engine, Protocol):
    """An engine that also runs its networks over words."""

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """(A, S, K) float32 of the networks ``active``, without noise."""


class StepwiseEngine(AutogradEngine):
    """Torch operations on any device: a step of all active networks at a time, each its sequence.

    Args:
        ensemble: R networks, on the device and of the dtype to compute in; trained in place.
        words: the training set.
        noise: standard deviation of the noise.
        generators: one per network, on which training goes on drawing.
        backend: of the recurrent kernels (:mod:`cwrnn_cli.kernels`).
        learning: what the protocol leaves open.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        words: Split,
        noise: float,
        generators: list[np.random.Generator],
        backend: str = "auto",
        learning: Learning | None = None,
    ) -> None:
        super().__init__(ensemble, generators)
        self.words, self.noise, self.backend = words, noise, backend
        self.learning = learning or Learning()

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; one epoch."""
        chosen = self.select(active)
        part, batch = chosen.networks, self.learning.batch
        drawn = [draw_epoch(self.generators[r], self.words, self.noise) for r in active]
        assert self.words.labels is not None
        labels = torch.from_numpy(self.words.labels).to(part.weight_hh.device)
        losses = []
        for update, (rate, momentum) in enumerate(
            zip(rates.tolist(), momenta.tolist(), strict=True)
        ):
            which = [order[update * batch : (update + 1) * batch].tolist() for order, _ in drawn]
            x, lengths = _batch(self.words, which, [f for _, f in drawn])
            part.zero_grad()
            loss = self._loss(part, x, lengths, labels[torch.tensor(which)])  # (R, B)
            loss.mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach().sum(dim=1))
            chosen.step(rate, momentum)
        chosen.put_back()
        mean: np.ndarray = summed(losses) / len(self.words)
        return mean[None]

    def _loss(self, part: Ensemble, x: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """(R, B) cross entropies, summed over the steps that count."""
        like, learning = part.weight_hh, self.learning
        y = part.hidden(x.to(like), self.backend, delta_clip=learning.delta_clip)
        if learning.loss_at == "last":
            y = last_valid(y, lengths)[:, :, None]
            counts = torch.ones(y.shape[:3], dtype=torch.bool)
        else:
            counts = torch.arange(y.shape[2]) < lengths[..., None]
        logits = part.readout(y)  # (R, B, T or 1, K)
        right = labels[..., None].expand(counts.shape)
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 2), right.flatten(), reduction="none"
        )
        return torch.where(counts.to(like.device), loss.view(counts.shape), 0).sum(dim=2)

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """See :class:`WordsEngine`."""
        return logits_of(self.ensemble, active, split, self.backend)


@torch.no_grad()
def logits_of(
    ensemble: Ensemble, active: np.ndarray, split: Split, backend: str = "auto"
) -> np.ndarray:
    """(A, S, K) float32 of the networks ``active`` of an ensemble, without noise."""
    found = []
    x, lengths = _batch(split, [list(range(len(split)))], [split.frames])
    for some in torch.split(torch.from_numpy(active), 16):  # so that memory does not grow with R
        count = len(some)
        inputs = x.expand(count, -1, -1, -1), lengths.expand(count, -1)
        found.append(_run(ensemble.part(some), *inputs, backend).cpu())
    result: np.ndarray = torch.cat(found).float().numpy()
    return result


def _run(part: Ensemble, x: Tensor, lengths: Tensor, backend: str) -> Tensor:
    """(R, B, K) logits at each sequence's last step."""
    like = part.weight_hh
    y = part.hidden(x.to(like), backend)
    return part.readout(last_valid(y, lengths))


def _batch(
    split: Split, indices: list[list[int]], frames: list[np.ndarray]
) -> tuple[Tensor, Tensor]:
    """(R, B, T, m) and (R, B) lengths: each network's own sequences with its own frames."""
    parts = [padded(split, np.array(mine), own) for mine, own in zip(indices, frames, strict=True)]
    steps = max(x.shape[1] for x, _ in parts)
    x = torch.stack([torch.nn.functional.pad(x, (0, 0, 0, steps - x.shape[1])) for x, _ in parts])
    return x, torch.stack([lengths for _, lengths in parts])


# a cell that is not here is trained by autograd
LAYOUTS: dict[type[CellSpec], Callable[[Ensemble], Words]] = {
    ClockworkSpec: ClockworkWords,
    SRNSpec: ClockworkWords,
    LSTMSpec: LstmWords,
}


class CompiledEngine:
    """The compiled loop, one network per thread at a time; float32 or float64, on the CPU.

    Args:
        ensemble: R networks of a cell in :data:`LAYOUTS`; its weights are the start.
        words: the training set.
        noise: standard deviation of the noise.
        generators: one per network, on which training goes on drawing.
        threads: how many; None: :func:`.default_threads`.
        learning: what the protocol leaves open.

    Attributes:
        gradient_lengths: see :class:`.Engine`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        words: Split,
        noise: float,
        generators: list[np.random.Generator],
        threads: int | None = None,
        learning: Learning | None = None,
    ) -> None:
        self._words, self._noise = words, noise
        self._learning = learning or Learning()
        self._generators = generators
        self._threads = threads or default_threads()
        self._layout = LAYOUTS[type(ensemble.shape.cell)](ensemble)
        self._theta = self._layout.pack(dict(ensemble.named_parameters()))  # (R, P)
        self._velocity = torch.zeros_like(self._theta)
        self.gradient_lengths = np.zeros((1, ensemble.networks))
        with log_compilation("the training loop of words"):
            self._epoch_of(0, np.empty(0), np.empty(0, np.float32))

    def _epoch_of(
        self, network: int, rates: np.ndarray, momenta: np.ndarray
    ) -> tuple[float, float]:
        """Mean loss, and the length of the longest gradient."""
        order, frames = np.empty(0, np.int64), self._words.frames
        if len(momenta):
            order, frames = draw_epoch(self._generators[network], self._words, self._noise)
        learning, dtype = self._learning, self._theta.numpy().dtype
        updates = Updates(
            order,
            rates,
            momenta.astype(dtype),
            learning.batch,
            learning.loss_at == "every",
            np.inf if learning.delta_clip is None else learning.delta_clip,
        )
        theta, velocity = self._theta[network].numpy(), self._velocity[network].numpy()
        frames = self._flat(frames)
        total, longest = self._layout.epoch(frames, self._words, updates, theta, velocity)
        return total / len(self._words), longest

    def _flat(self, frames: np.ndarray) -> np.ndarray:
        flat: np.ndarray = frames.reshape(-1).astype(self._theta.numpy().dtype, copy=False)
        return flat

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; one epoch."""
        each = np.broadcast_to(rates.T, (len(active), len(momenta))).copy()
        items = [(int(r), own, momenta) for r, own in zip(active, each, strict=True)]
        found = np.array(run_all(self._epoch_of, items, self._threads))  # (A, 2)
        self.gradient_lengths = found[None, :, 1]
        losses: np.ndarray = found[None, :, 0]
        return losses

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """See :class:`WordsEngine`."""
        frames = self._flat(split.frames)

        def run(network: int) -> np.ndarray:
            return self._layout.logits(frames, split, self._theta[network].numpy())

        return np.stack(run_all(run, [(int(network),) for network in active], self._threads))

    def weights(self) -> Weights:
        """See :class:`.Engine`."""
        return self._layout.unpack(self._theta)

    def state(self) -> TrainState:
        """See :class:`.Engine`."""
        velocity = self._layout.unpack(self._velocity)
        return TrainState(self.weights(), velocity, states_of(self._generators))

    def load(self, state: TrainState) -> None:
        """See :class:`.Engine`."""
        self._theta = self._layout.pack(state.weights)
        self._velocity = self._layout.pack(state.velocity)
        restore(self._generators, state.generators)


# From how many networks per core of the CPU on a GPU is expected to train faster; calculated, not
# measured. An update is of one word: a step there, forward and twice that backward, is a chain of
# three products on chip of about 1.5 us each. A core's step is 6 operations per parameter, 60 000
# at Table 1's largest, at some 30 GFLOP/s 2 us. So one network trains on a core about twice as fast
# as on a GPU, which is ahead once it has several times as many at once as there are cores.
NETWORKS_PER_CORE = 4


def learning_of(config: TrainConfig) -> Learning:
    """How a run learns words."""
    return Learning(config.batch, config.loss_at, config.delta_clip)


def is_fused(config: TrainConfig) -> bool:
    """Whether a kernel does all of a run's training on a GPU; if Triton is ready, here."""
    if missing_for_triton():
        return False
    from .fused import unsupported  # noqa: PLC0415  (imports Triton)

    return unsupported(config.shape, learning_of(config)) is None


def is_compiled(config: TrainConfig) -> bool:
    """Whether the compiled loop trains a run."""
    return config.device == "cpu" and has_loop(LAYOUTS, config.cell)


def make_engine(config: TrainConfig, data: TimitData) -> WordsEngine:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    ensemble, generators = config.start()
    learning = learning_of(config)
    if is_compiled(config):
        return CompiledEngine(ensemble, data.train, config.noise, generators, learning=learning)
    if torch.device(config.device).type == "cuda" and is_fused(config):
        from .fused import FusedEngine  # noqa: PLC0415  (imports Triton)

        return FusedEngine(ensemble, data.train, config.noise, generators, learning)
    return StepwiseEngine(ensemble, data.train, config.noise, generators, learning=learning)


class TimitTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    A network stops once its error on the training set without noise (cross entropy, or the rate of
    wrong words: ``config.stop_on``) has not been lower than before for ``config.patience`` epochs;
    the weights at its lowest are what it is evaluated by. One whose error is no number has
    diverged.

    Args:
        config: of the run.
        data: the words.
    """

    def __init__(self, config: TrainConfig, data: TimitData) -> None:
        self._words, self._engine = data.train, make_engine(config, data)
        # rate of wrong words at the best epoch
        at_best = {"train_error": np.ones(config.networks)}
        stop = EarlyStop(config.networks, config.patience, self._engine.weights(), at_best)
        super().__init__(config, self._engine, stop, -(-len(data.train) // config.batch))

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """Cross entropy and errors on the training set without noise."""
        logits = self._engine.logits(active, self._words)
        assert self._words.labels is not None
        clean = cross_entropy(logits, self._words.labels)
        wrong = error_rate(logits, self._words.labels)
        each = {"noisy_cross_entropy": losses[-1], "cross_entropy": clean, "train_error": wrong}
        error = {"cross_entropy": clean, "train_error": wrong}[self.config.stop_on or ""]
        best = {"train_error": wrong}
        return Measured(error, ~np.isfinite(clean), line_of(each), best, each=each)


def line_of(each: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """For metrics.jsonl: medians over networks."""
    return {name: _median(values) for name, values in each.items()}


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
