"""Small matrix products in registers, for the compiled loops; arrays are indexed in vectors.

In :func:`accumulate`, lanes are columns, and one factor is broadcast; where lanes are networks, see
:mod:`.network_products`.
"""

from typing import NamedTuple

import numba

from .simd import LANES, broadcast, fma, get, load, store

jit = numba.njit(nogil=True, cache=True, error_model="numpy")
# for what is called so often, or with so many constants, that a call of its own would cost
inline = numba.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


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
    while b + 4 <= rows:
        p0 = x0 + b * x_row
        p1 = p0 + x_row
        p2 = p1 + x_row
        p3 = p2 + x_row
        u = 0
        while u + 2 <= width:
            d = d0 + b * d_row + u
            s00 = load(dest, d)
            s01 = load(dest, d + 1)
            s10 = load(dest, d + d_row)
            s11 = load(dest, d + d_row + 1)
            s20 = load(dest, d + 2 * d_row)
            s21 = load(dest, d + 2 * d_row + 1)
            s30 = load(dest, d + 3 * d_row)
            s31 = load(dest, d + 3 * d_row + 1)
            a = w0 + u
            at = 0
            for _ in range(depth):
                v0 = load(w, a)
                v1 = load(w, a + 1)
                y = broadcast(w, get(x, p0 + at))
                s00 = fma(y, v0, s00)
                s01 = fma(y, v1, s01)
                y = broadcast(w, get(x, p1 + at))
                s10 = fma(y, v0, s10)
                s11 = fma(y, v1, s11)
                y = broadcast(w, get(x, p2 + at))
                s20 = fma(y, v0, s20)
                s21 = fma(y, v1, s21)
                y = broadcast(w, get(x, p3 + at))
                s30 = fma(y, v0, s30)
                s31 = fma(y, v1, s31)
                a += w_row
                at += x_step
            store(dest, d, s00)
            store(dest, d + 1, s01)
            store(dest, d + d_row, s10)
            store(dest, d + d_row + 1, s11)
            store(dest, d + 2 * d_row, s20)
            store(dest, d + 2 * d_row + 1, s21)
            store(dest, d + 3 * d_row, s30)
            store(dest, d + 3 * d_row + 1, s31)
            u += 2
        if u < width:
            d = d0 + b * d_row + u
            s00 = load(dest, d)
            s10 = load(dest, d + d_row)
            s20 = load(dest, d + 2 * d_row)
            s30 = load(dest, d + 3 * d_row)
            a = w0 + u
            at = 0
            for _ in range(depth):
                v0 = load(w, a)
                s00 = fma(broadcast(w, get(x, p0 + at)), v0, s00)
                s10 = fma(broadcast(w, get(x, p1 + at)), v0, s10)
                s20 = fma(broadcast(w, get(x, p2 + at)), v0, s20)
                s30 = fma(broadcast(w, get(x, p3 + at)), v0, s30)
                a += w_row
                at += x_step
            store(dest, d, s00)
            store(dest, d + d_row, s10)
            store(dest, d + 2 * d_row, s20)
            store(dest, d + 3 * d_row, s30)
        b += 4
    while b < rows:
        p0 = x0 + b * x_row
        u = 0
        while u + 8 <= width:
            d = d0 + b * d_row + u
            s00 = load(dest, d)
            s01 = load(dest, d + 1)
            s10 = load(dest, d + 2)
            s11 = load(dest, d + 3)
            s20 = load(dest, d + 4)
            s21 = load(dest, d + 5)
            s30 = load(dest, d + 6)
            s31 = load(dest, d + 7)
            a = w0 + u
            at = p0
            for _ in range(depth):
                y = broadcast(w, get(x, at))
                s00 = fma(y, load(w, a), s00)
                s01 = fma(y, load(w, a + 1), s01)
                s10 = fma(y, load(w, a + 2), s10)
                s11 = fma(y, load(w, a + 3), s11)
                s20 = fma(y, load(w, a + 4), s20)
                s21 = fma(y, load(w, a + 5), s21)
                s30 = fma(y, load(w, a + 6), s30)
                s31 = fma(y, load(w, a + 7), s31)
                a += w_row
                at += x_step
            store(dest, d, s00)
            store(dest, d + 1, s01)
            store(dest, d + 2, s10)
            store(dest, d + 3, s11)
            store(dest, d + 4, s20)
            store(dest, d + 5, s21)
            store(dest, d + 6, s30)
            store(dest, d + 7, s31)
            u += 8
        while u + 4 <= width:  # two sums each, so that a multiply-add need not wait for the last
            d = d0 + b * d_row + u
            s00 = load(dest, d)
            s01 = load(dest, d + 1)
            s10 = load(dest, d + 2)
            s11 = load(dest, d + 3)
            s20 = s21 = s30 = s31 = broadcast(w, 0.0)
            a = w0 + u
            at = p0
            c = 0
            while c + 2 <= depth:
                y = broadcast(w, get(x, at))
                s00 = fma(y, load(w, a), s00)
                s01 = fma(y, load(w, a + 1), s01)
                s10 = fma(y, load(w, a + 2), s10)
                s11 = fma(y, load(w, a + 3), s11)
                y = broadcast(w, get(x, at + x_step))
                s20 = fma(y, load(w, a + w_row), s20)
                s21 = fma(y, load(w, a + w_row + 1), s21)
                s30 = fma(y, load(w, a + w_row + 2), s30)
                s31 = fma(y, load(w, a + w_row + 3), s31)
                a += 2 * w_row
                at += 2 * x_step
                c += 2
            if c < depth:
                y = broadcast(w, get(x, at))
                s00 = fma(y, load(w, a), s00)
                s01 = fma(y, load(w, a + 1), s01)
                s10 = fma(y, load(w, a + 2), s10)
                s11 = fma(y, load(w, a + 3), s11)
            store(dest, d, s00 + s20)
            store(dest, d + 1, s01 + s21)
            store(dest, d + 2, s10 + s30)
            store(dest, d + 3, s11 + s31)
            u += 4
        while u < width:  # four sums, so that one multiply-add need not wait for the last
            d = d0 + b * d_row + u
            s00 = load(dest, d)
            s10 = s20 = s30 = broadcast(w, 0.0)
            a = w0 + u
            at = p0
            c = 0
            while c + 4 <= depth:
                s00 = fma(broadcast(w, get(x, at)), load(w, a), s00)
                s10 = fma(broadcast(w, get(x, at + x_step)), load(w, a + w_row), s10)
                s20 = fma(broadcast(w, get(x, at + 2 * x_step)), load(w, a + 2 * w_row), s20)
                s30 = fma(broadcast(w, get(x, at + 3 * x_step)), load(w, a + 3 * w_row), s30)
                a += 4 * w_row
                at += 4 * x_step
                c += 4
            while c < depth:
                s00 = fma(broadcast(w, get(x, at)), load(w, a), s00)
                a += w_row
                at += x_step
                c += 1
            store(dest, d, (s00 + s10) + (s20 + s30))
            u += 1
        b += 1
