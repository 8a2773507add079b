"""Recurrent kernels behind two functions; ``backend`` picks how, never what, is computed.

============  ==================================================================================
``reference`` eq. 1-4 step by step, any device and dtype: the oracle
``cascade``   module by module (clockwork only), any device and dtype
``compiled``  the cascade with compiled recurrences; CPU, float32 or float64, no second derivatives
``triton``    the cascade with one Triton kernel per module, or an LSTM in one; a GPU, float32
``torch``     torch's own, cuDNN's on a GPU (an SRN, or an LSTM without peepholes; one network)
``auto``      the fastest of these for the shape, from measurement (results/bench)
============  ==================================================================================

An explicit backend is obeyed, or refused with the reason.

The compiled training loop of task 1 (:mod:`.cpu.generation`) is a whole epoch, not a layer, and is
called by :mod:`cwrnn_cli.training` directly.
"""

import os

import torch
from torch import Tensor

from ..clock import Clock
from . import cascade, reference

CLOCKWORK_BACKENDS = ("auto", "reference", "cascade", "compiled", "triton", "torch")
TRITON_UNITS = 128  # k x k float32 numbers beyond that do not fit on chip
TRITON_CELLS = 64  # likewise four blocks of them
LSTM_BACKENDS = ("auto", "reference", "compiled", "triton", "torch")


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
    if backend not in CLOCKWORK_BACKENDS:
        raise ValueError(f"backend {backend!r}: expected one of {', '.join(CLOCKWORK_BACKENDS)}")
    obstacle = _not_compiled(weight_hh)
    if backend == "compiled" and obstacle:
        raise ValueError(f"backend 'compiled': {obstacle}; use 'cascade'")
    alien = None
    if clock.merged().periods != (1,):
        alien = "clock periods"
    elif x.shape[0] != 1:
        alien = f"{x.shape[0]} networks at once"
    elif weight_ih is None:
        alien = "no input"
    if backend == "torch":
        if alien:
            raise ValueError(f"backend 'torch': its RNN has no way to do {alien}; use 'cascade'")
        return _torch_srn(x, weight_ih, weight_hh, bias, h0)
    if backend == "auto":
        if alien is None and (obstacle or _wide(x, weight_hh)):
            return _torch_srn(x, weight_ih, weight_hh, bias, h0)
        backend = "cascade" if obstacle else "compiled"
    if backend == "compiled":
        from .cpu.clockwork import clockwork as compiled  # noqa: PLC0415  (imports Numba)

        return compiled(x, weight_ih, weight_hh, bias, h0, clock)
    if backend == "triton":
        if reason := _not_triton(weight_hh, max(clock.merged().sizes), TRITON_UNITS):
            raise ValueError(f"backend 'triton': {reason}; use 'cascade'")
        from .gpu.scan import scan  # noqa: PLC0415  (imports Triton)

        return cascade.clockwork(x, weight_ih, weight_hh, bias, h0, clock, scan)
    kernel = reference.clockwork if backend == "reference" else cascade.clockwork
    return kernel(x, weight_ih, weight_hh, bias, h0, clock)


def _wide(x: Tensor, weight_hh: Tensor) -> bool:
    """Whether an SRN is so large that torch's products beat ours (results/bench)."""
    return weight_hh.shape[2] >= 512 and x.shape[1] >= 32


def _torch_srn(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
) -> Tensor:
    assert weight_ih is not None
    state = x.new_zeros(1, x.shape[1], weight_hh.shape[2]) if h0 is None else h0
    weights = [weight_ih[0], weight_hh[0]]
    if bias is not None:
        weights += [bias[0], torch.zeros_like(bias[0])]  # torch has two that it adds
    y, _ = torch.rnn_tanh(x[0], state, weights, bias is not None, 1, 0.0, True, False, True)
    return y[None]


