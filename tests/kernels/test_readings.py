"""What the paper leaves open, on the layers' backends: against equations and the oracle."""

import math

import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import clockwork
from cwrnn_cli.kernels.lstm import layout, lstm
from cwrnn_cli.models import LSTM, ClockworkRNN, Stream


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    values = torch.randn(shape, dtype=torch.float64, generator=generator) * 0.7
    return values.requires_grad_()


def gradients(function, values, limit, backend):
    """Of the sum of all squares, and the outputs."""
    y = function(values, limit, backend)
    return y, torch.autograd.grad(y.square().sum(), values)


def of_clockwork(values, limit, backend):
    x, w_i, w_h, b, h0 = values
    clock = Clock.of(7, [1, 2, 3])
    return clockwork(x, w_i, w_h, b, h0, clock, backend, start=1, delta_clip=limit)


def of_lstm(values, limit, backend):
    return lstm(*values, backend=backend, cell_output="sigmoid", delta_clip=limit)[0]


def srn(values, limit, backend):
    x, w_i, w_h, b, h0 = values
    return clockwork(x, w_i, w_h, b, h0, Clock((1,), (7,)), backend, delta_clip=limit)


def plain_lstm(values, limit, backend):
    return lstm(*values[:4], backend=backend, delta_clip=limit)[0]


CLOCKWORK = [draw(2, 3, 9, 2), draw(2, 7, 2), draw(2, 7, 7), draw(2, 7), draw(2, 3, 7)]
LSTM_VALUES = [draw(2, 3, 9, 2), draw(2, 20, 2), draw(2, 20, 5), draw(2, 20), draw(2, 3, 5)]


@pytest.mark.parametrize(
    ("function", "values"), [(of_clockwork, CLOCKWORK), (of_lstm, LSTM_VALUES)]
)
@pytest.mark.parametrize("limit", [None, 0.02])
def test_compiled_clips_deltas_as_the_reference(function, values, limit):
    y, found = gradients(function, values, limit, "compiled")
    expected_y, expected = gradients(function, values, limit, "reference")
    torch.testing.assert_close(y, expected_y)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    _, unclipped = gradients(function, values, None, "reference")
    assert torch.equal(expected[1], unclipped[1]) == (limit is None)


def test_deltas_are_clipped_step_by_step():
    """One unit, in scalar arithmetic, last step first."""
    x, w, v, limit = [0.9, -1.3, 0.4, 2.0], 1.7, 0.8, 0.3
    y = [0.0]
    for step in x:
        y.append(math.tanh(w * y[-1] + v * step))
    delta, grad_w, grad_v = 0.0, 0.0, 0.0
    for t in reversed(range(len(x))):
        delta = (1.0 + w * delta) * (1 - y[t + 1] ** 2)  # the loss is the sum of all outputs
        delta = min(max(delta, -limit), limit)
        grad_w += delta * y[t]
        grad_v += delta * x[t]
    inputs = torch.tensor(x, dtype=torch.float64)[None, None, :, None]
    weights = [torch.full((1, 1, 1), w, dtype=torch.float64, requires_grad=True) for w in (v, w)]
    output = reference.clockwork(inputs, *weights, None, None, Clock((1,), (1,)), delta_clip=limit)
    found = torch.autograd.grad(output.sum(), weights)
    torch.testing.assert_close([g.item() for g in found], [grad_v, grad_w])


@pytest.mark.parametrize(
    ("function", "values", "backend"),
    [
        (of_clockwork, CLOCKWORK, "cascade"),
        (of_clockwork, CLOCKWORK, "exported"),
        (of_lstm, LSTM_VALUES, "exported"),
        (srn, CLOCKWORK, "torch"),
        (plain_lstm, LSTM_VALUES, "torch"),
    ],
)
def test_a_backend_that_clips_no_deltas_says_so(function, values, backend):
    one = [value[:1] for value in values]
    with pytest.raises(ValueError, match="deltas"):
        function(one, 0.1, backend)


def test_torch_has_no_other_squash():
    values = [draw(1, 3, 9, 2), draw(1, 20, 2), draw(1, 20, 5), draw(1, 20)]
    with pytest.raises(ValueError, match="give out sigmoid"):
        lstm(*values, backend="torch", cell_output="sigmoid")


