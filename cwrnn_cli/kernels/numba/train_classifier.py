"""Task 2's whole training epoch in one compiled call (Section 4.2 of the paper).

One network at a time learns one sequence after the other (or a few at a time): forward pass,
softmax and cross entropy at the last step (or at every one), backward pass, Nesterov step. Vectors
run over the network's own units, as in the loops of each cell (its ``loops`` module), whose code
does the layer; networks are shared out to threads by the caller. No step is computed that is only
padding. The types of the arguments are in :mod:`.classifier`.
"""

import numpy as np

from ..clockwork import loops as clockwork_loops
from ..clockwork import network as clockwork_network
from ..clockwork.layout import Gradients, GradPlaces, History, Rows, Sizes, Weights
from ..lstm import network as lstm_network
from . import gates
from .classifier import Units, compute_logits, cross_entropy, readout_backward
from .nesterov import nesterov
from .products import clear, jit, vectors_for
from .simd import LANES, broadcast, get, load, store


@jit
def _outputs_at(clock, t, hidden, outputs):
    """Every module's output at step t, from a History of one row to ``outputs`` (N,)."""
    offsets = clock.offsets
    y, places = hidden
    for i in range(places.size):
        width = offsets[i + 1] - offsets[i]
        first = places[i] + clockwork_loops.latest(clock, i, t) * width
        for u in range(width):
            store(outputs, offsets[i] + u, load(y, first + u))


@jit
def _add_gradient(clock, t, grad_outputs, scratch, grad_hidden):
    """The gradient of every module's output at step t, (N,), to that of its tick in scratch."""
    offsets = clock.offsets
    for i in range(grad_hidden.size):
        width = offsets[i + 1] - offsets[i]
        first = grad_hidden[i] + clockwork_loops.latest(clock, i, t) * width
        for u in range(width):
            grad = load(scratch, first + u) + load(grad_outputs, offsets[i] + u)
            store(scratch, first + u, grad)


@jit
def _forward_clockwork(clock, weights, sizes, x, h0, bias, hidden, scratch):
    """The outputs of all modules for one sequence, to ``hidden``."""
    rows = Rows(0, 1)
    clockwork_loops.place_hidden(clock, sizes.steps, rows, hidden.places)
    clockwork_loops.forward_piece(clock, weights, sizes, rows, x, h0, bias, hidden, scratch)


@jit
def clockwork_logits(sequences, network, theta, buffers, results):
    """Logits of all sequences, to ``results`` (S, K); arguments as in :func:`clockwork_epoch`."""
    frames, features, offsets, _ = sequences
    y, scratch, outputs, _, _ = buffers
    clock, weights, readout = network.clock, network.forward, network.readout
    hidden = History(y, np.empty(clock.periods.size, np.int64))
    h0 = np.empty(0, theta.dtype)  # zeros
    bias, units = theta[network.bias * LANES :], Units(0, outputs.size)
    for s in range(offsets.size - 1):
        sizes = Sizes(offsets[s + 1] - offsets[s], 1, features)
        x = frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
        _forward_clockwork(clock, weights, sizes, x, h0, bias, hidden, scratch)
        _outputs_at(clock, sizes.steps - 1, hidden, outputs)
        compute_logits(theta, readout, outputs, units, results[s])


