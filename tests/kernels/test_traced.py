"""torch.compile takes the layers as operators; what is exported is a loop of any length."""

import subprocess
import sys

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import clockwork, compiled
from cwrnn_cli.kernels.clockwork import exported as clockwork_exported
from cwrnn_cli.kernels.gru import compiled as gru_compiled
from cwrnn_cli.kernels.gru import gru
from cwrnn_cli.kernels.lstm import compiled as lstm_compiled
from cwrnn_cli.kernels.lstm import exported as lstm_exported
from cwrnn_cli.kernels.lstm import lstm
from tests.kernels.test_autograd import drawn

CLOCK = Clock.of(5, [1, 2, 3], [2, 1, 2])
VALUES = drawn((1, 2, 5, 2), (1, 5, 2), (1, 5, 5), (1, 5), (1, 2, 5))
LSTM_VALUES = drawn((1, 2, 4, 2), (1, 12, 2), (1, 12, 3), (1, 12), (1, 3, 3), (1, 2, 3), (1, 2, 3))
GRU_VALUES = drawn((1, 2, 4, 2), (1, 9, 2), (1, 9, 3), (1, 9), (1, 3), (1, 2, 3), (1, 4, 2, 9))


def gradients(outputs, values):
    loss = sum((y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum() for y in outputs)
    return torch.autograd.grad(loss, [v for v in values if v is not None])


@pytest.mark.parametrize("start", [0, 2, torch.tensor([1, 4])], ids=str)
@pytest.mark.parametrize("absent", [(), (3,), (1, 3, 4)], ids=str)
def test_the_loop_of_an_exported_layer_is_the_reference(absent, start):
    values = [None if i in absent else v.clone().requires_grad_() for i, v in enumerate(VALUES)]
    values[0] = torch.empty(1, 2, 5, 0, requires_grad=True) if 1 in absent else values[0]
    for nonlinearity in ("tanh", "relu"):
        arguments = (*values, CLOCK, start, nonlinearity)
        found, expected = clockwork_exported.clockwork(*arguments), reference.clockwork(*arguments)
        torch.testing.assert_close(found, expected)
        used = [v for v in values if v is not None and v.numel()]
        # torch's scan forgets gradients if its initial state has none (issue 184528): ours has
        for mine, theirs in zip(gradients([found], used), gradients([expected], used), strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("absent", [(), (4, 5, 6), (3, 4)], ids=str)
def test_the_loop_of_an_exported_lstm_is_the_reference(absent):
    values = [
        None if i in absent else v.clone().requires_grad_() for i, v in enumerate(LSTM_VALUES)
    ]
    found, expected = lstm_exported.lstm(*values), reference.lstm(*values)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(gradients(found, values), gradients(expected, values), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("absent", [(), (3, 4), (5,)], ids=str)
def test_the_loop_of_an_exported_gru_is_the_reference(absent):
    values = [
        None if i in absent else v.clone().requires_grad_() for i, v in enumerate(GRU_VALUES[:6])
    ]
    found, expected = (gru(*values, name) for name in ("exported", "reference"))
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(gradients([found], values), gradients([expected], values), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_what_the_mask_forbids_does_not_get_into_an_exported_layer():
    values = [value.clone() for value in VALUES]
    values[2][0, 4, 0] = float("nan")
    assert exported_is_finite(values, CLOCK)
    wide = [torch.ones(shape, dtype=torch.float16) for shape in ((1, 1, 2, 1), (1, 300, 1))]
    big = torch.full((1, 300, 300), 1.0, dtype=torch.float16)  # the sum of it is infinite
    assert exported_is_finite([*wide, big, None, None], Clock.of(300, [1]))


def exported_is_finite(values, clock):
    return bool(clockwork_exported.clockwork(*values, clock).isfinite().all())


def test_several_networks_are_not_exported():
    x = torch.zeros(2, 1, 3, 2)
    with pytest.raises(ValueError, match="it does one network, not 2; use 'auto'"):
        clockwork(x, torch.zeros(2, 5, 2), torch.zeros(2, 5, 5), None, None, CLOCK, "exported")


OPERATORS = {
    "clockwork_by_pieces": (
        compiled._operator,
        (VALUES[0].transpose(1, 2).contiguous(), *VALUES[1:]),
        ([1, 2, 3], [2, 1, 2], 1),
    ),
    "lstm": (
        lstm_compiled._operator,
        (LSTM_VALUES[0].transpose(1, 2).contiguous(), *LSTM_VALUES[1:]),
        ("sigmoid",),
    ),
    "gru": (
        gru_compiled._operator,
        (GRU_VALUES[0].transpose(1, 2).contiguous(), *GRU_VALUES[1:5], *GRU_VALUES[:4:-1]),
        (),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("absent", [(), (1, 3, 4)], ids=str)
def test_the_operators_pass_torchs_own_check(name, absent):
    _, values, settings = OPERATORS[name]
    values = [None if i in absent else v.clone().requires_grad_() for i, v in enumerate(values)]
    if 1 in absent:  # then x enters the gates as it is; a clockwork layer has none
        entering = 0 if name.startswith("clockwork") else values[2].shape[1]
        values[0] = torch.ones(1, 4, 2, entering, dtype=torch.float64, requires_grad=True)
    operator = getattr(torch.ops.cwrnn, name).default
    assert set(torch.library.opcheck(operator, (*values, *settings)).values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_operators_gradients(name):
    run, values, settings = OPERATORS[name]
    values = [v.clone().requires_grad_() for v in values]
    assert torch.autograd.gradcheck(lambda *v: run(v, *settings), values)


def test_who_writes_down_operations_gets_the_plain_ones():
    x, *others = VALUES
    traced = make_fx(lambda x: clockwork(x, *others, CLOCK))(x)
    torch.testing.assert_close(traced(2 * x), clockwork(2 * x, *others, CLOCK))
    with FlopCounterMode(display=False) as counter:
        clockwork(x, *others, CLOCK)
    assert counter.get_total_flops() > 0
    with pytest.raises(ValueError, match="its code cannot be traced"):
        make_fx(lambda x: clockwork(x, *others, CLOCK, "compiled"))(x)
    lstm_traced = make_fx(lambda x: lstm(x, *LSTM_VALUES[1:])[0])(LSTM_VALUES[0])
    expected = lstm(2 * LSTM_VALUES[0], *LSTM_VALUES[1:])[0]
    torch.testing.assert_close(lstm_traced(2 * LSTM_VALUES[0]), expected)


def test_a_default_device_does_not_get_into_what_is_remembered():
    """In a process of its own, where nothing is compiled or remembered yet."""
    program = """
import torch
torch.set_default_device("meta")
from cwrnn_cli.models import LSTM, ClockworkRNN
torch.manual_seed(0)
for cell in (ClockworkRNN, LSTM):
    layer = cell(3, 11, device="cpu")
    x = torch.randn(5, 2, 3, device="cpu")
    found = layer(x)[0]
    layer.backend = "reference"
    torch.testing.assert_close(found, layer(x)[0])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
