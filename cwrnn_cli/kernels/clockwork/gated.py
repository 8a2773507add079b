"""Any cell on the clock: a module's gates, cells and outputs all hold between its ticks.

A cell is a :data:`~..reference.Step`. The weights of its G gates stand one below the other, and the
clock's mask holds for each of them. So the cascade holds, too (:mod:`.cascade`): the slowest module
first, over its own ticks; what its outputs contribute to the gates of faster ones is one product.
What is left of a module that has its period alone is a layer without a clock, which may be compiled
(:data:`Layer`).
"""

from collections.abc import Callable
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...clock import Clock
from .. import exported, reference
from ..backend import Backend, Backends, does_all, exporting, one_network, unsupported_by_numba
from ..sequences import one_start
from . import unsupported_by_cascade
from .exported import allowed

States = tuple[Tensor, ...]

# All steps of a cell without a clock, at least one: what enters from outside and from others'
# outputs (R, B, T, G k) each, its own weights (R, G k, k), what each unit has for itself (R, q, k),
# and the states (R, B, k) before the first step, to those at every step, (R, B, T, k).
Layer = Callable[[Tensor, Tensor, Tensor, States, States], States]


class Arguments(NamedTuple):
    """Of :func:`.reference.clocked`, in its order, and what else does the cell's steps."""

    x: Tensor  # (R, B, T, m); without W_I, if not m = 0, what enters the gates (R, B, T, G n)
    weight_ih: Tensor | None  # (R, G n, m)
    weight_hh: Tensor  # (R, G n, n)
    bias: Tensor | None  # (R, G n)
    own: tuple[Tensor, ...]  # (R, q, n)
    state: States  # (R, B, n)
    clock: Clock
    step: reference.Step
    start: int | Tensor = 0  # (B,) int64
    layer: Layer | None = None  # compiled; None: there is none


def clocked(backend: str, arguments: Arguments) -> States:
    """(R, B, T, n) states at every step, the outputs first.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    if (start := one_start(arguments.start)) is not None:
        arguments = arguments._replace(start=start)
    return BACKENDS.run(backend, arguments)


def _reference(arguments: Arguments) -> States:
    return reference.clocked(*arguments[:9])


def _cascade(arguments: Arguments) -> States:
    return _by_modules(arguments._replace(layer=None))


def _compiled(arguments: Arguments) -> States:
    return _by_modules(arguments)


def _by_modules(arguments: Arguments) -> States:
    """The cascade; modules that have their period alone by the layer, if there is one."""
    x, weight_ih, weight_hh, bias, own, state, clock, step, start, layer = arguments
    assert isinstance(start, int)
    networks, batch, steps, _ = x.shape
    clock = clock.merged()
    n, starts = clock.hidden_size, clock.starts
    gates = weight_hh.shape[1] // n

    def rows(tensor: Tensor, span: slice) -> Tensor:
        """(R, G k, ...) of (R, G n, ...): a module's rows of every gate."""
        return tensor.reshape(networks, gates, n, *tensor.shape[2:])[:, :, span].flatten(1, 2)

    slower: list[_Contribution] = []
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
                drive = _product(x[:, :, begin::period], rows(weight_ih, span).transpose(1, 2))
            elif x.shape[3]:
                entering = x.reshape(networks, batch, steps, gates, n)[:, :, begin::period]
                drive = entering[..., span].flatten(3)
            if bias is not None:
                drive = drive + rows(bias, span)[:, None, None]
            for contribution in slower:
                heard = heard + contribution.to(span, begin, period, count)
            modules.append(
                _Module(
                    span,
                    begin,
                    drive,
                    heard,
                    rows(weight_hh, span)[:, :, all_of_it],
                    tuple(each[:, :, span] for each in own),
                    tuple(each[:, :, span] for each in state),
                )
            )
        first = modules[0]
        if layer is not None and len(modules) == 1 and first.drive.shape[2]:
            ran = [layer(first.drive, first.heard, first.weight, first.own, first.state)]
        else:
            ran = _in_turn(modules, period, step)
        for module, ticks in zip(modules, ran, strict=True):
            if lowest > 0:
                columns = rows(weight_hh, slice(lowest))[:, :, module.span].transpose(1, 2)
                hidden = torch.cat([module.state[0][:, :, None], ticks[0]], dim=2)
                read = _product(hidden, columns)
                read = read.view(*read.shape[:3], gates, lowest)
                slower.append(_Contribution(module.begin, period, read))
            outputs.append(
                [
                    _held(*values, module.begin, period, steps)
                    for values in zip(module.state, ticks, strict=True)
                ]
            )
    # blocks came slowest first, the modules of one in their order
    order = [i for block in reversed(clock.blocks) for i in block]
    placed = [outputs[order.index(i)] for i in range(len(clock.sizes))]
    return tuple(torch.cat(each, dim=3) for each in zip(*placed, strict=True))


