import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.gru import compiled, gru


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator) * 0.5


def one_unit(x, w_i, w_h, b, own, y, heard):
    """A GRU of one unit and one input in scalar arithmetic; gates r, z, n."""

    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    outputs = []
    for step, *others in zip(x, *heard, strict=True):
        r_in, z_in, n_in = (w_i[k] * step + b[k] for k in range(3))
        r_own, z_own, n_own = (w_h[k] * y + others[k] for k in range(3))
        r, z = sigmoid(r_in + r_own), sigmoid(z_in + z_own)
        y = (1 - z) * math.tanh(n_in + r * (n_own + own)) + z * y
        outputs.append(y)
    return outputs


def test_reference_is_the_textbook_unit():
    x, w_i, w_h, b = draw(1, 1, 6, 1), draw(1, 3, 1), draw(1, 3, 1, seed=1), draw(1, 3)
    own, h0, heard = draw(1, 1), draw(1, 1, 1), draw(1, 1, 6, 3)
    y = reference.gru(x, w_i, w_h, b, own, h0, heard)
    numbers = [v.flatten().tolist() for v in (x, w_i, w_h, b)]
    expected = one_unit(*numbers, own.item(), h0.item(), heard[0, 0].T.tolist())
    torch.testing.assert_close(y.flatten(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("absent", [(), (3, 4), (3,), (4,), (5,)], ids=str)
def test_every_backend_is_the_reference_with_its_gradients(backend, absent):
    shapes = (1, 3, 7, 2), (1, 15, 2), (1, 15, 5), (1, 15), (1, 5), (1, 3, 5)
    values = [None if i in absent else draw(*s).requires_grad_() for i, s in enumerate(shapes)]
    used = [value for value in values if value is not None]
    results = []
    for name in (backend, "reference"):
        y = gru(*values, name)
        results.append([y, *torch.autograd.grad(y.square().sum(), used)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradcheck_with_several_networks():
    shapes = (2, 2, 5, 2), (2, 9, 2), (2, 9, 3), (2, 9), (2, 3), (2, 2, 3), (2, 2, 5, 9)
    values = [draw(*shape).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(compiled.gru, values)


@settings(max_examples=40)
@given(
    st.integers(1, 2),
    st.integers(1, 40),
    st.integers(1, 12),
    st.sampled_from([0, 1, 2, None]),
    st.integers(1, 40),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_compiled_for_any_shape(networks, batch, steps, inputs, units, there):
    def maybe(i, *shape):
        return draw(*shape, seed=i) if there[i] else None

    values = [  # None: what enters the gates, without weights
        draw(networks, batch, steps, 3 * units if inputs is None else inputs),
        draw(networks, 3 * units, inputs) if inputs else None,
        draw(networks, 3 * units, units) / units**0.5,
        maybe(0, networks, 3 * units),
        maybe(1, networks, units),
        maybe(2, networks, batch, units),
        maybe(3, networks, batch, steps, 3 * units),
    ]
    values = [v if v is None else v.detach().requires_grad_() for v in values]
    used = [v for v in values if v is not None and v.numel()]
    results = []
    for run in (reference.gru, compiled.gru):
        y = run(*values)
        loss = y.square().sum() + y[:, :, -1].sin().sum()
        results.append([y, *torch.autograd.grad(loss, used)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_float32():
    values = [draw(2, 9, 20, 3), draw(2, 51, 3), draw(2, 51, 17) / 4, draw(2, 51), draw(2, 17)]
    expected = reference.gru(*values, None)
    found = compiled.gru(*(value.float() for value in values), None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_auto_is_compiled_for_networks_side_by_side():
    values = [draw(2, 3, 7, 2), draw(2, 15, 2), draw(2, 15, 5), draw(2, 15), draw(2, 5)]
    assert torch.equal(gru(*values), gru(*values, backend="compiled"))


def test_what_a_backend_cannot_do_is_refused_with_the_reason():
    w_h = draw(2, 9, 3)
    with pytest.raises(ValueError, match="its GRU has no way to do 2 networks"):
        gru(draw(2, 1, 4, 2), draw(2, 9, 2), w_h, None, backend="torch")
    with pytest.raises(ValueError, match="its GRU has no way to do no input"):
        gru(draw(1, 1, 4, 9), None, w_h[:1], None, backend="torch")
    with pytest.raises(ValueError, match="expected one of auto, reference, compiled, exported"):
        gru(draw(1, 1, 4, 0), None, w_h[:1], None, backend="cascade")
    half = [v.to(torch.bfloat16) for v in (draw(1, 1, 4, 2), draw(1, 9, 2), w_h[:1])]
    with pytest.raises(ValueError, match=r"not torch.bfloat16; use 'auto'"):
        gru(*half, None, backend="compiled")
