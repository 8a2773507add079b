"""What the compiled layers with gates have in common: units padded to vectors, rows for threads."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .threads import run_all

_INLINE = 1 << 16  # multiply-adds below which a thread costs more than it saves


class Sizes(NamedTuple):
    """Of a layer and its input.

    Attributes:
        cells: n.
        width: vectors of a row.
        steps: T.
        batch: B.
    """

    cells: int
    width: int
    steps: int
    batch: int


class Rows(NamedTuple):
    """Rows of the batch that a call computes.

    Attributes:
        begin: the first.
        end: behind the last.
    """

    begin: int
    end: int


def numbers_of(tensor: Tensor, network: int) -> np.ndarray:
    """One network's part of a contiguous (R, ...) tensor as a flat array."""
    array: np.ndarray = tensor.detach()[network].reshape(-1).numpy()
    return array


def for_rows(networks: int, batch: int, work: int, call: Callable[[int, Rows], None]) -> None:
    """``call(network, rows)`` for all rows, on several threads if there is enough to do.

    Args:
        networks: R.
        batch: B.
        work: multiply-adds of one row.
        call: does a range of rows.
    """
    threads = torch.get_num_threads()
    if networks * batch * work < _INLINE or networks * batch == 1:
        threads = 1
    pieces = 1 if networks >= threads else -(-threads // networks)
    size = max(-(-batch // pieces), 1)
    if size > 4:
        size = -(-size // 4) * 4  # the kernels like rows by four
    items = [
        (network, Rows(first, min(first + size, batch)))
        for network in range(networks)
        for first in range(0, batch, size)
    ]
    if threads > 1:
        run_all(call, items, threads)
    else:
        for item in items:
            call(*item)


def pad(tensor: Tensor | None, axis: int, size: int) -> Tensor | None:
    """Zeros behind, to ``size`` along one axis; contiguous."""
    if tensor is None or tensor.shape[axis] == size:
        return None if tensor is None else tensor.contiguous()
    shape = list(tensor.shape)
    shape[axis] = size
    padded = tensor.new_zeros(shape)
    padded.narrow(axis, 0, tensor.shape[axis]).copy_(tensor)
    return padded


def pad_gates(weight: Tensor | None, gates: int, padded: int) -> Tensor | None:
    """(R, G n, ...) to (R, G N, ...), gate by gate."""
    if weight is None:
        return None
    networks, _, *rest = weight.shape
    by_gate = pad(weight.reshape(networks, gates, -1, *rest), 2, padded)
    assert by_gate is not None
    return by_gate.view(networks, gates * padded, *rest)


def unpad_gates(gradient: Tensor, gates: int, cells: int) -> Tensor:
    """The reverse of :func:`pad_gates`."""
    networks, _, *rest = gradient.shape
    return gradient.view(networks, gates, -1, *rest)[:, :, :cells].reshape(networks, -1, *rest)


def apart(values: Tensor, gates: int) -> Tensor:
    """(..., G, n) of (..., G n)."""
    return values.reshape(*values.shape[:-1], gates, values.shape[-1] // gates)
