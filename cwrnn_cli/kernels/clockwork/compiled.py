"""The clockwork layer as a fast function of autograd over the compiled code of :mod:`.loops`.

Here the weights are packed into blocks; the batch is shared out over threads, a few rows at a time;
and the gradients are put together again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...clock import Clock
from .. import reference
from ..autograd import Arguments, FastFunction, Tensors
from ..backend import compiling
from ..numba import memory
from ..numba.cache import log_compilation
from ..numba.simd import LANES
from ..numba.threads import run_all
from ..operator import as_operator
from . import blocks, cascade, loops
from .bundles import Members, bundled, bundles
from .inputs import PIECE
from .layout import ClockTable, Gradients, Layout, Places, Share, Sizes, Weights, clock_layout

_CACHE = 1 << 23  # bytes that the rows of a call should touch at the most
_INLINE = 1 << 26  # work below which waking a thread costs more; see _Plan.of

_NetworkShare = tuple[int, Share]  # a network, and some of its rows


@lru_cache
def _compile(dtype: torch.dtype) -> None:
    """Compile both passes for a precision, or fetch them from the disk, on empty work."""
    none = np.empty(0, memory.NUMPY[dtype])
    nowhere = np.zeros(0, np.int64)
    start = np.zeros(1, np.int64)
    clock = ClockTable(
        nowhere, nowhere, nowhere, start, start, nowhere, Members(start, *[nowhere] * 3)
    )
    places = Places(nowhere, nowhere, nowhere)
    weights = Weights(none, *places)
    empty = none.reshape(0, 0)
    sizes, share = Sizes(0, 0, 0), Share(0, 0, 1)
    with log_compilation("the clockwork layer"):
        blocks.pack_forward(clock, 0, empty, empty, places, empty)
        blocks.pack_bias(clock, empty, empty)
        blocks.pack_backward(clock, 0, empty, empty, places, empty)
        blocks.unpack(clock, 0, places, empty, empty, empty, empty, empty)
        loops.forward(clock, weights, sizes, share, none, none, none, none, none, none)
        gradients = Gradients(none, none, none, none, False)
        loops.backward(clock, weights, sizes, share, none, none, none, none, gradients, np.inf)


@dataclass(frozen=True)
class _Plan:
    """Who does which rows, and where things lie."""

    layout: Layout
    networks: int
    sizes: Sizes
    piece: int  # rows of a call
    threads: int

    @classmethod
    def of(cls, layout: Layout, networks: int, sizes: Sizes, threads: int) -> "_Plan":
        """As many rows at a time as fit the cache, and work for every thread."""
        steps, batch, features = sizes
        n = int(layout.clock.starts[-1])
        # in multiply-adds; a number that comes in or goes out costs as much as 16, it was measured
        work = layout.multiply_adds(steps, features) + 16 * steps * (n + features)
        threads = threads if networks * batch * work > _INLINE else 1
        hidden = layout.hidden_vectors(steps) * LANES
        touched = 4 * (4 * hidden + steps * (features + n))
        piece = max(_CACHE // touched // 8 * 8, 8)
        if networks < threads:
            piece = min(piece, -(-batch // -(-threads // max(networks, 1))))
        return cls(layout, networks, sizes, max(min(piece, batch), 1), threads)

    @cached_property
    def hidden_row(self) -> int:
        """Vectors of all modules' outputs of one row."""
        return self.layout.hidden_vectors(self.sizes.steps)

    @cached_property
    def contributions_row(self) -> int:
        """Vectors of one row's contributions to faster modules."""
        return self.layout.contribution_vectors(self.sizes.steps)

    def scratch(self, like: Tensor, backward: bool) -> Tensor:
        """Memory for one thread's rows, as :func:`.loops.forward` or backward has it."""
        vectors = self.contributions_row + (self.hidden_row if backward else 0)
        width = -(-self.sizes.features // LANES)
        inputs = max(PIECE, self.piece * width * LANES)  # at least a tick
        return memory.empty((self.piece * vectors * LANES + inputs,), like)

    @cached_property
    def shares(self) -> list[list[_NetworkShare]]:
        """What each thread does, dealt out the same way every time.

        Whole networks where there are enough of them, else ranges of whole pieces of their rows.
        """
        batch = self.sizes.batch
        ranges = -(-self.threads // max(self.networks, 1))
        pieces = -(-batch // self.piece)
        size = -(-pieces // ranges) * self.piece
        every = [
            (network, Share(begin, min(begin + size, batch), self.piece))
            for network in range(self.networks)
            for begin in range(0, batch, max(size, 1))
        ]
        dealt = [every[thread :: self.threads] for thread in range(self.threads)]
        return [shares for shares in dealt if shares]

    def run(self, work: Any) -> list[Any]:
        """``work(shares)`` for every thread's shares."""
        shares = self.shares or [[]]
        if len(shares) == 1:
            return [work(shares[0])]
        return run_all(work, [(share,) for share in shares], self.threads)


@lru_cache(maxsize=64)
def _plan(
    clock: Clock, start: int, networks: int, sizes: Sizes, threads: int, piece: int | None
) -> _Plan:
    layout = clock_layout(clock, LANES).at(start)
    plan = _Plan.of(layout, networks, sizes, threads)
    return plan if piece is None else replace(plan, piece=piece)


@lru_cache(maxsize=64)
def _block_places(clock: Clock, features: int) -> tuple[Places, int, Places, int]:
    return blocks.block_places(clock_layout(clock, LANES), features)


def _rows(tensor: Tensor) -> np.ndarray:
    """(R, numbers) of a contiguous (R, ...) tensor, sharing its memory."""
    array: np.ndarray = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return array.reshape(array.shape[0], -1 if array.size else 0)


@dataclass(frozen=True)
class _Packed:
    """Weights that were packed for a forward pass, and what they were packed from."""

    weights: tuple[Tensor | None, Tensor]
    blocks: Tensor


_latest: OrderedDict[Any, _Packed] = OrderedDict()  # of layers that do not learn
_LAYERS = 8  # that have theirs there at the most
memory.on_release(_latest.clear)


def _packed_forward(clock: Clock, w_ih: Tensor | None, w_hh: Tensor, learns: bool) -> Tensor:
    """(R, numbers): the forward blocks; where nothing is learned, only once for equal weights.

    That they are equal is seen from the numbers: who writes to ``weight.data``, or another process,
    leaves no other trace.
    """
    if learns:
        return _pack_forward(clock, w_ih, w_hh)
    key = (clock, w_hh.data_ptr(), w_hh.shape, w_hh.dtype)
    known = _latest.pop(key, None)
    same = known is not None and all(
        a is b or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(known.weights, (w_ih, w_hh), strict=True)
    )
    if known is None or not same:
        copies = (None if w_ih is None else w_ih.detach().clone(), w_hh.detach().clone())
        known = _Packed(copies, _pack_forward(clock, w_ih, w_hh))
    _latest[key] = known
    while len(_latest) > _LAYERS:
        _latest.popitem(last=False)
    return known.blocks


def _pack_forward(clock: Clock, w_ih: Tensor | None, w_hh: Tensor) -> Tensor:
    features = 0 if w_ih is None else w_ih.shape[2]
    places, size, _, _ = _block_places(clock, features)
    packed = memory.empty((len(w_hh), size), w_hh)
    table = clock_layout(clock, LANES).clock
    blocks.pack_forward(table, features, *_both(w_ih, w_hh), places, _rows(packed))
    return packed


def _both(w_ih: Tensor | None, w_hh: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(R, n m) and (R, n n)."""
    networks, n = w_hh.shape[:2]
    features = 0 if w_ih is None else w_ih.shape[2]
    inputs = w_hh.new_empty(0) if w_ih is None else w_ih.contiguous()
    hidden = memory.borrowed(w_hh.contiguous()).reshape(networks, n * n)
    return memory.borrowed(inputs).reshape(networks, n * features), hidden


class _Settings(NamedTuple):
    """Of a call.

    Attributes:
        clock: whose periods are all different.
        start: the number of the first step.
        delta_clip: see :func:`.reference.clockwork`; infinite: none.
    """

    clock: Clock
    start: int
    delta_clip: float = np.inf

    def plan(self, x: Tensor, piece: int | None = None) -> _Plan:
        """For inputs (R, T, B, m).

        Args:
            x: those.
            piece: rows that are computed together; None: as many as is best. The backward pass
                needs those of the forward pass, as the outputs lie so, though it may have other
                threads by then, or more networks (`vmap`).
        """
        networks, *sizes = x.shape
        return _plan(
            self.clock, self.start, networks, Sizes(*sizes), torch.get_num_threads(), piece
        )


def _forward(settings: _Settings, arguments: Arguments, learns: bool) -> tuple[Tensors, Tensors]:
    """Outputs (R, T, B, n) of x (R, T, B, m), weight_ih, weight_hh, bias, h0."""
    x, w_ih, w_hh, bias, h0 = arguments
    assert x is not None and w_hh is not None
    _compile(w_hh.dtype)
    plan = settings.plan(x)
    steps, batch, features = plan.sizes
    networks, layout = plan.networks, plan.layout
    inputs = memory.contiguous(x)
    places = _block_places(settings.clock, 0 if w_ih is None else features)[0]
    weights = _packed_forward(settings.clock, w_ih, w_hh, learns)
    padded_bias = w_hh.new_empty(networks, layout.padded)
    given = w_hh.new_empty(0) if bias is None else bias.contiguous()
    flat = memory.borrowed(given).reshape(networks, 0 if bias is None else layout.units)
    blocks.pack_bias(layout.clock, flat, _rows(padded_bias))
    start = h0.contiguous() if h0 is not None else w_hh.new_empty(networks, 0)
    hidden = memory.empty((networks, batch * plan.hidden_row * LANES), w_hh)
    output = memory.empty((networks, steps, batch, layout.units), w_hh)

    rows = [_rows(t) for t in (weights, inputs, start, padded_bias, hidden, output)]

    def work(shares: list[_NetworkShare]) -> None:
        (scratch,) = _rows(plan.scratch(w_hh, backward=False)[None])
        for r, share in shares:
            values, x_r, start_r, bias_r, hidden_r, output_r = (each[r] for each in rows)
            loops.forward(
                layout.clock, Weights(values, *places), plan.sizes, share,
                x_r, start_r, bias_r, hidden_r, scratch, output_r,
            )  # fmt: skip

    plan.run(work)
    pieces = w_hh.new_full((networks,), plan.piece, dtype=torch.int64)
    kept = (hidden, pieces)
    return (output,), kept if x.is_contiguous() else (*kept, inputs)


def _backward(
    settings: _Settings,
    arguments: Arguments,
    kept: Tensors,
    grads: Arguments,
    wanted: Sequence[bool],
) -> Arguments:
    """Gradients of x, weight_ih, weight_hh, bias, h0."""
    x, w_ih, w_hh, bias, h0 = arguments
    assert x is not None and w_hh is not None and grads[0] is not None
    hidden, pieces, *copied = kept
    plan = settings.plan(x, int(pieces[0]) if len(pieces) else None)
    networks, batch = plan.networks, plan.sizes.batch
    inputs = copied[0] if copied else x
    features = 0 if w_ih is None else w_ih.shape[2]
    _, _, places, size = _block_places(settings.clock, features)
    grad_output = memory.contiguous(grads[0])  # (R, T, B, n)
    weights = memory.empty((networks, size), w_hh)
    clock = plan.layout.clock
    blocks.pack_backward(clock, features, *_both(w_ih, w_hh), places, _rows(weights))
    wants_x = wanted[0] and w_ih is not None
    grad_x = memory.empty(inputs.shape, x).zero_() if wants_x else x.new_empty(networks, 0)
    grad_h0 = w_hh.new_empty(networks, batch, w_hh.shape[2])

    rows = [_rows(t) for t in (weights, inputs, hidden, grad_output, grad_h0, grad_x)]

    def work(shares: list[_NetworkShare]) -> tuple[Tensor, Tensor]:
        (scratch,) = _rows(plan.scratch(w_hh, backward=True)[None])
        grad_weights = memory.empty(weights.shape, weights).zero_()
        grad_bias = w_hh.new_zeros(networks, plan.layout.padded)
        own = _rows(grad_weights), _rows(grad_bias)
        for r, share in shares:
            values, x_r, hidden_r, grad_output_r, grad_h0_r, grad_x_r = (each[r] for each in rows)
            loops.backward(
                clock,
                Weights(values, *places),
                plan.sizes,
                share,
                x_r,
                hidden_r,
                scratch,
                grad_output_r,
                Gradients(own[0][r], own[1][r], grad_h0_r, grad_x_r, wants_x),
                settings.delta_clip,
            )
        return grad_weights, grad_bias

    parts = plan.run(work)
    grad_weights, grad_bias = parts[0]
    for more, more_bias in parts[1:]:
        grad_weights += more
        grad_bias += more_bias
    grad_ih = None if w_ih is None else memory.empty(w_ih.shape, w_ih)
    grad_hh = memory.empty(w_hh.shape, w_hh)
    grad_b = w_hh.new_empty(networks, 0 if bias is None else w_hh.shape[2])
    packed = _rows(grad_weights), _rows(grad_bias)
    blocks.unpack(clock, features, places, *packed, *_both(grad_ih, grad_hh), _rows(grad_b))
    if wanted[0] and w_ih is None:
        grad_x = torch.zeros_like(inputs)
    return (
        grad_x if wanted[0] else None,
        grad_ih,
        grad_hh,
        None if bias is None else grad_b,
        None if h0 is None else grad_h0,
    )


def _plain(settings: _Settings, arguments: Arguments) -> Tensors:
    x, w_ih, w_hh, bias, h0 = arguments
    assert x is not None and w_hh is not None
    x = x.transpose(1, 2)
    given = (x, w_ih, w_hh, bias, h0, settings.clock, settings.start)
    if settings.delta_clip < np.inf:
        y = reference.clockwork(*given, delta_clip=settings.delta_clip)
    else:
        y = cascade.clockwork(*given)
    return (y.transpose(1, 2),)


def _shapes(arguments: Arguments, periods: list[int], sizes: list[int], start: int) -> Tensors:
    """Empty tensors like those that :func:`_forward` gives."""
    x, _, w_hh, *_ = arguments
    assert x is not None and w_hh is not None
    networks, steps, batch, _ = x.shape
    vectors = 0
    clock = Clock(tuple(periods), tuple(sizes))
    clock = bundled(clock, bundles(clock, LANES))
    for period, size in zip(clock.periods, clock.sizes, strict=True):
        ticks = -((-start % period - steps) // period)
        vectors += (1 + ticks) * -(-size // LANES)
    output = w_hh.new_empty(networks, steps, batch, w_hh.shape[2])
    hidden = w_hh.new_empty(networks, batch * vectors * LANES)
    return output, hidden, w_hh.new_empty(networks, dtype=torch.int64)


_clockwork = FastFunction(_forward, _backward, _plain)
_operator = as_operator(
    # torch keeps compiled graphs on the disk by this name: another one if what is kept changes
    "clockwork_by_pieces",
    _clockwork,
    ("Tensor", "Tensor?", "Tensor", "Tensor?", "Tensor?"),
    "int[] periods, int[] sizes, SymInt start",
    lambda periods, sizes, start: _Settings(Clock(tuple(periods), tuple(sizes)), start),
    _shapes,
)


def clockwork(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    clock: Clock,
    start: int = 0,
    delta_clip: float | None = None,
) -> Tensor:
    """As :func:`cwrnn_cli.kernels.reference.clockwork`, on the CPU, float32 or float64, tanh."""
    clock = clock.merged()
    x = x.transpose(1, 2)
    if compiling():
        arguments = (x, weight_ih, weight_hh, bias, h0)
        (output,) = _operator(arguments, list(clock.periods), list(clock.sizes), start)
    else:
        settings = _Settings(clock, start, np.inf if delta_clip is None else delta_clip)
        (output,) = _clockwork(settings, x, weight_ih, weight_hh, bias, h0)
    return output.transpose(1, 2)
