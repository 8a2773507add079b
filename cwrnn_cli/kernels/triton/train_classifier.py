"""Task 2's whole training epoch in one launch on a GPU (Section 4.2 of the paper).

One program trains one network: its sequences in its own order, an update after each; what
:mod:`cwrnn_cli.kernels.numba.train_classifier` is on the CPU, with one sequence per update. While a
sequence goes through, W_H is in the registers of the program's threads: (inputs, units) in the
forward pass, (units, inputs) in the backward pass, so that every product with a vector is a sum
down a column, most of which is one thread's. Everything else is in global memory, which for so
little means the L2 cache: the histories of the sequence, of which the gradients of all weights are
products.

A network is a row of ``theta``, its parts one behind the other, padded; ``velocity`` is likewise:

    W_H (C, N), W_X transposed (F, C), with the bias in the row behind the inputs, W_O (K, N),
    b_O (K), and for an LSTM its peepholes (3, N)

with N units, F inputs and bias, K outputs, all padded, and C = N; for an LSTM C = 4 N, where the
four gates i, f, g, o of a cell are neighbours, at 4 u + gate.
"""

from typing import Any

import triton
import triton.language as tl

from .classifier import (
    clip,
    longer,
    nesterov,
    prepare,
    read_out,
    scratch_of,
    update_of,
    weights_of,
)
from .functions import sigmoid, tanh
from .resources import Variant
from .sizes import OUTPUTS, Epoch, Sizes

_F32, _F64, _I32, _I64 = "*fp32", "*fp64", "*i32", "*i64"
# types of the kernels' arguments; what is not here is known to the compiler
_TYPES = dict.fromkeys(["frames", "rates", "momenta", "settings"], _F32)
_TYPES |= dict.fromkeys(["theta", "velocity", "scratch"], _F32)
_TYPES |= dict.fromkeys(["offsets", "labels", "order", "members", "periods"], _I32)
_TYPES |= {"seeds": _I64, "losses": _F64, "lengths": _F64, "noise": "fp32"}
_TYPES |= dict.fromkeys(["features", "classes", "sequences", "every", "F", "rows"], "i32")
_TYPES |= dict.fromkeys(["stride", "room", "origin", "cells", "peepholes"], "i32")
# one binary for all values of these, the one that :func:`variants` tells of
_PLAIN = [name for name, kind in _TYPES.items() if not kind.startswith("*")]
_POINTERS = [name for name, kind in _TYPES.items() if kind.startswith("*")]


