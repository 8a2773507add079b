"""`cwrnn bench gpu-resources`: what each Triton kernel takes of a GPU that need not be there.

Every Triton module of :mod:`..kernels` that has ``variants()`` is asked for all kernels that it may
launch, and each is compiled for each architecture. The numbers depend on Triton's version only.
"""

import os
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .. import kernels

if TYPE_CHECKING:
    from ..kernels.triton.resources import Variant

ARCHITECTURES = (80, 90, 100)  # A100, H100 and H200, B200
_COLUMNS = ("ROWS", "WIDTH", "PRECISION")
OTHERS = (86, 89, 120)  # GeForce 30, 40 and 50, and their like


def missing() -> str | None:
    """What is not there that compiling needs, in one line; None: nothing."""
    if find_spec("triton") is None:
        return "Triton is not installed: torch brings it on Linux; compile there"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "TRITON_INTERPRET is set, so Triton compiles nothing; unset it"
    return None


def variants() -> list["Variant"]:
    """All kernels of all modules, each for each width and precision on offer."""
    return [variant for module in _modules() for variant in import_module(module).variants()]


def _modules() -> Iterator[str]:
    """Of the kernels, those that hold Triton code: named triton, or in the folder of that name."""
    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        if "triton" in module.name.split(".") and not module.ispkg:
            if hasattr(import_module(module.name), "variants"):
                yield module.name


def run(
    architectures: Sequence[int] = ARCHITECTURES, tick: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Compile all of them.

    Args:
        architectures: 90 for sm_90.
        tick: called when one is done for one architecture.

    Returns:
        triton (its version), and rows: kernel, width, precision of products, others (see
        :func:`others`), arch, warps of a program, registers and bytes of stack and spills of a
        thread, shared bytes of a program, and source, a digest of all that was compiled.
    """
    import triton  # noqa: PLC0415  (Linux only)

    from ..kernels.triton.resources import resources  # noqa: PLC0415

    rows = []
    for variant in variants():
        for architecture in architectures:
            row = {
                "kernel": variant.kernel,
                "width": variant.width,
                "precision": variant.constants.get("PRECISION", "ieee"),
                "others": others(variant),
                "arch": f"sm_{architecture}",
                "warps": variant.warps,
            }
            used = asdict(resources(variant, architecture))
            rows.append(row | used | {"source": variant.digest()})
            tick()
    return {"triton": triton.__version__, "rows": rows}


def others(variant: "Variant") -> str:
    """What else was chosen when a kernel was compiled, as "NAME=VALUE NAME=VALUE"."""
    constants = sorted(variant.constants.items())
    return " ".join(f"{name}={value}" for name, value in constants if name not in _COLUMNS)


def unfit(result: dict[str, Any]) -> list[str]:
    """Kernels that keep numbers in slow memory, as "KERNEL WIDTH PRECISION ARCH"."""
    return [
        f"{row['kernel']} {row['width']} {row['precision']} {row['arch']}"
        for row in result["rows"]
        if row["stack"] or row["spills"]
    ]
