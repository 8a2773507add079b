"""How a layer's kernels are launched: by the launcher, and for the table of what they take.

A program does one network and :data:`ROWS` sequences, over all steps. Its tensor cores multiply
weights (units x units) with states (units x ROWS), so the weights are what stays in registers,
16 rows of them in a warp. Eight sequences are one tile of that product: with sixteen, what is left
of the registers does not do for 128 units.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
import triton

from ..backend import tf32
from .resources import Variant

ROWS = 8  # sequences of a program
PRECISIONS = ("tf32x3", "tf32")
_REGISTERS = 1 << 16  # of a multiprocessor, whose programs share them


def precision_of() -> str:
    """How products are computed: in float32's accuracy, or in TF32's if torch may do so.

    "tf32x3": both factors are a TF32 number and a rest, which is one, too; three of the four
    products are added up (`cwrnn bench precision` says how exact that is).
    """
    return "tf32" if tf32() else "tf32x3"


def launch(
    kernel: Any, warps: Mapping[int, int], sizes: tuple[int, int, int, int], *tensors: Any
) -> None:
    """Run a kernel whose arguments are the tensors, and batch, units and steps.

    Args:
        kernel: with ROWS, WIDTH and PRECISION.
        warps: of a program, for each width, ascending; the last holds the units.
        sizes: networks, batch, units, steps.
        tensors: contiguous, on one device.
    """
    networks, batch, units, steps = sizes
    width = next(width for width in warps if width >= units)
    options = {"num_warps": warps[width], "maxnreg": _registers(warps[width])}
    constants = _constants(width, precision_of())
    grid = networks, triton.cdiv(batch, ROWS)
    with torch.cuda.device_of(tensors[0]):  # Triton launches on the current device
        kernel[grid](*tensors, batch, units, steps, **options, **constants)


def variants_of(
    name: str, kernel: Any, warps: Mapping[int, int], pointers: Collection[str]
) -> list[Variant]:
    """All that :func:`launch` may launch of a kernel, none of whose arguments is specialised.

    Args:
        name: in the table.
        kernel: with ROWS, WIDTH and PRECISION.
        warps: as for :func:`launch`.
        pointers: names of arguments that are tensors.
    """
    variants = []
    for width, count in warps.items():
        for precision in PRECISIONS:
            constants = _constants(width, precision)
            signature = {
                argument: "constexpr" if argument in constants else "i32"
                for argument in kernel.arg_names
            }
            signature |= {a: "*fp32" for a in kernel.arg_names if a in pointers}
            most = _registers(count)
            variants.append(Variant(name, width, kernel, signature, constants, count, most))
    return variants


def _constants(width: int, precision: str) -> dict[str, Any]:
    return {"ROWS": ROWS, "WIDTH": width, "PRECISION": precision}


def _registers(warps: int) -> int:
    """Of a thread, if a program may have all that there are."""
    return min(255, _REGISTERS // (32 * warps))