@triton.jit(do_not_specialize=_PLAIN, do_not_specialize_on_alignment=_POINTERS)
def clockwork_epoch(
    frames, offsets, labels, order, seeds, members, rates, momenta, settings, theta, velocity,
    scratch, losses, lengths, features, classes, sequences, every, noise, stride, room, rows, F,
    periods, origin, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Train CW-RNNs on all sequences once, in place; an SRN has one period, 1.

    Args:
        frames: flat (frames, m) float32, all sequences one after the other.
        offsets: (S + 1,) int32 first frame of each sequence, then the number of frames.
        labels: (S,) int32 classes.
        order: (A, S) int32 in which the sequences come to each network.
        seeds: (A,) int64 keys of the networks' noise.
        members: (A,) int32 which networks of theta are trained.
        rates: (A, S) learning rates, update by update.
        momenta: (S,) Nesterov's, likewise.
        settings: (4,) what deltas are clipped to within; then, of an LSTM whose cells are squashed
            by a + b tanh(s c): a, b, s.
        theta: (R, stride).
        velocity: (R, stride).
        scratch: (R, room) of anything.
        losses: (A,) float64 zeros; becomes the sum of the sequences' cross entropies (of all steps
            that count), each before its update.
        lengths: (A,) float64 zeros; becomes the length of the longest gradient; infinite if any was
            not finite.
        features: m.
        classes: outputs.
        sequences: S.
        every: whether all steps of a sequence are classified, or only the last.
        noise: standard deviation of what is added to the frames.
        stride: see :class:`.Sizes`, as of the next three.
        room: of a network's scratch.
        rows: of an array of steps.
        F: inputs and bias, padded.
        periods: (N,) int32 clock period of each unit, any for padding.
        origin: number of a sequence's first step.
        N: units, padded.
        K: outputs, padded.
    """
    program = tl.program_id(0)
    u = tl.arange(0, N)
    v = tl.arange(0, N)
    update = 0
    while update < sequences:
        s = tl.load(order + program * sequences + update)
        first = tl.load(offsets + s)
        steps = tl.load(offsets + s + 1) - first
        begin = tl.where(every != 0, 0, steps - 1)
        weight_hh, weight_x, weight_out, bias_out, _ = weights_of(
            theta, members + program, stride, F, N, N, K
        )
        across, inputs, drive, hidden, grad_hidden, grad_logits, _ = scratch_of(
            scratch, members + program, room, rows, F, N, N, K
        )
        seed = tl.load(seeds + program)
        prepare(
            frames, first, steps, features, seed, noise, weight_hh, weight_x, across, inputs,
            drive, F, N, N,
        )  # fmt: skip
        period = tl.load(periods + u)
        w = tl.load(across + v[:, None] * N + u[None, :])  # w[v, u] = W[u, v]
        y = tl.zeros((N,), dtype=w.dtype)
        t = 0
        while t < steps:
            z = tl.load(drive + t * N + u)
            own = tanh(z + tl.sum(w * y[:, None], axis=0))
            y = tl.where((t + origin) % period == 0, own, y)
            tl.store(hidden + t * N + u, y)
            t += 1
        loss = read_out(
            hidden, begin, steps, tl.load(labels + s), weight_out, bias_out, classes, grad_logits,
            grad_hidden, N, K,
        )  # fmt: skip
        tl.store(losses + program, tl.load(losses + program) + loss)
        limit = tl.load(settings)
        w = tl.load(weight_hh + u[:, None] * N + v[None, :])
        t = steps - 1
        ticks = (t + origin) % period == 0
        grad = tl.load(grad_hidden + t * N + u)
        y = tl.load(hidden + t * N + u)
        delta = clip(tl.where(ticks, grad * (1 - y * y), 0.0), limit)
        held = tl.where(ticks, 0.0, grad)
        tl.store(drive + t * N + u, delta)
        while t > 0:
            t -= 1
            counts = (t >= begin) & (u < N)
            grad = tl.load(grad_hidden + t * N + u, mask=counts, other=0.0)
            y = tl.load(hidden + t * N + u)
            grad += held + tl.sum(w * delta[:, None], axis=0)
            ticks = (t + origin) % period == 0
            delta = clip(tl.where(ticks, grad * (1 - y * y), 0.0), limit)
            held = tl.where(ticks, 0.0, grad)
            tl.store(drive + t * N + u, delta)
        rate = tl.load(rates + program * sequences + update)
        momentum = tl.load(momenta + update)
        squares = update_of(
            theta, velocity, scratch, members + program, stride, room, rows, begin, steps,
            rate, momentum, F, periods, N, N, K, True,
        )  # fmt: skip
        tl.store(lengths + program, longer(tl.load(lengths + program), tl.sqrt(squares)))
        update += 1


@triton.jit
def lstm_backward(gates, c, before, grad_h, grad_c, p_i, p_f, p_o, settings, N: tl.constexpr):
    """One step of an LSTM's backward pass.

    Args:
        gates: (4 N,) i, f, g, o of this step.
        c: (N,) cells of this step.
        before: (N,) those of the step before.
        grad_h: (N,) gradient of this step's outputs.
        grad_c: (N,) gradient of this step's cells, as the step behind has it.
        p_i: (N,) peepholes.
        p_f: likewise.
        p_o: likewise.
        settings: as of :func:`clockwork_epoch`.
        N: cells, padded.

    Returns:
        The deltas (4 N,), and the gradient of the cells before (N,).
    """
    limit = tl.load(settings)
    gain = tl.load(settings + 2)
    slope = tl.load(settings + 3)
    i_g, f_o = tl.split(tl.reshape(gates, (N, 2, 2)))
    i, g = tl.split(i_g)
    f, o = tl.split(f_o)
    now = tanh(slope * c)
    delta_o = clip(grad_h * (tl.load(settings + 1) + gain * now) * o * (1 - o), limit)
    grad = grad_c + grad_h * o * gain * slope * (1 - now * now) + p_o * delta_o
    delta_i = clip(grad * g * i * (1 - i), limit)
    delta_f = clip(grad * before * f * (1 - f), limit)
    delta_g = clip(grad * i * (1 - g * g), limit)
    grad_c = grad * f + p_i * delta_i + p_f * delta_f
    deltas = tl.join(tl.join(delta_i, delta_g), tl.join(delta_f, delta_o))
    deltas = tl.reshape(deltas, (4 * N,))
    return deltas, grad_c


@triton.jit
def learn_peepholes(
    theta, velocity, scratch, member, stride, room, rows, steps, rate, momentum,
    F, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """One step of an LSTM's peepholes, from the deltas; as :func:`.classifier.update_of`."""
    u = tl.arange(0, N)
    _, _, _, _, peephole = weights_of(theta, member, stride, F, N, 4 * N, K)
    _, _, _, _, v_p = weights_of(velocity, member, stride, F, N, 4 * N, K)
    _, _, deltas, _, _, _, state = scratch_of(scratch, member, room, rows, F, N, 4 * N, K)
    deltas += 4 * u
    before = tl.zeros((N,), dtype=theta.dtype.element_ty)
    g_i = before
    g_f = before
    g_o = before
    t = 0
    while t < steps:
        c = tl.load(state + t * N + u)
        g_i += tl.load(deltas) * before
        g_f += tl.load(deltas + 1) * before
        g_o += tl.load(deltas + 3) * c
        before = c
        deltas += 4 * N
        t += 1
    squares = nesterov(peephole + u, v_p + u, g_i, rate, momentum)
    squares += nesterov(peephole + N + u, v_p + N + u, g_f, rate, momentum)
    squares += nesterov(peephole + 2 * N + u, v_p + 2 * N + u, g_o, rate, momentum)
    tl.debug_barrier()
    return squares


