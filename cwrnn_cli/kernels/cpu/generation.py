"""Task 1's whole training epoch in one compiled loop (Section 4.1 of the paper).

Forward pass, loss, backward pass and Nesterov step of a block of :data:`~.simd.LANES` networks, as
many epochs as asked for, with nothing allocated per step and nothing but the losses coming out. One
lane is one network; networks never meet, so a diverged one harms nobody. Blocks are independent:
one thread trains one block.

Work of the clockwork network. A slow module changes only on its ticks, and so does what it adds to
the faster modules. The forward pass therefore multiplies a module's columns of W_H once per tick of
**that** module (not of every module that reads them) and keeps the product; the backward pass adds
up the errors of everybody who read one tick's output and multiplies once. That is eq. 1-4 exactly,
for any periods, in ``sum_j rows_j k_j / T_j`` multiply-adds per step instead of the appendix's
``sum_i k_i cols_i / T_i``.

Tested against the autograd path (`cwrnn_cli.training.engines.AutogradEngine`) in float64.
"""

import numpy as np

from .products import jit, multiply_columns, multiply_rows, sum_outer
from .simd import LANES, broadcast, fma, load, sigmoid, store, tanh


@jit
def _nesterov(theta, velocity, gradient, rate, momentum):
    """V = mu v + g; theta = theta - rate (g + mu v), as `torch.optim.SGD(nesterov=True)`."""
    step = broadcast(theta, 0.0) - load(rate, 0)
    mu = broadcast(theta, momentum)
    for i in range(theta.shape[0]):
        g = load(gradient, i)
        v = fma(mu, load(velocity, i), g)
        store(velocity, i, v)
        store(theta, i, fma(step, fma(mu, v, g), load(theta, i)))


