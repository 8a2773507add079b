"""The cells as a loop inside of the graph, for torch.export and ONNX: any length, any batch.

The other backends leave a graph of one length behind, with every step written out. Here a step is
the body of torch's `scan`, which stays a loop in the exported program. One network, R = 1;
arguments as in :mod:`.reference`, whose results these are.
"""

import logging
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan

from ..clock import Clock
from .reference import NONLINEARITIES

# it sets itself to DEBUG when it is imported, and then prints every graph
logging.getLogger("torch._higher_order_ops.partitioner").setLevel(logging.WARNING)


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    start: int | Tensor = 0,
    nonlinearity: str = "tanh",
) -> Tensor:
    """As :func:`.reference.clockwork`: (1, B, T, n)."""
    squash = NONLINEARITIES[nonlinearity]
    modules = zip(clock.periods, clock.sizes, strict=True)
    periods = torch.tensor([p for p, k in modules for _ in range(k)], device=weight_hh.device)
    allowed = periods[:, None] <= periods  # eq. 3-4
    recurrent = torch.where(allowed, weight_hh[0], 0).T  # (n, n)
    steps = torch.arange(x.shape[2], device=x.device)[:, None, None]  # (T, 1, 1)
    first = start[:, None] if isinstance(start, Tensor) else start  # (B, 1)
    ticks = (first + steps) % periods == 0  # (T, B or 1, n)

    def step(y: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        drive, active = inputs
        y = torch.where(active, squash(drive + y @ recurrent), y)
        return y, y.clone()

    drive = _drive(x, weight_ih, weight_hh, bias)
    _, outputs = scan(step, _initial(x, weight_hh, h0), (drive, ticks))
    return _network(outputs)


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As :func:`.reference.lstm`: outputs and cells, (1, B, T, n) each."""
    recurrent = weight_hh[0].T
    see = None if peephole is None else peephole[0]  # (3, n)

    def step(state: tuple[Tensor, Tensor], drive: Tensor) -> Any:
        h, c = state
        zi, zf, zg, zo = (drive + h @ recurrent).chunk(4, dim=1)
        if see is not None:
            zi = zi + see[0] * c
            zf = zf + see[1] * c
        c = torch.sigmoid(zf) * c + torch.sigmoid(zi) * torch.tanh(zg)
        if see is not None:
            zo = zo + see[2] * c
        h = torch.sigmoid(zo) * torch.tanh(c)
        return (h, c), (h.clone(), c.clone())

    state = (_initial(x, weight_hh, h0), _initial(x, weight_hh, c0))
    _, (outputs, cells) = scan(step, state, _drive(x, weight_ih, weight_hh, bias))
    return _network(outputs), _network(cells)


def gru(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None,
    h0: Tensor | None,
) -> Tensor:
    """Outputs (1, B, T, n) of a GRU."""
    recurrent = weight_hh[0].T

    def step(y: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        r_in, z_in, n_in = drive.chunk(3, dim=1)
        r_own, z_own, n_own = (y @ recurrent).chunk(3, dim=1)
        if bias_hn is not None:
            n_own = n_own + bias_hn[0]
        new = torch.tanh(n_in + torch.sigmoid(r_in + r_own) * n_own)
        z = torch.sigmoid(z_in + z_own)
        y = (1 - z) * new + z * y
        return y, y.clone()

    initial = _initial(x, weight_hh, h0)
    _, outputs = scan(step, initial, _drive(x, weight_ih, weight_hh, bias))
    return _network(outputs)


def _network(outputs: Tensor) -> Tensor:
    """(T, B, n) to (1, B, T, n)."""
    return outputs.transpose(0, 1)[None]


def _initial(x: Tensor, weight_hh: Tensor, given: Tensor | None) -> Tensor:
    """(B, n)."""
    zeros = weight_hh.new_zeros(x.shape[1], weight_hh.shape[2])
    # torch 2.11's scan has wrong gradients, without a word, where its initial state has none
    # (pytorch issue 184528): a zero that has
    return (zeros if given is None else given[0]) + 0 * weight_hh.sum()


def _drive(x: Tensor, weight_ih: Tensor | None, weight_hh: Tensor, bias: Tensor | None) -> Tensor:
    """(T, B, rows of the weights): what enters at each step from outside."""
    drive = weight_hh.new_zeros(x.shape[2], x.shape[1], weight_hh.shape[1])
    if weight_ih is not None:
        drive = drive + x[0].transpose(0, 1) @ weight_ih[0].T
    return drive if bias is None else drive + bias[0]
