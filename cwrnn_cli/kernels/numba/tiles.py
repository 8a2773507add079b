"""Parts of a matrix product so small that all their sums stay in registers.

There is a function for each size. It is written out in LLVM's language and not in Python, since the
sums are as many variables as the size says. Where the machine has not as many registers, a part
splits itself.
"""

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import IR_TYPES, LANES


def _bits_of_sums() -> int:
    """Bits of registers for sums: about half of all registers, as the factors need some, too."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16 * 512
    return 8 * 256 if features.get("avx2") else 16 * 128


_BITS = _bits_of_sums()


def tile(rows: int, vectors: int, sums: int = 1):
    """Dest (rows, vectors) += x @ w, as compiled code calls it.

    Args:
        rows: of dest.
        vectors: in each of them.
        sums: over how many the sum over the depth is spread, so that a multiply-add need not wait
            for the last one; at least 8 in all (rows * vectors * sums) keep a machine busy.

    Returns:
        ``run(dest, d, d_row, x, p, x_row, x_step, w, a, w_row, depth)``: dest's row 0 is at vector
        d, w's at vector a, their next rows so many vectors on; the number (r, c) of x is at
        ``p + r * x_row + c * x_step``.
    """

    @intrinsic
    def run(typingctx, dest, d, d_row, x, p, x_row, x_step, w, a, w_row, depth):
        def codegen(context, builder, signature, args):
            part = _Tile(context, builder, signature, args)
            r, v, s = _fitting(rows, vectors, sums, dest.dtype.bitwidth)
            for row in range(0, rows, r):
                for vector in range(0, vectors, v):
                    part.build(range(row, row + r), range(vector, vector + v), s)
            return context.get_dummy_value()

        places = (types.intp,) * 3
        given = (dest, *places[:2], x, *places, w, *places)
        return types.void(*given), codegen

    return run


def _fitting(rows: int, vectors: int, sums: int, bits: int) -> tuple[int, int, int]:
    """As much of a tile at a time as fits the registers; all are powers of two."""
    while rows * vectors * sums * LANES * bits > _BITS and (rows, vectors, sums) != (1, 1, 1):
        if vectors > 1 and vectors * 2 >= rows:
            vectors //= 2
        elif sums > 1:
            sums //= 2
        else:
            rows //= 2
    return rows, vectors, sums


class _Tile:
    """Writes a tile out."""

    def __init__(self, context, builder, signature, args) -> None:
        dest, d, self.d_row, x, p, self.x_row, self.x_step, w, a, self.w_row, self.depth = args
        dest_type, x_type, w_type = (signature.args[i] for i in (0, 3, 7))

        def pointer(array_type, array, index):
            data = context.make_array(array_type)(context, builder, array).data
            return builder.gep(data, [index])

        self.builder = builder
        self.dest = pointer(dest_type, dest, builder.mul(d, d.type(LANES)))
        self.x = pointer(x_type, x, p)
        self.w = pointer(w_type, w, builder.mul(a, a.type(LANES)))
        self.vector = ir.VectorType(IR_TYPES[dest_type.dtype], LANES)
        self.fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.vector, [self.vector] * 3),
            f"llvm.fma.v{LANES}f{dest_type.dtype.bitwidth}",
        )

    def _vector(self, base, row, stride, v):
        """Where vector v of a row is."""
        b = self.builder
        index = b.add(b.mul(row, b.mul(stride, row.type(LANES))), row.type(v * LANES))
        return b.bitcast(b.gep(base, [index]), self.vector.as_pointer())

    def _apart(self, pointer):
        """The pointer, in a register of its own: else LLVM computes each row's from the last's."""
        same = ir.FunctionType(pointer.type, [pointer.type])
        return self.builder.asm(same, "", "=r,0", [pointer], False)

    def _load(self, pointer):
        value = self.builder.load(pointer)
        value.align = 4
        return value

    def _step(self, c, inputs, vectors, totals):
        """Totals (rows, vectors), flat, plus the products at depth c."""
        b = self.builder
        weights = [self._load(self._vector(self.w, c, self.w_row, v)) for v in vectors]
        undefined = ir.Constant(self.vector, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        place = b.mul(c, self.x_step)
        found = []
        for r, x in enumerate(inputs):
            number = b.load(b.gep(x, [place]))
            single = b.insert_element(undefined, number, ir.IntType(32)(0))
            every = b.shuffle_vector(single, undefined, zeros)
            row = totals[r * len(vectors) : (r + 1) * len(vectors)]
            found += [b.call(self.fma, [every, w, t]) for w, t in zip(weights, row, strict=True)]
        return found

    def _repeat(self, count, body, values):
        """``values = body(index, values)`` for every index below ``count``; the last of them."""
        b, index_type = self.builder, self.depth.type
        before, loop, after = b.block, b.append_basic_block("depth"), b.append_basic_block("done")
        b.cbranch(b.icmp_signed(">", count, index_type(0)), loop, after)
        b.position_at_end(loop)
        index = b.phi(index_type)
        old = [b.phi(value.type) for value in values]
        new = body(index, old)
        following = b.add(index, index_type(1))
        back = b.cbranch(b.icmp_signed("<", following, count), loop, after)
        back.set_metadata("llvm.loop", self._as_it_is())
        b.position_at_end(after)
        last = [b.phi(value.type) for value in values]
        index.add_incoming(index_type(0), before)
        index.add_incoming(following, loop)
        for phi, result, first, then in zip(old, last, values, new, strict=True):
            for each in (phi, result):
                each.add_incoming(first, before)
                each.add_incoming(then, loop)
        return last

    def _as_it_is(self):
        """For LLVM: do not unroll the loop, it fills the registers already."""
        module = self.builder.module
        hint = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        own = module.add_metadata([hint, ir.Constant(ir.IntType(64), len(module.metadata))])
        own.operands = (own, hint)
        return own

    def build(self, rows: range, vectors: range, sums: int) -> None:
        """Write out these rows and vectors."""
        at = self.depth.type
        b = self.builder
        places = [self._vector(self.dest, at(r), self.d_row, v) for r in rows for v in vectors]
        inputs = [self._apart(b.gep(self.x, [b.mul(self.x_row, at(r))])) for r in rows]
        size = len(places)

        def several(index, totals):
            found = []
            for s in range(sums):
                c = b.add(b.mul(index, at(sums)), at(s))
                found += self._step(c, inputs, vectors, totals[s * size : (s + 1) * size])
            return found

        zero = ir.Constant(self.vector, None)
        totals = [self._load(place) for place in places] + [zero] * (size * (sums - 1))
        rounds = b.sdiv(self.depth, at(sums))
        totals = self._repeat(rounds, several, totals)
        for s in range(sums - 1, 0, -1):
            for i in range(size):
                totals[i] = b.fadd(totals[i], totals[s * size + i])
        if sums > 1:
            done = b.mul(rounds, at(sums))

            def one(index, totals):
                return self._step(b.add(done, index), inputs, vectors, totals)

            totals = self._repeat(b.sub(self.depth, done), one, totals[:size])
        for place, total in zip(places, totals, strict=False):
            b.store(total, place).align = 4
