"""Products of 16 networks at once against numpy, in sizes that take every tile."""

import numpy as np
import pytest

from cwrnn_cli.kernels.numba import network_products as products
from cwrnn_cli.kernels.numba.products import Vectors
from cwrnn_cli.kernels.numba.simd import LANES

SIZES = [(rows, cols) for rows in (1, 3, 4, 5, 8, 9, 13) for cols in (1, 3, 4, 5, 6, 8, 11)]
GUARD = 7.0


def draw(*shapes):
    generator = np.random.default_rng(0)
    return [generator.standard_normal((*shape, LANES)) for shape in shapes]


def guarded(count):
    """Vectors to write, all but the first and the last."""
    return np.full((count + 2, LANES), GUARD)


def assert_written(out, expected):
    np.testing.assert_allclose(out[1:-1], expected.reshape(-1, LANES), atol=1e-12)
    assert (out[[0, -1]] == GUARD).all()


@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_a_matrix_times_a_vector(rows, cols):
    w, x, y = draw((rows, cols), (cols,), (rows,))
    across, down = np.einsum("rcl,cl->rl", w, x), np.einsum("rcl,rl->cl", w, y)
    where = Vectors(0, cols)
    out = guarded(rows)
    products.multiply_rows(w, where, rows, cols, x, 0, out, 1)
    assert_written(out, across)
    out = guarded(cols)
    products.multiply_columns(w, where, rows, cols, y, 0, out, 1)
    assert_written(out, down)
    out = np.concatenate([guarded(rows), y])
    products.add_rows(w, 0, rows, cols, x, 0, out, rows + 2, 1)
    assert_written(out[: rows + 2], y + across)
    assert out[rows + 2 :].tolist() == y.tolist()


@pytest.mark.parametrize("steps", [0, 1, 6])
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_a_sum_of_outer_products(rows, cols, steps):
    (a, b), out = draw((steps, rows), (steps, cols)), guarded(rows * cols)
    at = Vectors(0, rows), Vectors(0, cols), Vectors(1, cols)
    products.sum_outer(a, at[0], b, at[1], out, at[2], steps, rows, cols)
    assert_written(out, np.einsum("srl,scl->rcl", a, b))