@jit
def clockwork_epochs(theta, velocity, target, rate, momentum, periods, starts, losses):
    """Train one block of CW-RNNs (or SRNs: one module of period 1), in place.

    Args:
        theta: (P, LANES) weights: W_H (n, n), b_H (n), W_O (n), b_O, one after the other.
        velocity: (P, LANES) momentum, like theta.
        target: (T, LANES) the sequences to learn.
        rate: (1, LANES) learning rates.
        momentum: (epochs,) Nesterov's, epoch by epoch.
        periods: (g,) strictly ascending.
        starts: (g + 1,) first unit of each module, then n.
        losses: (epochs, LANES) gets 1/2 sum_t e_t**2 of each epoch, before its step.
    """
    modules = periods.size
    n = starts[modules]
    steps = target.shape[0]
    bias = n * n
    weight_out = bias + n
    bias_out = weight_out + n

    ticks = np.empty(modules, np.int64)
    history = np.empty(modules + 1, np.int64)  # module j's tick s: its units at history[j] + s * k
    readers = np.empty(
        modules + 1, np.int64
    )  # ... the errors of its readers at readers[j] + s * end
    errors = np.empty(modules + 1, np.int64)  # ... the output errors while it held at errors[j] + s
    products = np.empty(modules + 1, np.int64)  # ... its columns of W_H times its output
    history[0] = readers[0] = errors[0] = products[0] = 0
    for j in range(modules):
        ticks[j] = (steps + periods[j] - 1) // periods[j]
        history[j + 1] = history[j] + ticks[j] * (starts[j + 1] - starts[j])
        readers[j + 1] = readers[j] + ticks[j] * starts[j + 1]
        errors[j + 1] = errors[j] + ticks[j]
        products[j + 1] = products[j] + starts[j + 1]
    y = np.empty((history[modules], LANES), theta.dtype)
    q = np.empty((readers[modules], LANES), theta.dtype)
    e = np.empty((errors[modules], LANES), theta.dtype)
    product = np.empty((products[modules], LANES), theta.dtype)
    output = np.empty((modules, LANES), theta.dtype)
    dh = np.empty((n, LANES), theta.dtype)
    gradient = np.zeros_like(theta)
    zero = broadcast(theta, 0.0)
    one = broadcast(theta, 1.0)
    half = broadcast(theta, 0.5)

    for epoch in range(losses.shape[0]):
        for i in range(product.shape[0]):
            store(product, i, zero)
        for i in range(e.shape[0]):
            store(e, i, zero)
        loss = zero
        error_sum = zero
        for t in range(steps):
            for j in range(modules):  # fastest first: what it reads of the others is still t - 1
                if t % periods[j] == 0:
                    first, end = starts[j], starts[j + 1]
                    k = end - first
                    here = history[j] + t // periods[j] * k
                    for u in range(first, end):
                        z = load(theta, bias + u)
                        for slower in range(j, modules):
                            z = z + load(product, products[slower] + u)
                        store(y, here + u - first, tanh(z))
                    multiply_rows(theta, first, n, end, k, y, here, product, products[j])
                    multiply_rows(theta, weight_out + first, 0, 1, k, y, here, output, j)
            prediction = load(theta, bias_out)
            for j in range(modules):
                prediction = prediction + load(output, j)
            error = prediction - load(target, t)
            loss = fma(error, error, loss)
            error_sum = error_sum + error
            for j in range(modules):
                i = errors[j] + t // periods[j]
                store(e, i, load(e, i) + error)
        store(losses, epoch, loss * half)

        for j in range(modules):
            end = starts[j + 1]
            held = starts[j] if j > 0 else 0
            for s in range(ticks[j]):
                i = readers[j] + s * end
                for u in range(held):
                    store(q, i + u, zero)
            i = readers[j] + (ticks[j] - 1) * end
            for u in range(end):  # nobody may have read the last tick
                store(q, i + u, zero)
        for i in range(n):
            store(gradient, bias + i, zero)
        store(gradient, bias_out, error_sum)
        for back in range(steps):
            t = steps - 1 - back
            for j in range(modules):
                if t % periods[j] == 0:
                    first, end = starts[j], starts[j + 1]
                    k = end - first
                    s = t // periods[j]
                    here = history[j] + s * k
                    multiply_columns(theta, first, n, end, k, q, readers[j] + s * end, dh, first)
                    held_error = load(e, errors[j] + s)
                    for u in range(first, end):
                        value = load(y, here + u - first)
                        d = fma(load(theta, weight_out + u), held_error, load(dh, u))
                        d = d * (one - value * value)
                        store(gradient, bias + u, load(gradient, bias + u) + d)
                        if t > 0:
                            store(q, readers[j] + (s - 1) * end + u, d)
                            for slower in range(j + 1, modules):
                                i = (
                                    readers[slower]
                                    + (t - 1) // periods[slower] * starts[slower + 1]
                                    + u
                                )
                                store(q, i, load(q, i) + d)
        for j in range(modules):
            first, end = starts[j], starts[j + 1]
            k = end - first
            sum_outer(q, readers[j], end, y, history[j], k, ticks[j], end, k, gradient, first, n)
            sum_outer(
                e, errors[j], 1, y, history[j], k, ticks[j], 1, k, gradient, weight_out + first, n
            )
        _nesterov(theta, velocity, gradient, rate, momentum[epoch])


