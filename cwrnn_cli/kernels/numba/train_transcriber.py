"""Task 3's whole training epoch in one compiled call (Section 4.3 of the paper).

One network learns from one update's lines after the other's, a few lines side by side: forward
pass of each direction, readout at the modules' ticks, CTC, backward pass, Nesterov step. Vectors
run over the network's own units, as in the loops of each cell (its ``loops`` module), whose code
does the layers; networks are shared out to threads by the caller. The types of the arguments are in
:mod:`.transcriber`.

What differs from cell to cell are three functions (:func:`run_layer`, :func:`learn_layer` and
:func:`derive_layer`), chosen by the type of a direction's layer when this is compiled.
"""

import math

import numpy as np
from numba.extending import overload

from ..clockwork import loops as clockwork_loops
from ..clockwork import network as clockwork_network
from ..clockwork.layout import Gradients, GradPlaces, History, Rows, Sizes, Weights
from ..lstm import network as lstm_network
from . import gates
from .ctc import ctc
from .nesterov import nesterov, scale, sum_squares
from .products import Numbers, Vectors, accumulate, clear, jit, vectors_for
from .simd import LANES, broadcast, get, put
from .transcriber import (
    Piece,
    add_bias_gradient,
    add_contributions,
    best_path,
    gather,
    place_contributions,
    start_logits,
    sum_contributions,
)


def run_layer(theta, direction, features, piece, x, buffers, contributions, places, width):
    """The outputs of a direction for a piece of lines, and their contributions to the logits.

    Args:
        theta: the network's weights.
        direction: a Direction.
        features: m.
        piece: a Piece.
        x: (T, B, m), in the order in which the direction reads.
        buffers: ClockworkBuffers or LstmBuffers, written.
        contributions: written.
        places: (g,) where each module's are.
        width: vectors of K outputs.
    """
    raise NotImplementedError("only in compiled code, by the overloads below")


def learn_layer(
    parameters, direction, features, piece, x, buffers, contributions, places, width, clip
):
    """The gradients of :func:`run_layer`, added to those of ``parameters``.

    Arguments as there, but ``contributions`` are their gradients.
    """
    raise NotImplementedError("only in compiled code, by the overloads below")


def derive_layer(theta, features, layer):
    """What a layer keeps beside theta."""
    raise NotImplementedError("only in compiled code, by the overloads below")


@jit
def _run_clockwork(theta, direction, features, piece, x, buffers, contributions, places, width):
    layer, readout = direction.layer, direction.layer.readout
    clock, hidden = layer.clock, History(buffers.hidden, np.empty(places.size, np.int64))
    y, y_places = hidden
    count = piece.which.size
    rows, sizes = Rows(0, count), Sizes(piece.steps, count, features)
    h0 = np.empty(0, theta.dtype)  # zeros
    bias = theta[layer.bias * LANES :]
    clockwork_loops.place_hidden(clock, piece.steps, rows, y_places)
    clockwork_loops.forward_piece(
        clock, layer.forward, sizes, rows, x, h0, bias, hidden, buffers.scratch
    )
    for i in range(places.size):
        lanes = (clock.offsets[i + 1] - clock.offsets[i]) * LANES
        outputs = (1 + clockwork_loops.tick_count(clock, piece.steps, i)) * count
        clear(contributions, places[i], outputs * width)
        at, y_at = Vectors(places[i], width), Numbers(y_places[i] * LANES, lanes, 1)
        w_at = Vectors(readout.weight + clock.offsets[i] * LANES * width, width)
        accumulate(contributions, at, y, y_at, theta, w_at, outputs, clock.units[i], width)


@jit
def _learn_clockwork(
    parameters, direction, features, piece, x, buffers, contributions, places, width, clip
):
    theta, _, gradient = parameters
    layer, columns = direction.layer, direction.columns
    clock, readout, scratch = layer.clock, layer.readout, buffers.scratch
    modules, count = places.size, piece.which.size
    rows, sizes = Rows(0, count), Sizes(piece.steps, count, features)
    hidden = History(buffers.hidden, np.empty(modules, np.int64))
    y, y_places = hidden
    clockwork_loops.place_hidden(clock, piece.steps, rows, y_places)
    grad_hidden = np.empty(modules, np.int64)
    grad_places = GradPlaces(np.empty(modules, np.int64), grad_hidden)
    end = clockwork_loops.place_gradients(clock, piece.steps, rows, grad_places)
    clear(scratch, grad_hidden[0], end - grad_hidden[0])
    for i in range(modules):
        own = clock.offsets[i + 1] - clock.offsets[i]
        outputs = (1 + clockwork_loops.tick_count(clock, piece.steps, i)) * count
        at = Numbers(places[i] * LANES, width * LANES, 1)
        to, w_at = Vectors(grad_hidden[i], own), Vectors(clock.offsets[i], clock.offsets[modules])
        accumulate(scratch, to, contributions, at, columns, w_at, outputs, readout.classes, own)
        y_at = Numbers(y_places[i] * LANES, 1, own * LANES)  # transposed
        w_at = Vectors(readout.weight + clock.offsets[i] * LANES * width, width)
        units = clock.units[i]
        clockwork_loops.add_outer(gradient, w_at, y, y_at, contributions, places[i], units, outputs)
    at = layer.places
    backward = Weights(theta, at.inputs, at.own, at.columns)
    grad_bias = gradient[layer.bias * LANES :]
    none = np.empty(0, theta.dtype)
    gradients = Gradients(gradient, grad_bias, buffers.grad_h0, none, False)
    clockwork_loops.backward_piece(
        clock, backward, sizes, rows, x, hidden, scratch, grad_places, end, gradients, clip
    )


