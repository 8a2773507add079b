"""Products in registers against numpy, in sizes that take every tile, and with few registers."""

import numba
import numpy as np
import pytest

from cwrnn_cli.kernels.numba import tiles
from cwrnn_cli.kernels.numba.products import Numbers, Vectors, accumulate
from cwrnn_cli.kernels.numba.simd import LANES


def problem(rows, depth, width, dtype, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal(shape).astype(dtype)
        for shape in ((rows, width * LANES), (rows, depth), (depth, width * LANES))
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_accumulate(dtype, transposed):
    for rows in (*range(1, 10), 15, 23):
        for width in (1, 2, 3, 5, 8, 13):
            for depth in (0, 1, 4, 7):
                dest, x, w = problem(rows, depth, width, dtype, rows)
                expected = dest + x @ w
                at = Numbers(0, 1, rows) if transposed else Numbers(0, depth, 1)
                flat = (x.T if transposed else x).ravel()
                to = Vectors(0, width)
                accumulate(dest.ravel(), to, flat, at, w.ravel(), to, rows, depth, width)
                np.testing.assert_allclose(dest, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("registers", [32 * 512, 8 * 256, 1])
@pytest.mark.parametrize(("rows", "vectors", "sums"), [(8, 2, 1), (4, 1, 2), (1, 8, 1), (2, 4, 4)])
def test_tiles_split_themselves(monkeypatch, registers, rows, vectors, sums):
    monkeypatch.setattr(tiles, "_BITS", registers)
    run = tiles.tile(rows, vectors, sums)

    @numba.njit
    def call(dest, x, w, depth):
        run(dest, 0, vectors, x, 0, depth, 1, w, 0, vectors, depth)

    dest, x, w = problem(rows, 11, vectors, np.float64)
    expected = dest + x @ w
    call(dest.ravel(), x.ravel(), w.ravel(), 11)
    np.testing.assert_allclose(dest, expected, rtol=1e-12)
    r, v, s = tiles._fitting(rows, vectors, sums, 64)
    assert rows % r == vectors % v == sums % s == 0
    assert r * v * s * LANES * 64 <= registers or (r, v, s) == (1, 1, 1)
