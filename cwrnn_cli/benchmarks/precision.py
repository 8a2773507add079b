"""`cwrnn bench precision`: what TF32 and bfloat16 products cost in accuracy, without a GPU.

TF32 (`torch.backends.cuda.matmul.allow_tf32`, which the Triton kernels follow too) rounds both
factors of a product to 10 bits behind the leading one and adds up in float32; bfloat16 has 7. Here
every matrix product of a layer, forward and backward, gets its factors rounded so, and outputs and
gradients are compared with float64's. An emulation: no GPU is involved.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..models import CELLS
from ..models.recurrent import RecurrentLayer

BATCH = 8
MODULES = 8
_aten = torch.ops.aten
PRODUCTS = {_aten.mm.default, _aten.bmm.default, _aten.addmm.default, _aten.baddbmm.default}
PRECISIONS: dict[str, int | None] = {"float32 (ieee)": None, "TF32": 10, "bfloat16 factors": 7}


class Rounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Factors of matrix products keep some bits behind the leading one.

    Args:
        bits: how many, of float32's 23.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lost = 23 - bits

    def _round(self, tensor: Tensor) -> Tensor:
        bits = tensor.view(torch.int32) + (1 << (self._lost - 1))
        return (bits & -(1 << self._lost)).view(torch.float32)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Round the last two arguments of a product."""
        if func in PRODUCTS:
            args = (*args[:-2], *(self._round(a.contiguous()) for a in args[-2:]))
        return func(*args, **(kwargs or {}))


def _pass(layer: RecurrentLayer, x: Tensor, bits: int | None) -> list[Tensor]:
    """Outputs and all weights' gradients of one forward and backward pass, in float64."""
    layer.zero_grad()
    with nullcontext() if bits is None else Rounded(bits):
        y, _ = layer(x)
        y.square().sum().backward()
    gradients = [w.grad for w in layer.parameters() if w.grad is not None]
    return [y.detach().double(), *(gradient.double() for gradient in gradients)]


def run(units: int, steps: int) -> dict[str, Any]:
    """Measure every cell's layer.

    Args:
        units: n, and m as well; at least a unit per module.
        steps: T.

    Returns:
        units, batch, steps, modules, and rows: cell, precision, outputs, gradients (the largest
        error over the largest exact value; of the gradients the worst).
    """
    rows = []
    for cell in CELLS.values():
        spec = cell.of_size(units, {"periods": MODULES})
        # torch's products, which can be rounded; not compiled code
        backend = "cascade" if "cascade" in cell.backends else "reference"
        torch.manual_seed(0)
        layer = spec.layer(units)
        layer.backend = backend
        x = torch.randn(steps, BATCH, units)
        exact = spec.layer(units, dtype=torch.float64)
        exact.load_state_dict({n: w.double() for n, w in layer.state_dict().items()})
        exact.backend = backend
        wanted = _pass(exact, x.double(), None)
        for name, bits in PRECISIONS.items():
            found = zip(_pass(layer, x, bits), wanted, strict=True)
            errors = [float((a - b).abs().max() / b.abs().max()) for a, b in found]
            row = {"cell": cell.label, "precision": name}
            rows.append(row | {"outputs": errors[0], "gradients": max(errors[1:])})
    sizes = {"units": units, "batch": BATCH, "steps": steps, "modules": MODULES}
    return sizes | {"rows": rows}