@pytest.mark.parametrize("backend", ["reference", "cascade", "compiled", "exported"])
def test_a_clock_that_begins_at_1_ticks_a_period_later(backend):
    torch.manual_seed(0)
    layer = ClockworkRNN(2, 6, periods=[1, 2, 4], clock_origin=1).double()
    layer.backend = backend
    x = torch.randn(9, 1, 2, dtype=torch.float64)
    output, _ = layer(x)
    for module, period in enumerate((1, 2, 4)):
        own = output[:, 0, 2 * module : 2 * module + 2]
        changed = [t for t in range(9) if not torch.equal(own[t], own[t - 1] if t else own[0] * 0)]
        assert changed == list(range(period - 1, 9, period))
    whole = torch.cat([layer(x[:4])[0], layer(x[4:], layer(x[:4])[1], start=4)[0]])
    torch.testing.assert_close(whole, output)
    same = ClockworkRNN(2, 6, periods=[1, 2, 4]).double()
    state = layer.state_dict() | {"_extra_state": same.get_extra_state()}
    same.load_state_dict(state)
    torch.testing.assert_close(same(x, None, 1)[0], output)


def test_the_origin_is_part_of_the_clock_that_is_saved():
    layer = ClockworkRNN(2, 6, periods=[1, 2, 4], clock_origin=1, num_layers=2)
    assert "clock_origin=1" in repr(layer)
    ClockworkRNN(2, 6, periods=[1, 2, 4], clock_origin=1, num_layers=2).load_state_dict(
        layer.state_dict()
    )
    with pytest.raises(RuntimeError, match="under another clock, .*, from step 1 on"):
        ClockworkRNN(2, 6, periods=[1, 2, 4], num_layers=2).load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match="clock_origin must be 0 or 1"):
        ClockworkRNN(2, 6, clock_origin=2)


SQUASHES = {"tanh": math.tanh, "2tanh": lambda c: 2 * math.tanh(c)}
SQUASHES["sigmoid"] = lambda c: 1 / (1 + math.exp(-c))


@pytest.mark.parametrize("backend", ["reference", "compiled", "exported"])
@pytest.mark.parametrize("cell_output", SQUASHES)
def test_what_squashes_a_cell(cell_output, backend):
    torch.manual_seed(0)
    layer = LSTM(2, 4, cell_output=cell_output).double()
    layer.backend = backend
    x = torch.randn(1, 1, 2, dtype=torch.float64)
    _, (h, c) = layer(x)
    assert ("cell_output" in repr(layer)) == (cell_output != "tanh")
    gate = torch.sigmoid(layer.weight_ih[12:] @ x.flatten() + layer.bias[12:])
    squashed = [SQUASHES[cell_output](value) for value in c.flatten().tolist()]
    torch.testing.assert_close(h.flatten(), gate * torch.tensor(squashed).double())
    other = LSTM(2, 4, cell_output="tanh").double()
    other.load_state_dict(layer.state_dict())
    x = torch.randn(5, 3, 2, dtype=torch.float64)
    close = torch.allclose(layer(x)[0], other(x)[0])
    assert close == (cell_output == "tanh")


def test_both_directions_begin_at_the_origin():
    torch.manual_seed(0)
    options = {"periods": [1, 3], "clock_origin": 1, "bidirectional": True, "batch_first": True}
    layer = ClockworkRNN(2, 4, **options).double()
    x = torch.randn(1, 7, 2, dtype=torch.float64)
    output = layer(x)[0][0]
    slow, slow_reverse = output[:, 2:4], output[:, 6:8].flip(0)
    for own in (slow, slow_reverse):
        assert not own[:2].any() and own[2].all() and torch.equal(own[2], own[4])


def test_every_squash_is_compiled():
    assert list(reference.CELL_OUTPUTS) == list(layout.CELL_OUTPUTS)


def test_a_stream_goes_on_from_the_origin():
    torch.manual_seed(0)
    layer = ClockworkRNN(2, 6, periods=[1, 2, 5], clock_origin=1)
    x = torch.randn(13, 3, 2)
    stream = Stream(layer)
    pieces = torch.cat([stream(piece) for piece in x.split(4)])
    torch.testing.assert_close(pieces, layer(x)[0])
    starts = layer(x, None, [0, 3, 4])[0]
    for row, start in enumerate([0, 3, 4]):
        torch.testing.assert_close(starts[:, row], layer(x[:, row], None, start)[0])


def test_an_unknown_squash_is_refused():
    with pytest.raises(ValueError, match="cell_output 'relu': expected one of 'tanh', '2tanh'"):
        LSTM(2, 4, cell_output="relu")
    with pytest.raises(ValueError, match="torch's cells give out tanh"):
        LSTM(2, 4, cell_output="sigmoid").to_torch()
