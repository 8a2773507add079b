"""What trains the networks of a run: the contract of all engines, and what autograd trains."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..models.ensemble import Ensemble
from .device import has_float64
from .optimizer import OPTIMIZERS, PUBLISHED

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class TrainState:
    """All that an engine goes on from.

    Attributes:
        weights: name -> (R, ...) on the CPU.
        velocity: momentum buffers, and what else the optimiser keeps, like the weights.
        generators: state of each network's random generator.
        updates: that were made.
    """

    weights: Weights
    velocity: Weights
    generators: list[dict[str, Any]]
    updates: int = 0


class Engine(Protocol):
    """R networks somewhere in their training.

    Attributes:
        gradient_lengths: float64, of what was trained last: the Euclidean norm of each network's
            gradient over all its weights, before it was shortened; (U, A) of every update, or
            (epochs, A) of each epoch's longest.
    """

    gradient_lengths: np.ndarray

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """Train some of the networks for one epoch or more.

        Args:
            active: (A,) indices of the networks; the others stay as they are.
            rates: (U,) learning rates, update by update; a compiled loop also takes (U, A), each
                network's own.
            momenta: (U,) float32 momentum, likewise.

        Returns:
            (epochs, A) losses, each network's before its updates.
        """

    def state(self) -> TrainState:
        """Copies of everything, as it is now."""

    def weights(self) -> Weights:
        """Copies of the weights only."""

    def load(self, state: TrainState) -> None:
        """Go on from an earlier state."""


def states_of(generators: list[np.random.Generator]) -> list[dict[str, Any]]:
    """For :attr:`TrainState.generators`."""
    return [dict(generator.bit_generator.state) for generator in generators]


def restore(generators: list[np.random.Generator], states: list[dict[str, Any]]) -> None:
    """The reverse of :func:`states_of`."""
    for generator, state in zip(generators, states, strict=True):
        generator.bit_generator.state = state


def summed(values: list[Tensor]) -> np.ndarray:
    """(A,) float64 sums of the updates' (A,), made on the CPU: not all devices have doubles."""
    found: np.ndarray = torch.stack(values).cpu().numpy().astype(np.float64).sum(axis=0)
    return found


def lengths_of(flat: Tensor) -> Tensor:
    """(A,) Euclidean norms of (A, P) gradients, whose squares may be beyond what float32 holds."""
    if has_float64(flat.device):
        exact: Tensor = flat.norm(dim=1, dtype=torch.float64)
        return exact
    largest = flat.abs().amax(dim=1)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    length: Tensor = (flat / scale[:, None]).norm(dim=1) * scale
    return length


class LargestGradients:
    """The length of each network's longest gradient so far, and when it was.

    Args:
        networks: R.

    Attributes:
        length: (R,) float64, 0 before the first; infinite from the epoch on in which a gradient was
            not finite; NaN if unknown, in the checkpoints of earlier versions.
        epoch: (R,) int64 epoch, counted from 1, or -1.
    """

    def __init__(self, networks: int) -> None:
        self.length = np.zeros(networks)
        self.epoch = np.full(networks, -1, np.int64)

    def update(self, done: int, active: np.ndarray, lengths: np.ndarray) -> None:
        """Note some epochs.

        Args:
            done: epochs before.
            active: (A,) indices of the networks.
            lengths: (epochs, A) of each epoch's longest gradient.
        """
        lengths = np.where(np.isfinite(lengths), lengths, np.inf)
        index, longest = lengths.argmax(axis=0), lengths.max(axis=0)
        longer = longest > self.length[active]
        self.length[active[longer]] = longest[longer]
        self.epoch[active[longer]] = done + 1 + index[longer]

    def state(self) -> Weights:
        """For :attr:`cwrnn_cli.training.folder.Checkpoint.extra`."""
        own = {"largest_gradient": self.length, "largest_gradient_at": self.epoch}
        return {name: torch.from_numpy(values.copy()) for name, values in own.items()}

    def restore(self, extra: Weights) -> None:
        """Go on from an earlier state."""
        if "largest_gradient" in extra:
            self.length = extra["largest_gradient"].numpy()
            self.epoch = extra["largest_gradient_at"].numpy()
        else:
            self.length = np.full(len(self.length), np.nan)

    def arrays(self) -> dict[str, np.ndarray]:
        """``largest_gradient`` (R,) float32 and ``largest_gradient_at`` (R,) int32, for results."""
        with np.errstate(over="ignore"):
            length = self.length.astype(np.float32)
        return {"largest_gradient": length, "largest_gradient_at": self.epoch.astype(np.int32)}

    @classmethod
    def of(cls, extra: Weights, networks: int) -> "LargestGradients":
        """As a checkpoint of R networks has them."""
        found = cls(networks)
        found.restore(extra)
        return found


