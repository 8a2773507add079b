"""Any cell on the clock: a module's gates, cells and outputs all hold between its ticks.

A cell is a :data:`~..reference.Step`. The weights of its G gates stand one below the other, and the
clock's mask holds for each of them. So the cascade holds, too (:mod:`.cascade`): the slowest module
first, over its own ticks; what its outputs contribute to the gates of faster ones is one product.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...clock import Clock
from .. import exported, reference
from ..backend import Backend, Backends, does_all, exporting, one_network
from ..sequences import one_start
from . import unsupported_by_cascade
from .cascade import latest_at
from .exported import allowed

States = tuple[Tensor, ...]


class Arguments(NamedTuple):
    """Of :func:`.reference.clocked`, in its order."""

    x: Tensor  # (R, B, T, m); without W_I, if not m = 0, what enters the gates (R, B, T, G n)
    weight_ih: Tensor | None  # (R, G n, m)
    weight_hh: Tensor  # (R, G n, n)
    bias: Tensor | None  # (R, G n)
    own: tuple[Tensor, ...]  # (R, q, n)
    state: States  # (R, B, n)
    clock: Clock
    step: reference.Step
    start: int | Tensor = 0  # (B,) int64


def clocked(backend: str, arguments: Arguments) -> States:
    """(R, B, T, n) states at every step, the outputs first.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    if (start := one_start(arguments.start)) is not None:
        arguments = arguments._replace(start=start)
    return BACKENDS.run(backend, arguments)


def _reference(arguments: Arguments) -> States:
    return reference.clocked(*arguments)


