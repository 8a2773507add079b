"""Every Triton kernel compiled for a GPU that is not here: what it takes of the chip.

A kernel whose numbers do not fit into a thread's registers keeps some of them in slow memory (its
stack, its spills) and crawls. The compiler says so without a GPU; ``cuobjdump`` comes with Triton.
"""

import ast
import hashlib
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

_WARP = 32  # threads
_TOOLS = Path(str(triton.__file__)).parent / "backends/nvidia/bin"


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
        registers: of a thread, at the most (``maxnreg``); None: the compiler's choice, which may
            spill a little so that more programs find room.
    """

    kernel: str
    width: int
    function: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    warps: int = 4
    registers: int | None = None

    def digest(self) -> str:
        """Of all that is compiled: the source, without comments, and the settings."""
        settings = self.signature, self.constants, self.warps, self.registers
        text = f"{_source(self.function)}{settings}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Resources:
    """What a kernel takes, per thread; shared memory per program.

    Attributes:
        registers: of 255.
        stack: bytes.
        spills: bytes that are written to the stack since there was no register for them.
        shared: bytes.
    """

    registers: int
    stack: int
    spills: int
    shared: int


def _source(function: Any) -> str:
    """Of a kernel and of the functions in Triton that it calls."""
    names = function.fn.__code__.co_names
    called = [function.fn.__globals__.get(name) for name in names]
    sources = [_source(other) for other in called if isinstance(other, triton.JITFunction)]
    return "\n".join([ast.unparse(ast.parse(function.src)), *sources])


def resources(variant: Variant, architecture: int) -> Resources:
    """Compile a kernel for sm_``architecture`` and read what it takes."""
    source = ASTSource(variant.function, dict(variant.signature), dict(variant.constants))
    target = GPUTarget("cuda", architecture, _WARP)
    options = {"num_warps": variant.warps}
    if variant.registers:
        options["maxnreg"] = variant.registers
    compiled = triton.compile(source, target=target, options=options)
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        code.write_bytes(compiled.asm["cubin"])
        told = _told(_TOOLS / "cuobjdump", "--dump-resource-usage", code)
        found = {name: int(value) for name, value in re.findall(r"(REG|STACK):(\d+)", told)}
        spills = 0
        if found["STACK"]:  # only the assembler tells spills from the rest
            code.write_text(compiled.asm["ptx"])
            name = re.search(r"\.target (\w+)", compiled.asm["ptx"])
            assert name is not None
            tool = _TOOLS / ("ptxas-blackwell" if architecture >= 100 else "ptxas")
            told = _told(tool, "-v", f"--gpu-name={name[1]}", code, "-o", code.with_suffix(".out"))
            spills = sum(map(int, re.findall(r"(\d+) bytes spill stores", told)))
    shared = int(compiled.metadata.shared)
    return Resources(found["REG"], found["STACK"], spills, shared)


def _told(*command: object) -> str:
    """What a program says."""
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    return result.stdout + result.stderr
