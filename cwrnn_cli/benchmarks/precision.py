"""`cwrnn bench precision`: what TF32 and bfloat16 products cost in accuracy, without a GPU.

TF32 (`torch.backends.cuda.matmul.allow_tf32`, which the Triton kernels follow too) rounds both
factors of a product to 10 bits behind the leading one and adds up in float32; bfloat16 has 7. TF32
three times, which those kernels do by default, is TF32 of the factors and of what rounding took
from them: three of the four products, added up. Here every matrix product of a layer, forward and
backward, gets its factors rounded so, and outputs and gradients are compared with float64's. An
emulation: no GPU is involved, and sums are a CPU's float32.
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
# how many bits behind the leading one, and whether what rounding takes away is multiplied, too
PRECISIONS: dict[str, tuple[int, bool] | None] = {
    "float32 (ieee)": None,
    "TF32 three times": (10, True),
    "TF32": (10, False),
    "bfloat16 factors": (7, False),
}


class Rounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Factors of matrix products keep some bits behind the leading one.

    Args:
        bits: how many, of float32's 23.
        rests: what rounding took from either factor, rounded itself, times the other is added.
    """

    def __init__(self, bits: int, rests: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lost = 23 - bits
        self._rests = rests

    def _round(self, tensor: Tensor) -> Tensor:
        bits = tensor.view(torch.int32) + (1 << (self._lost - 1))
        return (bits & -(1 << self._lost)).view(torch.float32)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Round the last two arguments of a product."""
        kwargs = kwargs or {}
        if func not in PRODUCTS:
            return func(*args, **kwargs)
        a, b = (factor.contiguous() for factor in args[-2:])
        high = self._round(a), self._round(b)
        product = func(*args[:-2], *high, **kwargs)
        if not self._rests:
            return product
        low = self._round(a - high[0]), self._round(b - high[1])
        return product + (low[0] @ high[1] + high[0] @ low[1])


def _pass(layer: RecurrentLayer, x: Tensor, rounding: tuple[int, bool] | None) -> list[Tensor]:
    """Outputs and all weights' gradients of one forward and backward pass, in float64."""
    layer.zero_grad()
    with nullcontext() if rounding is None else Rounded(*rounding):
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
        for name, rounding in PRECISIONS.items():
            found = zip(_pass(layer, x, rounding), wanted, strict=True)
            errors = [float((a - b).abs().max() / b.abs().max()) for a, b in found]
            row = {"cell": cell.label, "precision": name}
            rows.append(row | {"outputs": errors[0], "gradients": max(errors[1:])})
    sizes = {"units": units, "batch": BATCH, "steps": steps, "modules": MODULES}
    return sizes | {"rows": rows}
