"""The compiled layer where its ways part: widths of modules, bundles, rows, regular inputs."""

import numpy as np
import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels import reference
from cwrnn_cli.kernels.clockwork import blocks, clockwork
from cwrnn_cli.kernels.clockwork.bundles import bundled, bundles
from cwrnn_cli.kernels.clockwork.layout import clock_layout, packing


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