@jit
def _run_lstm(theta, direction, features, piece, x, buffers, contributions, places, width):
    layer, history = direction.layer, buffers.history
    own, count = vectors_for(layer.cells), piece.which.size
    sizes = gates.Sizes(layer.cells, own, piece.steps, count)
    weight_hh = theta[layer.weight_hh * LANES :]
    peephole = lstm_network.peephole_of(theta, layer)
    lstm_network.forward(theta, layer, weight_hh, peephole, x, sizes, features, history)
    outputs = (1 + piece.steps) * count
    clear(contributions, places[0], outputs * width)
    at, y_at = Vectors(places[0], width), Numbers(0, own * LANES, 1)
    w_at = Vectors(layer.readout.weight, width)
    accumulate(contributions, at, history.hidden, y_at, theta, w_at, outputs, layer.cells, width)


@jit
def _learn_lstm(
    parameters, direction, features, piece, x, buffers, contributions, places, width, clip
):
    theta, _, gradient = parameters
    layer, history, gradients = direction.layer, buffers.history, buffers.gradients
    own, count = vectors_for(layer.cells), piece.which.size
    outputs, units = (1 + piece.steps) * count, layer.readout.classes
    clear(gradients.hidden, 0, outputs * own)
    clear(gradients.cells, 0, outputs * own)
    at, to = Numbers(places[0] * LANES, width * LANES, 1), Vectors(0, own)
    accumulate(gradients.hidden, to, contributions, at, direction.columns, to, outputs, units, own)
    y_at, w_at = Numbers(0, 1, own * LANES), Vectors(layer.readout.weight, width)
    y = history.hidden
    clockwork_loops.add_outer(
        gradient, w_at, y, y_at, contributions, places[0], layer.cells, outputs
    )
    sizes = gates.Sizes(layer.cells, own, piece.steps, count)
    peephole = lstm_network.peephole_of(theta, layer)
    lstm_network.backward(
        theta, layer, peephole, x, sizes, features, history, gradients, gradient, clip
    )


def _is_lstm(layer):
    return layer.instance_class is lstm_network.LstmNetwork


@overload(run_layer)
def _(theta, direction, features, piece, x, buffers, contributions, places, width):
    run = _run_lstm if _is_lstm(direction.types[0]) else _run_clockwork

    def call(theta, direction, features, piece, x, buffers, contributions, places, width):
        run(theta, direction, features, piece, x, buffers, contributions, places, width)

    return call


@overload(learn_layer)
def _(parameters, direction, features, piece, x, buffers, contributions, places, width, clip):
    learn = _learn_lstm if _is_lstm(direction.types[0]) else _learn_clockwork

    def call(
        parameters, direction, features, piece, x, buffers, contributions, places, width, clip
    ):
        learn(
            parameters, direction, features, piece, x, buffers, contributions, places, width, clip
        )

    return call


@overload(derive_layer)
def _(theta, features, layer):
    if _is_lstm(layer):
        return lambda theta, features, layer: lstm_network.derive(theta, layer)
    return lambda theta, features, layer: clockwork_network.derive(theta, features, layer)


@jit
def derive(theta, features, directions):
    """What the directions keep beside theta: other orders of their weights, and of W_O's."""
    for direction in directions:
        derive_layer(theta, features, direction.layer)
        readout, columns = direction.layer.readout, direction.columns
        units = columns.size // readout.classes  # N
        wide = vectors_for(readout.classes) * LANES
        first = readout.weight * LANES
        for unit in range(units):
            for k in range(readout.classes):
                put(columns, k * units + unit, get(theta, first + unit * wide + k))


