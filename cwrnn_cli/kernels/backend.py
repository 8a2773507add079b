"""Several ways to compute one thing: which one is taken, and why another is refused."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_TF32 = (8, 0)  # the first compute capability with such products

A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True)
class Backend(Generic[A, R]):
    """One way to compute something.

    Attributes:
        run: computes it from the arguments, which are one tuple.
        unsupported: why it cannot do these arguments, in words that fit behind "backend 'NAME': ";
            None if it can.
    """

    run: Callable[[A], R]
    unsupported: Callable[[A], str | None]


@dataclass(frozen=True)
class Backends(Generic[A, R]):
    """All ways to compute something.

    Attributes:
        table: name -> backend.
        fastest: what "auto" takes for these arguments: the name of the one that was the fastest
            where it was measured, of those that can do them; on a GPU, where nothing has been
            measured, the one with the least to launch and to read.
    """

    table: dict[str, Backend[A, R]]
    fastest: Callable[[A], str]

    @property
    def names(self) -> tuple[str, ...]:
        """What may be asked for."""
        return ("auto", *self.table)

    def run(self, name: str, arguments: A) -> R:
        """What the backend of that name computes from the arguments.

        Raises:
            ValueError: no such backend, or one that cannot do this: with the reason.
        """
        if name not in self.names:
            raise ValueError(f"backend {name!r}: expected one of {', '.join(self.names)}")
        if name == "auto":
            return self.table[self.fastest(arguments)].run(arguments)
        if reason := self.table[name].unsupported(arguments):
            raise ValueError(f"backend {name!r}: {reason}; use 'auto'")
        return self.table[name].run(arguments)


def does_all(_: object) -> None:
    """``unsupported`` of a backend that can do everything."""


def tf32() -> bool:
    """Whether torch may compute float32 products in TF32, by whichever of its settings.

    `allow_tf32` cannot be read once the newer setting was written (torch 2.11); this one has both.
    """
    return str(torch.backends.cuda.matmul.fp32_precision) == "tf32"


def one_network(x: Tensor) -> str | None:
    """Why a backend that does one network cannot do these (R, ...), if it cannot."""
    return None if x.shape[0] == 1 else f"it does one network, not {x.shape[0]}"


def traced() -> bool:
    """Whether somebody writes down torch's operations, who would not see those of other code.

    torch.compile, export, tracing, and whatever else works by a dispatch mode: fake tensors,
    make_fx, counters of operations.
    """
    if torch.compiler.is_compiling():
        return True
    return torch._C._is_tracing() or torch._C._len_torch_dispatch_stack() > 0


def exporting() -> bool:
    """Whether torch.export is at work; ONNX's exporter uses it.

    Under torch.compile, `torch.compiler.is_exporting` always says so (torch 2.11).
    """
    return torch.compiler._is_exporting_flag


def compiling() -> bool:
    """Whether torch.compile is at work, which takes operators as they are."""
    return torch.compiler.is_compiling() and not exporting()


def transformed() -> bool:
    """Whether torch.func or forward mode is at work, for which torch's own layers have no rules."""
    return torch._C._are_functorch_transforms_active() or forward_mode()


def forward_mode() -> bool:
    """Whether somebody computes derivatives forward, from inputs to outputs."""
    return forward_ad._current_level >= 0


def unsupported_by_torch() -> str | None:
    """Why torch's own layers cannot be part of what is done, if they cannot."""
    if traced():
        return "it is not traced"
    return "it has no rules for torch.func and forward mode" if transformed() else None


def _not_plain(weight: Tensor) -> str | None:
    """Why code that reads a tensor's memory cannot do this one, of a class of its own."""
    if type(weight) in {Tensor, nn.Parameter}:
        return None
    return f"it computes with plain tensors, not {type(weight).__name__}"


def unsupported_by_numba(weight: Tensor) -> str | None:
    """Why code that Numba compiles cannot compute with this weight, if it cannot."""
    if traced() and not compiling():
        return "its code cannot be traced"
    if not compiling() and (reason := _not_plain(weight)):
        return reason
    if weight.device.type != "cpu":
        return f"it runs on the CPU, not on {weight.device.type}"
    if weight.dtype not in {torch.float32, torch.float64}:
        return f"it computes in float32 or float64, not {weight.dtype}"
    return None


def unsupported_by_triton(weight: Tensor, units: int, most: int) -> str | None:
    """Why a Triton kernel that takes ``most`` units cannot do ``units`` of them, if it cannot."""
    if traced():
        return "its code cannot be traced"
    if reason := _not_plain(weight):
        return reason
    if os.environ.get("TRITON_INTERPRET") != "1":
        if weight.device.type != "cuda":
            return f"it runs on a GPU, not on {weight.device.type}"
        if weight.dtype != torch.float32:
            return f"it computes in float32, not {weight.dtype}"
        if missing := missing_for_triton():
            return missing
        capability = torch.cuda.get_device_capability(weight.device)
        if capability < _TF32:
            here = ".".join(map(str, capability))
            return f"its products need compute capability 8.0, and this GPU has {here}"
    if units > most:
        return f"it does at most {most} units at once, not {units}"
    return None


@cache
def missing_for_triton() -> str | None:
    """What Triton looks for when it launches a kernel, and does not find."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if "CC" in os.environ or any(map(shutil.which, ("gcc", "clang"))):
        return None
    return "Triton needs a C compiler (CC, gcc or clang), and there is none"


def unsupported_by_graph(weight: Tensor) -> str | None:
    """Why CUDA graphs cannot do this weight, if they cannot."""
    if traced():
        return "its graphs cannot be traced"
    if weight.is_cuda:
        return _not_plain(weight)
    return f"it runs on a GPU, not on {weight.device.type}"