@jit
def lstm_epochs(theta, velocity, target, rate, momentum, n, peepholes, losses):
    """Train one block of LSTMs, in place.

    Args:
        theta: (P, LANES) weights: W_H (4n, n) and bias (4n) in the order i, f, g, o, then the
            peepholes (3n: i, f, o; there only if ``peepholes``), W_O (n), b_O.
        velocity: (P, LANES) momentum, like theta.
        target: (T, LANES) the sequences to learn.
        rate: (1, LANES) learning rates.
        momentum: (epochs,) Nesterov's, epoch by epoch.
        n: cells.
        peepholes: whether the gates see the cells.
        losses: (epochs, LANES) gets 1/2 sum_t e_t**2 of each epoch, before its step.
    """
    steps = target.shape[0]
    bias = 4 * n * n
    peep = bias + 4 * n
    weight_out = peep + 3 * n if peepholes else peep
    bias_out = weight_out + n
    gates = np.empty((steps * 4 * n, LANES), theta.dtype)  # later the errors at their inputs
    cell = np.empty((steps * n, LANES), theta.dtype)
    y = np.empty((steps * n, LANES), theta.dtype)
    e = np.empty((steps, LANES), theta.dtype)
    dh = np.empty((n, LANES), theta.dtype)
    dc = np.empty((n, LANES), theta.dtype)
    gradient = np.zeros_like(theta)
    zero = broadcast(theta, 0.0)
    one = broadcast(theta, 1.0)
    half = broadcast(theta, 0.5)

    for epoch in range(losses.shape[0]):
        loss = zero
        error_sum = zero
        for t in range(steps):
            g0 = t * 4 * n
            h0 = t * n
            if t > 0:
                multiply_rows(theta, 0, n, 4 * n, n, y, h0 - n, gates, g0)
            else:
                for i in range(4 * n):
                    store(gates, i, zero)
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
                value = gate_o * tanh(now)
                store(gates, g0 + u, gate_i)
                store(gates, g0 + n + u, gate_f)
                store(gates, g0 + 2 * n + u, gate_g)
                store(gates, g0 + 3 * n + u, gate_o)
                store(cell, h0 + u, now)
                store(y, h0 + u, value)
                prediction = fma(load(theta, weight_out + u), value, prediction)
            error = prediction - load(target, t)
            loss = fma(error, error, loss)
            error_sum = error_sum + error
            store(e, t, error)
        store(losses, epoch, loss * half)

        for i in range(bias, weight_out):
            store(gradient, i, zero)
        store(gradient, bias_out, error_sum)
        for u in range(n):
            store(dh, u, zero)
            store(dc, u, zero)
        for back in range(steps):
            t = steps - 1 - back
            g0 = t * 4 * n
            h0 = t * n
            error = load(e, t)
            if back > 0:
                multiply_columns(theta, 0, n, 4 * n, n, gates, g0 + 4 * n, dh, 0)
            for u in range(n):
                before = load(cell, h0 - n + u) if t > 0 else zero
                now = load(cell, h0 + u)
                gate_i = load(gates, g0 + u)
                gate_f = load(gates, g0 + n + u)
                gate_g = load(gates, g0 + 2 * n + u)
                gate_o = load(gates, g0 + 3 * n + u)
                squashed = tanh(now)
                d = fma(load(theta, weight_out + u), error, load(dh, u))
                do = d * squashed * gate_o * (one - gate_o)
                d = fma(d * gate_o, one - squashed * squashed, load(dc, u))
                if peepholes:
                    d = fma(load(theta, peep + 2 * n + u), do, d)
                di = d * gate_g * gate_i * (one - gate_i)
                df = d * before * gate_f * (one - gate_f)
                dg = d * gate_i * (one - gate_g * gate_g)
                d = d * gate_f
                if peepholes:
                    d = fma(load(theta, peep + u), di, d)
                    d = fma(load(theta, peep + n + u), df, d)
                    i = peep + u
                    store(gradient, i, fma(di, before, load(gradient, i)))
                    store(gradient, i + n, fma(df, before, load(gradient, i + n)))
                    store(gradient, i + 2 * n, fma(do, now, load(gradient, i + 2 * n)))
                store(dc, u, d)
                store(gates, g0 + u, di)
                store(gates, g0 + n + u, df)
                store(gates, g0 + 2 * n + u, dg)
                store(gates, g0 + 3 * n + u, do)
                i = bias + u
                store(gradient, i, load(gradient, i) + di)
                store(gradient, i + n, load(gradient, i + n) + df)
                store(gradient, i + 2 * n, load(gradient, i + 2 * n) + dg)
                store(gradient, i + 3 * n, load(gradient, i + 3 * n) + do)
        sum_outer(gates, 4 * n, 4 * n, y, 0, n, steps - 1, 4 * n, n, gradient, 0, n)
        sum_outer(e, 0, 1, y, 0, n, steps, 1, n, gradient, weight_out, n)
        _nesterov(theta, velocity, gradient, rate, momentum[epoch])
