"""Task 2's whole training epoch in one compiled call (Section 4.2 of the paper).

One network at a time learns one sequence after the other: forward pass, softmax and cross entropy
at the last step, backward pass, Nesterov step. Vectors run over the network's own units, as in the
loops of each cell (its ``loops`` module), whose code does the layer; networks are shared out to
threads by the caller. No step is computed that is only padding. The types of the
arguments are in :mod:`.classifier`.
"""

import numpy as np

from ..clockwork import loops as clockwork_loops
from ..clockwork.layout import Gradients, History, Layer, Rows, Sizes, State, Weights
from ..lstm import layout as lstm_layout
from ..lstm import loops as lstm_loops
from .classifier import Units, compute_logits, cross_entropy, readout_backward
from .nesterov import nesterov
from .products import Numbers, Vectors, accumulate, clear, jit, vectors_for
from .simd import LANES, broadcast, fma, get, load, put, store


@jit
def derive_clockwork(theta, features, network):
    """The forward blocks of a ClockworkNetwork, which are written, from theta's (transposed)."""
    _, units, starts, offsets = network.clock
    source_places, target_places = network.places, network.forward.places
    weights = network.forward.values
    m_lanes = vectors_for(features) * LANES
    for i in range(units.size):
        lanes = (offsets[i + 1] - offsets[i]) * LANES
        k = units[i]
        source, target = source_places.inputs[i] * LANES, target_places.inputs[i] * LANES
        for u in range(k):
            for c in range(features):
                put(weights, target + c * lanes + u, get(theta, source + u * m_lanes + c))
        source, target = source_places.own[i] * LANES, target_places.own[i] * LANES
        for u in range(k):
            for v in range(k):
                put(weights, target + v * lanes + u, get(theta, source + u * lanes + v))
        source, target = source_places.columns[i] * LANES, target_places.columns[i] * LANES
        wide = offsets[i] * LANES
        for j in range(i):
            for u in range(units[j]):
                row, column = source + (starts[j] + u) * lanes, target + offsets[j] * LANES + u
                for v in range(k):
                    put(weights, column + v * wide, get(theta, row + v))


@jit
def _last_tick(steps, period):
    """Index in a module's history of what it put out at the last step."""
    return (steps - 1) // period + 1


@jit
def _last_outputs(clock, steps, hidden, last):
    """Every module's output at the last step, from a History of one row to ``last`` (N,)."""
    for i in range(clock.periods.size):
        width = clock.offsets[i + 1] - clock.offsets[i]
        tick = _last_tick(steps, clock.periods[i])
        for u in range(width):
            output = load(hidden.values, hidden.places[i] + tick * width + u)
            store(last, clock.offsets[i] + u, output)


@jit
def _forward_clockwork(theta, network, x, sizes, places, buffers, logits):
    """The forward pass of one sequence, to ``logits`` (K,); ``places`` (g,) of its History."""
    layer = Layer(network.clock, sizes, network.forward)
    rows = Rows(0, 1)
    hidden = History(buffers.hidden, places)
    bias = theta[network.bias * LANES :]
    clockwork_loops.place_hidden(network.clock, sizes.steps, rows, places)
    clockwork_loops.forward_piece(layer, x, State(x, False), bias, rows, hidden, buffers.scratch)
    _last_outputs(network.clock, sizes.steps, hidden, buffers.last)
    compute_logits(theta, network.readout, Units(buffers.last, 0, buffers.last.size), logits)


@jit
def clockwork_logits(sequences, network, theta, buffers, results):
    """Logits of all sequences, to ``results`` (S, K); arguments as in :func:`clockwork_epoch`."""
    offsets, features = sequences.offsets, sequences.features
    places = np.empty(network.clock.periods.size, np.int64)
    for s in range(offsets.size - 1):
        sizes = Sizes(offsets[s + 1] - offsets[s], 1, features)
        x = sequences.frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
        _forward_clockwork(theta, network, x, sizes, places, buffers, results[s])


@jit
def clockwork_epoch(sequences, network, parameters, updates, buffers):
    """Train one CW-RNN on all sequences once, in place.

    Args:
        sequences: Sequences.
        network: a ClockworkNetwork; its forward blocks change with theta.
        parameters: Parameters; theta and velocity change.
        updates: Updates.
        buffers: ClockworkBuffers.

    Returns:
        The sum of the sequences' cross entropies, each before its update.
    """
    theta, velocity, gradient = parameters
    clock, offsets, features = network.clock, sequences.offsets, sequences.features
    modules = clock.periods.size
    rows = Rows(0, 1)
    places = np.empty(modules, np.int64)
    contributions = np.empty(modules, np.int64)
    outputs = np.empty(modules, np.int64)
    last = Units(buffers.last, 0, buffers.last.size)
    grad_last = np.empty_like(buffers.last)  # (N,)
    ignored = np.empty(clock.starts[modules], theta.dtype)  # (n,) gradient of the initial state
    bias = gradient[network.bias * LANES :]
    blocks = Weights(theta, network.places)
    rate = broadcast(theta, updates.rate)
    total = 0.0
    for update in range(updates.order.size):
        s = updates.order[update]
        sizes = Sizes(offsets[s + 1] - offsets[s], 1, features)
        x = sequences.frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
        _forward_clockwork(theta, network, x, sizes, places, buffers, buffers.logits)
        total += cross_entropy(buffers.logits, network.readout.classes, sequences.labels[s])
        clear(gradient, 0, network.readout.weight)
        grad_units = Units(grad_last, 0, grad_last.size)
        readout_backward(
            parameters, network.readout, last, buffers.logits, buffers.part, grad_units
        )
        where = clockwork_loops.place_gradients(clock, sizes.steps, rows, contributions, outputs)
        clear(buffers.scratch, outputs[0], where.end - outputs[0])
        for i in range(modules):
            width = clock.offsets[i + 1] - clock.offsets[i]
            first = outputs[i] + _last_tick(sizes.steps, clock.periods[i]) * width
            for u in range(width):
                store(buffers.scratch, first + u, load(grad_last, clock.offsets[i] + u))
        clockwork_loops.backward_piece(
            Layer(clock, sizes, blocks),
            x,
            rows,
            History(buffers.hidden, places),
            buffers.scratch,
            where,
            Gradients(gradient, bias, ignored, x, False),
        )
        nesterov(theta, velocity, gradient, rate, updates.momenta[update])
        derive_clockwork(theta, features, network)
    return total


