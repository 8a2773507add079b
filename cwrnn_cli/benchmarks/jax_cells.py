"""The cells as one writes them in JAX: `lax.scan` over the steps, `vmap` over networks, jitted.

What `cwrnn bench` measures beside ours where JAX is installed (the extra ``bench``); only then may
this be imported. Weights are named and shaped as by :meth:`.CellSpec.weights`, without the axis R;
a state is (n), or (B, n) where there is a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from torch import Tensor

from ..models import ClockedSpec, ClockworkSpec, LSTMSpec, SRNSpec
from ..models.cell import CellSpec
from .machine import timed

UNROLLED = (1, 4, 8)  # steps of `lax.scan` that are one round of its loop
Weights = Mapping[str, Array]
# (cell, weights, (T, ..., m) inputs, steps unrolled) -> (T, ..., n) outputs
Hidden = Callable[[Any, Weights, Array, int], Array]


def _drive(w: Weights, x: Array, units: slice = slice(None)) -> Array:
    """(T, ..., units) what drives some units beside themselves: inputs, if m > 0, and bias."""
    bias = w["bias"][units]
    if x.shape[-1] == 0:
        return jnp.broadcast_to(bias, (*x.shape[:-1], *bias.shape))
    return x @ w["weight_ih"][units].T + bias


def _dense(cell: SRNSpec, w: Weights, x: Array, unroll: int) -> Array:
    drive = _drive(w, x)

    def step(y: Array, z: Array) -> tuple[Array, Array]:
        y = jnp.tanh(z + y @ w["weight_hh"].T)
        return y, y

    return lax.scan(step, jnp.zeros(drive.shape[1:]), drive, unroll=unroll)[1]


def _masked(cell: ClockedSpec, w: Weights, x: Array, unroll: int) -> Array:
    """All units at every step; those whose clock does not tick keep what they have."""
    drive = _drive(w, x)
    recurrent = jnp.where(cell.clock.mask(), w["weight_hh"], 0).T
    numbers = cell.origin + np.arange(len(drive))[:, None]
    ticks = jnp.asarray(numbers % cell.clock.unit_periods == 0)  # (T, n)

    def step(y: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        z, tick = now
        y = jnp.where(tick, jnp.tanh(z + y @ recurrent), y)
        return y, y

    return lax.scan(step, jnp.zeros(drive.shape[1:]), (drive, ticks), unroll=unroll)[1]


def _cascade(cell: ClockedSpec, w: Weights, x: Array, unroll: int) -> Array:
    """Module by module, the slowest first: each is scanned over its own ticks only."""
    clock, steps = cell.clock.merged(), len(x)
    held: list[Array] = []  # (T + 1, ..., k) of the modules so far, from the step before the first
    for module in reversed(range(len(clock.periods))):
        period, (first, end) = clock.periods[module], clock.starts[module : module + 2]
        begins = -cell.origin % period
        z = _drive(w, x[begins::period], slice(first, end))
        if held:
            heard = jnp.concatenate([y[begins:-1:period] for y in held], axis=-1)
            z = z + heard @ w["weight_hh"][first:end, end:].T
        own = w["weight_hh"][first:end, first:end].T

        def step(y: Array, z: Array, own: Array = own) -> tuple[Array, Array]:
            y = jnp.tanh(z + y @ own)
            return y, y

        zeros = jnp.zeros((min(begins, steps) + 1, *z.shape[1:]))  # before the first tick
        outputs = lax.scan(step, zeros[0], z, unroll=unroll)[1]  # (ticks, ..., k)
        # no gather, whose gradient is a slow scatter; no tick is held for more than all steps
        repeated = jnp.repeat(outputs, min(period, steps), axis=0)
        held.insert(0, jnp.concatenate([zeros, repeated])[: steps + 1])
    return jnp.concatenate(held, axis=-1)[1:]


def _gated(cell: LSTMSpec, w: Weights, x: Array, unroll: int) -> Array:
    drive = _drive(w, x)
    sigmoid, peep = jax.nn.sigmoid, w.get("weight_peephole", jnp.zeros((3, 1)))

    def step(state: tuple[Array, Array], z: Array) -> tuple[tuple[Array, Array], Array]:
        y, c = state
        i, f, g, o = jnp.split(z + y @ w["weight_hh"].T, 4, axis=-1)
        if cell.peepholes:
            i, f = i + peep[0] * c, f + peep[1] * c
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        if cell.peepholes:
            o = o + peep[2] * c
        y = sigmoid(o) * jnp.tanh(c)
        return (y, c), y

    zero = jnp.zeros((*drive.shape[1:-1], cell.hidden_size))
    return lax.scan(step, (zero, zero), drive, unroll=unroll)[1]


# cell -> name of a way to write it -> the way; the others have no peer in JAX
WAYS: dict[type[CellSpec], dict[str, Hidden]] = {
    SRNSpec: {"dense": _dense},
    ClockworkSpec: {"masked": _masked, "cascade": _cascade},
    LSTMSpec: {"dense": _gated},
}


@dataclass(frozen=True)
class Setting:
    """How a cell is written.

    Attributes:
        way: of :data:`WAYS`.
        unroll: of :data:`UNROLLED`.
    """

    way: str
    unroll: int

    def __str__(self) -> str:
        return f"{self.way}, unroll {self.unroll}"


def settings(cell: CellSpec) -> list[Setting]:
    """All that a cell is measured with; the fastest is its row."""
    return [Setting(way, unroll) for way in WAYS[type(cell)] for unroll in UNROLLED]


def weight_gradients(cell: CellSpec, setting: Setting) -> Callable[..., dict[str, Array]]:
    """A layer's forward and backward pass.

    Returns:
        Of weights, (T, B, m) inputs and the (T, B, n) gradient of the outputs: the weights'
        gradients.
    """
    hidden = WAYS[type(cell)][setting.way]

    def product(w: Weights, x: Array, gradient: Array) -> Array:
        return (hidden(cell, w, x, setting.unroll) * gradient).sum()

    return jax.jit(jax.grad(product))


def training(cell: CellSpec, setting: Setting, epochs: int) -> Callable[..., Any]:
    """Epochs of R networks that have no input, by half the sum of squares and Nesterov's momentum.

    Returns:
        Of weights and momentum (R, ...), with ``weight_out`` (R, 1, n) and ``bias_out`` (R, 1),
        (R, T) targets, rate and mu: weights, momentum, and the (epochs, R) losses before each step.
    """
    hidden = WAYS[type(cell)][setting.way]

    def half_squares(w: Weights, target: Array) -> Array:  # of one network
        y = hidden(cell, w, jnp.zeros((len(target), 0)), setting.unroll)
        return 0.5 * ((y @ w["weight_out"][0] + w["bias_out"][0] - target) ** 2).sum()

    def train(w: Weights, velocity: Weights, targets: Array, rate: Array, mu: Array) -> Any:
        def epoch(state: tuple[Weights, Weights], _: None) -> Any:
            w, velocity = state
            each = jax.vmap(jax.value_and_grad(half_squares))
            losses, gradient = each(w, targets)
            velocity = jax.tree.map(lambda v, g: mu * v + g, velocity, gradient)
            w = jax.tree.map(lambda w, g, v: w - rate * (g + mu * v), w, gradient, velocity)
            return (w, velocity), losses

        state, losses = lax.scan(epoch, (dict(w), dict(velocity)), None, length=epochs)
        return *state, losses

    return jax.jit(train)


def array(tensor: Tensor) -> Array:
    """A torch tensor on the CPU as JAX's."""
    return jnp.asarray(tensor.detach().numpy())


def fastest(
    cell: CellSpec, make: Callable[..., Callable[..., Any]], arguments: Sequence[Any], *more: Any
) -> tuple[Callable[[], Any], str]:
    """The fastest of a cell's :func:`settings` by one call each, after one that compiles.

    Args:
        cell: of :data:`WAYS`.
        make: :func:`weight_gradients` or :func:`training`.
        arguments: of what it makes.
        more: of ``make``, behind cell and setting.

    Returns:
        What computes it and waits for the result, and the setting's name.
    """

    def waiting(setting: Setting) -> Callable[[], Any]:
        made = make(cell, setting, *more)
        return lambda: jax.block_until_ready(made(*arguments))  # type: ignore[no-untyped-call]

    found = {}
    for setting in settings(cell):
        call = waiting(setting)
        call()
        found[setting] = timed(call), call
    best = min(found, key=lambda setting: found[setting][0])
    return found[best][1], str(best)
