"""Two ways to do the epochs of task 1: the compiled loop, and autograd as its test.

A third, on a GPU, is :mod:`.fused`.

An engine holds the ensemble's weights and momentum and runs epochs: forward, half the sum of
squares or their mean, backward, Nesterov step as in `torch.optim.SGD(nesterov=True)`, every network
on its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...kernels.backend import missing_for_triton
from ...kernels.clockwork.layout import clock_layout
from ...kernels.lstm.layout import CELL_OUTPUTS
from ...kernels.numba import train_generator
from ...kernels.numba.cache import log_compilation
from ...kernels.numba.simd import LANES
from ...kernels.numba.threads import default_threads, run_all
from ...models import ClockedSpec, ClockworkSpec, LSTMSpec, SRNSpec
from ...models.cell import CellSpec, has_loop
from ...models.ensemble import Ensemble
from ...paper import AUDIO
from ...training.config import TrainConfig
from ...training.engine import AutogradEngine, Engine, TrainState, Weights, restore, states_of
from ...training.stopping import AtTheEnd, Measured
from ...training.trainer import EnsembleTrainer
from .data import LOSSES, AudioData, diverged, half_sum_of_squares, silence


class SilenceEngine(AutogradEngine):
    """Torch operations on any device: the readable truth, slow on many small networks.

    Args:
        ensemble: R networks, on the device and of the dtype to compute in; trained in place.
        targets: (R, T).
        generators: one per network; nothing is drawn from them in training.
        backend: of the recurrent kernels (:mod:`cwrnn_cli.kernels`).
        loss: of :data:`.data.LOSSES`.
        delta_clip: see :attr:`.TrainConfig.delta_clip`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        targets: Tensor,
        generators: list[np.random.Generator],
        backend: str = "auto",
        loss: str = AUDIO.loss,
        delta_clip: float | None = None,
    ) -> None:
        super().__init__(ensemble, generators)
        self.targets = targets.to(ensemble.weight_hh)
        self.backend, self.delta_clip = backend, delta_clip
        self.share = LOSSES[loss](targets.shape[1])

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; an epoch is one update."""
        chosen = self.select(active)
        targets = self.targets[torch.from_numpy(active).to(self.targets.device)]  # (A, T)
        x = silence(len(targets), targets.shape[1], targets)
        losses = []
        for rate, momentum in zip(rates.tolist(), momenta.tolist(), strict=True):
            chosen.networks.zero_grad()
            run = chosen.networks(x, self.backend, delta_clip=self.delta_clip)
            outputs = run[:, 0, :, 0]
            loss = half_sum_of_squares(outputs, targets) * self.share
            loss.sum().backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            chosen.step(rate, momentum)
        chosen.put_back()
        return torch.stack(losses).float().cpu().numpy()


# (theta, velocity, targets, rates, momenta, share, delta_clip, losses, squares) of a block
Loop = Callable[..., None]


def _clockwork_loop(cell: CellSpec) -> Loop:
    assert isinstance(cell, ClockedSpec)
    clock = clock_layout(cell.clock.merged()).at(cell.origin).clock  # wants each period once

    def run(*state: Any, losses: np.ndarray, squares: np.ndarray) -> None:
        own = (clock.periods, clock.firsts, clock.starts)
        arguments = (*state, *own, losses, squares)
        train_generator.clockwork_epochs(*arguments)

    return run


def _lstm_loop(cell: CellSpec) -> Loop:
    assert isinstance(cell, LSTMSpec)

    own = (cell.hidden_size, cell.peepholes, CELL_OUTPUTS[cell.cell_output])

    def run(*state: Any, losses: np.ndarray, squares: np.ndarray) -> None:
        arguments = (*state, *own, losses, squares)
        train_generator.lstm_epochs(*arguments)

    return run


# a cell that is not here is trained by autograd
LOOPS: dict[type[CellSpec], Callable[[CellSpec], Loop]] = {
    ClockworkSpec: _clockwork_loop,
    SRNSpec: _clockwork_loop,
    LSTMSpec: _lstm_loop,
}


class CompiledEngine:
    """The compiled loop on all cores: 16 networks per vector, one thread per block of 16.

    Args:
        ensemble: R networks on the CPU, float32 (or float64, for tests), of a cell in
            :data:`LOOPS` (:func:`.has_loop`); its weights are the start.
        targets: (R, T).
        generators: one per network; nothing is drawn from them in training.
        threads: how many; None: :func:`.default_threads`.
        loss: of :data:`.data.LOSSES`.
        delta_clip: see :attr:`.TrainConfig.delta_clip`.

    Attributes:
        gradient_lengths: see :class:`.Engine`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        targets: Tensor,
        generators: list[np.random.Generator],
        threads: int | None = None,
        loss: str = AUDIO.loss,
        delta_clip: float | None = None,
    ) -> None:
        self._networks = ensemble.networks
        self._dtype = ensemble.weight_hh.dtype
        self._names = {n: tuple(w.shape[1:]) for n, w in ensemble.named_parameters()}
        self._theta = self._pack(dict(ensemble.named_parameters()))  # (blocks, P, LANES)
        self._velocity = np.zeros_like(self._theta)
        self._targets = self._blocks(targets.to(self._dtype).numpy())  # (blocks, T, LANES)
        self._share = LOSSES[loss](targets.shape[1])
        self._delta_clip = np.inf if delta_clip is None else delta_clip
        self._generators = generators
        cell = ensemble.shape.cell
        self._loop = LOOPS[type(cell)](cell)
        self._threads = threads or default_threads()
        self.gradient_lengths = np.zeros((1, self._networks))
        with log_compilation("the training loop"):
            nothing = np.empty(0, self._theta.dtype)
            self._run_block(0, np.zeros((0, LANES), self._theta.dtype), nothing)

    def _blocks(self, values: np.ndarray) -> np.ndarray:
        """(R, X) to (blocks, X, LANES), the last block filled up with zeros."""
        lanes = LANES
        padded = np.pad(values, ((0, -len(values) % lanes), (0, 0)))
        return np.ascontiguousarray(padded.reshape(-1, lanes, values.shape[1]).transpose(0, 2, 1))

    def _pack(self, state: Weights) -> np.ndarray:
        flat = [state[n].detach().reshape(self._networks, -1) for n in self._names]
        return self._blocks(torch.cat(flat, dim=1).numpy())

    def _unpack(self, blocks: np.ndarray) -> Weights:
        flat = torch.from_numpy(blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1]).copy())
        sizes = [int(np.prod(shape)) for shape in self._names.values()]
        parts = torch.split(flat[: self._networks], sizes, dim=1)
        return {
            name: part.reshape(self._networks, *shape)
            for (name, shape), part in zip(self._names.items(), parts, strict=True)
        }

    def _run_block(
        self, block: int, rates: np.ndarray, momenta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(epochs, LANES) losses and squares of the gradients' lengths of one block.

        ``rates`` are (epochs, LANES).
        """
        losses = np.empty((len(momenta), LANES), self._theta.dtype)
        squares = np.empty((len(momenta), LANES))
        state = (self._theta[block], self._velocity[block], self._targets[block], rates, momenta)
        self._loop(*state, self._share, self._delta_clip, losses=losses, squares=squares)
        return losses, squares

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; an epoch is one update. All networks.

        Raises:
            ValueError: some networks only.
        """
        if len(active) != self._networks:
            raise ValueError("the compiled loop trains all networks")
        momenta = momenta.astype(self._theta.dtype)
        each = np.broadcast_to(rates.T, (self._networks, len(momenta))).astype(self._theta.dtype)
        lanes = self._blocks(each)  # (blocks, epochs, LANES)
        blocks = [(block, lanes[block], momenta) for block in range(len(self._theta))]
        found = run_all(self._run_block, blocks, self._threads)
        losses, squares = (
            np.concatenate(each, axis=1)[:, : self._networks] for each in zip(*found, strict=True)
        )
        self.gradient_lengths = np.sqrt(squares)
        return losses.astype(np.float32)

    def weights(self) -> Weights:
        """See :class:`.Engine`."""
        return self._unpack(self._theta)

    def state(self) -> TrainState:
        """See :class:`.Engine`."""
        return TrainState(self.weights(), self._unpack(self._velocity), states_of(self._generators))

    def load(self, state: TrainState) -> None:
        """See :class:`.Engine`."""
        self._theta, self._velocity = self._pack(state.weights), self._pack(state.velocity)
        restore(self._generators, state.generators)


# From how many networks per core of the CPU on a GPU is expected to train faster; calculated, not
# measured. There a network's epoch is a chain of 320 steps forward and twice that backward, of
# about 1 us each (a product on chip, and waiting for the slowest warp): 1 ms, however many train
# beside it while there is room for all. A core does 14 to 86 networks' epochs in that time at
# Table 1's sizes (results/bench), at most of them about 64 or fewer.
NETWORKS_PER_CORE = 64
LOG_LINES = 100  # of metrics.jsonl per run


def is_fused(cell: CellSpec) -> bool:
    """Whether a kernel does all of its training on a GPU; if Triton is ready, here."""
    if missing_for_triton():
        return False
    from .fused import networks_of  # noqa: PLC0415  (imports Triton)

    return networks_of(cell) is not None


def is_compiled(config: TrainConfig) -> bool:
    """Whether the compiled loop trains a run."""
    return config.device == "cpu" and has_loop(LOOPS, config.cell)


def make_engine(config: TrainConfig, data: AudioData) -> Engine:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    ensemble, generators = config.start()
    targets = torch.from_numpy(np.tile(data.targets, (config.runs, 1)))
    if is_compiled(config):
        return CompiledEngine(ensemble, targets, generators, None, config.loss, config.delta_clip)
    if torch.device(config.device).type == "cuda" and is_fused(config.cell):
        from .fused import FusedEngine  # noqa: PLC0415  (imports Triton)

        return FusedEngine(ensemble, targets, generators, config.loss, config.delta_clip)
    return SilenceEngine(ensemble, targets, generators, "auto", config.loss, config.delta_clip)


def line_of(each: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """For metrics.jsonl: quartiles of the (A,) ``mse`` of networks that have not diverged."""
    worse = diverged(each["mse"])
    finite = each["mse"][~worse]
    quartiles = np.quantile(finite, (0.25, 0.5, 0.75)) if len(finite) else [None] * 3
    names = ("mse_q25", "mse_median", "mse_q75")
    return dict(zip(names, quartiles, strict=True)) | {"diverged": int(worse.sum())}


class AudioTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    All networks take all epochs; one whose error is worse than any output within [-1, 1] could have
    has diverged.

    Args:
        config: of the run.
        data: the sequences.
    """

    def __init__(self, config: TrainConfig, data: AudioData) -> None:
        chunk = max(config.epochs // LOG_LINES, 1)
        engine = make_engine(config, data)
        super().__init__(config, engine, AtTheEnd(config.networks), 1, chunk)

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """MSE of the last epoch's forward pass over the networks that are still numbers."""
        steps = self.config.length
        share = LOSSES[self.config.loss](steps)
        mse = losses.astype(np.float64) * (2 / (share * steps))  # (epochs, R)
        worse = diverged(mse)
        begun = self.epoch - len(mse)
        since = np.where(worse.any(axis=0), begun + worse.argmax(axis=0), -1)
        each = {"mse": mse[-1]}
        count = worse.sum(axis=0)
        return Measured(mse[-1], worse[-1], line_of(each), since=since, excursions=count, each=each)

    def after_update(self) -> dict[str, Any]:
        """Nothing: no network stops before the end."""
        return {}