@jit
def derive_lstm(theta, network):
    """An LstmNetwork's W_H for the backward pass, which is written, from theta's (transposed)."""
    cells, weights = network.cells, network.backward
    lanes = vectors_for(cells) * LANES
    for v in range(cells):
        row = network.weight_hh * LANES + v * 4 * lanes
        for gate in range(4):
            for u in range(cells):
                put(weights, (gate * cells + u) * lanes + v, get(theta, row + gate * lanes + u))


@jit
def _peepholes(theta, network):
    """Peepholes of the network."""
    return lstm_layout.Peepholes(theta[network.peephole * LANES :], network.peepholes)


@jit
def _forward_lstm(theta, network, x, features, steps, history, logits):
    """The forward pass of one sequence x (T, m), to ``logits`` (K,)."""
    gates, hidden, cells = history
    width = vectors_for(network.cells)
    four = 4 * width
    for t in range(steps):
        for u in range(four):
            store(gates, t * four + u, load(theta, network.bias + u))
    inputs, weight_ih = Numbers(x, 0, features, 1), Vectors(theta, 0, four)
    accumulate(Vectors(gates, 0, four), inputs, weight_ih, steps, features, four)
    clear(hidden, 0, width)
    clear(cells, 0, width)
    lstm_loops.forward(
        history,
        theta[network.weight_hh * LANES :],
        _peepholes(theta, network),
        lstm_layout.Sizes(network.cells, width, steps, 1),
        lstm_layout.Rows(0, 1),
    )
    compute_logits(theta, network.readout, Units(hidden, steps * width, width * LANES), logits)


@jit
def lstm_logits(sequences, network, theta, buffers, results):
    """The logits of all sequences, to ``results`` (S, K); arguments as in :func:`lstm_epoch`."""
    offsets, features = sequences.offsets, sequences.features
    for s in range(offsets.size - 1):
        x = sequences.frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
        steps = offsets[s + 1] - offsets[s]
        _forward_lstm(theta, network, x, features, steps, buffers.history, results[s])


@jit
def lstm_epoch(sequences, network, parameters, updates, buffers):
    """Train one LSTM on all sequences once, in place.

    Arguments and result as in :func:`clockwork_epoch`, but: ``network`` is an LstmNetwork, whose
    W_H for the backward pass changes with theta, ``buffers`` are LstmBuffers.
    """
    theta, velocity, gradient = parameters
    offsets, features = sequences.offsets, sequences.features
    z, y, c = buffers.history  # (T, 4 width), (1 + T, width), (1 + T, width)
    grad_y, grad_c = buffers.gradients  # (1 + T, width) each
    cells = network.cells
    width = vectors_for(cells)
    four, lanes = 4 * width, width * LANES
    rate = broadcast(theta, updates.rate)
    total = 0.0
    for update in range(updates.order.size):
        s = updates.order[update]
        x = sequences.frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
        steps = offsets[s + 1] - offsets[s]
        _forward_lstm(theta, network, x, features, steps, buffers.history, buffers.logits)
        total += cross_entropy(buffers.logits, network.readout.classes, sequences.labels[s])
        clear(gradient, 0, network.readout.weight)
        clear(grad_y, 0, steps * width)
        clear(grad_c, 0, (1 + steps) * width)
        last, grad_last = Units(y, steps * width, lanes), Units(grad_y, steps * width, lanes)
        readout_backward(parameters, network.readout, last, buffers.logits, buffers.part, grad_last)
        lstm_loops.backward(
            buffers.gradients,
            buffers.history,
            network.backward,
            _peepholes(theta, network),
            lstm_layout.Sizes(cells, width, steps, 1),
            lstm_layout.Rows(0, 1),
        )
        grad_z = Vectors(z, 0, four)
        inputs, before = Numbers(x, 0, 1, features), Numbers(y, 0, 1, lanes)
        accumulate(Vectors(gradient, 0, four), inputs, grad_z, features, steps, four)
        accumulate(Vectors(gradient, network.weight_hh, four), before, grad_z, cells, steps, four)
        for t in range(steps):
            for u in range(four):
                i = network.bias + u
                store(gradient, i, load(gradient, i) + load(z, t * four + u))
        if network.peepholes:
            for t in range(steps):
                for u in range(width):
                    for gate, row, tick in ((0, 0, t), (1, 1, t), (3, 2, t + 1)):
                        i = network.peephole + row * width + u
                        grad = load(z, t * four + gate * width + u)
                        store(gradient, i, fma(grad, load(c, tick * width + u), load(gradient, i)))
        nesterov(theta, velocity, gradient, rate, updates.momenta[update])
        derive_lstm(theta, network)
    return total
