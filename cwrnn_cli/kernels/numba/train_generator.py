"""Task 1's whole training epoch in one compiled loop (Section 4.1 of the paper).

Forward pass, loss, backward pass and Nesterov step of a block of :data:`~.simd.LANES` networks, as
many epochs as asked for, with nothing allocated per step and nothing but the losses and the lengths
of the gradients coming out. One lane is one network; networks never meet, so a diverged one harms
nobody. Blocks are independent: one thread trains one block.

Work of the clockwork network. A slow module changes only on its ticks, and so does what it adds to
the faster modules. The forward pass therefore multiplies a module's columns of W_H once per tick of
**that** module (not of every module that reads them), the output unit being one more row, and each
module keeps the sum of its product and those of all slower ones: what a unit's tanh takes is one
number that is there already. The backward pass is the same in reverse: the gradients of all who
read one tick's output are summed, by each module handing its sum to the next slower one when it is
complete, and multiplied once. Where a slow module ticks and a faster one does not (periods that do
not divide each other), the faster one's product is made anew, and of its sum a part is handed on
early. That is eq. 1-4 exactly, for any periods; where periods divide each other, in
``sum_j rows_j k_j / T_j`` multiply-adds per step instead of the appendix's
``sum_i k_i cols_i / T_i``.

Tested against training by autograd in float64, by the tests of the task that trains with it.

Shapes are in vectors; a weight, an output or an error is one vector, a lane per network.
"""

from typing import NamedTuple

import numpy as np

from ..lstm.loops import squash
from .nesterov import nesterov
from .network_products import add, add_rows, multiply_columns, multiply_rows, sum_outer
from .products import Vectors, clear, jit
from .simd import LANES, broadcast, clamp, fma, load, sigmoid, store, tanh


class Places(NamedTuple):
    """Where each module has what, in vectors; (g) int64, or (g + 1) with the end of the last.

    Attributes:
        rows: (g,) who reads a module: the output unit, then the units up to its own last one.
        ticks: (g,) how often it runs.
        weights: (rows, k) of W_O and W_H, its columns; then the biases: b_O, b_H.
        outputs: (1 + ticks, k) its outputs, those before its first tick, 0, included.
        readers: (1 + ticks, rows) the gradients of all who read a tick's output.
        sums: (rows,) what it and all slower ones contribute to its readers; then the biases.
    """

    rows: np.ndarray
    ticks: np.ndarray
    weights: np.ndarray
    outputs: np.ndarray
    readers: np.ndarray
    sums: np.ndarray


@jit
def _places(steps, periods, firsts, starts):
    modules = periods.size
    rows, ticks = np.empty(modules, np.int64), np.empty(modules, np.int64)
    weights, outputs = np.zeros(modules + 1, np.int64), np.zeros(modules + 1, np.int64)
    readers, sums = np.zeros(modules + 1, np.int64), np.zeros(modules + 1, np.int64)
    for j in range(modules):
        k = starts[j + 1] - starts[j]
        rows[j] = 1 + starts[j + 1]
        ticks[j] = (steps - firsts[j] + periods[j] - 1) // periods[j]
        weights[j + 1] = weights[j] + rows[j] * k
        outputs[j + 1] = outputs[j] + (1 + ticks[j]) * k
        readers[j + 1] = readers[j] + (1 + ticks[j]) * rows[j]
        sums[j + 1] = sums[j] + rows[j]
    return Places(rows, ticks, weights, outputs, readers, sums)


@jit
def _slowest_ticking(steps, periods, firsts):
    """(T,) the slowest module that runs at each step; -1: none."""
    slowest = np.full(steps, -1, np.int64)
    for j in range(periods.size):
        slowest[firsts[j] :: periods[j]] = j
    return slowest


@jit
def _move(theta, packed, weights, starts, pack):
    """Copy (P, LANES) weights to where :class:`Places` has them (``pack``), or back."""
    n = starts[-1]
    for j in range(starts.size - 1):
        k = starts[j + 1] - starts[j]
        for row in range(1 + starts[j + 1]):
            at = n * n + n if row == 0 else (row - 1) * n
            _copy(theta, at + starts[j], packed, weights[j] + row * k, k, pack)
    _copy(theta, n * n + 2 * n, packed, weights[-1], 1, pack)
    _copy(theta, n * n, packed, weights[-1] + 1, n, pack)


@jit
def _copy(a, a0, b, b0, count, forth):
    """Vectors of a to b, or back."""
    for i in range(count):
        if forth:
            store(b, b0 + i, load(a, a0 + i))
        else:
            store(a, a0 + i, load(b, b0 + i))


