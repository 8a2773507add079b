"""A vector of 16 floats as a Numba type, so that compiled loops keep it in registers.

Numba's auto-vectoriser cannot keep such a vector in a register across a loop; this type can,
because it is one LLVM value. LLVM lowers it to whatever the machine has (in float32 one AVX-512
register, two of AVX2, four of NEON). What its lanes are is up to the loop: units of a layer, or
networks of an ensemble where these are too small to fill a vector with their own units.

Only what the kernels need is here: load and store of vectors, of their first lanes and of single
numbers, ``+ - * /``, multiply-add, broadcast, choice of lanes, clamp, widening to double precision,
exp of what is not positive, tanh and the logistic function.
"""

import math
import operator

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16

IR_TYPES = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class Vector(types.Type):
    """Numba type of a vector of :data:`LANES` floats of one precision."""

    def __init__(self, dtype: types.Float):
        super().__init__(name=f"Vector{LANES}({dtype})")
        self.dtype = dtype


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type: Vector):
        super().__init__(dmm, fe_type, ir.VectorType(IR_TYPES[fe_type.dtype], LANES))


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    address = builder.gep(data, [builder.mul(index, index.type(LANES))])
    return builder.bitcast(address, ir.VectorType(IR_TYPES[array_type.dtype], LANES).as_pointer())


@intrinsic
def load(typingctx, array, index):
    """The vector at ``array.ravel()[LANES * index:LANES * (index + 1)]``; no bounds check."""

    def codegen(context, builder, signature, args):
        instruction = builder.load(_pointer(context, builder, signature.args[0], *args))
        instruction.align = 4
        return instruction

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, vector):
    """Write a vector where :func:`load` would read it; no bounds check."""

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], pointer).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


def _element(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _first_lanes(builder, count):
    """A mask (LANES) of which the first ``count`` are set."""
    count = builder.trunc(count, ir.IntType(32))
    integers = ir.VectorType(count.type, LANES)
    single = builder.insert_element(ir.Constant(integers, ir.Undefined), count, ir.IntType(32)(0))
    zeros = ir.Constant(integers, [0] * LANES)
    every = builder.shuffle_vector(single, ir.Constant(integers, ir.Undefined), zeros)
    return builder.icmp_signed("<", ir.Constant(integers, list(range(LANES))), every)


def _masked(builder, operation, vector_type, result, arguments):
    bits = 32 if vector_type.element == ir.FloatType() else 64
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(result, [argument.type for argument in arguments]),
        f"llvm.masked.{operation}.v{LANES}f{bits}.p0",
    )
    return builder.call(function, arguments)


@intrinsic
def load_some(typingctx, array, index, count):
    """The ``count`` numbers from ``array.ravel()[index]`` on, then zeros; no bounds check."""

    def codegen(context, builder, signature, args):
        array_type = signature.args[0]
        vector = ir.VectorType(IR_TYPES[array_type.dtype], LANES)
        address = _element(context, builder, array_type, *args[:2])
        pointer = builder.bitcast(address, vector.as_pointer())
        mask, align = _first_lanes(builder, args[2]), ir.IntType(32)(4)
        zeros = ir.Constant(vector, None)
        return _masked(builder, "load", vector, vector, [pointer, align, mask, zeros])

    return Vector(array.dtype)(array, types.intp, types.intp), codegen


