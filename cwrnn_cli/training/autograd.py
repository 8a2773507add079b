"""An ensemble that torch's autograd trains: its weights, its momentum, and one step of both."""

import torch
from torch import Tensor
from torch.optim.adam import adam as _adam

from ..models.ensemble import Ensemble

State = dict[str, Tensor]

_SQUARE = ".square"


class AutogradState:
    """What an engine goes on from.

    Args:
        ensemble: R networks, trained in place.
        optimizer: "nesterov" or "adam".

    Attributes:
        ensemble: the same.
        buffers: name -> momentum of that weight; for Adam also name.square -> its second moment.
    """

    def __init__(self, ensemble: Ensemble, optimizer: str = "nesterov") -> None:
        self.ensemble = ensemble
        weights = dict(ensemble.named_parameters())
        if optimizer == "adam":
            weights |= {name + _SQUARE: weight for name, weight in weights.items()}
        self.buffers = {name: torch.zeros_like(weight) for name, weight in weights.items()}

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
        for name, buffer in buffers.items():
            self.buffers[name][members] = buffer


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


@torch.no_grad()
def adam(ensemble: Ensemble, buffers: State, rate: float, momentum: float, updates: int) -> None:
    """One step of all networks with the gradients they hold, as `torch.optim.Adam`.

    Args:
        ensemble: its weights are changed.
        buffers: of an :class:`AutogradState` for Adam, changed too.
        rate: learning rate.
        momentum: beta 1.
        updates: that were made before.
    """
    named = dict(ensemble.named_parameters())
    _adam(
        list(named.values()),
        [weight.grad for weight in named.values() if weight.grad is not None],
        [buffers[name] for name in named],
        [buffers[name + _SQUARE] for name in named],
        [],
        [torch.tensor(float(updates)) for _ in named],
        foreach=True,
        amsgrad=False,
        beta1=momentum,
        beta2=0.999,
        lr=rate,
        weight_decay=0.0,
        eps=1e-8,
        maximize=False,
    )


@torch.no_grad()
def gradient_norms(ensemble: Ensemble, clip: float | None = None) -> Tensor:
    """(R,) length of each network's gradient over all its weights; then shortened to ``clip``."""
    gradients = [w.grad for w in ensemble.parameters() if w.grad is not None]
    norms: Tensor = torch.cat([g.flatten(1) for g in gradients], dim=1).norm(dim=1)
    if clip is not None:
        factor = (clip / norms).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *(1,) * (gradient.dim() - 1)))
    return norms
