"""The recurrence of LSTM layers, with or without peepholes."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import reference
from ..backend import (
    Backend,
    Backends,
    compiling,
    does_all,
    exporting,
    one_network,
    unsupported_by_graph,
    unsupported_by_numba,
    unsupported_by_torch,
    unsupported_by_triton,
)
from ..sequences import last_valid

# of a Triton program, by the cells that it does at the most; more do not fit on chip
WARPS = {16: 4, 32: 8, 64: 16}

Outputs = tuple[Tensor, Tensor, Tensor]  # (R, B, T, n) outputs; last outputs and cells (R, B, n)


class Arguments(NamedTuple):
    """Of :func:`.reference.lstm`, in its order, and the sequences' lengths."""

    x: Tensor  # (R, B, T, m); without W_I, if not m = 0, what enters the gates (R, B, T, 4n)
    weight_ih: Tensor | None  # (R, 4n, m)
    weight_hh: Tensor  # (R, 4n, n)
    bias: Tensor | None  # (R, 4n)
    peephole: Tensor | None  # (R, 3, n)
    h0: Tensor | None  # (R, B, n)
    c0: Tensor | None  # (R, B, n)
    lengths: Tensor | None  # (B,)
    cell_output: str = "tanh"
    delta_clip: float | None = None


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Tensor | None = None,
    backend: str = "auto",
    cell_output: str = "tanh",
    delta_clip: float | None = None,
) -> Outputs:
    """Outputs (R, B, T, n) and last hidden and cell states (R, B, n) of R LSTM layers.

    Args:
        x: (R, B, T, m) inputs.
        weight_ih: (R, 4n, m) in the order i, f, g, o, or None where m is 0, or where x is what
            enters the gates already, (R, B, T, 4n).
        weight_hh: (R, 4n, n).
        bias: (R, 4n), or None.
        peephole: (R, 3, n), or None.
        h0: (R, B, n), or None for zeros.
        c0: (R, B, n), or None for zeros.
        lengths: (B,) int64 valid steps of each sequence, whose last one gives the states; None: all
            T. Outputs behind them are undefined.
        backend: see :mod:`cwrnn_cli.kernels`.
        cell_output: of :data:`.reference.CELL_OUTPUTS`.
        delta_clip: see :func:`.reference.lstm`.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    arguments = Arguments(
        x, weight_ih, weight_hh, bias, peephole, h0, c0, lengths, cell_output, delta_clip
    )
    return BACKENDS.run(backend, arguments)


def _with_states(y: Tensor, c: Tensor, lengths: Tensor | None) -> Outputs:
    """Outputs and cells, (R, B, T, n) each, to the outputs and what is left at each end."""
    return y, last_valid(y, lengths), last_valid(c, lengths)


def _reference(arguments: Arguments) -> Outputs:
    y, c = reference.lstm(*arguments[:7], arguments.cell_output, arguments.delta_clip)
    return _with_states(y, c, arguments.lengths)


def _compiled(arguments: Arguments) -> Outputs:
    from . import compiled  # noqa: PLC0415  (imports Numba)

    y, c = compiled.lstm(*arguments[:7], arguments.cell_output, arguments.delta_clip)
    return _with_states(y, c, arguments.lengths)


def _triton(arguments: Arguments) -> Outputs:
    from . import triton  # noqa: PLC0415  (imports Triton)

    return _with_states(*triton.lstm(*arguments[:7]), arguments.lengths)


def _graph(arguments: Arguments) -> Outputs:
    from . import graph  # noqa: PLC0415  (as the others)

    return _with_states(*graph.lstm(*arguments[:7]), arguments.lengths)


def _exported(arguments: Arguments) -> Outputs:
    from . import exported  # noqa: PLC0415  (imports torch's scan)

    return _with_states(*exported.lstm(*arguments[:7], arguments.cell_output), arguments.lengths)


def _torch(arguments: Arguments) -> Outputs:
    """By torch, cuDNN on a GPU."""
    x, weight_ih, weight_hh, bias, _, h0, c0, lengths, *_ = arguments
    assert weight_ih is not None
    n = weight_hh.shape[2]
    zeros = x.new_zeros(1, x.shape[1], n)
    state = (zeros if h0 is None else h0, zeros if c0 is None else c0)
    weights = [weight_ih[0], weight_hh[0]]
    if bias is not None:
        weights += [bias[0], torch.zeros_like(bias[0])]  # torch has two that it adds
    if lengths is None:
        y, h, c = torch.lstm(x[0], state, weights, bias is not None, 1, 0.0, True, False, True)
        return y[None], h, c
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x[0], lengths.cpu(), batch_first=True, enforce_sorted=False
    )
    order = packed.sorted_indices
    assert order is not None and packed.unsorted_indices is not None
    sorted_state = tuple(s.index_select(1, order) for s in state)
    data, h, c = torch.lstm(
        packed.data,
        packed.batch_sizes,
        sorted_state,
        weights,
        bias is not None,
        1,
        0.0,
        True,
        False,
    )
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(
        packed._replace(data=data), batch_first=True, total_length=x.shape[2]
    )
    back = packed.unsorted_indices
    return y[None], h.index_select(1, back), c.index_select(1, back)


_CLIPS_NO_DELTAS = "it does not clip deltas"


def _unsupported_by_numba(arguments: Arguments) -> str | None:
    if arguments.delta_clip is not None and compiling():
        return f"{_CLIPS_NO_DELTAS} under torch.compile"
    return unsupported_by_numba(arguments.weight_hh)


def _unsupported_by_scan(arguments: Arguments) -> str | None:
    """By what does the recurrence only."""
    if arguments.cell_output != "tanh":
        return f"its cells give out tanh, not {arguments.cell_output}"
    return None if arguments.delta_clip is None else _CLIPS_NO_DELTAS


def _unsupported_by_triton(arguments: Arguments) -> str | None:
    weight = arguments.weight_hh
    by_kernel = unsupported_by_triton(weight, weight.shape[2], max(WARPS))
    return _unsupported_by_scan(arguments) or by_kernel


def _unsupported_by_graph(arguments: Arguments) -> str | None:
    return _unsupported_by_scan(arguments) or unsupported_by_graph(arguments.weight_hh)


def _unsupported_by_torch(arguments: Arguments) -> str | None:
    unsupported = None
    if arguments.peephole is not None:
        unsupported = "peepholes"
    elif arguments.cell_output != "tanh":
        unsupported = f"cells that give out {arguments.cell_output}"
    elif arguments.delta_clip is not None:
        unsupported = "the clipping of deltas"
    elif arguments.x.shape[0] != 1:
        unsupported = f"{arguments.x.shape[0]} networks at once"
    elif arguments.weight_ih is None:
        unsupported = "no input"
    return f"its LSTM has no way to do {unsupported}" if unsupported else unsupported_by_torch()


def _unsupported_by_export(arguments: Arguments) -> str | None:
    return one_network(arguments.x) if arguments.delta_clip is None else _CLIPS_NO_DELTAS


def _fastest(arguments: Arguments) -> str:
    """The backend that was the fastest on shapes like this (results/bench); on a GPU, a guess.

    Nothing has been measured there: torch's cuDNN, if it can, else one kernel for all steps, or if
    there are too many cells for that, one graph for many of them.
    """
    if exporting():
        return "exported"
    by_torch = not _unsupported_by_torch(arguments)
    if _unsupported_by_numba(arguments):
        if not by_torch and arguments.weight_hh.is_cuda:
            if not _unsupported_by_triton(arguments):
                return "triton"
            if not _unsupported_by_graph(arguments):
                return "graph"
        return "torch" if by_torch else "reference"
    return "torch" if by_torch and arguments.weight_hh.shape[2] > 512 else "compiled"


BACKENDS = Backends(
    {
        "reference": Backend(_reference, does_all),
        "compiled": Backend(_compiled, _unsupported_by_numba),
        "triton": Backend(_triton, _unsupported_by_triton),
        "graph": Backend(_graph, _unsupported_by_graph),
        "exported": Backend(_exported, _unsupported_by_export),
        "torch": Backend(_torch, _unsupported_by_torch),
    },
    _fastest,
)
