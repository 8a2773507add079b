"""Every Triton kernel compiled for a GPU that is not here: what it takes of the chip.

A kernel whose numbers do not fit into a thread's registers keeps some of them in slow memory (its
stack, its spills) and crawls. The compiler says so without a GPU; ``cuobjdump`` comes with Triton.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ARCHITECTURES = (80, 90, 100)  # A100, H100 and H200, B200
_WARP = 32  # threads
_TOOL = Path(str(triton.__file__)).parent / "backends/nvidia/bin/cuobjdump"


@dataclass(frozen=True)
class Variant:
    """A kernel as it is launched for networks of a width.

    Attributes:
        kernel: its name in the table.
        width: units (cells) that it is for, at the most.
        function: decorated by ``triton.jit``.
        signature: type of each argument, such as "*fp32", "i32", or "constexpr".
        constants: values of the constexpr ones.
        warps: of a program.
        registers: of a thread at the most, or None: what the assembler thinks best, which may be to
            spill some for more programs at a time.
    """

    kernel: str
    width: int
    function: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    warps: int = 4
    registers: int | None = None


@dataclass(frozen=True)
class Resources:
    """What a kernel takes, per thread; shared memory per program.

    Attributes:
        registers: of 255.
        stack: bytes.
        spills: bytes of local memory.
        shared: bytes.
    """

    registers: int
    stack: int
    spills: int
    shared: int


def resources(variant: Variant, architecture: int) -> Resources:
    """Compile a kernel for sm_``architecture`` and read what it takes."""
    source = ASTSource(variant.function, dict(variant.signature), dict(variant.constants))
    target = GPUTarget("cuda", architecture, _WARP)
    options = {"num_warps": variant.warps, "maxnreg": variant.registers}
    compiled = triton.compile(source, target=target, options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(_TOOL), "--dump-resource-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", told)}
    shared = int(compiled.metadata.shared)
    return Resources(found["REG"], found["STACK"], found["LOCAL"], shared)
