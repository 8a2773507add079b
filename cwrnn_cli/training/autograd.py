"""An ensemble that torch's autograd trains: its weights, its momentum, and one step of both."""

import torch
from torch import Tensor

from ..models.ensemble import Ensemble

State = dict[str, Tensor]


class AutogradState:
    """What an engine goes on from.

    Args:
        ensemble: R networks, trained in place.

    Attributes:
        ensemble: the same.
        buffers: name -> momentum of that weight.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.buffers = {name: torch.zeros_like(w) for name, w in ensemble.named_parameters()}

    def weights(self) -> State:
        """Copies of all weights on the CPU, by name, each with the leading axis R."""
        return {n: w.detach().cpu().clone() for n, w in self.ensemble.named_parameters()}

    def velocity(self) -> State:
        """Copies of the momentum buffers, like the weights."""
        return {name: buffer.cpu().clone() for name, buffer in self.buffers.items()}

    def restore(self, weights: State, velocity: State) -> None:
        """Go on from these."""
        self.ensemble.load_state_dict(weights)
        for name, buffer in self.buffers.items():
            buffer.copy_(velocity[name])

    def taken_out(self, members: Tensor) -> tuple[Ensemble, State]:
        """Copies of some networks and of their momentum."""
        return self.ensemble.part(members), {n: b[members] for n, b in self.buffers.items()}

    @torch.no_grad()
    def put_back(self, members: Tensor, part: Ensemble, buffers: State) -> None:
        """The reverse of :meth:`taken_out`."""
        for name, weight in part.named_parameters():
            self.ensemble.get_parameter(name)[members] = weight
            self.buffers[name][members] = buffers[name]


@torch.no_grad()
def nesterov(ensemble: Ensemble, buffers: State, rates: Tensor, momentum: float) -> None:
    """One step of all networks with the gradients they hold, as `torch.optim.SGD(nesterov=True)`.

    Args:
        ensemble: its weights are changed.
        buffers: name -> velocity of that weight, changed too.
        rates: (R,) learning rates.
        momentum: Nesterov's.
    """
    for name, weight in ensemble.named_parameters():
        assert weight.grad is not None
        velocity = buffers[name].mul_(momentum).add_(weight.grad)
        own = rates.view(-1, *(1,) * (weight.dim() - 1))
        weight.sub_(own * (weight.grad + momentum * velocity))