class AutogradEngine(ABC):
    """Torch operations on any device, with torch's own optimisers: the readable truth.

    A subclass says what an update is made of.

    Args:
        ensemble: R networks, on the device and of the dtype to compute in; trained in place.
        generators: one per network, on which training goes on drawing.
        optimizer: of :data:`.optimizer.OPTIMIZERS`.

    Attributes:
        ensemble: the same.
        generators: the same.
        optimizer: how the networks take a step.
        buffers: name -> momentum of that weight, or what else the optimiser keeps.
        updates: that were made before; Adam's bias correction counts them.
        gradient_lengths: see :class:`Engine`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        generators: list[np.random.Generator],
        optimizer: str = PUBLISHED,
    ) -> None:
        self.ensemble, self.generators = ensemble, generators
        self.optimizer = OPTIMIZERS[optimizer]
        self.buffers = {
            name + suffix: torch.zeros_like(weight)
            for suffix in self.optimizer.buffers.values()
            for name, weight in ensemble.named_parameters()
        }
        self.updates = 0
        self.gradient_lengths = np.zeros((1, ensemble.networks))

    @abstractmethod
    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""

    def weights(self) -> Weights:
        """See :class:`Engine`."""
        return {n: w.detach().cpu().clone() for n, w in self.ensemble.named_parameters()}

    def state(self) -> TrainState:
        """See :class:`Engine`."""
        velocity = {name: buffer.cpu().clone() for name, buffer in self.buffers.items()}
        return TrainState(self.weights(), velocity, states_of(self.generators), self.updates)

    def load(self, state: TrainState) -> None:
        """See :class:`Engine`."""
        self.ensemble.load_state_dict(state.weights)
        for name, buffer in self.buffers.items():
            buffer.copy_(state.velocity[name])
        restore(self.generators, state.generators)
        self.updates = state.updates

    def select(self, active: np.ndarray) -> "Selection":
        """Copies of some networks, with their momentum, to train them."""
        return Selection(self, torch.from_numpy(active).to(self.ensemble.weight_hh.device))


class Selection:
    """Some networks of an engine while they are trained.

    Args:
        engine: whose.
        members: (A,) indices.

    Attributes:
        networks: the ensemble of A networks; gradients go to its weights.
    """

    def __init__(self, engine: AutogradEngine, members: Tensor) -> None:
        self._engine, self._members = engine, members
        self._lengths: list[Tensor] = []  # of each update's gradients
        self.networks = engine.ensemble.part(members)
        self._named = dict(self.networks.named_parameters())
        self._buffers = {name: b[members] for name, b in engine.buffers.items()}
        self._optimizer = engine.optimizer.make(self._named.values())
        for name, weight in self._named.items():
            self._optimizer.state[weight] = {"step": torch.tensor(float(engine.updates))} | {
                key: self._buffers[name + suffix]
                for key, suffix in engine.optimizer.buffers.items()
            }

    def step(self, rate: float, momentum: float, clip: float | None = None) -> None:
        """One update with the gradients that the networks hold.

        Args:
            rate: learning rate.
            momentum: Nesterov's, or Adam's beta 1.
            clip: longer gradients of a network, over all its weights, are shortened to this.
        """
        self._note_gradients(clip)
        group = self._optimizer.param_groups[0]
        group.update(self._engine.optimizer.settings(momentum), lr=rate)
        self._optimizer.step()
        self._engine.updates += 1

    @torch.no_grad()
    def _note_gradients(self, clip: float | None) -> None:
        gradients = [w.grad for w in self._named.values() if w.grad is not None]
        flat = torch.cat([g.flatten(1) for g in gradients], dim=1)
        self._lengths.append(lengths_of(flat))
        if clip is not None:
            factors = (clip / flat.norm(dim=1)).clamp(max=1)
            for gradient in gradients:
                gradient.mul_(factors.view(-1, *(1,) * (gradient.dim() - 1)))

    @torch.no_grad()
    def put_back(self) -> None:
        """Give weights, momentum and the gradients' lengths back to the engine."""
        lengths = torch.stack(self._lengths).cpu().numpy()
        self._engine.gradient_lengths = lengths.astype(np.float64)
        for name, weight in self._named.items():
            self._engine.ensemble.get_parameter(name)[self._members] = weight
        for name, buffer in self._buffers.items():
            self._engine.buffers[name][self._members] = buffer
