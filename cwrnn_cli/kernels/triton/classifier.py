"""What both of task 2's training kernels do beside their recurrence, for one network and sequence.

What threads of a program store in global memory (it stays in the L2 cache) others of them load
after a ``debug_barrier``. Products over whole sequences are taken in tiles of 16 steps; those of
float32 are exact (IEEE). Every array is padded, so that no address in it needs a mask: weights,
inputs and units that are padding are 0 and stay 0.
"""

import triton
import triton.language as tl

TILE = tl.constexpr(16)  # steps, or rows of a matrix, at a time: the least that tl.dot takes


@triton.jit
def uniform(bits):
    """Numbers of U(0, 1) from 32 random bits, as float32: the upper 23."""
    return ((bits.to(tl.uint32, bitcast=True) >> 9).to(tl.float32) + 0.5) * (1 / 8388608)


@triton.jit
def normal(seed, place):
    """Numbers of N(0, 1), as float32, of a generator that counts: Philox 4x32-10.

    Its key is ``seed``, its counter ``place``. Two of its four words become a normal number by Box
    and Muller's formula, with the cosine as a series (the library's keeps an array on the stack).
    """
    first, second, _, _ = tl.randint4x(seed, place)
    length = tl.sqrt(-2 * tl.log(uniform(first)))
    turn = 6.2831853 * (0.25 - tl.abs(uniform(second) - 0.5))  # -pi/2 to pi/2
    q = turn * turn
    sine = q * (-1 / 39916800) + 1 / 362880
    sine = q * sine - 1 / 5040
    sine = q * sine + 1 / 120
    sine = q * sine - 1 / 6
    return -length * (turn + turn * q * sine)


@triton.jit
def nesterov(theta, velocity, grad, rate, momentum):
    """V = mu v + g; theta = theta - rate (g + mu v), at pointers of the gradient's shape.

    Returns:
        The sum of the gradient's squares, in double precision.
    """
    v = momentum * tl.load(velocity) + grad
    tl.store(velocity, v)
    tl.store(theta, tl.load(theta) - rate * (grad + momentum * v))
    wide = grad.to(tl.float64)
    return tl.sum(wide * wide)


@triton.jit
def multiply(rows, matrix, inner, down, across, COLUMNS: tl.constexpr):
    """Rows (16, inner) times a matrix (inner, COLUMNS), whose strides are ``down`` and ``across``.

    ``inner`` is a multiple of 16.
    """
    i = tl.arange(0, TILE)
    j = tl.arange(0, COLUMNS)
    total = tl.zeros((TILE, COLUMNS), dtype=rows.dtype.element_ty)
    k = 0
    while k < inner:
        a = tl.load(rows + i[:, None] * inner + (k + i)[None, :])
        b = tl.load(matrix + (k + i)[:, None] * down + j[None, :] * across)
        total = tl.dot(a, b, total, input_precision="ieee", out_dtype=total.dtype)
        k += TILE
    return total