@jit
def _piece(lines, which):
    lengths = np.empty(which.size, np.int64)
    steps = 0
    for b in range(which.size):
        lengths[b] = lines.offsets[which[b] + 1] - lines.offsets[which[b]]
        steps = max(steps, lengths[b])
    return Piece(which, lengths, steps)


@jit
def _forward(theta, lines, directions, piece, layers, outputs):
    """The logits of a piece of lines (T, B, K), to ``outputs``, which also keeps the inputs."""
    x, contributions, logits, _ = outputs
    count, features = piece.which.size, lines.features
    readout = directions[0].layer.readout
    width = vectors_for(readout.classes)
    start_logits(theta, readout, piece.steps * count, width, logits)
    for d in range(len(directions)):
        direction = directions[d]
        places = np.empty(direction.clock.periods.size, np.int64)
        place_contributions(direction.clock, piece.steps, count, width, places)
        own = x[d * (x.size // len(directions)) :]
        gather(lines, piece, d == 1, own)
        run_layer(theta, direction, features, piece, own, layers[d], contributions, places, width)
        add_contributions(direction.clock, piece, d == 1, contributions, places, width, logits)


@jit
def best_paths(lines, directions, theta, order, rows, layers, outputs, path):
    """The likeliest unit at each step of all lines, to ``path`` (frames,) int64.

    Args:
        lines: Lines.
        directions: one or two Directions, the second of which reads from the end.
        theta: (P,) weights.
        order: (S,) int64 in which the lines are read, alike long ones beside each other.
        rows: that are read at a time.
        layers: ClockworkBuffers or LstmBuffers of each direction.
        outputs: OutputBuffers.
        path: see above.
    """
    units = directions[0].layer.readout.classes
    for first in range(0, order.size, rows):
        piece = _piece(lines, order[first : first + rows])
        _forward(theta, lines, directions, piece, layers, outputs)
        best_path(outputs.logits, piece, vectors_for(units), units, lines.offsets, path)


@jit
def _learn(parameters, lines, directions, piece, share, delta_clip, layers, outputs):
    """Add the gradients of a piece of lines; the sum of their losses."""
    theta, _, gradient = parameters
    _forward(theta, lines, directions, piece, layers, outputs)
    x, contributions, logits, memory = outputs
    count, features = piece.which.size, lines.features
    readout = directions[0].layer.readout
    width, stride = vectors_for(readout.classes), vectors_for(readout.classes) * count
    total = 0.0
    for b in range(count):
        line = piece.which[b]
        text = lines.texts[lines.text_offsets[line] : lines.text_offsets[line + 1]]
        first, steps = b * width, piece.lengths[b]
        total += ctc(logits, first, stride, width, readout.classes, steps, text, memory, share)
    add_bias_gradient(readout, piece, width, logits, gradient)
    for d in range(len(directions)):
        direction = directions[d]
        places = np.empty(direction.clock.periods.size, np.int64)
        used = place_contributions(direction.clock, piece.steps, count, width, places)
        clear(contributions, 0, used)
        sum_contributions(direction.clock, piece, d == 1, logits, places, width, contributions)
        own = x[d * (x.size // len(directions)) :]
        learn_layer(
            parameters,
            direction,
            features,
            piece,
            own,
            layers[d],
            contributions,
            places,
            width,
            delta_clip,
        )
    return total


@jit
def epoch(lines, directions, parameters, updates, layers, outputs):
    """Train one network on all lines once, in place.

    Args:
        lines: Lines.
        directions: one or two Directions, the second of which reads from the end; what they keep
            beside theta changes with it.
        parameters: Parameters; theta and velocity change.
        updates: Updates.
        layers: ClockworkBuffers or LstmBuffers of each direction.
        outputs: OutputBuffers.

    Returns:
        The sum of the lines' losses, each before its update, and the longest gradient's length,
        before it was shortened; infinite if any was not finite.
    """
    theta, velocity, gradient = parameters
    order, ends, rates, momenta, clip, delta_clip, mean, rows = updates
    total, longest = 0.0, 0.0
    begin = 0
    for update in range(ends.size):
        end = ends[update]
        clear(gradient, 0, gradient.size // LANES)
        share = 1.0 / (end - begin) if mean else 1.0
        for first in range(begin, end, rows):
            piece = _piece(lines, order[first : min(first + rows, end)])
            total += _learn(
                parameters, lines, directions, piece, share, delta_clip, layers, outputs
            )
        length = math.sqrt(sum_squares(gradient))
        longest = max(longest, length) if length < np.inf else np.inf
        if length > clip:
            scale(gradient, clip / length)
        nesterov(theta, velocity, gradient, broadcast(theta, rates[update]), momenta[update])
        derive(theta, lines.features, directions)
        begin = end
    return total, longest
