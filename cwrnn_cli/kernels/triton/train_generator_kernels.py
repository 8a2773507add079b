"""Task 1's whole training epoch in one Triton kernel (Section 4.1 of the paper), for a GPU.

Forward pass, loss, backward pass and Nesterov step of one network per program, as many epochs as
asked for in one launch. A network's weights are on chip for a whole pass, its gradient for a whole
epoch; per step only its outputs go to memory and come back. Networks never meet, so a diverged one
harms nobody.

The readout is a row of W_H: unit n is the output, a linear one, that nobody reads; its row is W_O,
its bias b_O. What it has at step t is the prediction of step t - 1, so there are T + 1 steps. In
the backward pass its gradient is the error, and what the hidden units get from it comes with what
they get from each other. n units need a WIDTH above n.

The forward pass sums over the units that are read: there a thread has a row of W_H in its registers
(:func:`_rows`). The backward pass sums over those that read: there it has a column. Neither sum
leaves the thread where WIDTH is the number of threads; only n outputs, or n gradients, go round
through shared memory, once a step.

Weights, momentum and gradient lie in memory padded to WIDTH: the compiler knows the place of each.

Tested against training by autograd in float64, by the tests of the task that trains with it.
"""

import triton
import triton.language as tl

from ..lstm.layout import SIGMOID, TWICE_TANH
from .functions import sigmoid, tanh

# type of each argument; of its value the compiler knows nothing: what is launched was checked
_NUMBERS = ("theta", "velocity", "gradient", "targets", "rates", "momenta", "loss", "history")
TYPES = {
    **dict.fromkeys((*_NUMBERS, "losses"), "*fp32"),
    "squares": "*fp64",
    "members": "*i64",
    **dict.fromkeys(("used", "periods", "firsts"), "*i32"),
    **dict.fromkeys(("n", "parameters", "steps", "epochs"), "i32"),
}
_UNKNOWN = tuple(TYPES)
_SIGMOID, _TWICE_TANH = tl.constexpr(SIGMOID), tl.constexpr(TWICE_TANH)


@triton.jit
def _rows(WIDTH: tl.constexpr):
    """Places in a (WIDTH, WIDTH) matrix, for a tile of which a thread gets rows.

    Triton gives neighbours in memory to neighbouring threads, that is columns, unless it is told
    that there are no neighbours.
    """
    i = tl.arange(0, WIDTH)
    return tl.max_contiguous(i[:, None] * WIDTH + i[None, :], [1, 1])


@triton.jit
def _columns(WIDTH: tl.constexpr):
    """The same places, for a tile of which a thread gets columns."""
    i = tl.arange(0, WIDTH)
    return i[:, None] * WIDTH + i[None, :]


