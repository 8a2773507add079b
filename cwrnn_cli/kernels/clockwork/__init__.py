"""The recurrence of clockwork layers (eq. 1-4); a simple recurrent network is one of period 1."""

from math import lcm
from typing import NamedTuple

import torch
from torch import Tensor

from ...clock import Clock
from .. import reference
from ..backend import (
    Backend,
    Backends,
    compiling,
    does_all,
    exporting,
    one_network,
    traced,
    unsupported_by_graph,
    unsupported_by_numba,
    unsupported_by_torch,
    unsupported_by_triton,
)
from . import cascade

_STARTS = 8  # different ones at most, one after the other; 64 were faster step by step
# of a Triton program, by the units of a module that it does at the most; more do not fit on chip
WARPS = {16: 1, 32: 2, 64: 4, 128: 8}


class Arguments(NamedTuple):
    """Of :func:`.reference.clockwork`, in its order."""

    x: Tensor  # (R, B, T, m)
    weight_ih: Tensor | None  # (R, n, m)
    weight_hh: Tensor  # (R, n, n)
    bias: Tensor | None  # (R, n)
    h0: Tensor | None  # (R, B, n)
    clock: Clock
    start: int | Tensor = 0  # (B,) int64
    nonlinearity: str = "tanh"
    delta_clip: float | None = None


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    backend: str = "auto",
    start: int | Tensor = 0,
    nonlinearity: str = "tanh",
    delta_clip: float | None = None,
) -> Tensor:
    """(R, B, T, n) outputs of R clockwork layers; arguments as :func:`.reference.clockwork`.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    if clock.merged().periods == (1,):
        start = 0  # all steps are ticks
    arguments = Arguments(x, weight_ih, weight_hh, bias, h0, clock, start, nonlinearity, delta_clip)
    if isinstance(start, Tensor) and backend != "reference" and not traced():
        return _each_start(backend, arguments, start)
    return BACKENDS.run(backend, arguments)


def _each_start(backend: str, arguments: Arguments, start: Tensor) -> Tensor:
    """Sequences that start at the same place in the clock's round together."""
    phases = start.to(arguments.x.device)
    if (steps := lcm(*arguments.clock.periods)) < 1 << 63:
        phases = phases % steps
    places = phases.unique().tolist()  # type: ignore[no-untyped-call]
    if len(places) <= 1:
        return BACKENDS.run(backend, arguments._replace(start=places[0] if places else 0))
    if backend == "auto" and len(places) > _STARTS:
        backend = "reference"
    if backend == "reference":
        return BACKENDS.run(backend, arguments._replace(start=phases))
    rows = [(phases == place).nonzero().squeeze(1) for place in places]
    x, h0 = arguments.x, arguments.h0
    outputs = [
        BACKENDS.run(
            backend,
            arguments._replace(
                x=x.index_select(1, row),
                h0=None if h0 is None else h0.index_select(1, row),
                start=place,
            ),
        )
        for place, row in zip(places, rows, strict=True)
    ]
    return torch.cat(outputs, dim=1).index_select(1, torch.cat(rows).argsort())


def _reference(arguments: Arguments) -> Tensor:
    return reference.clockwork(*arguments)


def _cascade(arguments: Arguments) -> Tensor:
    return cascade.clockwork(*arguments[:6], _one_start(arguments), arguments.nonlinearity)


def _compiled(arguments: Arguments) -> Tensor:
    from . import compiled  # noqa: PLC0415  (imports Numba)

    return compiled.clockwork(*arguments[:6], _one_start(arguments), arguments.delta_clip)


def _triton(arguments: Arguments) -> Tensor:
    from .triton import scan  # noqa: PLC0415  (imports Triton)

    return cascade.clockwork(*arguments[:6], _one_start(arguments), "tanh", scan)


def _graph(arguments: Arguments) -> Tensor:
    from .graph import scan  # noqa: PLC0415  (as the others)

    return cascade.clockwork(*arguments[:6], _one_start(arguments), "tanh", scan)


def _one_start(arguments: Arguments) -> int:
    """For a backend that cannot do several."""
    assert isinstance(arguments.start, int)
    return arguments.start


def _exported(arguments: Arguments) -> Tensor:
    from . import exported  # noqa: PLC0415  (imports torch's scan)

    return exported.clockwork(*arguments[:8])


