"""The recurrence of clockwork layers (eq. 1-4); a simple recurrent network is one of period 1."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...clock import Clock
from .. import reference
from ..backend import Backend, Backends, does_all, unsupported_by_numba, unsupported_by_triton
from . import cascade

TRITON_UNITS = 128  # k x k float32 numbers beyond that do not fit on chip


class Arguments(NamedTuple):
    """Of :func:`.reference.clockwork`, in its order."""

    x: Tensor  # (R, B, T, m)
    weight_ih: Tensor | None  # (R, n, m)
    weight_hh: Tensor  # (R, n, n)
    bias: Tensor | None  # (R, n)
    h0: Tensor | None  # (R, B, n)
    clock: Clock


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    backend: str = "auto",
) -> Tensor:
    """(R, B, T, n) outputs of R clockwork layers; arguments as :func:`.reference.clockwork`.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    return BACKENDS.run(backend, Arguments(x, weight_ih, weight_hh, bias, h0, clock))


def _reference(arguments: Arguments) -> Tensor:
    return reference.clockwork(*arguments)


def _cascade(arguments: Arguments) -> Tensor:
    return cascade.clockwork(*arguments)


def _compiled(arguments: Arguments) -> Tensor:
    from . import compiled  # noqa: PLC0415  (imports Numba)

    return compiled.clockwork(*arguments)


def _triton(arguments: Arguments) -> Tensor:
    from .triton import scan  # noqa: PLC0415  (imports Triton)

    return cascade.clockwork(*arguments, scan)


def _torch(arguments: Arguments) -> Tensor:
    """An SRN by torch, cuDNN on a GPU."""
    x, weight_ih, weight_hh, bias, h0, _ = arguments
    assert weight_ih is not None
    state = x.new_zeros(1, x.shape[1], weight_hh.shape[2]) if h0 is None else h0
    weights = [weight_ih[0], weight_hh[0]]
    if bias is not None:
        weights += [bias[0], torch.zeros_like(bias[0])]  # torch has two that it adds
    y, _ = torch.rnn_tanh(x[0], state, weights, bias is not None, 1, 0.0, True, False, True)
    return y[None]


def _unsupported_by_numba(arguments: Arguments) -> str | None:
    return unsupported_by_numba(arguments.weight_hh)


def _unsupported_by_triton(arguments: Arguments) -> str | None:
    units = max(arguments.clock.merged().sizes)
    return unsupported_by_triton(arguments.weight_hh, units, TRITON_UNITS)


def _unsupported_by_torch(arguments: Arguments) -> str | None:
    unsupported = None
    if arguments.clock.merged().periods != (1,):
        unsupported = "clock periods"
    elif arguments.x.shape[0] != 1:
        unsupported = f"{arguments.x.shape[0]} networks at once"
    elif arguments.weight_ih is None:
        unsupported = "no input"
    return f"its RNN has no way to do {unsupported}" if unsupported else None


def _fastest(arguments: Arguments) -> str:
    """The backend that was the fastest on shapes like this (results/bench)."""
    compiled = not _unsupported_by_numba(arguments)
    # an SRN so large that torch's products beat ours
    wide = arguments.weight_hh.shape[2] >= 512 and arguments.x.shape[1] >= 32
    if (wide or not compiled) and not _unsupported_by_torch(arguments):
        return "torch"
    return "compiled" if compiled else "cascade"


BACKENDS = Backends(
    {
        "reference": Backend(_reference, does_all),
        "cascade": Backend(_cascade, does_all),
        "compiled": Backend(_compiled, _unsupported_by_numba),
        "triton": Backend(_triton, _unsupported_by_triton),
        "torch": Backend(_torch, _unsupported_by_torch),
    },
    _fastest,
    general="cascade",
)
