"""The clockwork layer as an autograd function over the compiled code of :mod:`.loops`.

Here the weights are packed into blocks; the batch is shared out over threads, a few rows at a time;
and the gradients are put together again.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock
from ..numba import memory
from ..numba.cache import log_compilation
from ..numba.simd import LANES
from ..numba.threads import run_all
from . import loops
from .layout import (
    ClockTable,
    Gradients,
    Layout,
    Share,
    Sizes,
    Weights,
    clock_layout,
    packing,
    select,
)

_CACHE = 1 << 22  # bytes that the rows of a call should touch at the most
_INLINE = 1 << 24  # multiply-adds (of a layer, about) below which waking a thread costs more

_NetworkShare = tuple[int, Share]  # a network, and some of its rows


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none = torch.empty(0, dtype=dtype).numpy()
    nowhere = np.zeros(0, np.int64)
    start = np.zeros(1, np.int64)
    clock = ClockTable(nowhere, nowhere, start, start)
    weights = Weights(none, nowhere, nowhere, nowhere)
    sizes, share = Sizes(0, 0, 0), Share(0, 0, 1)
    with log_compilation("the clockwork layer"):
        loops.forward(clock, weights, sizes, share, none, none, none, none, none, none)
        gradients = Gradients(none, none, none, none, False)
        loops.backward(clock, weights, sizes, share, none, none, none, none, gradients)


@dataclass(frozen=True)
class _Plan:
    """Who does which rows, and where things lie."""

    layout: Layout
    networks: int
    sizes: Sizes
    piece: int  # rows of a call
    threads: int

    @classmethod
    def of(cls, layout: Layout, networks: int, sizes: Sizes) -> "_Plan":
        """As many rows at a time as fit the cache, and work for every thread."""
        steps, batch, features = sizes
        n = int(layout.clock.starts[-1])
        work = networks * batch * steps * n * (n + features) // 4
        threads = torch.get_num_threads() if work > _INLINE else 1
        hidden = layout.hidden_vectors(steps) * LANES
        touched = 4 * (4 * hidden + steps * (features + n))
        piece = max(_CACHE // touched // 4 * 4, 4)
        if networks < threads:
            piece = min(piece, -(-batch // -(-threads // networks)))
        return cls(layout, networks, sizes, min(piece, batch), threads)

    @property
    def hidden_row(self) -> int:
        """Vectors of all modules' outputs of one row."""
        return self.layout.hidden_vectors(self.sizes.steps)

    def scratch(self, like: Tensor, backward: bool) -> Tensor:
        """Memory for one thread's rows, as :func:`.loops.forward` or backward has it."""
        vectors = self.layout.contribution_vectors(self.sizes.steps)
        vectors += self.hidden_row if backward else 0
        width = -(-self.sizes.features // LANES)
        inputs = max(loops.PIECE, self.piece * width * LANES)  # at least a tick
        return memory.empty((self.piece * vectors * LANES + inputs,), like)

    def shares(self) -> list[list[_NetworkShare]]:
        """What each thread does, dealt out the same way every time.

        Whole networks where there are enough of them, else ranges of whole pieces of their rows.
        """
        batch = self.sizes.batch
        ranges = 1 if self.networks >= self.threads else -(-self.threads // self.networks)
        pieces = -(-batch // self.piece)
        size = -(-pieces // ranges) * self.piece
        every = [
            (network, Share(begin, min(begin + size, batch), self.piece))
            for network in range(self.networks)
            for begin in range(0, batch, size)
        ]
        dealt = [every[thread :: self.threads] for thread in range(self.threads)]
        return [shares for shares in dealt if shares]

    def run(self, work: Any) -> list[Any]:
        """``work(shares)`` for every thread's shares."""
        shares = self.shares()
        if len(shares) == 1:
            return [work(shares[0])]
        return run_all(work, [(share,) for share in shares], self.threads)


def _flat(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().reshape(-1).numpy()
    return array


class _Clockwork(torch.autograd.Function):
    """See :func:`clockwork`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """x, weight_ih, weight_hh, bias, h0, clock as in :func:`clockwork`."""
        x, w_ih, w_hh, bias, h0, clock = inputs
        layout = clock_layout(clock)
        networks, batch, steps, features = x.shape
        x = memory.time_first(x)  # (R, T, B, m)
        plan = _Plan.of(layout, networks, Sizes(steps, batch, features))
        packed = packing(clock, 0 if w_ih is None else features)
        weights = packed.weights(w_ih, w_hh, packed.forward)  # (R, numbers)
        padded_bias = w_hh.new_zeros(networks, layout.padded)
        if bias is not None:
            padded_bias = select([bias], packed.bias)
        start = h0.contiguous() if h0 is not None else w_hh.new_empty(networks, 0)
        hidden = memory.empty((networks, batch * plan.hidden_row * LANES), w_hh)
        output = memory.empty((networks, steps, batch, clock.hidden_size), w_hh)

        def work(shares: list[_NetworkShare]) -> None:
            scratch = _flat(plan.scratch(w_hh, backward=False))
            for r, share in shares:
                loops.forward(
                    layout.clock,
                    Weights(_flat(weights[r]), *packed.forward_places),
                    plan.sizes,
                    share,
                    _flat(x[r]),
                    _flat(start[r]),
                    _flat(padded_bias[r]),
                    _flat(hidden[r]),
                    scratch,
                    _flat(output[r]),
                )

        plan.run(work)
        ctx.save_for_backward(x, w_ih, w_hh)
        ctx.hidden, ctx.plan, ctx.packing = hidden, plan, packed
        ctx.has_bias, ctx.has_h0 = bias is not None, h0 is not None
        return output.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Gradients of everything but the clock."""
        x, w_ih, w_hh = ctx.saved_tensors
        plan, hidden, packed = ctx.plan, ctx.hidden, ctx.packing
        networks, batch = plan.networks, plan.sizes.batch
        grad_output = memory.time_first(gradients[0])  # (R, T, B, n)
        weights = packed.weights(w_ih, w_hh, packed.backward)  # (R, numbers)
        wants_x = ctx.needs_input_grad[0] and w_ih is not None
        grad_x = memory.empty(x.shape, x).zero_() if wants_x else x.new_empty(networks, 0)
        grad_h0 = w_hh.new_empty(networks, batch, w_hh.shape[2])

        def work(shares: list[_NetworkShare]) -> tuple[Tensor, Tensor]:
            scratch = _flat(plan.scratch(w_hh, backward=True))
            grad_weights = memory.empty(weights.shape, weights).zero_()
            grad_bias = w_hh.new_zeros(networks, plan.layout.padded)
            for r, share in shares:
                loops.backward(
                    plan.layout.clock,
                    Weights(_flat(weights[r]), *packed.places),
                    plan.sizes,
                    share,
                    _flat(x[r]),
                    _flat(hidden[r]),
                    scratch,
                    _flat(grad_output[r]),
                    Gradients(
                        weights=_flat(grad_weights[r]),
                        bias=_flat(grad_bias[r]),
                        h0=_flat(grad_h0[r]),
                        x=_flat(grad_x[r]),
                        wants_x=wants_x,
                    ),
                )
            return grad_weights, grad_bias

        parts = plan.run(work)
        grad_weights, grad_bias = parts[0]
        for more, more_bias in parts[1:]:
            grad_weights += more
            grad_bias += more_bias
        grad_ih, grad_hh = packed.unpacked(grad_weights, 0 if w_ih is None else w_ih.shape[2])
        return (
            grad_x.transpose(1, 2) if wants_x else None,
            grad_ih,
            grad_hh,
            grad_bias.index_select(1, packed.units) if ctx.has_bias else None,
            grad_h0 if ctx.has_h0 else None,
            None,
        )


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
) -> Tensor:
    """As :func:`cwrnn_cli.kernels.reference.clockwork`, on the CPU, float32 or float64.

    Gradients of gradients are not available.
    """
    _compile(weight_hh.dtype)
    output: Tensor = _Clockwork.apply(x, weight_ih, weight_hh, bias, h0, clock.merged())
    return output
