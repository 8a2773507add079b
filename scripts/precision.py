"""What TF32 and bfloat16 products cost in accuracy, without a GPU.

    python scripts/precision.py

TF32 (`torch.backends.cuda.matmul.allow_tf32`, which the Triton kernels follow too) rounds both
factors of a product to 10 bits behind the leading one and adds up in float32; bfloat16 has 7. Here
every matrix product of a layer, forward and backward, gets its factors rounded so, and the
outputs and gradients are compared with float64's. An emulation: no GPU was involved.
"""

import sys
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from cwrnn_cli.models import LSTM, SRN, ClockworkRNN
from cwrnn_cli.reporting.tables import table

aten = torch.ops.aten
PRODUCTS = {aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default}


class Rounded(TorchDispatchMode):
    """Factors of matrix products keep ``bits`` bits behind the leading one."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.lost = 23 - bits

    def _round(self, tensor: torch.Tensor) -> torch.Tensor:
        half = 1 << (self.lost - 1)
        bits = tensor.view(torch.int32) + half
        return (bits & -(1 << self.lost)).view(torch.float32)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            factors = [a.contiguous() for a in args[-2:]]
            args = (*args[:-2], *map(self._round, factors))
        return func(*args, **(kwargs or {}))


def run(layer: torch.nn.Module, x: torch.Tensor, mode: Any = None) -> list[torch.Tensor]:
    layer.zero_grad()
    if mode is None:
        y, _ = layer(x)
        y.square().sum().backward()
    else:
        with mode:
            y, _ = layer(x)
            y.square().sum().backward()
    return [y.detach().double(), *(w.grad.double() for w in layer.parameters())]


def error(found: list[torch.Tensor], exact: list[torch.Tensor]) -> tuple[str, str]:
    """Of the outputs, and the worst of all gradients, relative to the largest exact value."""
    rate = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True)]
    return f"{rate[0]:.1e}", f"{max(rate[1:]):.1e}"


@click.command()
@click.option("--units", default=256)
@click.option("--steps", default=320)
def main(units: int, steps: int) -> None:
    rows = []
    for name, kind, backend, options in (
        ("ClockworkRNN, 8 modules", ClockworkRNN, "cascade", {"periods": 8}),
        ("SRN", SRN, "reference", {}),
        ("LSTM", LSTM, "reference", {}),
    ):
        torch.manual_seed(0)
        layer = kind(units, units, **options)
        layer.backend = backend
        x = torch.randn(steps, 8, units)
        exact = kind(units, units, **options).double()
        exact.load_state_dict({n: w.double() for n, w in layer.state_dict().items()})
        exact.backend = backend
        wanted = run(exact, x.double())
        for precision, mode in (
            ("float32 (ieee)", None),
            ("TF32", Rounded(10)),
            ("bfloat16 factors", Rounded(7)),
        ):
            rows.append([name, precision, *error(run(layer, x, mode), wanted)])
    print(f"width {units}, batch 8, {steps} steps; largest error over largest value, emulated")
    print(table(("layer", "products in", "outputs", "gradients"), rows))


if __name__ == "__main__":
    main()
