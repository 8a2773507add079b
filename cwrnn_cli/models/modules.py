"""The modules of trained networks: what each contributes, networks without one, its gradients.

For ensembles of cells on the clock (:class:`.ModularSpec`); where there are two directions each has
modules of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.clockwork import slow_input
from .ensemble import Ensemble, Shape
from .modular import ModularSpec
from .recurrent import reversed_sequences

READOUT, ALL = KINDS = ("readout", "all")  # what no longer reads a module that is silenced


@dataclass(frozen=True)
class Module:
    """One module of a network.

    Attributes:
        name: its period, with its offset where it has one (8@2), and its direction.
        period: in steps.
        direction: "", or "reverse" for one that reads from the end.
        inside: its units among those of its direction.
        units: likewise among the outputs of the hidden layer, those of all directions.
    """

    name: str
    period: int
    direction: str
    inside: slice
    units: slice


def modules_of(shape: Shape) -> tuple[Module, ...]:
    """All modules, fastest first, those that read from the end behind the others.

    Raises:
        ValueError: the cell has no clock.
    """
    if not isinstance(shape.cell, ModularSpec):
        raise ValueError(f"{shape.cell.label} has no clock: all of it is one module")
    clock, found = shape.cell.clock, []
    for number, suffix in enumerate(shape.suffixes):
        direction = suffix.removeprefix("_")
        for i, (period, offset) in enumerate(zip(clock.periods, clock.phases, strict=True)):
            name = f"{period}@{offset}" if offset else str(period)
            inside = slice(clock.starts[i], clock.starts[i + 1])
            first = number * clock.hidden_size
            units = slice(first + inside.start, first + inside.stop)
            found.append(Module(f"{name} {direction}".strip(), period, direction, inside, units))
    return tuple(found)


def contributions(ensemble: Ensemble, hidden: Tensor) -> Tensor:
    """(modules, R, ..., o) what each module adds to the outputs; their sum lacks only the bias.

    Args:
        ensemble: R networks.
        hidden: (R, ..., D n) outputs of the hidden layer, D the number of directions.
    """
    parts = []
    for module in modules_of(ensemble.shape):
        weight = ensemble.weight_out[:, :, module.units].transpose(1, 2)  # (R, k, o)
        flat = hidden[..., module.units].flatten(1, -2)  # (R, N, k)
        parts.append((flat @ weight).view(*hidden.shape[:-1], -1))
    return torch.stack(parts)


@torch.no_grad()
def silenced(ensemble: Ensemble, module: Module, kind: str) -> Ensemble:
    """A copy of R networks in which nothing reads a module's outputs.

    Args:
        ensemble: the networks.
        module: of :func:`modules_of`; it runs on, and hears what it heard.
        kind: :data:`READOUT`: its columns of W_O are 0, so the hidden layer does what it did;
            :data:`ALL`: so are its columns of W_H in the rows of all other modules, in every gate,
            so they hear no more of it; those by which it reads itself stay.
    """
    found = ensemble.part(torch.arange(ensemble.networks))
    found.weight_out[:, :, module.units] = 0
    if kind == ALL:
        suffix = f"_{module.direction}" if module.direction else ""
        weight = found.get_parameter("weight_hh" + suffix)  # (R, G n, n)
        n = ensemble.shape.cell.hidden_size
        own = weight.view(len(weight), -1, n, n)[:, :, module.inside, module.inside].clone()
        weight[:, :, module.inside] = 0
        weight.view(len(weight), -1, n, n)[:, :, module.inside, module.inside] = own
    return found


def each_silenced(ensemble: Ensemble) -> Iterator[tuple[Module | None, str, Ensemble]]:
    """The networks as they are (None, ""), then :func:`silenced` by each module and kind."""
    yield None, "", ensemble
    for module in modules_of(ensemble.shape):
        for kind in KINDS:
            yield module, kind, silenced(ensemble, module, kind)


def input_gradients(
    network: Ensemble, x: Tensor, objective: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """An objective's gradient by one sequence of inputs, apart for each module that reads them.

    A module's part is what comes back through its own rows of W_I: by all that its drive at a tick
    does from then on, in itself, in the modules that hear it, and at the readout. The sum of the
    parts is the whole gradient.

    Args:
        network: an ensemble of one.
        x: (T, m) inputs.
        objective: (T, o) outputs to a number.

    Returns:
        (modules, T, m), and the outputs (T, o).
    """
    shape, hidden = network.shape, []
    cell = shape.cell
    modules = modules_of(shape)
    assert isinstance(cell, ModularSpec)
    copies = x.expand(len(modules), 1, *x.shape).clone().requires_grad_()  # (modules, 1, T, m)
    for suffix in shape.suffixes:
        names = cell.weights(shape.input_size)
        weights = {name: network.get_parameter(name + suffix) for name in names}
        mine = [i for i, module in enumerate(modules) if module.direction == suffix[1:]]
        inputs = copies[mine]
        if suffix:
            inputs = reversed_sequences(inputs.flatten(0, 1), None).view(inputs.shape)
        drive = _drive(cell, weights.pop("weight_ih"), inputs, [modules[i] for i in mine])
        y, _ = cell.run(drive, weights, None, None, "auto", 0, None)
        hidden.append(reversed_sequences(y[0], None)[None] if suffix else y)
    outputs = network.readout(torch.cat(hidden, dim=3))[0, 0]  # (T, o)
    (gradients,) = torch.autograd.grad(objective(outputs), copies)
    return gradients[:, 0], outputs.detach()


def _drive(cell: ModularSpec, weight_ih: Tensor, x: Tensor, modules: Sequence[Module]) -> Tensor:
    """(1, 1, T, G n) what the input gives to the gates, each module's from a copy of its own.

    Args:
        cell: of the layer.
        weight_ih: (1, G n, m), or more columns where slow modules read more than a sample.
        x: (g, 1, T, m), a copy for each module.
        modules: of one direction.
    """
    n = cell.hidden_size
    every = []
    for own, module in zip(x, modules, strict=True):
        if cell.buffered:
            before = own.new_zeros(1, 1, cell.kept, own.shape[-1])
            kind = cell.slow_input
            found = slow_input.drive(own[None], weight_ih, cell.clock, kind, before, cell.origin)
        else:
            found = own[None] @ weight_ih.transpose(1, 2)
        every.append(found.reshape(*found.shape[:3], -1, n)[..., module.inside])  # (1, 1, T, G, k)
    return torch.cat(every, dim=4).flatten(3)
