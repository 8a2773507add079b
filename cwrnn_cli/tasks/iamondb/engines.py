"""Two ways to do the epochs of task 3 (Section 4.3): the compiled loop, and autograd.

Autograd trains on GPUs and under torchrun, with other optimisers and cells, and is the loop's test.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ...kernels.numba.cache import log_compilation
from ...kernels.numba.threads import default_threads, run_all
from ...kernels.numba.transcriber import Lines, Updates
from ...models import ClockworkSpec, LSTMSpec, SRNSpec
from ...models.cell import CellSpec, has_loop
from ...models.ensemble import Ensemble
from ...training import distributed
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
from ...training.optimizer import PUBLISHED
from ...training.prefetch import prefetched
from ...training.stopping import EarlyStop, Measured
from ...training.trainer import EnsembleTrainer
from .data import (
    Batch,
    Decode,
    IamondbData,
    batch_of,
    best_path,
    buckets,
    collapse,
    ctc,
    error_rate,
)
from .layouts import ClockworkTranscribers, LstmTranscribers, Transcribers

_ORDER_KEY = 1 << 31  # of the seed's child that orders the batches; above any network's
_EVALUATION_BATCH = 64
# batches that are packed on another thread, for a GPU; where the CPU computes, such a thread is in
# its way: an update took 8 % longer
_AHEAD = 2
ROWS = 8  # lines that the compiled loop works on at a time


def batch_order(config: TrainConfig, done: int, count: int) -> np.ndarray:
    """(count,) int64: in which order an epoch's batches come, ``done`` updates after the start."""
    seeds = np.random.SeedSequence(config.seed, spawn_key=(_ORDER_KEY, done // count))
    return np.random.default_rng(seeds).permutation(count)


class LinesEngine(Engine, Protocol):
    """An engine that also runs its networks over lines."""

    def transcripts(self, active: np.ndarray, split: Split) -> list[list[str]]:
        """What each of the networks ``active`` writes for each line of a split, by best path."""


class _Packed(NamedTuple):
    """What an update needs."""

    batch: Batch
    size: int  # lines of all processes
    idle: bool  # whether this one has none of them: one line all the same, for 0


class CtcEngine(AutogradEngine):
    """Batches of lines of about the same length; every network its own.

    The loss of an update is the mean over its lines of -log p, or the sum (docs/protocol.md). Under
    torchrun every process takes its part of each batch's lines, and torch's DistributedDataParallel
    brings their gradients together. For a GPU batches are packed on another thread while the one
    before is computed, and losses are read at the epoch's end; only torch's CTC, which copies the
    lengths, waits in every update for what the GPU was given before.

    Args:
        config: of the run.
        data: the lines.
        dtype: to compute in.
    """

    def __init__(
        self, config: TrainConfig, data: IamondbData, dtype: torch.dtype = torch.float32
    ) -> None:
        ensemble, generators = config.start()
        super().__init__(ensemble.to(dtype), generators, config.optimizer)
        self.config, self.data, self.lines = config, data, data.train
        self._targets = [data.encode(text) for text in data.train.text or []]
        self._lengths = np.diff(data.train.offsets)

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; one epoch."""
        config = self.config
        order = batch_order(config, self.updates, len(momenta))
        mine = [buckets(self.generators[r], self._lengths, config.batch, order) for r in active]
        chosen = self.select(active)
        part = chosen.networks
        model = distributed.parallel(part)
        device, losses = part.weight_hh.device, []
        settings = rates.tolist(), momenta.tolist()
        ahead = 0 if device.type == "cpu" else _AHEAD
        with prefetched(self._packed(mine, part.weight_hh), ahead) as packed:
            for rate, momentum, (own, size, idle) in zip(*settings, packed, strict=True):
                part.zero_grad()
                batch = own.on(device)
                lengths = batch.lengths.to(device, non_blocking=True)
                logits = model(batch.x, lengths=lengths, delta_clip=config.delta_clip)
                loss = ctc(logits, batch).sum(dim=1) * (not idle)
                share = distributed.processes() / (1 if config.reduction == "sum" else size)
                (loss.sum() * share).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
                chosen.step(rate, momentum, config.clip)
        chosen.put_back()
        mean = distributed.sum_all(summed(losses)) / len(self.lines)
        return mean[None]

    def _packed(self, mine: list[list[np.ndarray]], like: Tensor) -> Iterator[_Packed]:
        """This process's part of every update's batch, of the lines of each network."""
        for every in zip(*mine, strict=True):
            indices = [distributed.own_part(batch) for batch in every]
            idle = not len(indices[0])
            if idle:
                indices = [batch[:1] for batch in every]
            batch = batch_of(self.lines, self._targets, indices).ready_for(like)
            yield _Packed(batch, len(every[0]), idle)

    def transcripts(self, active: np.ndarray, split: Split) -> list[list[str]]:
        """See :class:`LinesEngine`."""
        return [transcripts(self.ensemble, int(r), self.data, split) for r in active]


# a cell that is not here is trained by autograd
LAYOUTS: dict[type[CellSpec], Callable[[Ensemble], Transcribers]] = {
    ClockworkSpec: ClockworkTranscribers,
    SRNSpec: ClockworkTranscribers,
    LSTMSpec: LstmTranscribers,
}


class CompiledEngine:
    """The compiled loop, one network per thread at a time; float32 or float64, on the CPU.

    Nesterov's steps only; the same updates as :class:`CtcEngine`'s.

    Args:
        config: of the run; its cell is one of :data:`LAYOUTS`.
        data: the lines.
        threads: how many; None: :func:`.default_threads`.
        dtype: to compute in.

    Attributes:
        gradient_lengths: see :class:`.Engine`.
        updates: that were made before.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: IamondbData,
        threads: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        ensemble, self.generators = config.start()
        self.config, self._data = config, data
        self._threads = threads or default_threads()
        self._layout = LAYOUTS[type(config.cell)](ensemble.to(dtype))
        self._theta = self._layout.pack(dict(ensemble.named_parameters()))  # (R, P)
        self._velocity = torch.zeros_like(self._theta)
        self._lengths = np.diff(data.train.offsets)
        self._train = self._lines(data.train)
        self.gradient_lengths = np.zeros((1, ensemble.networks))
        self.updates = 0
        with log_compilation("the training loop of lines"):
            self.learn(0, [], np.empty(0), np.empty(0))
            offsets = self._train.offsets[:2]
            frames = self._train.frames[: offsets[1] * self._train.features]
            first = self._train._replace(frames=frames, offsets=offsets)
            self._layout.best_paths(first, 1, self._theta[0].numpy())

    def _lines(self, split: Split, with_text: bool = True) -> Lines:
        """A split as the loop wants it."""
        units = [self._data.encode(text) if with_text else [] for text in split.text or []]
        return Lines(
            split.frames.reshape(-1).astype(self._theta.numpy().dtype, copy=False),
            split.frames.shape[1],
            split.offsets,
            np.array([unit for text in units for unit in text], np.int64),
            np.cumsum([0, *map(len, units)]),
        )

    def learn(
        self, network: int, batches: list[np.ndarray], rates: np.ndarray, momenta: np.ndarray
    ) -> tuple[float, float]:
        """Train one network on some batches of lines.

        Args:
            network: which.
            batches: indices of each update's lines.
            rates: (U,) learning rates.
            momenta: (U,) momentum.

        Returns:
            The sum of the lines' losses, each before its update, and the longest gradient's length.
        """
        config = self.config
        updates = Updates(
            np.concatenate([np.empty(0, np.int64), *batches]),
            np.cumsum([len(batch) for batch in batches], dtype=np.int64),
            rates,
            momenta.astype(self._theta.numpy().dtype),
            np.inf if config.clip is None else config.clip,
            np.inf if config.delta_clip is None else config.delta_clip,
            config.reduction == "mean",
            min(config.batch, ROWS),
        )
        theta, velocity = self._theta[network].numpy(), self._velocity[network].numpy()
        return self._layout.epoch(self._train, updates, theta, velocity)

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; one epoch."""
        order, batch = batch_order(self.config, self.updates, len(momenta)), self.config.batch

        def run(network: int) -> tuple[float, float]:
            batches = buckets(self.generators[network], self._lengths, batch, order)
            return self.learn(network, batches, rates, momenta)

        found = np.array(run_all(run, [(int(r),) for r in active], self._threads))  # (A, 2)
        self.updates += len(momenta)
        self.gradient_lengths = found[None, :, 1]
        losses: np.ndarray = found[None, :, 0] / len(self._lengths)
        return losses

    def transcripts(self, active: np.ndarray, split: Split) -> list[list[str]]:
        """What each of the networks ``active`` writes for each line of a split, by best path."""
        lines = self._lines(split, with_text=False)

        def run(network: int) -> list[str]:
            path = self._layout.best_paths(lines, ROWS, self._theta[network].numpy())
            each = zip(lines.offsets, lines.offsets[1:], strict=False)
            return [self._data.decode(collapse(path[a:b])) for a, b in each]

        return run_all(run, [(int(r),) for r in active], self._threads)

    def weights(self) -> Weights:
        """See :class:`.Engine`."""
        return self._layout.unpack(self._theta)

    def state(self) -> TrainState:
        """See :class:`.Engine`."""
        velocity = self._layout.unpack(self._velocity)
        return TrainState(self.weights(), velocity, states_of(self.generators), self.updates)

    def load(self, state: TrainState) -> None:
        """See :class:`.Engine`."""
        self._theta = self._layout.pack(state.weights)
        self._velocity = self._layout.pack(state.velocity)
        restore(self.generators, state.generators)
        self.updates = state.updates


@torch.no_grad()
def transcripts(
    ensemble: Ensemble,
    network: int,
    data: IamondbData,
    split: Split,
    decode: Decode = best_path,
) -> list[str]:
    """What a network writes for each line of a split; on all processes the same."""
    part = ensemble.part(torch.tensor([network]))
    like = part.weight_hh
    order = np.argsort(np.diff(split.offsets), kind="stable")
    written = [""] * len(split)
    nothing: list[list[int]] = [[]] * len(split)
    for first in range(0, len(order), _EVALUATION_BATCH):
        chosen = distributed.own_part(order[first : first + _EVALUATION_BATCH])
        if not len(chosen):
            continue
        batch = batch_of(split, nothing, [chosen])
        logits = part(batch.x.to(like), lengths=batch.lengths.to(like.device))[0]
        for index, units in zip(chosen, decode(logits, batch.lengths[0]), strict=True):
            written[index] = data.decode(units)
    return distributed.merged(written)


def is_compiled(config: TrainConfig) -> bool:
    """Whether the compiled loop trains a run, in one process."""
    plain = config.device == "cpu" and config.optimizer == PUBLISHED
    return plain and has_loop(LAYOUTS, config.cell)


def make_engine(config: TrainConfig, data: IamondbData) -> LinesEngine:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    if is_compiled(config) and not distributed.together():
        return CompiledEngine(config, data)
    return CtcEngine(config, data)


class IamondbTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    A network stops once its character error rate on the validation set (best path) has not been
    lower than before for ``config.patience`` epochs; the weights at its lowest are what it is
    evaluated by. The test set is not looked at.

    Args:
        config: of the run.
        data: the lines.
    """

    def __init__(self, config: TrainConfig, data: IamondbData) -> None:
        self.data, self._engine = data, make_engine(config, data)
        self._early = EarlyStop(config.networks, config.patience, self._engine.weights())
        updates = -(-len(data.train) // config.batch)
        super().__init__(config, self._engine, self._early, updates)

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """Error rates on the validation set."""
        right = self.data.valid.text or []
        written = self._engine.transcripts(active, self.data.valid)
        error = np.array([error_rate(right, own) for own in written])
        lengths = self._engine.gradient_lengths.max(axis=0)
        each = {"ctc": losses[-1], "largest_gradient": lengths, "valid_cer": error}
        return Measured(error, ~np.isfinite(losses[-1]), line_of(each), each=each)

    def after_update(self) -> dict[str, Any]:
        """And the lowest error so far."""
        return {"best_valid_cer": float(self._early.lowest.min())} | super().after_update()


def line_of(each: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """For metrics.jsonl: every network's numbers."""
    return {name: values.tolist() for name, values in each.items()}