@jit
def clockwork_epochs(
    theta,
    velocity,
    target,
    rates,
    momentum,
    share,
    delta_clip,
    periods,
    firsts,
    starts,
    losses,
    squares,
):
    """Train one block of CW-RNNs (or SRNs: one module of period 1), in place.

    Args:
        theta: (P, LANES) weights: W_H (n, n), b_H (n), W_O (n), b_O, one after the other.
        velocity: (P, LANES) momentum, like theta.
        target: (T, LANES) the sequences to learn.
        rates: (epochs, LANES) learning rates.
        momentum: (epochs,) Nesterov's, epoch by epoch.
        share: a number, what 1/2 e_t**2 counts in the loss.
        delta_clip: what each step's gradient of the argument of a tanh or a logistic function is
            clipped to within; infinite: it is not.
        periods: (g,) strictly ascending.
        firsts: (g,) the step of each module's first tick, below its period; it is 0 before.
        starts: (g + 1,) first unit of each module, then n.
        losses: (epochs, LANES) gets share/2 sum_t e_t**2 of each epoch, before its step.
        squares: (epochs, LANES) float64 gets the square of the gradient's length in each epoch.
    """
    modules = periods.size
    n = starts[modules]
    steps = target.shape[0]
    rows, ticks, weights, outputs, readers, sums = _places(steps, periods, firsts, starts)
    slowest = _slowest_ticking(steps, periods, firsts)
    biases = weights[modules]

    packed = np.empty((weights[modules] + n + 1, LANES), theta.dtype)
    packed_velocity = np.empty_like(packed)
    gradient = np.zeros_like(packed)
    _move(theta, packed, weights, starts, True)
    _move(velocity, packed_velocity, weights, starts, True)

    y = np.zeros((outputs[modules], LANES), theta.dtype)
    grad_readers = np.empty((readers[modules], LANES), theta.dtype)
    total = np.empty((sums[modules] + n + 1, LANES), theta.dtype)
    early = np.zeros((sums[modules], LANES), theta.dtype)
    grad_y = np.empty((n, LANES), theta.dtype)
    errors = np.empty((steps, LANES), theta.dtype)
    ticked = np.empty(modules, np.int64)  # ticks so far: where in its history a module is
    due = np.empty(modules, np.int64)  # its next tick
    dirty = np.zeros(modules, np.bool_)

    one = broadcast(theta, 1.0)
    half = broadcast(theta, 0.5)
    shares = broadcast(theta, share)
    clips, limit = delta_clip < np.inf, broadcast(theta, delta_clip)

    for epoch in range(losses.shape[0]):
        for j in range(modules + 1):
            for row in range(rows[min(j, modules - 1)]):
                store(total, sums[j] + row, load(packed, biases + row))
        ticked[:] = 0
        due[:] = firsts
        loss = broadcast(theta, 0.0)
        for t in range(steps):
            for j in range(slowest[t] + 1):  # all read what was at t - 1
                if t == due[j]:
                    due[j] += periods[j]
                    ticked[j] += 1
                    k = starts[j + 1] - starts[j]
                    here, z = outputs[j] + ticked[j] * k, sums[j] + 1 + starts[j]
                    for c in range(k):
                        store(y, here + c, tanh(load(total, z + c)))
            for j in range(slowest[t], -1, -1):
                k = starts[j + 1] - starts[j]
                here = outputs[j] + ticked[j] * k
                w = weights[j]
                add_rows(packed, w, rows[j], k, y, here, total, sums[j + 1], sums[j])
            error = load(total, sums[0]) - load(target, t)
            loss = fma(error, error, loss)
            store(errors, t, error * shares)
        store(losses, epoch, loss * half * shares)

        clear(gradient, biases, n + 1)
        for j in range(modules):
            due[j] = firsts[j] + (ticked[j] - 1) * periods[j]
            clear(grad_readers, readers[j] + ticked[j] * rows[j], rows[j])
        for t in range(steps - 1, -1, -1):
            error = load(errors, t)
            store(gradient, biases, load(gradient, biases) + error)
            read = readers[0] + ticked[0] * rows[0]
            store(grad_readers, read, load(grad_readers, read) + error)
            for j in range(slowest[t] + 1):
                read = readers[j] + ticked[j] * rows[j]
                if j + 1 < modules:
                    above = readers[j + 1] + ticked[j + 1] * rows[j + 1]
                    add(grad_readers, above, grad_readers, read, rows[j])
                if t != due[j]:  # it goes on holding, but what it has was passed on
                    add(early, sums[j], grad_readers, read, rows[j])
                    clear(grad_readers, read, rows[j])
                    dirty[j] = True
                    continue
                if dirty[j]:
                    add(grad_readers, read, early, sums[j], rows[j])
                    clear(early, sums[j], rows[j])
                    dirty[j] = False
                first, k = starts[j], starts[j + 1] - starts[j]
                where = Vectors(weights[j], k)
                multiply_columns(packed, where, rows[j], k, grad_readers, read, grad_y, 0)
                here = outputs[j] + ticked[j] * k
                ticked[j] -= 1
                due[j] -= periods[j]
                before = read - rows[j]
                clear(grad_readers, before, 1 + first)
                for c in range(k):
                    value = load(y, here + c)
                    grad = load(grad_y, c) * (one - value * value)
                    if clips:
                        grad = clamp(grad, limit)
                    i = biases + 1 + first + c
                    store(gradient, i, load(gradient, i) + grad)
                    store(grad_readers, before + 1 + first + c, grad)
        for j in range(modules):
            k = starts[j + 1] - starts[j]
            grad_at = Vectors(readers[j] + rows[j], rows[j])
            y_at = Vectors(outputs[j] + k, k)
            w_at = Vectors(weights[j], k)
            sum_outer(grad_readers, grad_at, y, y_at, gradient, w_at, ticks[j], rows[j], k)
            clear(early, sums[j], rows[j])
            dirty[j] = False
        rate = load(rates, epoch)
        store(squares, epoch, nesterov(packed, packed_velocity, gradient, rate, momentum[epoch]))
    _move(theta, packed, weights, starts, False)
    _move(velocity, packed_velocity, weights, starts, False)


