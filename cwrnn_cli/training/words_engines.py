"""Two ways to do the epochs of task 2: the compiled loop, and autograd as its test.

One update per sequence; every network has its own order and its own noise. An engine holds the
ensemble's weights, momentum and generators.
"""

import os
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ..kernels.numba.cache import log_compilation
from ..kernels.numba.threads import run_all
from ..models.ensemble import Ensemble
from ..tasks.words import at_the_end, draw_epoch, padded
from .autograd import AutogradState, State, nesterov
from .words_layouts import ClockworkLayout, Layout, LstmLayout


class Engine(Protocol):
    """What the training loop needs."""

    def epoch(self, active: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """Train the networks ``active`` one epoch; (A,) mean cross entropy before the updates."""

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """(A, S, K) float32 of the networks ``active``, without noise."""

    def weights(self) -> State:
        """Copies of all weights on the CPU, by name, each with the leading axis R."""

    def velocity(self) -> State:
        """Copies of the momentum buffers, like the weights."""

    def restore(self, weights: State, velocity: State) -> None:
        """Go on from these."""


class AutogradEngine(AutogradState):
    """Torch operations on any device: a step of all active networks at a time, each its sequence.

    Args:
        ensemble: R networks, on the device and of the dtype to compute in; trained in place.
        train: the training set.
        lr: learning rate.
        noise: standard deviation of the noise.
        generators: one per network, on which training goes on drawing.
        backend: of the recurrent kernels (:mod:`cwrnn_cli.kernels`).
    """

    def __init__(
        self,
        ensemble: Ensemble,
        train: Split,
        lr: float,
        noise: float,
        generators: list[np.random.Generator],
        backend: str = "auto",
    ) -> None:
        super().__init__(ensemble)
        self.train, self.lr, self.noise = train, lr, noise
        self.generators, self.backend = generators, backend

    def epoch(self, active: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""
        members = torch.from_numpy(active).to(self.ensemble.weight_hh.device)
        part, buffers = self.taken_out(members)
        drawn = [draw_epoch(self.generators[r], self.train, self.noise) for r in active]
        assert self.train.labels is not None
        labels = torch.from_numpy(self.train.labels).to(members.device)
        total = torch.zeros(len(active), dtype=torch.float64, device=members.device)
        rates = part.weight_hh.new_full((len(active),), self.lr)
        for update, momentum in enumerate(momenta.tolist()):
            which = [int(order[update]) for order, _ in drawn]
            x, lengths = _batch(self.train, [[s] for s in which], [f for _, f in drawn])
            part.zero_grad()
            logits = _run(part, x, lengths, self.backend)[:, 0]
            loss = torch.nn.functional.cross_entropy(logits, labels[which], reduction="none")
            loss.sum().backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            nesterov(part, buffers, rates, momentum)
        self.put_back(members, part, buffers)
        mean: np.ndarray = (total / len(momenta)).cpu().numpy()
        return mean

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """See :class:`Engine`."""
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
    return part.readout(at_the_end(y, lengths.to(like.device)))


def _batch(
    split: Split, indices: list[list[int]], frames: list[np.ndarray]
) -> tuple[Tensor, Tensor]:
    """(R, B, T, m) and (R, B) lengths: each network's own sequences with its own frames."""
    parts = [padded(split, np.array(mine), own) for mine, own in zip(indices, frames, strict=True)]
    steps = max(x.shape[1] for x, _ in parts)
    x = torch.stack([torch.nn.functional.pad(x, (0, 0, 0, steps - x.shape[1])) for x, _ in parts])
    return x, torch.stack([lengths for _, lengths in parts])


class CompiledEngine:
    """The compiled loop, one network per thread at a time; float32 or float64, on the CPU.

    Args:
        ensemble: R networks; its weights are the start.
        train: the training set.
        lr: learning rate.
        noise: standard deviation of the noise.
        generators: one per network, on which training goes on drawing.
        threads: how many; None: as many as cores.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        train: Split,
        lr: float,
        noise: float,
        generators: list[np.random.Generator],
        threads: int | None = None,
    ) -> None:
        self._train, self._lr, self._noise = train, lr, noise
        self._generators = generators
        self._threads = threads or os.cpu_count() or 1
        lstm = ensemble.shape.model == "lstm"
        self._layout: Layout = LstmLayout(ensemble) if lstm else ClockworkLayout(ensemble)
        self._theta = self._layout.pack(dict(ensemble.named_parameters()))
        self._velocity = torch.zeros_like(self._theta)
        with log_compilation("the training loop of words"):
            self._epoch_of(0, np.empty(0, np.float32))

    def _epoch_of(self, network: int, momenta: np.ndarray) -> float:
        order, frames = np.empty(0, np.int64), self._train.frames
        if len(momenta):
            order, frames = draw_epoch(self._generators[network], self._train, self._noise)
        total: float = self._layout.epoch(
            self._flat(frames),
            self._train,
            order,
            self._theta[network].numpy(),
            self._velocity[network].numpy(),
            self._lr,
            momenta.astype(self._theta.numpy().dtype),
        )
        return total / max(len(momenta), 1)

    def _flat(self, frames: np.ndarray) -> np.ndarray:
        flat: np.ndarray = frames.reshape(-1).astype(self._theta.numpy().dtype, copy=False)
        return flat

    def epoch(self, active: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""
        items = [(int(network), momenta) for network in active]
        return np.array(run_all(self._epoch_of, items, self._threads))

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """See :class:`Engine`."""
        frames = self._flat(split.frames)

        def run(network: int) -> np.ndarray:
            return self._layout.logits(frames, split, self._theta[network].numpy())

        return np.stack(run_all(run, [(int(network),) for network in active], self._threads))

    def weights(self) -> State:
        """See :class:`Engine`."""
        return self._layout.unpack(self._theta)

    def velocity(self) -> State:
        """See :class:`Engine`."""
        return self._layout.unpack(self._velocity)

    def restore(self, weights: State, velocity: State) -> None:
        """See :class:`Engine`."""
        self._theta = self._layout.pack(weights)
        self._velocity = self._layout.pack(velocity)
