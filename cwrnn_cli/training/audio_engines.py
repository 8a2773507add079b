"""Two ways to do the epochs of task 1: the compiled loop, and autograd as its test.

An engine holds the ensemble's weights and momentum and runs epochs: forward, half the sum of
squares, backward, Nesterov step as in `torch.optim.SGD(nesterov=True)`, every network on its own.
"""

import os
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..kernels.numba import train_generator
from ..kernels.numba.cache import log_compilation
from ..kernels.numba.simd import LANES
from ..kernels.numba.threads import run_all
from ..models.ensemble import Ensemble
from ..tasks.audio import half_sum_of_squares, silence
from .autograd import AutogradState, State, nesterov


class Engine(Protocol):
    """What the training loop needs."""

    def run(self, momenta: np.ndarray) -> np.ndarray:
        """Train one epoch per momentum; (epochs, R) float32 losses, each before its step."""

    def weights(self) -> State:
        """Copies of all weights on the CPU, by name, each with the leading axis R."""

    def velocity(self) -> State:
        """Copies of the momentum buffers, like the weights."""

    def restore(self, weights: State, velocity: State) -> None:
        """Go on from these."""


class AutogradEngine(AutogradState):
    """Torch operations on any device: the readable truth, slow on many small networks.

    Args:
        ensemble: R networks, on the device and of the dtype to compute in; trained in place.
        targets: (R, T).
        rates: (R,) learning rates.
        backend: of the recurrent kernels (:mod:`cwrnn_cli.kernels`).
    """

    def __init__(
        self, ensemble: Ensemble, targets: Tensor, rates: Tensor, backend: str = "auto"
    ) -> None:
        super().__init__(ensemble)
        like = ensemble.weight_hh
        self.targets = targets.to(like)
        self.rates = rates.to(like)
        self.backend = backend

    def run(self, momenta: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""
        networks, steps = self.targets.shape
        x = silence(networks, steps, self.targets)
        losses = []
        for momentum in momenta.tolist():
            self.ensemble.zero_grad()
            loss = half_sum_of_squares(self.ensemble(x, self.backend)[:, 0, :, 0], self.targets)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            nesterov(self.ensemble, self.buffers, self.rates, momentum)
        return torch.stack(losses).float().cpu().numpy()


class CompiledEngine:
    """The compiled loop on all cores: 16 networks per vector, one thread per block of 16.

    Args:
        ensemble: R networks on the CPU, float32 (or float64, for tests); its weights are the start.
        targets: (R, T).
        rates: (R,) learning rates.
        threads: how many; None: as many as cores.
    """

    def __init__(
        self, ensemble: Ensemble, targets: Tensor, rates: Tensor, threads: int | None = None
    ) -> None:
        self._shape = ensemble.shape
        self._networks = ensemble.networks
        self._dtype = ensemble.weight_hh.dtype
        self._names = {n: tuple(w.shape[1:]) for n, w in ensemble.named_parameters()}
        self._theta = self._pack(dict(ensemble.named_parameters()))
        self._velocity = np.zeros_like(self._theta)
        self._targets = self._blocks(targets.to(self._dtype).numpy())
        self._rates = self._blocks(rates.to(self._dtype).numpy()[:, None])
        clock = ensemble.shape.clock.merged()  # the loop wants each period once
        self._periods = np.array(clock.periods, np.int64)
        self._starts = np.array(clock.starts, np.int64)
        self._threads = threads or os.cpu_count() or 1
        with log_compilation("the training loop"):
            self._run_block(0, np.empty(0, self._theta.dtype))

    def _blocks(self, values: np.ndarray) -> np.ndarray:
        """(R, X) to (blocks, X, LANES), the last block filled up with zeros."""
        lanes = LANES
        padded = np.pad(values, ((0, -len(values) % lanes), (0, 0)))
        return np.ascontiguousarray(padded.reshape(-1, lanes, values.shape[1]).transpose(0, 2, 1))

    def _pack(self, state: State) -> np.ndarray:
        flat = [state[n].detach().reshape(self._networks, -1) for n in self._names]
        return self._blocks(torch.cat(flat, dim=1).numpy())

    def _unpack(self, blocks: np.ndarray) -> State:
        flat = torch.from_numpy(blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1]).copy())
        sizes = [int(np.prod(shape)) for shape in self._names.values()]
        parts = torch.split(flat[: self._networks], sizes, dim=1)
        return {
            name: part.reshape(self._networks, *shape)
            for (name, shape), part in zip(self._names.items(), parts, strict=True)
        }

    def _run_block(self, block: int, momenta: np.ndarray) -> np.ndarray:
        losses = np.empty((len(momenta), LANES), self._theta.dtype)
        state = (
            self._theta[block],
            self._velocity[block],
            self._targets[block],
            self._rates[block],
            momenta,
        )
        if self._shape.model == "lstm":
            train_generator.lstm_epochs(
                *state, self._shape.hidden_size, self._shape.peepholes, losses
            )
        else:
            train_generator.clockwork_epochs(*state, self._periods, self._starts, losses)
        return losses

    def run(self, momenta: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""
        momenta = momenta.astype(self._theta.dtype)
        blocks = [(block, momenta) for block in range(len(self._theta))]
        losses = np.concatenate(run_all(self._run_block, blocks, self._threads), axis=1)
        return losses[:, : self._networks].astype(np.float32)

    def weights(self) -> State:
        """See :class:`Engine`."""
        return self._unpack(self._theta)

    def velocity(self) -> State:
        """See :class:`Engine`."""
        return self._unpack(self._velocity)

    def restore(self, weights: State, velocity: State) -> None:
        """See :class:`Engine`."""
        self._theta = self._pack(weights)
        self._velocity = self._pack(velocity)