@jit
def lstm_epochs(
    theta,
    velocity,
    target,
    rates,
    momentum,
    share,
    delta_clip,
    n,
    peepholes,
    cell_output,
    losses,
    squares,
):
    """Train one block of LSTMs, in place.

    Args:
        theta: (P, LANES) weights: W_H (4n, n) and bias (4n) in the order i, f, g, o, then the
            peepholes (3n: i, f, o; there only if ``peepholes``), W_O (n), b_O.
        velocity: (P, LANES) momentum, like theta.
        target: (T, LANES) the sequences to learn.
        rates: (epochs, LANES) learning rates.
        momentum: (epochs,) Nesterov's, epoch by epoch.
        share: a number, what 1/2 e_t**2 counts in the loss.
        delta_clip: what each step's gradient of the argument of a tanh or a logistic function is
            clipped to within; infinite: it is not.
        n: cells.
        peepholes: whether the gates see the cells.
        cell_output: what squashes a cell: a number of CELL_OUTPUTS.
        losses: (epochs, LANES) gets share/2 sum_t e_t**2 of each epoch, before its step.
        squares: (epochs, LANES) float64 gets the square of the gradient's length in each epoch.
    """
    steps = target.shape[0]
    bias = 4 * n * n
    peep = bias + 4 * n
    weight_out = peep + 3 * n if peepholes else peep
    bias_out = weight_out + n
    # (steps, 4n) the gates; in the backward pass the gradients of what is in their tanh or sigmoid
    gates = np.empty((steps * 4 * n, LANES), theta.dtype)
    cell = np.empty((steps * n, LANES), theta.dtype)  # (steps, n)
    y = np.empty((steps * n, LANES), theta.dtype)  # (steps, n)
    errors = np.empty((steps, LANES), theta.dtype)
    grad_y = np.empty((n, LANES), theta.dtype)
    grad_cell = np.empty((n, LANES), theta.dtype)
    recurrent = Vectors(0, n)  # (4n, n)
    gradient = np.zeros_like(theta)
    zero = broadcast(theta, 0.0)
    one = broadcast(theta, 1.0)
    half = broadcast(theta, 0.5)
    shares = broadcast(theta, share)
    clips, limit = delta_clip < np.inf, broadcast(theta, delta_clip)

    for epoch in range(losses.shape[0]):
        loss = zero
        error_sum = zero
        for t in range(steps):
            g0 = t * 4 * n
            h0 = t * n
            if t > 0:
                multiply_rows(theta, recurrent, 4 * n, n, y, h0 - n, gates, g0)
            else:
                clear(gates, 0, 4 * n)
            prediction = load(theta, bias_out)
            for u in range(n):
                before = load(cell, h0 - n + u) if t > 0 else zero
                zi = load(gates, g0 + u) + load(theta, bias + u)
                zf = load(gates, g0 + n + u) + load(theta, bias + n + u)
                zg = load(gates, g0 + 2 * n + u) + load(theta, bias + 2 * n + u)
                zo = load(gates, g0 + 3 * n + u) + load(theta, bias + 3 * n + u)
                if peepholes:
                    zi = fma(load(theta, peep + u), before, zi)
                    zf = fma(load(theta, peep + n + u), before, zf)
                gate_i = sigmoid(zi)
                gate_f = sigmoid(zf)
                gate_g = tanh(zg)
                now = fma(gate_f, before, gate_i * gate_g)
                if peepholes:
                    zo = fma(load(theta, peep + 2 * n + u), now, zo)
                gate_o = sigmoid(zo)
                value = gate_o * squash(now, cell_output)[0]
                store(gates, g0 + u, gate_i)
                store(gates, g0 + n + u, gate_f)
                store(gates, g0 + 2 * n + u, gate_g)
                store(gates, g0 + 3 * n + u, gate_o)
                store(cell, h0 + u, now)
                store(y, h0 + u, value)
                prediction = fma(load(theta, weight_out + u), value, prediction)
            error = prediction - load(target, t)
            loss = fma(error, error, loss)
            error = error * shares
            error_sum = error_sum + error
            store(errors, t, error)
        store(losses, epoch, loss * half * shares)

        clear(gradient, bias, weight_out - bias)
        store(gradient, bias_out, error_sum)
        clear(grad_y, 0, n)
        clear(grad_cell, 0, n)
        for back in range(steps):
            t = steps - 1 - back
            g0 = t * 4 * n
            h0 = t * n
            error = load(errors, t)
            if back > 0:
                multiply_columns(theta, recurrent, 4 * n, n, gates, g0 + 4 * n, grad_y, 0)
            for u in range(n):
                before = load(cell, h0 - n + u) if t > 0 else zero
                now = load(cell, h0 + u)
                gate_i = load(gates, g0 + u)
                gate_f = load(gates, g0 + n + u)
                gate_g = load(gates, g0 + 2 * n + u)
                gate_o = load(gates, g0 + 3 * n + u)
                squashed, slope = squash(now, cell_output)
                grad = fma(load(theta, weight_out + u), error, load(grad_y, u))
                grad_zo = grad * squashed * gate_o * (one - gate_o)
                if clips:
                    grad_zo = clamp(grad_zo, limit)
                grad = fma(grad * gate_o, slope, load(grad_cell, u))
                if peepholes:
                    grad = fma(load(theta, peep + 2 * n + u), grad_zo, grad)
                grad_zi = grad * gate_g * gate_i * (one - gate_i)
                grad_zf = grad * before * gate_f * (one - gate_f)
                grad_zg = grad * gate_i * (one - gate_g * gate_g)
                if clips:
                    grad_zi = clamp(grad_zi, limit)
                    grad_zf = clamp(grad_zf, limit)
                    grad_zg = clamp(grad_zg, limit)
                grad = grad * gate_f  # of the cell before
                if peepholes:
                    grad = fma(load(theta, peep + u), grad_zi, grad)
                    grad = fma(load(theta, peep + n + u), grad_zf, grad)
                    i = peep + u
                    store(gradient, i, fma(grad_zi, before, load(gradient, i)))
                    store(gradient, i + n, fma(grad_zf, before, load(gradient, i + n)))
                    store(gradient, i + 2 * n, fma(grad_zo, now, load(gradient, i + 2 * n)))
                store(grad_cell, u, grad)
                store(gates, g0 + u, grad_zi)
                store(gates, g0 + n + u, grad_zf)
                store(gates, g0 + 2 * n + u, grad_zg)
                store(gates, g0 + 3 * n + u, grad_zo)
                i = bias + u
                store(gradient, i, load(gradient, i) + grad_zi)
                store(gradient, i + n, load(gradient, i + n) + grad_zf)
                store(gradient, i + 2 * n, load(gradient, i + 2 * n) + grad_zg)
                store(gradient, i + 3 * n, load(gradient, i + 3 * n) + grad_zo)
        y_at = Vectors(0, n)  # (steps, n)
        grad_at = Vectors(4 * n, 4 * n)  # (steps - 1, 4n), from step 1 on: it reads output 0
        sum_outer(gates, grad_at, y, y_at, gradient, recurrent, steps - 1, 4 * n, n)
        sum_outer(errors, Vectors(0, 1), y, y_at, gradient, Vectors(weight_out, n), steps, 1, n)
        square = nesterov(theta, velocity, gradient, load(rates, epoch), momentum[epoch])
        store(squares, epoch, square)
