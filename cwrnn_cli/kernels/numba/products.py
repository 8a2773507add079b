"""Small matrix products in registers, for the compiled loops; arrays are indexed in vectors.

In :func:`accumulate`, lanes are columns, and one factor is broadcast; where lanes are networks, see
:mod:`.network_products`.
"""

from typing import NamedTuple

import numba

from .cache import kept
from .simd import LANES, broadcast, store
from .tiles import tile

jit = kept(numba.njit(nogil=True, error_model="numpy"))
# for what is called so often, or with so many constants, that a call of its own would cost
inline = kept(numba.njit(nogil=True, error_model="numpy", forceinline=True))


class Vectors(NamedTuple):
    """Where a matrix of vectors is in an array: row r begins at vector ``first + r * stride``.

    The array is no part of it: where a tuple is made, Numba counts the references to the arrays in
    it, and that takes as long as a small product.

    Attributes:
        first: vector of row 0.
        stride: vectors from row to row.
    """

    first: int
    stride: int


class Numbers(NamedTuple):
    """Where a matrix of numbers is in an array: (r, c) is at ``first + r * row + c * column``.

    Attributes:
        first: place of the number of row 0 and column 0.
        row: numbers from row to row.
        column: numbers from column to column.
    """

    first: int
    row: int
    column: int


@inline
def vectors_for(numbers):
    """How many vectors so many numbers fill, the last one perhaps in part."""
    return (numbers + LANES - 1) // LANES


@inline
def clear(array, first, count):
    """Zeros to ``count`` vectors from vector ``first`` on."""
    zero = broadcast(array, 0.0)
    for i in range(first, first + count):
        store(array, i, zero)


_tile_8_2, _tile_8_1 = tile(8, 2), tile(8, 1)
_tile_4_4, _tile_4_2, _tile_4_1 = tile(4, 4), tile(4, 2), tile(4, 1, 2)
_tile_2_4, _tile_2_1 = tile(2, 4), tile(2, 1, 4)
_tile_1_8, _tile_1_4, _tile_1_1 = tile(1, 8), tile(1, 4, 2), tile(1, 1, 4)


@jit
def accumulate(dest, dest_at, x, x_at, w, w_at, rows, depth, width):
    """Add x @ w to dest.

    Args:
        dest: (rows, width) vectors at ``dest_at``.
        dest_at: Vectors.
        x: (rows, depth) numbers at ``x_at``.
        x_at: Numbers.
        w: (depth, width) vectors at ``w_at``.
        w_at: Vectors.
        rows: how many.
        depth: how many.
        width: in vectors.
    """
    d0, d_row = dest_at
    x0, x_row, x_step = x_at
    w0, w_row = w_at
    b = 0
    while b + 8 <= rows:
        d, p = d0 + b * d_row, x0 + b * x_row
        u = 0
        while u + 2 <= width:
            _tile_8_2(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 2
        if u < width:
            _tile_8_1(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
        b += 8
    while b + 4 <= rows:
        d, p = d0 + b * d_row, x0 + b * x_row
        u = 0
        while u + 4 <= width:
            _tile_4_4(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 4
        while u + 2 <= width:
            _tile_4_2(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 2
        if u < width:
            _tile_4_1(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
        b += 4
    while b + 2 <= rows:
        d, p = d0 + b * d_row, x0 + b * x_row
        u = 0
        while u + 4 <= width:
            _tile_2_4(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 4
        while u < width:
            _tile_2_1(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 1
        b += 2
    while b < rows:
        d, p = d0 + b * d_row, x0 + b * x_row
        u = 0
        while u + 8 <= width:
            _tile_1_8(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 8
        while u + 4 <= width:
            _tile_1_4(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 4
        while u < width:
            _tile_1_1(dest, d + u, d_row, x, p, x_row, x_step, w, w0 + u, w_row, depth)
            u += 1
        b += 1