def _torch(arguments: Arguments) -> Tensor:
    """An SRN by torch, cuDNN on a GPU."""
    x, weight_ih, weight_hh, bias, h0, _clock, _start, nonlinearity, _ = arguments
    assert weight_ih is not None
    state = x.new_zeros(1, x.shape[1], weight_hh.shape[2]) if h0 is None else h0
    weights = [weight_ih[0], weight_hh[0]]
    if bias is not None:
        weights += [bias[0], torch.zeros_like(bias[0])]  # torch has two that it adds
    run = torch.rnn_tanh if nonlinearity == "tanh" else torch.rnn_relu
    y, _ = run(x[0], state, weights, bias is not None, 1, 0.0, True, False, True)
    return y[None]


_CLIPS_NO_DELTAS = "it does not clip deltas"


def unsupported_by_cascade(clock: Clock) -> str | None:
    """Why the slowest module cannot be computed first, if it cannot."""
    if clock.cascades:
        return None
    return f"it runs slow modules first, and with the mask {clock.feeds!r} fast ones feed them"


def _unsupported_by_cascade(arguments: Arguments) -> str | None:
    if reason := unsupported_by_cascade(arguments.clock):
        return reason
    if arguments.delta_clip is not None:
        return _CLIPS_NO_DELTAS
    if isinstance(arguments.start, Tensor):  # only when traced: else each start is done by itself
        return "it is traced for one start, not for a tensor of them"
    return None


def _unsupported_by_numba(arguments: Arguments) -> str | None:
    if arguments.nonlinearity != "tanh":
        return f"it has no {arguments.nonlinearity}"
    if reason := unsupported_by_cascade(arguments.clock):
        return reason
    if not arguments.clock.chained:
        return "it runs module after module, and those of one period with several offsets cannot"
    if arguments.clock.offsets and compiling():
        return "it has no offsets under torch.compile"
    if arguments.delta_clip is not None and compiling():
        return f"{_CLIPS_NO_DELTAS} under torch.compile"
    return unsupported_by_numba(arguments.weight_hh)


def _unsupported_by_scan(arguments: Arguments) -> str | None:
    """By the cascade with a scan of its own."""
    if arguments.nonlinearity != "tanh":
        return f"it has no {arguments.nonlinearity}"
    if arguments.delta_clip is not None:
        return _CLIPS_NO_DELTAS
    return unsupported_by_cascade(arguments.clock)


def _unsupported_by_triton(arguments: Arguments) -> str | None:
    units = max(arguments.clock.merged().sizes)
    by_kernel = unsupported_by_triton(arguments.weight_hh, units, max(WARPS))
    return _unsupported_by_scan(arguments) or by_kernel


def _unsupported_by_graph(arguments: Arguments) -> str | None:
    return _unsupported_by_scan(arguments) or unsupported_by_graph(arguments.weight_hh)


def _unsupported_by_torch(arguments: Arguments) -> str | None:
    unsupported = None
    if arguments.clock.merged().periods != (1,):
        unsupported = "clock periods"
    elif arguments.x.shape[0] != 1:
        unsupported = f"{arguments.x.shape[0]} networks at once"
    elif arguments.weight_ih is None:
        unsupported = "no input"
    elif arguments.delta_clip is not None:
        unsupported = "the clipping of deltas"
    return f"its RNN has no way to do {unsupported}" if unsupported else unsupported_by_torch()


def _unsupported_by_export(arguments: Arguments) -> str | None:
    return one_network(arguments.x) if arguments.delta_clip is None else _CLIPS_NO_DELTAS


def _fastest(arguments: Arguments) -> str:
    """The backend that was the fastest on shapes like this (results/bench); on a GPU, a guess.

    Nothing has been measured there. A tick that torch launches step by step takes microseconds for
    a product that takes less; so one kernel for all ticks, or if a module is too wide for that, one
    graph for many of them.
    """
    if exporting():
        return "exported"
    clips = arguments.delta_clip is not None and _unsupported_by_numba(arguments) is not None
    if isinstance(arguments.start, Tensor) or clips or not arguments.clock.cascades:
        return "reference"
    if not _unsupported_by_numba(arguments):
        return "compiled"
    if not _unsupported_by_torch(arguments):
        return "torch"
    if arguments.weight_hh.is_cuda:
        if not _unsupported_by_triton(arguments):
            return "triton"
        if not _unsupported_by_graph(arguments):
            return "graph"
    return "cascade"


BACKENDS = Backends(
    {
        "reference": Backend(_reference, does_all),
        "cascade": Backend(_cascade, _unsupported_by_cascade),
        "compiled": Backend(_compiled, _unsupported_by_numba),
        "triton": Backend(_triton, _unsupported_by_triton),
        "graph": Backend(_graph, _unsupported_by_graph),
        "exported": Backend(_exported, _unsupported_by_export),
        "torch": Backend(_torch, _unsupported_by_torch),
    },
    _fastest,
)