@jit
def _longer(longest, squares):
    """The larger of a number and the sum of a vector; infinite once that is not finite."""
    total = 0.0
    for lane in range(LANES):
        total += get(squares, lane)
    return max(longest, total) if total < np.inf else np.inf


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
        The sum of the sequences' cross entropies (of all steps that count), each before its update,
        and the square of the longest gradient's length; infinite if any was not finite.
    """
    # what has arrays in it is taken out of tuples, or made, once: see Vectors
    frames, features, offsets, labels = sequences
    theta, velocity, gradient = parameters
    order, rates, momenta, batch, every, delta_clip = updates
    y, scratch, outputs, part, logits = buffers
    clock, forward, readout = network.clock, network.forward, network.readout
    places = network.places
    backward = Weights(theta, places.inputs, places.own, places.columns)
    modules = clock.periods.size
    rows, units = Rows(0, 1), Units(0, outputs.size)
    hidden = History(y, np.empty(modules, np.int64))
    grad_hidden = np.empty(modules, np.int64)
    grad_places = GradPlaces(np.empty(modules, np.int64), grad_hidden)
    grad_outputs = np.empty_like(outputs)  # (N,)
    h0, bias = np.empty(0, theta.dtype), theta[network.bias * LANES :]
    grad_h0 = np.empty(clock.starts[modules], theta.dtype)  # (n,), of no use
    grad_bias = gradient[network.bias * LANES :]
    gradients = Gradients(gradient, grad_bias, grad_h0, part, False)
    total, longest = 0.0, 0.0
    squares = np.empty(LANES)
    for update in range(momenta.size):
        first, behind = update * batch, min((update + 1) * batch, order.size)
        clear(gradient, 0, gradient.size // LANES)
        for s in order[first:behind]:
            steps = offsets[s + 1] - offsets[s]
            sizes = Sizes(steps, 1, features)
            x = frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
            _forward_clockwork(clock, forward, sizes, x, h0, bias, hidden, scratch)
            end = clockwork_loops.place_gradients(clock, steps, rows, grad_places)
            clear(scratch, grad_hidden[0], end - grad_hidden[0])
            for t in range(0 if every else steps - 1, steps):
                _outputs_at(clock, t, hidden, outputs)
                compute_logits(theta, readout, outputs, units, logits)
                total += cross_entropy(logits, readout.classes, labels[s], 1.0 / (behind - first))
                readout_backward(parameters, readout, outputs, units, logits, part, grad_outputs)
                _add_gradient(clock, t, grad_outputs, scratch, grad_hidden)
            clockwork_loops.backward_piece(
                clock,
                backward,
                sizes,
                rows,
                x,
                hidden,
                scratch,
                grad_places,
                end,
                gradients,
                delta_clip,
            )
        rate = broadcast(theta, rates[update])
        store(squares, 0, nesterov(theta, velocity, gradient, rate, momenta[update]))
        longest = _longer(longest, squares)
        clockwork_network.derive(theta, features, network)
    return total, longest


@jit
def lstm_logits(sequences, network, theta, buffers, results):
    """The logits of all sequences, to ``results`` (S, K); arguments as in :func:`lstm_epoch`."""
    frames, features, offsets, _ = sequences
    history = buffers.history
    y = history.hidden
    width = vectors_for(network.cells)
    weight_hh = theta[network.weight_hh * LANES :]
    peephole = lstm_network.peephole_of(theta, network)
    for s in range(offsets.size - 1):
        steps = offsets[s + 1] - offsets[s]
        x = frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
        sizes = gates.Sizes(network.cells, width, steps, 1)
        lstm_network.forward(theta, network, weight_hh, peephole, x, sizes, features, history)
        units = Units(steps * width, width * LANES)
        compute_logits(theta, network.readout, y, units, results[s])


@jit
def lstm_epoch(sequences, network, parameters, updates, buffers):
    """Train one LSTM on all sequences once, in place.

    Arguments and result as in :func:`clockwork_epoch`, but: ``network`` is an LstmNetwork, whose
    W_H for the backward pass changes with theta, ``buffers`` are LstmBuffers.
    """
    frames, features, offsets, labels = sequences
    theta, velocity, gradient = parameters
    order, rates, momenta, batch, every, delta_clip = updates
    history, gradients, part, logits = buffers
    y = history.hidden
    grad_y, grad_c = gradients  # (1 + T, width) each
    readout = network.readout
    weight_hh = theta[network.weight_hh * LANES :]
    peephole = lstm_network.peephole_of(theta, network)
    width = vectors_for(network.cells)
    lanes = width * LANES
    total, longest = 0.0, 0.0
    squares = np.empty(LANES)
    for update in range(momenta.size):
        first, behind = update * batch, min((update + 1) * batch, order.size)
        clear(gradient, 0, gradient.size // LANES)
        for s in order[first:behind]:
            steps = offsets[s + 1] - offsets[s]
            x = frames[offsets[s] * features : offsets[s + 1] * features]  # (T, m)
            sizes = gates.Sizes(network.cells, width, steps, 1)
            lstm_network.forward(theta, network, weight_hh, peephole, x, sizes, features, history)
            clear(grad_y, 0, (1 + steps) * width)
            clear(grad_c, 0, (1 + steps) * width)
            for t in range(0 if every else steps - 1, steps):
                units = Units((1 + t) * width, lanes)
                compute_logits(theta, readout, y, units, logits)
                total += cross_entropy(logits, readout.classes, labels[s], 1.0 / (behind - first))
                readout_backward(parameters, readout, y, units, logits, part, grad_y)
            lstm_network.backward(
                theta,
                network,
                peephole,
                x,
                sizes,
                features,
                history,
                gradients,
                gradient,
                delta_clip,
            )
        rate = broadcast(theta, rates[update])
        store(squares, 0, nesterov(theta, velocity, gradient, rate, momenta[update]))
        longest = _longer(longest, squares)
        lstm_network.derive(theta, network)
    return total, longest
