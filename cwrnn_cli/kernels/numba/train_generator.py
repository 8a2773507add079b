"""Task 1's whole training epoch in one compiled loop (Section 4.1 of the paper).

Forward pass, loss, backward pass and Nesterov step of a block of :data:`~.simd.LANES` networks, as
many epochs as asked for, with nothing allocated per step and nothing but the losses and the lengths
of the gradients coming out. One lane is one network; networks never meet, so a diverged one harms
nobody. Blocks are independent: one thread trains one block.

Work of the clockwork network. A slow module changes only on its ticks, and so does what it adds to
the faster modules. The forward pass therefore multiplies a module's columns of W_H once per tick of
**that** module (not of every module that reads them) and keeps the product; the backward pass adds
up the gradients of all who read one tick's output and multiplies once. That is eq. 1-4 exactly,
for any periods, in ``sum_j rows_j k_j / T_j`` multiply-adds per step instead of the appendix's
``sum_i k_i cols_i / T_i``.

Tested against training by autograd in float64, by the tests of the task that trains with it.

Shapes are in vectors; a weight, an output or an error is one vector, a lane per network.
"""

import numpy as np

from ..lstm.loops import squash
from .nesterov import nesterov
from .network_products import multiply_columns, multiply_rows, sum_outer
from .products import Vectors, clear, jit
from .simd import LANES, broadcast, clamp, fma, load, sigmoid, store, tanh


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
    bias = n * n
    weight_out = bias + n
    bias_out = weight_out + n

    ticks = np.empty(modules, np.int64)
    # where each module j has what; then the end
    history = np.empty(modules + 1, np.int64)  # (ticks, k) its outputs
    readers = np.empty(modules + 1, np.int64)  # (ticks, end) gradients of all who read a tick
    held = np.empty(modules + 1, np.int64)  # (ticks,) output errors, summed while it held
    products = np.empty(modules + 1, np.int64)  # (end,) its columns of W_H times its output
    history[0] = readers[0] = held[0] = products[0] = 0
    for j in range(modules):
        ticks[j] = (steps - firsts[j] + periods[j] - 1) // periods[j]
        history[j + 1] = history[j] + ticks[j] * (starts[j + 1] - starts[j])
        readers[j + 1] = readers[j] + ticks[j] * starts[j + 1]
        held[j + 1] = held[j] + ticks[j]
        products[j + 1] = products[j] + starts[j + 1]
    y = np.empty((history[modules], LANES), theta.dtype)
    grad_readers = np.empty((readers[modules], LANES), theta.dtype)
    held_error = np.empty((held[modules], LANES), theta.dtype)
    product = np.empty((products[modules], LANES), theta.dtype)
    output = np.empty((modules, LANES), theta.dtype)  # each module's part of the network's output
    grad_y = np.empty((n, LANES), theta.dtype)
    gradient = np.zeros_like(theta)
    zero = broadcast(theta, 0.0)
    one = broadcast(theta, 1.0)
    half = broadcast(theta, 0.5)
    shares = broadcast(theta, share)
    clips, limit = delta_clip < np.inf, broadcast(theta, delta_clip)

    for epoch in range(losses.shape[0]):
        clear(product, 0, product.shape[0])
        clear(output, 0, modules)
        clear(held_error, 0, held_error.shape[0])
        loss = zero
        error_sum = zero
        for t in range(steps):
            for j in range(modules):  # fastest first: what it reads of the others is still t - 1
                if t % periods[j] == firsts[j]:
                    first, end = starts[j], starts[j + 1]
                    k = end - first
                    here = history[j] + t // periods[j] * k
                    for u in range(first, end):
                        z = load(theta, bias + u)
                        for slower in range(j, modules):
                            z = z + load(product, products[slower] + u)
                        store(y, here + u - first, tanh(z))
                    columns = Vectors(first, n)  # (end, k)
                    multiply_rows(theta, columns, end, k, y, here, product, products[j])
                    readout = Vectors(weight_out + first, 0)  # (1, k)
                    multiply_rows(theta, readout, 1, k, y, here, output, j)
            prediction = load(theta, bias_out)
            for j in range(modules):
                prediction = prediction + load(output, j)
            error = prediction - load(target, t)
            loss = fma(error, error, loss)
            error = error * shares
            error_sum = error_sum + error
            for j in range(modules):
                if t >= firsts[j]:
                    i = held[j] + (t - firsts[j]) // periods[j]
                    store(held_error, i, load(held_error, i) + error)
        store(losses, epoch, loss * half * shares)

        for j in range(modules):
            end = starts[j + 1]
            faster = starts[j] if j > 0 else 0
            for s in range(ticks[j]):
                clear(grad_readers, readers[j] + s * end, faster)
            if ticks[j] > 0:  # nobody may have read the last tick
                clear(grad_readers, readers[j] + (ticks[j] - 1) * end, end)
        clear(gradient, bias, n)
        store(gradient, bias_out, error_sum)
        for back in range(steps):
            t = steps - 1 - back
            for j in range(modules):
                if t % periods[j] == firsts[j]:
                    first, end = starts[j], starts[j + 1]
                    k = end - first
                    s = t // periods[j]
                    here = history[j] + s * k
                    columns = Vectors(first, n)  # (end, k)
                    read = readers[j] + s * end
                    multiply_columns(theta, columns, end, k, grad_readers, read, grad_y, first)
                    error = load(held_error, held[j] + s)
                    for u in range(first, end):
                        value = load(y, here + u - first)
                        grad = fma(load(theta, weight_out + u), error, load(grad_y, u))
                        grad = grad * (one - value * value)
                        if clips:
                            grad = clamp(grad, limit)
                        store(gradient, bias + u, load(gradient, bias + u) + grad)
                        if s > 0:
                            store(grad_readers, readers[j] + (s - 1) * end + u, grad)
                        for slower in range(j + 1, modules):
                            tick = (t - 1 - firsts[slower]) // periods[slower]
                            if tick >= 0:
                                i = readers[slower] + tick * starts[slower + 1] + u
                                store(grad_readers, i, load(grad_readers, i) + grad)
        for j in range(modules):
            first, end = starts[j], starts[j + 1]
            k = end - first
            y_at = Vectors(history[j], k)  # (ticks, k)
            grad_at, at = Vectors(readers[j], end), Vectors(first, n)  # (ticks, end), (end, k)
            sum_outer(grad_readers, grad_at, y, y_at, gradient, at, ticks[j], end, k)
            grad_at, at = Vectors(held[j], 1), Vectors(weight_out + first, n)  # (ticks, 1), (1, k)
            sum_outer(held_error, grad_at, y, y_at, gradient, at, ticks[j], 1, k)
        square = nesterov(theta, velocity, gradient, load(rates, epoch), momentum[epoch])
        store(squares, epoch, square)


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
