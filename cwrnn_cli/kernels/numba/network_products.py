"""Small matrix products of 16 networks at once: lanes are networks, a vector per weight.

The tiles at the end overlap those before.
"""

from .products import inline, jit
from .simd import broadcast, fma, load, store


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


@inline
def add(out, out0, x, x0, count):
    """Add ``count`` vectors of x, from vector ``x0`` on, to those of out."""
    for i in range(count):
        store(out, out0 + i, load(out, out0 + i) + load(x, x0 + i))


@inline
def add_rows(w, w0, rows, cols, x, x0, out, a0, out0):
    """out[r] = a[r] + sum_c w[r, c] x[c], both a and the result in ``out``, apart.

    Args:
        w: (rows, cols) vectors from vector ``w0`` on, without gaps.
        w0: see w.
        rows: how many.
        cols: how many.
        x: (cols) vectors from vector ``x0`` on.
        x0: see x.
        out: has (rows) vectors from vector ``a0`` on, and gets as many from ``out0`` on.
        a0: see out.
        out0: see out.
    """
    r = 0
    while r + 8 <= rows:
        i = a0 + r
        s0, s1, s2, s3 = load(out, i), load(out, i + 1), load(out, i + 2), load(out, i + 3)
        s4, s5, s6, s7 = load(out, i + 4), load(out, i + 5), load(out, i + 6), load(out, i + 7)
        b = w0 + r * cols
        for c in range(cols):
            v = load(x, x0 + c)
            s0 = fma(load(w, b + c), v, s0)
            s1 = fma(load(w, b + c + cols), v, s1)
            s2 = fma(load(w, b + c + 2 * cols), v, s2)
            s3 = fma(load(w, b + c + 3 * cols), v, s3)
            s4 = fma(load(w, b + c + 4 * cols), v, s4)
            s5 = fma(load(w, b + c + 5 * cols), v, s5)
            s6 = fma(load(w, b + c + 6 * cols), v, s6)
            s7 = fma(load(w, b + c + 7 * cols), v, s7)
        o = out0 + r
        store(out, o, s0)
        store(out, o + 1, s1)
        store(out, o + 2, s2)
        store(out, o + 3, s3)
        store(out, o + 4, s4)
        store(out, o + 5, s5)
        store(out, o + 6, s6)
        store(out, o + 7, s7)
        r += 8
    while r < rows:
        s = load(out, a0 + r)
        b = w0 + r * cols
        for c in range(cols):
            s = fma(load(w, b + c), load(x, x0 + c), s)
        store(out, out0 + r, s)
        r += 1


@inline
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
    elif cols == 5:
        s0 = s1 = s2 = s3 = s4 = broadcast(w, 0.0)
        for r in range(rows):
            v = load(x, x0 + r)
            b = w0 + r * stride
            s0 = fma(load(w, b), v, s0)
            s1 = fma(load(w, b + 1), v, s1)
            s2 = fma(load(w, b + 2), v, s2)
            s3 = fma(load(w, b + 3), v, s3)
            s4 = fma(load(w, b + 4), v, s4)
        store(out, out0, s0)
        store(out, out0 + 1, s1)
        store(out, out0 + 2, s2)
        store(out, out0 + 3, s3)
        store(out, out0 + 4, s4)
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
    if tile_r == 4 and cols == 5:
        for i in range((rows + 3) // 4):
            r = min(4 * i, rows - 4)
            s00 = s01 = s02 = s03 = s04 = broadcast(out, 0.0)
            s10 = s11 = s12 = s13 = s14 = broadcast(out, 0.0)
            s20 = s21 = s22 = s23 = s24 = broadcast(out, 0.0)
            s30 = s31 = s32 = s33 = s34 = broadcast(out, 0.0)
            p = a0 + r
            q = b0
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
                y = load(b, q + 4)
                s04 = fma(x0, y, s04)
                s14 = fma(x1, y, s14)
                s24 = fma(x2, y, s24)
                s34 = fma(x3, y, s34)
                p += a_step
                q += b_step
            o = out0 + r * stride
            store(out, o, s00)
            store(out, o + 1, s01)
            store(out, o + 2, s02)
            store(out, o + 3, s03)
            store(out, o + 4, s04)
            o += stride
            store(out, o, s10)
            store(out, o + 1, s11)
            store(out, o + 2, s12)
            store(out, o + 3, s13)
            store(out, o + 4, s14)
            o += stride
            store(out, o, s20)
            store(out, o + 1, s21)
            store(out, o + 2, s22)
            store(out, o + 3, s23)
            store(out, o + 4, s24)
            o += stride
            store(out, o, s30)
            store(out, o + 1, s31)
            store(out, o + 2, s32)
            store(out, o + 3, s33)
            store(out, o + 4, s34)
    elif tile_r == 4 and tile_c == 4:
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
