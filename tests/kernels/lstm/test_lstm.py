import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.lstm import lstm


def draw(*shape, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    values = torch.randn(shape, dtype=torch.float64, generator=generator) * 0.5
    return values.requires_grad_(requires_grad)


def one_cell(x, w_i, w_h, b, p, h, c):
    """An LSTM of one cell and one input in scalar arithmetic; gates i, f, g, o."""

    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    outputs = []
    for step in x:
        z = [w_i[k] * step + w_h[k] * h + b[k] for k in range(4)]
        c = sigmoid(z[1] + p[1] * c) * c + sigmoid(z[0] + p[0] * c) * math.tanh(z[2])
        h = sigmoid(z[3] + p[2] * c) * math.tanh(c)
        outputs.append(h)
    return outputs


def test_reference_is_the_textbook_cell_with_peepholes():
    x, w_i, w_h, b = draw(1, 1, 6, 1), draw(1, 4, 1), draw(1, 4, 1, seed=1), draw(1, 4)
    p, h0, c0 = draw(1, 3, 1), draw(1, 1, 1), draw(1, 1, 1, seed=2)
    y, _ = reference.lstm(x, w_i, w_h, b, p, h0, c0)
    expected = one_cell(*(v.flatten().tolist() for v in (x, w_i, w_h, b, p)), h0.item(), c0.item())
    torch.testing.assert_close(y.flatten(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 7, 2])])
def test_every_backend_is_the_reference_with_its_gradients(lengths, backend):
    x, w_i, w_h, b = draw(1, 3, 7, 2), draw(1, 20, 2), draw(1, 20, 5), draw(1, 20)
    h0, c0 = draw(1, 3, 5), draw(1, 3, 5, seed=1)
    values = [v.requires_grad_() for v in (x, w_i, w_h, b)]
    found = lstm(*values, None, h0, c0, lengths, backend)
    expected = lstm(*values, None, h0, c0, lengths, "reference")
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(mine, theirs)
    for s in range(3):
        steps = 7 if lengths is None else int(lengths[s])
        torch.testing.assert_close(found[0][0, s, :steps], expected[0][0, s, :steps])
    mine = torch.autograd.grad(found[1].sum() + found[2].square().sum(), values)
    theirs = torch.autograd.grad(expected[1].sum() + expected[2].square().sum(), values)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_gradcheck_with_peepholes_and_several_networks(backend):
    values = [
        draw(2, 2, 5, 2),
        draw(2, 12, 2),
        draw(2, 12, 3),
        draw(2, 12),
        draw(2, 3, 3),
        draw(2, 2, 3),
        draw(2, 2, 3, seed=1),
    ]
    for value in values:
        value.requires_grad_()
    assert torch.autograd.gradcheck(lambda *v: lstm(*v, None, backend), values)


@settings(max_examples=40)
@given(
    st.integers(1, 2),
    st.integers(1, 40),
    st.integers(1, 12),
    st.sampled_from([0, 1, 2, None]),
    st.integers(1, 40),
    st.booleans(),
)
def test_compiled_for_any_shape(networks, batch, steps, inputs, cells, peepholes):
    values = [  # None: what enters the gates, without weights
        draw(networks, batch, steps, 4 * cells if inputs is None else inputs),
        draw(networks, 4 * cells, inputs) if inputs else None,
        draw(networks, 4 * cells, cells) / cells**0.5,
        draw(networks, 4 * cells),
        draw(networks, 3, cells) if peepholes else None,
        draw(networks, batch, cells),
        draw(networks, batch, cells, seed=1),
    ]
    values = [v if v is None else v.detach().requires_grad_() for v in values]
    used = [v for v in values if v is not None and v.numel()]
    results = []
    for backend in ("reference", "compiled"):
        y, h, c = lstm(*values, None, backend)
        loss = y.square().sum() + h.sum() + 2 * c.sum()
        results.append([y, h, c, *torch.autograd.grad(loss, used)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("backend", ["compiled", "exported", "reference"])
def test_without_weights_the_inputs_enter_the_gates_as_they_are(backend):
    x, w_h, h0, c0 = draw(1, 3, 5, 12), draw(1, 12, 3), draw(1, 3, 3), draw(1, 3, 3, seed=1)
    one = torch.eye(12, dtype=x.dtype)[None]
    found = lstm(x, None, w_h, None, None, h0, c0, None, backend)
    torch.testing.assert_close(found, lstm(x, one, w_h, None, None, h0, c0, None, "reference"))


def test_what_a_backend_cannot_do_is_refused_with_the_reason():
    w_h, b = draw(2, 12, 3), draw(2, 12)
    with pytest.raises(ValueError, match="no way to do 2 networks"):
        lstm(draw(2, 1, 4, 2), draw(2, 12, 2), w_h, b, backend="torch")
    with pytest.raises(ValueError, match="no way to do no input"):
        lstm(draw(1, 1, 4, 0), None, w_h[:1], b[:1], backend="torch")
    with pytest.raises(ValueError, match="no way to do peepholes"):
        lstm(draw(1, 1, 4, 2), draw(1, 12, 2), w_h[:1], b[:1], draw(1, 3, 3), backend="torch")
    with pytest.raises(ValueError, match="expected one of auto, reference, comp"):
        lstm(draw(1, 1, 4, 0), None, w_h[:1], b[:1], backend="cascade")
    half = [v.to(torch.bfloat16) for v in (draw(1, 1, 4, 2), draw(1, 12, 2), w_h[:1], b[:1])]
    with pytest.raises(ValueError, match="not torch.bfloat16; use 'auto'"):
        lstm(*half, backend="compiled")
