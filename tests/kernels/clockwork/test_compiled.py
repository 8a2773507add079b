"""The compiled layer where its ways part: widths of modules, bundles, rows, regular inputs."""

from math import prod

import numpy as np
import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import blocks, clockwork
from cwrnn_cli.kernels.clockwork.bundles import bundled, bundles
from cwrnn_cli.kernels.clockwork.layout import clock_layout, packing
from cwrnn_cli.kernels.numba import memory


def test_bundles_are_nested_neighbours_that_fit():
    clock = Clock.of(40, 8)
    assert bundles(clock, 16) == (range(3), range(3, 6), range(6, 8))
    assert bundled(clock, bundles(clock, 16)) == Clock((1, 8, 64), (15, 15, 10))
    assert bundles(clock, 0) == tuple(range(i, i + 1) for i in range(8))
    other = Clock.of(20, (2, 3, 6, 12), (5, 5, 5, 5))  # 3 is no multiple of 2
    assert bundles(other, 16) == (range(1), range(1, 4))
    assert bundles(Clock.of(34, (1, 2), (17, 17)), 16) == (range(1), range(1, 2))


def test_compiled_packing_is_that_by_indices():
    clock, features, generator = Clock.of(60, (1, 2, 5), (20, 7, 33)), 21, torch.Generator()
    n = clock.hidden_size
    w_ih, w_hh = (torch.randn(2, n, k, generator=generator) for k in (features, n))
    table, indices = clock_layout(clock).clock, packing(clock, features)
    forward, size, backward, back_size = blocks.block_places(clock_layout(clock), features)
    arrays = [w.reshape(2, -1).numpy() for w in (w_ih, w_hh)]
    for pack, index, places, places_by_index, numbers in (
        (blocks.pack_forward, indices.forward, forward, indices.forward_places, size),
        (blocks.pack_backward, indices.backward, backward, indices.places, back_size),
    ):
        packed = torch.full((2, numbers), torch.nan)
        pack(table, features, *arrays, places, packed.numpy())
        assert packed.equal(indices.weights(w_ih, w_hh, index))
        for a, b in zip(places, places_by_index, strict=True):
            assert a.tolist() == b.tolist()
    found = [np.full_like(array, np.nan) for array in arrays]
    padded, bias = (
        np.zeros((2, clock_layout(clock).padded), np.float32),
        np.ones((2, n), np.float32),
    )
    blocks.unpack(table, features, backward, packed.numpy(), padded, *found, bias)
    for a, b in zip(found, indices.unpacked(packed, features), strict=True):
        assert a.tolist() == b.flatten(1).tolist()
    assert not bias.any()


CLOCKS = {
    "five units each, bundled": Clock.of(40, 8),
    "eight units each, bundled": Clock.of(64, 8),
    "bundles between wide modules": Clock.of(64, (1, 2, 4, 12, 24), (20, 5, 6, 30, 3)),
    "not nested": Clock.of(44, (2, 3, 4, 6, 12), (17, 3, 4, 16, 4)),
    "an SRN": Clock.of(33, 1),
}


@pytest.fixture
def guarded(monkeypatch):
    """Buffers with numbers around them that nobody may touch, as compiled code checks no bounds."""
    around, guard, buffers = 64, 12345.0, []

    def empty(shape, like):
        buffers.append(like.new_full((prod(shape) + 2 * around,), guard))
        return buffers[-1][around:-around].fill_(torch.nan).view(tuple(shape))

    monkeypatch.setattr(memory, "empty", empty)
    yield
    assert buffers
    for buffer in buffers:
        assert (buffer[:around] == guard).all() and (buffer[-around:] == guard).all()


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize(
    ("batch", "inputs", "start"), [(1, 5, 0), (1, 16, 3), (3, 16, 0), (8, 5, 7), (13, 32, 0)]
)
def test_compiled_is_the_reference_with_its_gradients(clock, batch, inputs, start):
    generator = torch.Generator().manual_seed(batch)
    n, steps = clock.hidden_size, 29

    def draw(*shape):
        values = torch.randn(shape, dtype=torch.float64, generator=generator) * 0.5
        return values.requires_grad_()

    given = [draw(2, batch, steps, inputs), draw(2, n, inputs), draw(2, n, n), draw(2, n)]
    given.append(draw(2, batch, n))
    found = clockwork(*given, clock, "compiled", start=start)
    expected = reference.clockwork(*given, clock, start)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    mine, theirs = (torch.autograd.grad((y * weights).sum(), given) for y in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pieces_of_a_large_batch(dtype):
    clock, steps = Clock.of(40, 8), 70
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 300, steps, 9), (1, 40, 9), (1, 40, 40), (1, 40)]
    given = [torch.randn(s, dtype=dtype, generator=generator) * 0.4 for s in shapes]
    for weight in given:
        weight.requires_grad_()
    found = clockwork(*given, None, clock, "compiled")
    expected = reference.clockwork(*given, None, clock)
    torch.testing.assert_close(found, expected)
    mine, theirs = (torch.autograd.grad((y * y).mean(), given) for y in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_backward_pass_finds_the_pieces_of_the_forward_pass():
    clock, batch, steps, inputs = Clock.of(128, 1), 64, 20, 512  # wide enough for two threads
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, batch, steps, inputs), (1, 128, inputs), (1, 128, 128), (1, 128)]
    x, w_ih, w_hh, bias = (
        torch.randn(s, dtype=torch.float64, generator=generator) * 0.1 for s in shapes
    )

    def some_outputs(bias):
        y = clockwork(x, w_ih, w_hh, bias, None, clock, backend)[0]
        return torch.stack([y[:, :, 0].sum(), y[3, :, 5].sum(), y[40].sum()])

    backend = "cascade"
    expected = torch.func.jacrev(some_outputs)(bias)
    backend = "compiled"
    torch.testing.assert_close(torch.func.jacrev(some_outputs)(bias), expected)  # 3 networks
    found = some_outputs(bias.requires_grad_())
    torch.set_num_threads(1)
    torch.testing.assert_close(torch.autograd.grad(found[2], bias)[0], expected[2])


def test_no_networks():
    clock = Clock.of(5, 2)
    shapes = [(0, 2, 7, 3), (0, 5, 3), (0, 5, 5), (0, 5)]
    given = [torch.randn(s).requires_grad_() for s in shapes]
    found = clockwork(*given, None, clock, "compiled")
    assert found.shape == (0, 2, 7, 5)
    assert [g.shape for g in torch.autograd.grad(found.sum(), given)] == shapes