class _Contribution(NamedTuple):
    """What a module contributes to the gates of all faster ones."""

    begin: int  # step of its first tick
    period: int
    read: Tensor  # (R, B, 1 + ticks, G, their units), of its outputs; the initial ones first

    def to(self, span: slice, begin: int, period: int, count: int) -> Tensor:
        """(R, B, count, G k): what a module of these units reads at its ticks, of the step before.

        In the rhythm of what divides both periods each entry is read for the same time.
        """
        rhythm = gcd(self.period, period)
        since = -((begin - 1 - self.begin) // rhythm)  # its first tick is read from there on
        own = self.read[..., span].flatten(3)
        every = period // rhythm
        steps = (count - 1) * every + 1 if count else 0
        return _held(own[:, :, 0], own[:, :, 1:], since, self.period // rhythm, steps)[
            :, :, ::every
        ]


class _Module(NamedTuple):
    """A module of those that have one period."""

    span: slice  # its units
    begin: int  # step of its first tick
    drive: Tensor  # (R, B, ticks, G k) of the input
    heard: Tensor  # (R, B, ticks, G k) of slower modules
    weight: Tensor  # (R, G k, K) from all units of the period
    own: tuple[Tensor, ...]  # (R, q, k)
    state: States  # (R, B, k)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """(R, B, T, p) of (R, B, T, m) and (R, m, p): one product for each network."""
    found = x.flatten(1, 2) @ weight
    return found.view(*x.shape[:3], found.shape[2])


def _held(first: Tensor, ticks: Tensor, begin: int, period: int, steps: int) -> Tensor:
    """(R, B, T, k): what holds at each step.

    Args:
        first: (R, B, k) before the first tick.
        ticks: (R, B, ticks, k), as many as there are in these steps at least.
        begin: step of the first of them; may be negative.
        period: steps from tick to tick.
        steps: T.
    """
    late, passed = min(max(begin, 0), steps), max(-begin, 0)
    held = first[:, :, None].expand(-1, -1, late, -1)
    rest = steps - late
    if not rest:
        return held
    each = min(period, passed + rest)  # a period may be longer than any memory
    used = ticks[:, :, : -(-(passed + rest) // each), None].expand(-1, -1, -1, each, -1)
    after = used.flatten(2, 3)[:, :, passed : passed + rest]
    return torch.cat([held, after], dim=2) if late else after


def _in_turn(modules: list[_Module], period: int, step: reference.Step) -> list[States]:
    """(R, B, ticks, k) states of each module."""
    turns = sorted(
        (module.begin + s * period, j, s)
        for j, module in enumerate(modules)
        for s in range(module.drive.shape[2])
    )
    held = [module.state for module in modules]
    across = [module.weight.transpose(1, 2) for module in modules]
    histories: list[list[States]] = [[] for _ in modules]
    for _, j, s in turns:
        module = modules[j]
        y = held[j][0] if len(held) == 1 else torch.cat([state[0] for state in held], dim=2)
        heard = module.heard[:, :, s] + y @ across[j]
        held[j] = step(module.drive[:, :, s], heard, held[j], module.own)
        histories[j].append(held[j])
    return [
        tuple(torch.stack(each, dim=2) for each in zip(*history, strict=True))
        if history
        else tuple(each[:, :, None][:, :, :0] for each in module.state)
        for module, history in zip(modules, histories, strict=True)
    ]


def _exported(arguments: Arguments) -> States:
    """As a loop of any length, for torch.export and ONNX; R = 1."""
    x, weight_ih, weight_hh, bias, own, state, clock, step, start, _ = arguments
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
    inputs = (exported.drive(x, weight_ih, weight_hh, bias), ticks)
    found: Any = exported.scan(one, initial, inputs)
    return tuple(map(exported.network, found))


def _unsupported_by_cascade(arguments: Arguments) -> str | None:
    if isinstance(arguments.start, Tensor):
        return "it does one start, not one for each sequence"
    return unsupported_by_cascade(arguments.clock)


def _unsupported_by_compiled(arguments: Arguments) -> str | None:
    if reason := _unsupported_by_cascade(arguments):
        return reason
    if arguments.layer is None:
        return "no layer is compiled for such modules, nor one that clips deltas in torch.compile"
    return unsupported_by_numba(arguments.weight_hh)


def _fastest(arguments: Arguments) -> str:
    if exporting():
        return "exported"
    if _unsupported_by_cascade(arguments):
        return "reference"
    return "cascade" if _unsupported_by_compiled(arguments) else "compiled"


BACKENDS = Backends(
    {
        "reference": Backend(_reference, does_all),
        "cascade": Backend(_cascade, _unsupported_by_cascade),
        "compiled": Backend(_compiled, _unsupported_by_compiled),
        "exported": Backend(_exported, lambda arguments: one_network(arguments.x)),
    },
    _fastest,
)
