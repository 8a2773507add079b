"""The recurrence of GRU layers."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import reference
from ..backend import (
    Backend,
    Backends,
    does_all,
    exporting,
    one_network,
    unsupported_by_numba,
    unsupported_by_torch,
)


class Arguments(NamedTuple):
    """Of :func:`.reference.gru`, in its order."""

    x: Tensor  # (R, B, T, m); without W_I, if not m = 0, what enters the gates (R, B, T, 3n)
    weight_ih: Tensor | None  # (R, 3n, m)
    weight_hh: Tensor  # (R, 3n, n)
    bias: Tensor | None  # (R, 3n)
    bias_hn: Tensor | None  # (R, n)
    h0: Tensor | None  # (R, B, n)


def gru(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None = None,
    h0: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """(R, B, T, n) outputs of R GRU layers; arguments as :func:`.reference.gru`.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    return BACKENDS.run(backend, Arguments(x, weight_ih, weight_hh, bias, bias_hn, h0))


def _reference(arguments: Arguments) -> Tensor:
    return reference.gru(*arguments)


def _compiled(arguments: Arguments) -> Tensor:
    from . import compiled  # noqa: PLC0415  (imports Numba)

    return compiled.gru(*arguments)


def _exported(arguments: Arguments) -> Tensor:
    """As a loop of any length, for torch.export and ONNX; R = 1."""
    from .. import exported  # noqa: PLC0415  (imports torch's scan)

    x, weight_ih, weight_hh, bias, bias_hn, h0 = arguments
    across, own = weight_hh[0].T, None if bias_hn is None else bias_hn[0]

    def step(y: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        y = reference.gru_step(drive, y @ across, y, own)
        return y, y.clone()

    inputs = exported.drive(x, weight_ih, weight_hh, bias)
    initial = exported.initial_state(x, weight_hh, h0)
    return exported.network(exported.scan(step, initial, inputs))


def _torch(arguments: Arguments) -> Tensor:
    """By torch, cuDNN on a GPU."""
    x, weight_ih, weight_hh, bias, bias_hn, h0 = arguments
    assert weight_ih is not None
    n = weight_hh.shape[2]
    state = x.new_zeros(1, x.shape[1], n) if h0 is None else h0
    weights = [weight_ih[0], weight_hh[0]]
    has_bias = bias is not None or bias_hn is not None
    if has_bias:  # torch has two that it adds, but for the one that r scales
        outer = x.new_zeros(3 * n) if bias is None else bias[0]
        own = x.new_zeros(n) if bias_hn is None else bias_hn[0]
        weights += [outer, torch.cat([outer.new_zeros(2 * n), own])]
    y, _ = torch.gru(x[0], state, weights, has_bias, 1, 0.0, True, False, True)
    return y[None]


def _unsupported_by_torch(arguments: Arguments) -> str | None:
    unsupported = None
    if arguments.x.shape[0] != 1:
        unsupported = f"{arguments.x.shape[0]} networks at once"
    elif arguments.weight_ih is None:
        unsupported = "no input"
    return f"its GRU has no way to do {unsupported}" if unsupported else unsupported_by_torch()


def _unsupported_by_numba(arguments: Arguments) -> str | None:
    return unsupported_by_numba(arguments.weight_hh)


def _fastest(arguments: Arguments) -> str:
    """What is compiled, as results/bench/layer-gated has it; of more units, a guess: as an LSTM."""
    if exporting():
        return "exported"
    by_torch = not _unsupported_by_torch(arguments)
    if _unsupported_by_numba(arguments):
        return "torch" if by_torch else "reference"
    return "torch" if by_torch and arguments.weight_hh.shape[2] > 512 else "compiled"


BACKENDS = Backends(
    {
        "reference": Backend(_reference, does_all),
        "compiled": Backend(_compiled, _unsupported_by_numba),
        "exported": Backend(_exported, lambda arguments: one_network(arguments.x)),
        "torch": Backend(_torch, _unsupported_by_torch),
    },
    _fastest,
)