def _cascade(arguments: Arguments) -> States:
    x, weight_ih, weight_hh, bias, own, state, clock, step, start = arguments
    assert isinstance(start, int)
    networks, batch, steps, _ = x.shape
    clock = clock.merged()
    n, starts = clock.hidden_size, clock.starts
    gates = weight_hh.shape[1] // n

    def rows(tensor: Tensor, span: slice) -> Tensor:
        """(R, G k, ...) of (R, G n, ...): a module's rows of every gate."""
        return tensor.reshape(networks, gates, n, *tensor.shape[2:])[:, :, span].flatten(1, 2)

    # per slower module: which output each step reads, and what it contributes to the gates of all
    # faster ones, (R, B, 1 + ticks, G, its first unit)
    contributions: list[tuple[Tensor, Tensor]] = []
    outputs: list[list[Tensor]] = []
    for block in reversed(clock.blocks):
        period, lowest = clock.periods[block.start], starts[block.start]
        all_of_it = slice(lowest, starts[block.stop])
        modules = []
        for i in block:
            span, begin = slice(starts[i], starts[i + 1]), (clock.phases[i] - start) % period
            count = -(-(steps - begin) // period)
            drive = weight_hh.new_zeros(networks, batch, count, gates * clock.sizes[i])
            heard = drive
            if weight_ih is not None:
                weight = rows(weight_ih, span)[:, None]
                drive = drive + x[:, :, begin::period] @ weight.transpose(2, 3)
            elif x.shape[3]:
                entering = x.reshape(networks, batch, steps, gates, n)[:, :, begin::period]
                drive = drive + entering[..., span].flatten(3)
            if bias is not None:
                drive = drive + rows(bias, span)[:, None, None]
            for latest, contribution in contributions:
                read = contribution[..., span].index_select(2, latest[begin:-1:period])
                heard = heard + read.flatten(3)
            modules.append(
                _Module(
                    span,
                    begin,
                    drive,
                    heard,
                    rows(weight_hh, span)[:, :, all_of_it].transpose(1, 2),
                    tuple(each[:, :, span] for each in own),
                    tuple(each[:, :, span] for each in state),
                )
            )
        for module, history in zip(modules, _in_turn(modules, period, step), strict=True):
            latest = latest_at(module.begin, period, steps, x.device)
            if lowest > 0:
                columns = rows(weight_hh, slice(lowest))[:, None, :, module.span].transpose(2, 3)
                read = history[0] @ columns  # (R, B, 1 + ticks, G first unit)
                contributions.append((latest, read.view(*read.shape[:3], gates, lowest)))
            outputs.append([each.index_select(2, latest[1:]) for each in history])
    # blocks came slowest first, the modules of one in their order
    order = [i for block in reversed(clock.blocks) for i in block]
    placed = [outputs[order.index(i)] for i in range(len(clock.sizes))]
    return tuple(torch.cat(each, dim=3) for each in zip(*placed, strict=True))


class _Module(NamedTuple):
    """A module of those that have one period."""

    span: slice  # its units
    begin: int  # step of its first tick
    drive: Tensor  # (R, B, ticks, G k) of the input
    heard: Tensor  # (R, B, ticks, G k) of slower modules
    across: Tensor  # (R, K, G k) weights from all units of the period
    own: tuple[Tensor, ...]  # (R, q, k)
    state: States  # (R, B, k)


def _in_turn(modules: list[_Module], period: int, step: reference.Step) -> list[list[Tensor]]:
    """(R, B, 1 + ticks, k) states of each module, those before its first tick in front."""
    turns = sorted(
        (module.begin + s * period, j, s)
        for j, module in enumerate(modules)
        for s in range(module.drive.shape[2])
    )
    held = [module.state for module in modules]
    histories = [[state] for state in held]
    for _, j, s in turns:
        module = modules[j]
        y = held[j][0] if len(held) == 1 else torch.cat([state[0] for state in held], dim=2)
        heard = module.heard[:, :, s] + y @ module.across
        held[j] = step(module.drive[:, :, s], heard, held[j], module.own)
        histories[j].append(held[j])
    return [
        [torch.stack(each, dim=2) for each in zip(*history, strict=True)] for history in histories
    ]


def _exported(arguments: Arguments) -> States:
    """As a loop of any length, for torch.export and ONNX; R = 1."""
    x, weight_ih, weight_hh, bias, own, state, clock, step, start = arguments
    device, gates = weight_hh.device, weight_hh.shape[1] // clock.hidden_size
    periods, phases = (
        torch.tensor(each.tolist(), device=device)
        for each in (clock.unit_periods, clock.unit_phases)
    )
    blocks = allowed(clock, periods).repeat(gates, 1)
    recurrent = torch.where(blocks, weight_hh, 0).transpose(1, 2)  # (1, n, G n)
    steps = torch.arange(x.shape[2], device=device)[:, None, None]  # (T, 1, 1)
    first = start[:, None] if isinstance(start, Tensor) else start  # (B, 1)
    ticks = (first + steps) % periods == phases  # (T, B or 1, n)

    def one(state: States, inputs: tuple[Tensor, Tensor]) -> tuple[States, States]:
        drive, active = inputs
        before = tuple(each[None] for each in state)
        new = step(drive[None], before[0] @ recurrent, before, own)
        state = tuple(torch.where(active, a[0], b) for a, b in zip(new, state, strict=True))
        return state, tuple(each.clone() for each in state)

    initial = tuple(exported.initial_state(x, weight_hh, each) for each in state)
    drives = exported.drive(x, weight_ih, weight_hh, bias)
    if weight_ih is None and x.shape[3]:
        drives = drives + x[0].transpose(0, 1)
    inputs = (drives, ticks)
    found: Any = exported.scan(one, initial, inputs)
    return tuple(map(exported.network, found))


def _unsupported_by_cascade(arguments: Arguments) -> str | None:
    if isinstance(arguments.start, Tensor):
        return "it does one start, not one for each sequence"
    return unsupported_by_cascade(arguments.clock)


def _fastest(arguments: Arguments) -> str:
    if exporting():
        return "exported"
    return "reference" if _unsupported_by_cascade(arguments) else "cascade"


BACKENDS = Backends(
    {
        "reference": Backend(_reference, does_all),
        "cascade": Backend(_cascade, _unsupported_by_cascade),
        "exported": Backend(_exported, lambda arguments: one_network(arguments.x)),
    },
    _fastest,
)