@intrinsic
def store_some(typingctx, array, index, count, vector):
    """Write a vector's first ``count`` numbers where :func:`load_some` would read them."""

    def codegen(context, builder, signature, args):
        address = _element(context, builder, signature.args[0], *args[:2])
        pointer = builder.bitcast(address, args[3].type.as_pointer())
        mask, align = _first_lanes(builder, args[2]), ir.IntType(32)(4)
        _masked(builder, "store", args[3].type, ir.VoidType(), [args[3], pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), codegen


@intrinsic
def choose_first(typingctx, count, a, b):
    """The first ``count`` numbers of ``a``, then those of ``b``."""

    def codegen(context, builder, signature, args):
        return builder.select(_first_lanes(builder, args[0]), args[1], args[2])

    return a(types.intp, a, b), codegen


@intrinsic
def get(typingctx, array, index):
    """``array.ravel()[index]``, without Python's rule for negative indices; no bounds check."""

    def codegen(context, builder, signature, args):
        return builder.load(_element(context, builder, signature.args[0], *args))

    return array.dtype(array, types.intp), codegen


@intrinsic
def put(typingctx, array, index, value):
    """``array.ravel()[index] = value``, likewise."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _element(context, builder, signature.args[0], *args[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


@intrinsic
def broadcast(typingctx, like, value):
    """``value`` in every lane of a vector of the type of ``like`` (a vector or an array)."""

    def codegen(context, builder, signature, args):
        scalar = context.cast(builder, args[1], signature.args[1], signature.return_type.dtype)
        vector_type = ir.VectorType(scalar.type, LANES)
        single = builder.insert_element(
            ir.Constant(vector_type, ir.Undefined), scalar, ir.IntType(32)(0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(single, ir.Constant(vector_type, ir.Undefined), zeros)

    return Vector(like.dtype)(like, value), codegen


@intrinsic
def widen(typingctx, x):
    """The same numbers as a vector of doubles."""

    def codegen(context, builder, signature, args):
        wide = ir.VectorType(ir.DoubleType(), LANES)
        return args[0] if args[0].type == wide else builder.fpext(args[0], wide)

    return Vector(types.float64)(x), codegen


def _binary(name: str):
    @intrinsic
    def operation(typingctx, a, b):
        def codegen(context, builder, signature, args):
            return getattr(builder, name)(*args)

        return a(a, b), codegen

    return operation


_add, _sub, _mul, _div = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _overload_operator(symbol, operation) -> None:
    @overload(symbol)
    def _(a, b):
        if isinstance(a, Vector) and a == b:
            return lambda a, b: operation(a, b)
        return None


for _symbol, _operation in (
    (operator.add, _add),
    (operator.sub, _sub),
    (operator.mul, _mul),
    (operator.truediv, _div),
):
    _overload_operator(_symbol, _operation)


def _llvm_intrinsic(name: str, arguments: int):
    def codegen(context, builder, signature, args):
        vector_type = args[0].type
        bits = signature.return_type.dtype.bitwidth
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector_type, [vector_type] * arguments),
            f"llvm.{name}.v{LANES}f{bits}",
        )
        return builder.call(function, args)

    return codegen


@intrinsic
def fma(typingctx, a, b, c):
    """``a * b + c`` in one rounding."""
    return a(a, b, c), _llvm_intrinsic("fma", 3)


@intrinsic
def _minimum(typingctx, a, b):
    """The smaller of each pair; a NaN in ``a`` stays (ordered compare, select)."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[1], args[0])

    return a(a, b), codegen


@intrinsic
def _abs(typingctx, a):
    return a(a), _llvm_intrinsic("fabs", 1)


@intrinsic
def _copysign(typingctx, a, sign):
    return a(a, sign), _llvm_intrinsic("copysign", 2)


@intrinsic
def _round(typingctx, a):
    return a(a), _llvm_intrinsic("rint", 1)


@intrinsic
def _power_of_two(typingctx, n):
    """``2 ** n`` for whole numbers ``n`` within the exponent's range; 1 for a NaN."""

    def codegen(context, builder, signature, args):
        bits, mantissa, bias = (32, 23, 127) if n.dtype.bitwidth == 32 else (64, 52, 1023)
        integers = ir.VectorType(ir.IntType(bits), LANES)
        number = builder.select(
            builder.fcmp_ordered("ord", args[0], args[0]), args[0], ir.Constant(args[0].type, None)
        )
        whole = builder.fptosi(number, integers)
        biased = builder.add(whole, ir.Constant(integers, [bias] * LANES))
        shifted = builder.shl(biased, ir.Constant(integers, [mantissa] * LANES))
        return builder.bitcast(shifted, args[0].type)

    return n(n), codegen


_LOG2E = 1.0 / math.log(2.0)
_LN2_HIGH = 0.693359375  # exact in 10 bits, so that n * _LN2_HIGH is exact
_LN2_LOW = -0.000212194440054690582767878542  # the rest, beyond double precision


def _taylor(degree: int) -> tuple[float, ...]:
    """Coefficients of ``(exp(r) - 1 - r) / r**2``, highest first."""
    return tuple(1.0 / math.factorial(k) for k in range(degree, 1, -1))


_EXPM1_COEFFICIENTS = {types.float32: _taylor(7), types.float64: _taylor(13)}
_EXP_FLOOR = {types.float32: 87.0, types.float64: 700.0}


@intrinsic
def _expm1_polynomial(typingctx, r):
    """``exp(r) - 1`` for ``|r| <= ln(2) / 2``."""
    coefficients = _EXPM1_COEFFICIENTS[r.dtype]

    def codegen(context, builder, signature, args):
        x = args[0]
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(x.type, [x.type] * 3),
            f"llvm.fma.v{LANES}f{r.dtype.bitwidth}",
        )
        value = ir.Constant(x.type, [coefficients[0]] * LANES)
        for coefficient in coefficients[1:]:
            value = builder.call(function, [value, x, ir.Constant(x.type, [coefficient] * LANES)])
        return builder.call(function, [builder.fmul(x, x), value, x])

    return r(r), codegen


