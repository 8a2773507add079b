"""The layer as a loop of any length, for torch.export and ONNX; see :mod:`..exported`."""

from typing import Any

import torch
from torch import Tensor

from .. import exported
from ..reference import CELL_OUTPUTS


def lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    cell_output: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """As :func:`..reference.lstm`, argument for argument, with R = 1."""
    squash = CELL_OUTPUTS[cell_output]
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
        h = torch.sigmoid(zo) * squash(c)
        return (h, c), (h.clone(), c.clone())

    state = (exported.initial_state(x, weight_hh, h0), exported.initial_state(x, weight_hh, c0))
    (outputs, cells) = exported.scan(step, state, exported.drive(x, weight_ih, weight_hh, bias))
    return exported.network(outputs), exported.network(cells)
