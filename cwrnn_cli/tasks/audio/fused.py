"""Task 1 on a GPU: all epochs asked for in one launch, a network per program."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...kernels.lstm.layout import CELL_OUTPUTS
from ...kernels.triton import train_generator
from ...kernels.triton.train_generator import Networks
from ...models import ClockedSpec, ClockworkSpec, LSTMSpec, SRNSpec
from ...models.cell import CellSpec
from ...models.ensemble import Ensemble
from ...paper import AUDIO
from ...training.engine import TrainState, Weights, restore, states_of
from .data import LOSSES


def _clockwork(cell: CellSpec) -> Networks | None:
    assert isinstance(cell, ClockedSpec)
    if cell.nonlinearity != "tanh" or not cell.clock.cascades:
        return None
    periods = cell.clock.unit_periods
    firsts = torch.from_numpy((cell.clock.unit_phases - cell.origin) % periods)
    return train_generator.clockwork_networks(torch.from_numpy(periods), firsts)


def _lstm(cell: CellSpec) -> Networks | None:
    assert isinstance(cell, LSTMSpec)
    output = CELL_OUTPUTS[cell.cell_output]
    return train_generator.lstm_networks(cell.hidden_size, cell.peepholes, output)


# a cell that is not here, or is too wide, is trained by autograd
FUSED: dict[type[CellSpec], Callable[[CellSpec], Networks | None]] = {
    ClockworkSpec: _clockwork,
    SRNSpec: _clockwork,
    LSTMSpec: _lstm,
}


def networks_of(cell: CellSpec) -> Networks | None:
    """What a kernel has to know of networks of this cell; None: no kernel trains it."""
    find = FUSED.get(type(cell))
    return None if find is None else find(cell)


class FusedEngine:
    """Forward pass, backward pass and Nesterov step in one kernel.

    Args:
        ensemble: R networks on a GPU, float32 (or float64, for tests), of a cell that
            :func:`networks_of` knows; its weights are the start.
        targets: (R, T).
        generators: one per network; nothing is drawn from them in training.
        loss: of :data:`.data.LOSSES`.
        delta_clip: see :attr:`.TrainConfig.delta_clip`.

    Attributes:
        gradient_lengths: see :class:`.Engine`.

    Raises:
        ValueError: no kernel trains this cell.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        targets: Tensor,
        generators: list[np.random.Generator],
        loss: str = AUDIO.loss,
        delta_clip: float | None = None,
    ) -> None:
        networks = networks_of(ensemble.shape.cell)
        if networks is None:
            raise ValueError(f"no kernel trains {ensemble.shape.cell}")
        like = ensemble.weight_hh
        self._networks = networks
        self._places, self._used = networks.places.to(like.device), networks.used.to(like.device)
        self._names = {n: tuple(w.shape[1:]) for n, w in ensemble.named_parameters()}
        self._theta = like.new_zeros(ensemble.networks, networks.numbers).detach()
        self._velocity = torch.zeros_like(self._theta)
        self._pack(dict(ensemble.named_parameters()), self._theta)
        self._targets = targets.to(like).contiguous()
        self._share = LOSSES[loss](targets.shape[1])
        self._delta_clip = delta_clip
        self._generators = generators
        self.gradient_lengths = np.zeros((1, ensemble.networks))

    @torch.no_grad()
    def _pack(self, state: Weights, into: Tensor) -> None:
        """Weights by name, (R, ...), to their places; those that are not computed with are 0."""
        flat = torch.cat([state[name].reshape(len(into), -1) for name in self._names], dim=1)
        into[:, self._places] = torch.where(self._used, flat.to(into), 0.0)

    def _unpack(self, numbers: Tensor) -> Weights:
        flat = numbers[:, self._places].cpu()
        sizes = [int(np.prod(shape)) for shape in self._names.values()]
        return {
            name: part.reshape(len(flat), *shape).clone()
            for (name, shape), part in zip(
                self._names.items(), torch.split(flat, sizes, dim=1), strict=True
            )
        }

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; an epoch is one update."""
        each = np.broadcast_to(rates.T, (len(active), len(momenta)))  # (A, epochs)
        losses, squares = train_generator.train(
            self._networks,
            self._theta,
            self._velocity,
            self._targets,
            torch.from_numpy(active).to(self._theta.device),
            torch.from_numpy(np.array(each, order="C")).to(self._theta),
            torch.from_numpy(momenta).to(self._theta),
            self._share,
            self._delta_clip,
        )
        self.gradient_lengths = squares.sqrt().cpu().numpy().T
        found: np.ndarray = losses.float().cpu().numpy().T
        return found

    def weights(self) -> Weights:
        """See :class:`.Engine`."""
        return self._unpack(self._theta)

    def state(self) -> TrainState:
        """See :class:`.Engine`."""
        return TrainState(self.weights(), self._unpack(self._velocity), states_of(self._generators))

    def load(self, state: TrainState) -> None:
        """See :class:`.Engine`."""
        self._pack(state.weights, self._theta)
        self._pack(state.velocity, self._velocity)
        restore(self._generators, state.generators)
