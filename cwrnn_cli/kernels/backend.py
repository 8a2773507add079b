"""Several ways to compute one thing: which one is taken, and why another is refused."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

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
            where it was measured, of those that can do them.
        general: the name of one that can do everything, to be named where another cannot.
    """

    table: dict[str, Backend[A, R]]
    fastest: Callable[[A], str]
    general: str

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
            raise ValueError(f"backend {name!r}: {reason}; use {self.general!r}")
        return self.table[name].run(arguments)


def does_all(_: object) -> None:
    """``unsupported`` of a backend that can do everything."""


def unsupported_by_numba(weight: Tensor) -> str | None:
    """Why code that Numba compiles cannot compute with this weight, if it cannot."""
    if weight.device.type != "cpu":
        return f"it runs on the CPU, not on {weight.device.type}"
    if weight.dtype not in {torch.float32, torch.float64}:
        return f"it computes in float32 or float64, not {weight.dtype}"
    return None


def unsupported_by_triton(weight: Tensor, units: int, most: int) -> str | None:
    """Why a Triton kernel that takes ``most`` units cannot do ``units`` of them, if it cannot."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if weight.device.type != "cuda" and not interpreted:
        return f"it runs on a GPU, not on {weight.device.type}"
    if weight.dtype != torch.float32 and not interpreted:
        return f"it computes in float32, not {weight.dtype}"
    if units > most:
        return f"it does at most {most} units at once, not {units}"
    return None