def _not_compiled(weight: Tensor) -> str | None:
    """Why the compiled kernels cannot do this, if they cannot."""
    if weight.device.type != "cpu":
        return f"it runs on the CPU, not on {weight.device.type}"
    if weight.dtype not in {torch.float32, torch.float64}:
        return f"it computes in float32 or float64, not {weight.dtype}"
    return None


def _not_triton(weight: Tensor, units: int, most: int) -> str | None:
    """Why the Triton kernel cannot do this, if it cannot."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if weight.device.type != "cuda" and not interpreted:
        return f"it runs on a GPU, not on {weight.device.type}"
    if weight.dtype != torch.float32 and not interpreted:
        return f"it computes in float32, not {weight.dtype}"
    if units > most:
        return f"it does at most {most} units at once, not {units}"
    return None


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (R, B, T, n) and last hidden and cell states (R, B, n) of R LSTM layers.

    Args:
        x: (R, B, T, m) inputs.
        weight_ih: (R, 4n, m) in the order i, f, g, o, or None where m is 0.
        weight_hh: (R, 4n, n).
        bias: (R, 4n), or None.
        peephole: (R, 3, n), or None.
        h0: (R, B, n), or None for zeros.
        c0: (R, B, n), or None for zeros.
        lengths: (B,) int64 valid steps of each sequence, whose last one gives the states; None: all
            T. Outputs behind them are undefined.
        backend: see the module.

    Raises:
        ValueError: no such backend, or one that cannot do this: with the reason.
    """
    if backend not in LSTM_BACKENDS:
        raise ValueError(f"backend {backend!r}: expected one of {', '.join(LSTM_BACKENDS)}")
    obstacle = None
    if peephole is not None:
        obstacle = "peepholes"
    elif x.shape[0] != 1:
        obstacle = f"{x.shape[0]} networks at once"
    elif weight_ih is None:
        obstacle = "no input"
    if backend == "torch" and obstacle:
        raise ValueError(f"backend 'torch': its LSTM has no way to do {obstacle}; use 'reference'")
    if backend == "compiled" and (reason := _not_compiled(weight_hh)):
        raise ValueError(f"backend 'compiled': {reason}; use 'reference'")
    if backend == "triton" and (reason := _not_triton(weight_hh, weight_hh.shape[2], TRITON_CELLS)):
        raise ValueError(f"backend 'triton': {reason}; use 'reference'")
    if backend == "auto":
        backend = _fastest_lstm(weight_hh, obstacle is None)
    if backend == "torch":
        assert weight_ih is not None
        return _torch_lstm(x, weight_ih, weight_hh, bias, h0, c0, lengths)
    if backend == "compiled":
        from .cpu.lstm import lstm as compiled  # noqa: PLC0415  (imports Numba)

        y, c = compiled(x, weight_ih, weight_hh, bias, peephole, h0, c0)
    elif backend == "triton":
        from .gpu.lstm import lstm as triton  # noqa: PLC0415  (imports Triton)

        y, c = triton(x, weight_ih, weight_hh, bias, peephole, h0, c0)
    else:
        y, c = reference.lstm(x, weight_ih, weight_hh, bias, peephole, h0, c0)
    return y, last_valid(y, lengths), last_valid(c, lengths)


def _fastest_lstm(weight_hh: Tensor, torch_can: bool) -> str:
    """The backend that was the fastest on shapes like this (results/bench)."""
    if _not_compiled(weight_hh):
        return "torch" if torch_can else "reference"
    return "torch" if torch_can and weight_hh.shape[2] > 512 else "compiled"


def last_valid(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """(R, B, n): the last valid step of each of (R, B, T, n)."""
    if lengths is None:
        return sequences[:, :, -1]
    steps = (lengths.to(sequences.device) - 1)[None, :, None, None]
    index = steps.expand(sequences.shape[0], -1, 1, sequences.shape[3])
    return sequences.gather(2, index).squeeze(2)


def _torch_lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
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
