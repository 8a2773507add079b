"""Small matrix products in registers, for the compiled loops; arrays are indexed in vectors.

In the first three, lanes are networks, and matrices hold a vector per weight; the tiles at the end
overlap those before. In :func:`accumulate`, lanes are columns, and one factor is broadcast.
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
def multiply_rows(w, w_at, rows, cols, x, x0, out, out0):
    """out[r] = sum_c w[r, c] x[c].

    Args:
        w: (rows, cols) vectors at ``w_at``.
        w_at: Vectors.
        rows: how many.
        cols: how many.
        x: (cols) vectors from vector ``x0`` on.
        x0: see x.
        out: gets (rows) vectors from vector ``out0`` on.
        out0: see out.
    """
    w0, stride = w_at
    if rows >= 8:
        tiles = (rows + 7) // 8
        for tile in range(tiles):
            r = min(8 * tile, rows - 8)  # the last tile overlaps the one before
            a = w0 + r * stride
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = broadcast(w, 0.0)
            for c in range(cols):
                v = load(x, x0 + c)
                b = a + c
                s0 = fma(load(w, b), v, s0)
                s1 = fma(load(w, b + stride), v, s1)
                s2 = fma(load(w, b + 2 * stride), v, s2)
                s3 = fma(load(w, b + 3 * stride), v, s3)
                s4 = fma(load(w, b + 4 * stride), v, s4)
                s5 = fma(load(w, b + 5 * stride), v, s5)
                s6 = fma(load(w, b + 6 * stride), v, s6)
                s7 = fma(load(w, b + 7 * stride), v, s7)
            o = out0 + r
            store(out, o, s0)
            store(out, o + 1, s1)
            store(out, o + 2, s2)
            store(out, o + 3, s3)
            store(out, o + 4, s4)
            store(out, o + 5, s5)
            store(out, o + 6, s6)
            store(out, o + 7, s7)
    else:
        for r in range(rows):
            s = broadcast(w, 0.0)
            for c in range(cols):
                s = fma(load(w, w0 + r * stride + c), load(x, x0 + c), s)
            store(out, out0 + r, s)


@jit
def multiply_columns(w, w_at, rows, cols, x, x0, out, out0):
    """out[c] = sum_r w[r, c] x[r]: the transposed product, arguments likewise."""
    w0, stride = w_at
    if cols >= 8:
        tiles = (cols + 7) // 8
        for tile in range(tiles):
            c = min(8 * tile, cols - 8)
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = broadcast(w, 0.0)
            for r in range(rows):
                v = load(x, x0 + r)
                b = w0 + r * stride + c
                s0 = fma(load(w, b), v, s0)
                s1 = fma(load(w, b + 1), v, s1)
                s2 = fma(load(w, b + 2), v, s2)
                s3 = fma(load(w, b + 3), v, s3)
                s4 = fma(load(w, b + 4), v, s4)
                s5 = fma(load(w, b + 5), v, s5)
                s6 = fma(load(w, b + 6), v, s6)
                s7 = fma(load(w, b + 7), v, s7)
            o = out0 + c
            store(out, o, s0)
            store(out, o + 1, s1)
            store(out, o + 2, s2)
            store(out, o + 3, s3)
            store(out, o + 4, s4)
            store(out, o + 5, s5)
            store(out, o + 6, s6)
            store(out, o + 7, s7)
    elif cols >= 4:
        for tile in range(2):
            c = tile * (cols - 4)
            s0 = s1 = s2 = s3 = broadcast(w, 0.0)
            for r in range(rows):
                v = load(x, x0 + r)
                b = w0 + r * stride + c
                s0 = fma(load(w, b), v, s0)
                s1 = fma(load(w, b + 1), v, s1)
                s2 = fma(load(w, b + 2), v, s2)
                s3 = fma(load(w, b + 3), v, s3)
            o = out0 + c
            store(out, o, s0)
            store(out, o + 1, s1)
            store(out, o + 2, s2)
            store(out, o + 3, s3)
            if cols == 4:
                break
    else:
        for c in range(cols):
            s = broadcast(w, 0.0)
            for r in range(rows):
                s = fma(load(w, w0 + r * stride + c), load(x, x0 + r), s)
            store(out, out0 + c, s)


@jit
def sum_outer(a, a_at, b, b_at, out, out_at, steps, rows, cols):
    """out[r, c] = sum_s a[s, r] b[s, c]: a weight gradient, summed in registers over all steps.

    Args:
        a: (steps, rows) vectors at ``a_at``.
        a_at: Vectors.
        b: (steps, cols) vectors at ``b_at``.
        b_at: Vectors.
        out: (rows, cols) vectors at ``out_at``, written.
        out_at: Vectors.
        steps: how many.
        rows: how many.
        cols: how many.
    """
    a0, a_step = a_at
    b0, b_step = b_at
    out0, stride = out_at
    tile_r = min(rows, 4)
    tile_c = min(cols, 4)
    if tile_r == 4 and tile_c == 4:
        for i in range((rows + 3) // 4):
            r = min(4 * i, rows - 4)
            for j in range((cols + 3) // 4):
                c = min(4 * j, cols - 4)
                s00 = s01 = s02 = s03 = broadcast(out, 0.0)
                s10 = s11 = s12 = s13 = broadcast(out, 0.0)
                s20 = s21 = s22 = s23 = broadcast(out, 0.0)
                s30 = s31 = s32 = s33 = broadcast(out, 0.0)
                p = a0 + r
                q = b0 + c
                for _ in range(steps):
                    x0 = load(a, p)
                    x1 = load(a, p + 1)
                    x2 = load(a, p + 2)
                    x3 = load(a, p + 3)
                    y = load(b, q)
                    s00 = fma(x0, y, s00)
                    s10 = fma(x1, y, s10)
                    s20 = fma(x2, y, s20)
                    s30 = fma(x3, y, s30)
                    y = load(b, q + 1)
                    s01 = fma(x0, y, s01)
                    s11 = fma(x1, y, s11)
                    s21 = fma(x2, y, s21)
                    s31 = fma(x3, y, s31)
                    y = load(b, q + 2)
                    s02 = fma(x0, y, s02)
                    s12 = fma(x1, y, s12)
                    s22 = fma(x2, y, s22)
                    s32 = fma(x3, y, s32)
                    y = load(b, q + 3)
                    s03 = fma(x0, y, s03)
                    s13 = fma(x1, y, s13)
                    s23 = fma(x2, y, s23)
                    s33 = fma(x3, y, s33)
                    p += a_step
                    q += b_step
                o = out0 + r * stride + c
                store(out, o, s00)
                store(out, o + 1, s01)
                store(out, o + 2, s02)
                store(out, o + 3, s03)
                o += stride
                store(out, o, s10)
                store(out, o + 1, s11)
                store(out, o + 2, s12)
                store(out, o + 3, s13)
                o += stride
                store(out, o, s20)
                store(out, o + 1, s21)
                store(out, o + 2, s22)
                store(out, o + 3, s23)
                o += stride
                store(out, o, s30)
                store(out, o + 1, s31)
                store(out, o + 2, s32)
                store(out, o + 3, s33)
    else:
        for r in range(rows):
            for c in range(cols):
                s = broadcast(out, 0.0)
                for t in range(steps):
                    s = fma(load(a, a0 + r + t * a_step), load(b, b0 + c + t * b_step), s)
                store(out, out0 + r * stride + c, s)


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