@triton.jit
def weights_of(
    theta, member, stride, F, N: tl.constexpr, COLUMNS: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    """Where a network's W_H, W_X, W_O, b_O and peepholes begin in theta, or in the velocity."""
    network = tl.load(member).to(tl.int64)
    weight_hh = tl.multiple_of(theta + network * stride, 16)
    weight_x = weight_hh + COLUMNS * N
    weight_out = weight_x + F * COLUMNS
    bias_out = weight_out + K * N
    return weight_hh, weight_x, weight_out, bias_out, bias_out + K


@triton.jit
def scratch_of(
    scratch, member, room, rows, F, N: tl.constexpr, COLUMNS: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    """Where a network's arrays for one sequence begin.

    Returns:
        W_H transposed (N, COLUMNS), inputs (T, F), drive (T, COLUMNS), hidden (T, N), their
        gradient (T, N), the gradient of the logits (T, K) and an LSTM's cells (T, N), with ``rows``
        for T.
    """
    network = tl.load(member).to(tl.int64)
    across = tl.multiple_of(scratch + network * room, 16)
    drive = across + N * COLUMNS
    hidden = drive + rows * COLUMNS
    grad_hidden = hidden + rows * N
    grad_logits = grad_hidden + rows * N
    cells = grad_logits + rows * K
    inputs = cells + rows * N
    return across, inputs, drive, hidden, grad_hidden, grad_logits, cells


@triton.jit
def prepare(
    frames, first, steps, features, seed, noise, weight_hh, weight_x, across, inputs, drive, F,
    N: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """All that a sequence's forward pass needs.

    W_H transposed goes to ``across``; the frames, with noise, and a 1 for the bias behind them to
    ``inputs`` (T, F); their products with W_X to ``drive`` (T, COLUMNS). The noise of a number is
    :func:`normal` at its place among all frames.
    """
    i = tl.arange(0, TILE)
    f = tl.arange(0, TILE)
    n = tl.arange(0, N)
    j = tl.arange(0, COLUMNS)
    k = 0
    while k < COLUMNS:
        own = tl.load(weight_hh + (k + i)[:, None] * N + n[None, :])
        tl.store(across + n[None, :] * COLUMNS + (k + i)[:, None], own)
        k += TILE
    t = 0
    while t < steps:
        now = t + i
        k = 0
        while k < F:
            real = (now < steps)[:, None] & (k + f < features)[None, :]
            place = (first + now)[:, None] * features + (k + f)[None, :]
            x = tl.load(frames + place, mask=real, other=0.0)
            x = tl.where(real, x + noise * normal(seed, place), 0.0)
            x = tl.where((k + f == features)[None, :], 1.0, x)
            tl.store(inputs + now[:, None] * F + (k + f)[None, :], x)
            k += TILE
        t += TILE
    tl.debug_barrier()
    t = 0
    while t < steps:
        z = multiply(inputs + t * F, weight_x, F, COLUMNS, 1, COLUMNS)
        tl.store(drive + (t + i)[:, None] * COLUMNS + j[None, :], z)
        t += TILE
    tl.debug_barrier()


@triton.jit
def read_out(
    hidden, first, steps, label, weight, bias, classes, grad_logits, grad_hidden,
    N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Cross entropy of the steps from ``first`` on, and its gradients.

    Args:
        hidden: (T, N).
        first: step.
        steps: T.
        label: the right class.
        weight: W_O (K, N).
        bias: b_O (K,).
        classes: how many of K are real.
        grad_logits: (T, K), written from ``first`` on.
        grad_hidden: (T, N), likewise.
        N: units, padded.
        K: outputs, padded.

    Returns:
        The sum of the cross entropies, in double precision.
    """
    i = tl.arange(0, TILE)
    j = tl.arange(0, N)
    c = tl.arange(0, K)
    b = tl.load(bias + c)
    loss = tl.full((), 0.0, tl.float64)
    tl.debug_barrier()
    t = first
    while t < steps:
        counts = t + i < steps
        z = multiply(hidden + t * N, weight, N, 1, N, K) + b[None, :]
        z = tl.where((c < classes)[None, :], z, float("-inf"))
        z = z - tl.max(z, axis=1)[:, None]
        e = tl.exp(z)
        total = tl.sum(e, axis=1)
        right = (c == label)[None, :]
        own = tl.log(total) - tl.sum(tl.where(right, z, 0.0), axis=1)
        loss += tl.sum(tl.where(counts, own, 0.0)).to(tl.float64)
        grad = e / total[:, None] - tl.where(right, 1.0, 0.0)
        grad = tl.where(counts[:, None], grad, 0.0)
        tl.store(grad_logits + (t + i)[:, None] * K + c[None, :], grad)
        tl.debug_barrier()
        back = multiply(grad_logits + t * K, weight, K, N, 1, N)
        tl.store(grad_hidden + (t + i)[:, None] * N + j[None, :], back)
        t += TILE
    tl.debug_barrier()
    return loss


@triton.jit
def learn(
    left, right, first, steps, theta, velocity, rate, momentum, rows, periods,
    COLUMNS: tl.constexpr, CLOCKED: tl.constexpr,
):  # fmt: skip
    """One step of a matrix (rows, COLUMNS), whose gradient is a sum over the steps.

    Args:
        left: (T, rows).
        right: (T, COLUMNS); the gradient is the sum of left[t]^T right[t].
        first: step of the sum.
        steps: T.
        theta: where the matrix begins.
        velocity: where its momentum begins.
        rate: learning rate.
        momentum: Nesterov's.
        rows: a multiple of 16.
        periods: of the rows and of the columns, if CLOCKED.
        COLUMNS: of the matrix.
        CLOCKED: whether only columns that are no faster than the row learn.

    Returns:
        The sum of the gradient's squares, in double precision.
    """
    i = tl.arange(0, TILE)
    j = tl.arange(0, COLUMNS)
    squares = tl.full((), 0.0, tl.float64)
    k = 0
    while k < rows:
        grad = tl.zeros((TILE, COLUMNS), dtype=theta.dtype.element_ty)
        t = first
        while t < steps:
            real = t + i < steps
            from_left = left + (t + i)[None, :] * rows + (k + i)[:, None]
            a = tl.load(from_left, mask=real[None, :], other=0.0)
            from_right = right + (t + i)[:, None] * COLUMNS + j[None, :]
            b = tl.load(from_right, mask=real[:, None], other=0.0)
            grad = tl.dot(a, b, grad, input_precision="ieee", out_dtype=grad.dtype)
            t += TILE
        if CLOCKED:
            allowed = tl.load(periods + k + i)[:, None] <= tl.load(periods + j)[None, :]
            grad = tl.where(allowed, grad, 0.0)
        place = (k + i)[:, None] * COLUMNS + j[None, :]
        squares += nesterov(theta + place, velocity + place, grad, rate, momentum)
        k += TILE
    return squares


@triton.jit
def update_of(
    theta, velocity, scratch, member, stride, room, rows, begin, steps, rate, momentum,
    F, periods, N: tl.constexpr, COLUMNS: tl.constexpr, K: tl.constexpr, CLOCKED: tl.constexpr,
):  # fmt: skip
    """One step of W_H, W_X, W_O and b_O, from the histories of a sequence.

    Every address is computed anew: kept since the sequence began, they would take the registers
    that the recurrence needs.

    Returns:
        The sum of the gradients' squares, in double precision.
    """
    tl.debug_barrier()
    weight_hh, weight_x, weight_out, bias_out, _ = weights_of(
        theta, member, stride, F, N, COLUMNS, K
    )
    v_hh, v_x, v_out, v_bias, _ = weights_of(velocity, member, stride, F, N, COLUMNS, K)
    _, inputs, deltas, hidden, _, grad_logits, _ = scratch_of(
        scratch, member, room, rows, F, N, COLUMNS, K
    )
    squares = learn(
        deltas + COLUMNS, hidden, 0, steps - 1, weight_hh, v_hh, rate, momentum, COLUMNS, periods,
        N, CLOCKED,
    )  # fmt: skip
    squares += learn(
        inputs, deltas, 0, steps, weight_x, v_x, rate, momentum, F, periods, COLUMNS, False
    )
    squares += learn(
        grad_logits, hidden, begin, steps, weight_out, v_out, rate, momentum, K, periods, N, False
    )
    i = tl.arange(0, TILE)
    c = tl.arange(0, K)
    grad_bias = tl.zeros((K,), dtype=theta.dtype.element_ty)
    t = begin
    while t < steps:
        own = grad_logits + (t + i)[:, None] * K + c[None, :]
        grad_bias += tl.sum(tl.load(own, mask=(t + i < steps)[:, None], other=0.0), axis=0)
        t += TILE
    squares += nesterov(bias_out + c, v_bias + c, grad_bias, rate, momentum)
    tl.debug_barrier()
    return squares


@triton.jit
def clip(grad, limit):
    """A gradient clipped to within ``limit``, elementwise; what is no number stays none."""
    return tl.where(grad > limit, limit, tl.where(grad < -limit, -limit, grad))


@triton.jit
def longer(longest, length):
    """The larger of two numbers; infinite once the second is not finite."""
    return tl.where(length < float("inf"), tl.maximum(longest, length), float("inf"))