@triton.jit
def _sum_row(tile, WIDTH: tl.constexpr):
    """(WIDTH,) sums of a tile's rows, four at a time: a chain of all would wait for itself."""
    return tl.sum(tl.sum(tl.reshape(tile, (WIDTH, WIDTH // 4, 4)), axis=1), axis=1)


@triton.jit
def _sum_column(tile, WIDTH: tl.constexpr):
    """Likewise of its columns."""
    return tl.sum(tl.sum(tl.reshape(tile, (WIDTH // 4, 4, WIDTH)), axis=0), axis=0)


@triton.jit
def _nesterov(theta, velocity, gradient, used, parameters, rate, mu, BLOCK: tl.constexpr):
    """A step of all weights, as `torch.optim.SGD(nesterov=True)`; the squares of the gradient."""
    i = tl.arange(0, BLOCK)
    squares = tl.zeros((BLOCK,), tl.float64)  # of what float32 holds; they may be beyond it
    done = 0
    while done < parameters:
        inside = i < parameters
        mask = inside & (tl.load(used + i, mask=inside, other=0) > 0)
        grad = tl.load(gradient + i, mask=mask, other=0.0)
        v = mu * tl.load(velocity + i, mask=mask, other=0.0) + grad
        w = tl.load(theta + i, mask=mask, other=0.0)
        tl.store(velocity + i, v, mask=mask)
        tl.store(theta + i, w - rate * (grad + mu * v), mask=mask)
        wide = grad.to(tl.float64)
        squares += wide * wide
        i += BLOCK
        done += BLOCK
    return tl.sum(squares)


@triton.jit
def _clipped(grad, limit):
    """Within the limit; NaN stays."""
    return tl.clamp(grad, -limit, limit, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _squash(cell, KIND: tl.constexpr):
    """What a cell gives out, and its derivative."""
    if KIND == _SIGMOID:
        value = sigmoid(cell)
        slope = value * (1 - value)
    else:
        value = tanh(cell)
        slope = 1 - value * value
        if KIND == _TWICE_TANH:
            value *= 2
            slope *= 2
    return value, slope


@triton.jit(do_not_specialize=_UNKNOWN, do_not_specialize_on_alignment=_UNKNOWN)
def clockwork_epochs(
    theta, velocity, gradient, used, targets, members, rates, momenta, loss, periods, firsts,
    history, losses, squares, n, parameters, steps, epochs, WIDTH: tl.constexpr,
):  # fmt: skip
    """Train CW-RNNs (or SRNs: all periods 1), in place; program a has network members[a].

    Args:
        theta: (R, P) weights: a matrix (WIDTH, WIDTH) whose first n rows and columns are W_H and
            whose row n is W_O; b_H, then b_O at n, (WIDTH); the rest is 0.
        velocity: (R, P) momentum, like theta.
        gradient: (A, P) scratch.
        used: (P,) int32, 1 where there is a weight that is computed with.
        targets: (R, T) the sequences to learn.
        members: (A,) int64, the networks to train.
        rates: (A, epochs) learning rates.
        momenta: (epochs,) Nesterov's.
        loss: (2,) what 1/2 e_t**2 counts in the loss; what each step's gradient of the argument of
            tanh is clipped to within, infinite: it is not.
        periods: (n,) int32 of each unit, below 2**31 - T.
        firsts: (n,) int32 the step of each unit's first tick, below its period; it is 0 before.
        history: (A, 1 + T, WIDTH) scratch: outputs, and at unit n the error of the step before.
        losses: (A, epochs) gets share/2 sum_t e_t**2 of each epoch, before its step.
        squares: (A, epochs) float64 gets the square of the gradient's length in each epoch.
        n: units, below WIDTH.
        parameters: P.
        steps: T, at least 1.
        epochs: how many.
        WIDTH: of :data:`.train_generator.WARPS`.
    """
    program = tl.program_id(0).to(tl.int64)
    network = tl.load(members + program)
    i = tl.arange(0, WIDTH)
    real = i < n
    readout = i == n
    bias = WIDTH * WIDTH + i
    theta += network * parameters
    velocity += network * parameters
    gradient += program * parameters
    targets += network * steps
    history += program * (1 + steps) * WIDTH + i
    period = tl.load(periods + i, mask=real, other=1)
    first = tl.load(firsts + i, mask=real, other=0)
    share = tl.load(loss)
    limit = tl.load(loss + 1)
    epoch = 0
    while epoch < epochs:
        w = tl.load(theta + _rows(WIDTH))
        b = tl.load(theta + bias)
        target = tl.load(targets)
        y = tl.zeros((WIDTH,), b.dtype)
        squared = tl.zeros((WIDTH,), b.dtype)
        until = first  # a unit's next tick
        t = 0
        while t <= steps:
            z = _sum_row(w * y[None, :], WIDTH) + b
            y = tl.where(real & (until == 0) & (t < steps), tanh(z), y)
            error = tl.where(readout & (t > 0), z - target, 0.0)
            squared += error * error
            tl.store(history + t * WIDTH, tl.where(readout, error * share, y))
            target = tl.load(targets + tl.minimum(t, steps - 1))
            until = tl.where(until == 0, period, until) - 1
            t += 1
        tl.store(losses + program * epochs + epoch, tl.sum(squared) * share * 0.5)

        tl.debug_barrier()  # other threads read what these wrote
        w = tl.load(theta + _columns(WIDTH))
        grad_w = tl.zeros((WIDTH, WIDTH), b.dtype)
        grad_b = tl.zeros((WIDTH,), b.dtype)
        from_next = tl.zeros((WIDTH,), b.dtype)
        now = tl.load(history + steps * WIDTH)
        before = tl.load(history + (steps - 1) * WIDTH)
        since = period - 1 - until  # its last one
        while t > 0:
            t -= 1
            early = tl.load(history + tl.maximum(t - 2, 0) * WIDTH)  # for the step after next
            ticks = since == 0
            grad = tl.where(real & ticks, from_next * (1 - now * now), 0.0)
            grad = tl.where(readout, now, _clipped(grad, limit))
            grad_w += grad[:, None] * tl.where(t > 0, before, 0.0)[None, :]
            grad_b += grad
            from_next = _sum_column(w * grad[:, None], WIDTH) + tl.where(ticks, 0.0, from_next)
            since = tl.where(ticks, period, since) - 1
            now = before
            before = early
        tl.store(gradient + _columns(WIDTH), grad_w)
        tl.store(gradient + bias, grad_b)
        tl.debug_barrier()
        rate = tl.load(rates + program * epochs + epoch)
        mu = tl.load(momenta + epoch)
        square = _nesterov(theta, velocity, gradient, used, parameters, rate, mu, 4 * WIDTH)
        tl.store(squares + program * epochs + epoch, square)
        tl.debug_barrier()
        epoch += 1


@triton.jit(do_not_specialize=_UNKNOWN, do_not_specialize_on_alignment=_UNKNOWN)
def lstm_epochs(
    theta, velocity, gradient, used, targets, members, rates, momenta, loss,
    history, losses, squares, n, parameters, steps, epochs,
    WIDTH: tl.constexpr, CELL_OUTPUT: tl.constexpr,
):  # fmt: skip
    """Train LSTMs, in place; program a has network members[a].

    Arguments are those of :func:`clockwork_epochs`, but

    - theta: (R, P) weights: four matrices (WIDTH, WIDTH) for i, f, g, o, the first n rows and
      columns of each; row n of g is W_O; four times (WIDTH) biases, b_O at n of g; three times
      (WIDTH) peepholes for i, f, o; the rest is 0.
    - history: (A, 1 + T, 5, WIDTH) scratch: gates i, f, g, o and cells; at unit n of g the error of
      the step before.
    - n: cells, below WIDTH.
    - CELL_OUTPUT: what squashes a cell, a number of CELL_OUTPUTS.
    """
    program = tl.program_id(0).to(tl.int64)
    network = tl.load(members + program)
    i = tl.arange(0, WIDTH)
    real = i < n
    readout = i == n
    block: tl.constexpr = WIDTH * WIDTH
    row: tl.constexpr = 5 * WIDTH  # of the history
    bias = 4 * block + i
    peephole = bias + 4 * WIDTH
    theta += network * parameters
    velocity += network * parameters
    gradient += program * parameters
    targets += network * steps
    history += program * (1 + steps) * row + i
    share = tl.load(loss)
    limit = tl.load(loss + 1)
    epoch = 0
    while epoch < epochs:
        w_i = tl.load(theta + _rows(WIDTH))
        w_f = tl.load(theta + block + _rows(WIDTH))
        w_g = tl.load(theta + 2 * block + _rows(WIDTH))
        w_o = tl.load(theta + 3 * block + _rows(WIDTH))
        b_i = tl.load(theta + bias)
        b_f = tl.load(theta + bias + WIDTH)
        b_g = tl.load(theta + bias + 2 * WIDTH)
        b_o = tl.load(theta + bias + 3 * WIDTH)
        p_i = tl.load(theta + peephole)
        p_f = tl.load(theta + peephole + WIDTH)
        p_o = tl.load(theta + peephole + 2 * WIDTH)
        target = tl.load(targets)
        y = tl.zeros((WIDTH,), b_i.dtype)
        cell = tl.zeros((WIDTH,), b_i.dtype)
        squared = tl.zeros((WIDTH,), b_i.dtype)
        t = 0
        while t <= steps:
            z_i = _sum_row(w_i * y[None, :], WIDTH) + b_i
            z_f = _sum_row(w_f * y[None, :], WIDTH) + b_f
            z_g = _sum_row(w_g * y[None, :], WIDTH) + b_g
            z_o = _sum_row(w_o * y[None, :], WIDTH) + b_o
            z_i += p_i * cell
            z_f += p_f * cell
            gate_i = sigmoid(z_i)
            gate_f = sigmoid(z_f)
            gate_g = tanh(z_g)
            cell = tl.where(real, gate_f * cell + gate_i * gate_g, 0.0)
            gate_o = sigmoid(z_o + p_o * cell)
            squashed, _slope = _squash(cell, CELL_OUTPUT)
            y = tl.where(real, gate_o * squashed, 0.0)
            error = tl.where(readout & (t > 0), z_g - target, 0.0)
            squared += error * error
            at = history + t * row
            tl.store(at, gate_i)
            tl.store(at + WIDTH, gate_f)
            tl.store(at + 2 * WIDTH, tl.where(readout, error * share, gate_g))
            tl.store(at + 3 * WIDTH, gate_o)
            tl.store(at + 4 * WIDTH, cell)
            target = tl.load(targets + tl.minimum(t, steps - 1))
            t += 1
        tl.store(losses + program * epochs + epoch, tl.sum(squared) * share * 0.5)

        tl.debug_barrier()
        w_i = tl.load(theta + _columns(WIDTH))
        w_f = tl.load(theta + block + _columns(WIDTH))
        w_g = tl.load(theta + 2 * block + _columns(WIDTH))
        w_o = tl.load(theta + 3 * block + _columns(WIDTH))
        grad_wi = tl.zeros((WIDTH, WIDTH), b_i.dtype)
        grad_wf = tl.zeros((WIDTH, WIDTH), b_i.dtype)
        grad_wg = tl.zeros((WIDTH, WIDTH), b_i.dtype)
        grad_wo = tl.zeros((WIDTH, WIDTH), b_i.dtype)
        grad_bi = tl.zeros((WIDTH,), b_i.dtype)
        grad_bf = tl.zeros((WIDTH,), b_i.dtype)
        grad_bg = tl.zeros((WIDTH,), b_i.dtype)
        grad_bo = tl.zeros((WIDTH,), b_i.dtype)
        grad_pi = tl.zeros((WIDTH,), b_i.dtype)
        grad_pf = tl.zeros((WIDTH,), b_i.dtype)
        grad_po = tl.zeros((WIDTH,), b_i.dtype)
        from_next = tl.zeros((WIDTH,), b_i.dtype)
        from_cell = tl.zeros((WIDTH,), b_i.dtype)
        at = history + steps * row
        gate_i = tl.load(at)
        gate_f = tl.load(at + WIDTH)
        gate_g = tl.load(at + 2 * WIDTH)
        gate_o = tl.load(at + 3 * WIDTH)
        cell = tl.load(at + 4 * WIDTH)
        squashed, slope = _squash(cell, CELL_OUTPUT)
        while t > 0:
            t -= 1
            at = history + tl.maximum(t - 1, 0) * row  # the step before, which is the next one here
            past_i = tl.load(at)
            past_f = tl.load(at + WIDTH)
            past_g = tl.load(at + 2 * WIDTH)
            past_o = tl.load(at + 3 * WIDTH)
            past = tl.where(t > 0, tl.load(at + 4 * WIDTH), 0.0)
            past_squashed, past_slope = _squash(past, CELL_OUTPUT)
            y = tl.where(real & (t > 0), past_o * past_squashed, 0.0)
            g = tl.where(real, gate_g, 0.0)
            grad_o = _clipped(from_next * squashed * gate_o * (1 - gate_o), limit)
            grad = from_next * gate_o * slope + from_cell + p_o * grad_o
            grad_i = _clipped(grad * g * gate_i * (1 - gate_i), limit)
            grad_f = _clipped(grad * past * gate_f * (1 - gate_f), limit)
            grad_g = _clipped(grad * gate_i * (1 - g * g), limit)
            grad_g = tl.where(readout, gate_g, grad_g)  # the error
            from_cell = grad * gate_f + p_i * grad_i + p_f * grad_f
            grad_pi += grad_i * past
            grad_pf += grad_f * past
            grad_po += grad_o * cell
            grad_bi += grad_i
            grad_bf += grad_f
            grad_bg += grad_g
            grad_bo += grad_o
            grad_wi += grad_i[:, None] * y[None, :]
            grad_wf += grad_f[:, None] * y[None, :]
            grad_wg += grad_g[:, None] * y[None, :]
            grad_wo += grad_o[:, None] * y[None, :]
            tile = w_i * grad_i[:, None]
            tile += w_f * grad_f[:, None]
            tile += w_g * grad_g[:, None]
            tile += w_o * grad_o[:, None]
            from_next = _sum_column(tile, WIDTH)
            gate_i = past_i
            gate_f = past_f
            gate_g = past_g
            gate_o = past_o
            cell = past
            squashed = past_squashed
            slope = past_slope
        tl.store(gradient + _columns(WIDTH), grad_wi)
        tl.store(gradient + block + _columns(WIDTH), grad_wf)
        tl.store(gradient + 2 * block + _columns(WIDTH), grad_wg)
        tl.store(gradient + 3 * block + _columns(WIDTH), grad_wo)
        tl.store(gradient + bias, grad_bi)
        tl.store(gradient + bias + WIDTH, grad_bf)
        tl.store(gradient + bias + 2 * WIDTH, grad_bg)
        tl.store(gradient + bias + 3 * WIDTH, grad_bo)
        tl.store(gradient + peephole, grad_pi)
        tl.store(gradient + peephole + WIDTH, grad_pf)
        tl.store(gradient + peephole + 2 * WIDTH, grad_po)
        tl.debug_barrier()
        rate = tl.load(rates + program * epochs + epoch)
        mu = tl.load(momenta + epoch)
        square = _nesterov(theta, velocity, gradient, used, parameters, rate, mu, 4 * WIDTH)
        tl.store(squares + program * epochs + epoch, square)
        tl.debug_barrier()
        epoch += 1