@intrinsic
def _floor_of(typingctx, x):
    def codegen(context, builder, signature, args):
        return ir.Constant(args[0].type, [_EXP_FLOOR[x.dtype]] * LANES)

    return x(x), codegen


@numba.njit(inline="always")
def _split_exp(magnitude):
    """``(2**n, expm1(r))`` with ``exp(-magnitude) = 2**n * exp(r)``; magnitude >= 0 or NaN."""
    negative = broadcast(magnitude, 0.0) - _minimum(magnitude, _floor_of(magnitude))
    n = _round(negative * broadcast(magnitude, _LOG2E))
    r = fma(n, broadcast(magnitude, -_LN2_HIGH), negative)
    r = fma(n, broadcast(magnitude, -_LN2_LOW), r)
    return _power_of_two(n), _expm1_polynomial(r)


@numba.njit(inline="always")
def exp_below(x):
    """exp(x) where x <= 0, to 4 units in the last place; from -87 (float64: -700) on constant."""
    scale, part = _split_exp(broadcast(x, 0.0) - x)
    return fma(scale, part, scale)


@numba.njit(inline="always")
def clamp(x, limit):
    """``x`` within ``[-limit, limit]``; a NaN in x stays."""
    return _copysign(_minimum(_abs(x), limit), x)


@numba.njit(inline="always")
def tanh(x):
    """tanh, to 4 units in the last place: ``-expm1(-2|x|) / (2 + expm1(-2|x|))``."""
    one = broadcast(x, 1.0)
    magnitude = _abs(x)
    scale, part = _split_exp(magnitude + magnitude)
    lost = fma(scale, part, scale - one)  # expm1(-2|x|), in [-1, 0]
    return _copysign((broadcast(x, 0.0) - lost) / (one + one + lost), x)


@numba.njit(inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x)), to 4 units in the last place, for any sign of x."""
    one = broadcast(x, 1.0)
    scale, part = _split_exp(_abs(x))
    small = fma(scale, part, scale)  # exp(-|x|)
    return _choose(x, one, small) / (one + small)


@intrinsic
def _choose(typingctx, x, a, b):
    """``a`` where x >= 0, else ``b`` (a NaN in x is a NaN in b already)."""

    def codegen(context, builder, signature, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered(">=", args[0], zero), args[1], args[2])

    return x(x, a, b), codegen


@numba.njit
def _apply(function, source, target):
    for i in range(source.size // LANES):
        store(target, i, function(load(source, i)))


def map_array(function, values: np.ndarray) -> np.ndarray:
    """``function`` of every element (for tests); the size is a multiple of :data:`LANES`."""
    target = np.empty_like(values)
    _apply(function, np.ascontiguousarray(values), target)
    return target