@triton.jit(do_not_specialize=_PLAIN, do_not_specialize_on_alignment=_POINTERS)
def lstm_epoch(
    frames, offsets, labels, order, seeds, members, rates, momenta, settings, theta, velocity,
    scratch, losses, lengths, features, classes, sequences, every, noise, stride, room, rows, F,
    cells, peepholes, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Train LSTMs on all sequences once, in place.

    Arguments as of :func:`clockwork_epoch`, but for the last: ``cells`` is n, and ``peepholes``
    whether there are any; else they are 0.
    """
    program = tl.program_id(0)
    u = tl.arange(0, N)
    z = tl.arange(0, 4 * N)
    update = 0
    while update < sequences:
        s = tl.load(order + program * sequences + update)
        first = tl.load(offsets + s)
        steps = tl.load(offsets + s + 1) - first
        begin = tl.where(every != 0, 0, steps - 1)
        weight_hh, weight_x, weight_out, bias_out, peephole = weights_of(
            theta, members + program, stride, F, N, 4 * N, K
        )
        across, inputs, drive, hidden, grad_hidden, grad_logits, state = scratch_of(
            scratch, members + program, room, rows, F, N, 4 * N, K
        )
        seed = tl.load(seeds + program)
        prepare(
            frames, first, steps, features, seed, noise, weight_hh, weight_x, across, inputs,
            drive, F, N, 4 * N,
        )  # fmt: skip
        p_i = tl.load(peephole + u)
        p_f = tl.load(peephole + N + u)
        p_o = tl.load(peephole + 2 * N + u)
        shift = tl.load(settings + 1)
        gain = tl.load(settings + 2)
        slope = tl.load(settings + 3)
        w = tl.load(across + u[:, None] * 4 * N + z[None, :])
        y = tl.zeros((N,), dtype=w.dtype)
        c = tl.zeros((N,), dtype=w.dtype)
        t = 0
        while t < steps:
            own = tl.load(drive + t * 4 * N + z)
            own += tl.sum(w * y[:, None], axis=0)
            i_g, f_o = tl.split(tl.reshape(own, (N, 2, 2)))
            i, g = tl.split(i_g)
            f, o = tl.split(f_o)
            i = sigmoid(i + p_i * c)
            f = sigmoid(f + p_f * c)
            g = tanh(g)
            c = f * c + i * g
            o = sigmoid(o + p_o * c)
            y = tl.where(u < cells, o * (shift + gain * tanh(slope * c)), 0.0)
            gates = tl.reshape(tl.join(tl.join(i, g), tl.join(f, o)), (4 * N,))
            tl.store(drive + t * 4 * N + z, gates)
            tl.store(hidden + t * N + u, y)
            tl.store(state + t * N + u, c)
            t += 1
        loss = read_out(
            hidden, begin, steps, tl.load(labels + s), weight_out, bias_out, classes, grad_logits,
            grad_hidden, N, K,
        )  # fmt: skip
        tl.store(losses + program, tl.load(losses + program) + loss)
        w = tl.load(weight_hh + z[:, None] * N + u[None, :])
        t = steps - 1
        grad_h = tl.load(grad_hidden + t * N + u)
        before = tl.load(state + (t - 1) * N + u, mask=(t > 0) & (u < N), other=0.0)
        gates = tl.load(drive + t * 4 * N + z)
        c = tl.load(state + t * N + u)
        delta, grad_c = lstm_backward(gates, c, before, grad_h, c * 0, p_i, p_f, p_o, settings, N)
        tl.debug_barrier()
        tl.store(drive + t * 4 * N + z, delta)
        while t > 0:
            t -= 1
            grad_h = tl.load(grad_hidden + t * N + u, mask=(t >= begin) & (u < N), other=0.0)
            gates = tl.load(drive + t * 4 * N + z)
            c = tl.load(state + t * N + u)
            before = tl.load(state + (t - 1) * N + u, mask=(t > 0) & (u < N), other=0.0)
            grad_h += tl.sum(w * delta[:, None], axis=0)
            delta, grad_c = lstm_backward(
                gates, c, before, grad_h, grad_c, p_i, p_f, p_o, settings, N
            )
            tl.store(drive + t * 4 * N + z, delta)
        rate = tl.load(rates + program * sequences + update)
        momentum = tl.load(momenta + update)
        squares = update_of(
            theta, velocity, scratch, members + program, stride, room, rows, begin, steps,
            rate, momentum, F, order, N, 4 * N, K, False,
        )  # fmt: skip
        if peepholes != 0:
            squares += learn_peepholes(
                theta, velocity, scratch, members + program, stride, room, rows, steps, rate,
                momentum, F, N, K,
            )  # fmt: skip
        tl.store(lengths + program, longer(tl.load(lengths + program), tl.sqrt(squares)))
        update += 1


CLOCKWORK = Epoch(clockwork_epoch, 1, {32: 1, 64: 2, 128: 8})
LSTM = Epoch(lstm_epoch, 4, {16: 1, 32: 4, 64: 8})
REGISTERS = 255  # of a thread: all there are


def launch(epoch: Epoch, sizes: Sizes, **arguments: Any) -> None:
    """Train the networks ``members`` for an epoch; arguments as of the epoch's kernel."""
    epoch.kernel[(len(arguments["members"]),)](
        **arguments, stride=sizes.stride, room=sizes.room, rows=sizes.rows, F=sizes.F, N=sizes.N,
        K=sizes.K, num_warps=epoch.warps[sizes.N], maxnreg=REGISTERS,
    )  # fmt: skip


def variants() -> list[Variant]:
    """Every kernel that is ever launched, for the check of what it takes of the chip."""
    found = []
    for epoch in (CLOCKWORK, LSTM):
        types = {name: _TYPES.get(name, "constexpr") for name in epoch.kernel.arg_names}
        for width, warps in epoch.warps.items():
            for outputs in OUTPUTS:
                known = {"N": width, "K": outputs}
                name = f"{epoch.kernel.__name__}, {outputs} outputs"
                found.append(Variant(name, width, epoch.kernel, types, known, warps, REGISTERS))
    return found
