"""Where to train: the devices that torch sees, and what they can do.

The compiled loops train on the CPU, fused kernels on ``cuda``; ``mps`` and ``xpu`` take plain torch
operations.
"""

import re

import torch

from data_prep.errors import UserError

from . import distributed

AUTO = "auto"
KINDS = ("cpu", "cuda", "mps", "xpu")


def is_device(word: str) -> bool:
    """Whether it is what may stand behind ``--device``, on some machine or other."""
    return word in (AUTO, *KINDS) or re.fullmatch(r"cuda:\d+", word) is not None


def gpus() -> int:
    """How many torch sees, of those named cuda."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def seen() -> list[str]:
    """The devices that torch sees here, ``cpu`` first."""
    found = ["cpu"]
    if count := gpus():
        found += ["cuda", *(f"cuda:{i}" for i in range(count))]
    if torch.backends.mps.is_available():
        found.append("mps")
    if torch.xpu.is_available():
        found.append("xpu")
    return found


def check_device(name: str, auto: bool = True) -> None:
    """Refuse a device that cannot be trained on here.

    Args:
        name: of :func:`is_device`.
        auto: whether "auto" is one.

    Raises:
        UserError: torch does not see it; or torchrun, each of whose processes takes a GPU of its
            own.
    """
    found, local = seen(), distributed.local_rank()
    if name not in found + [AUTO] * auto:
        raise UserError(f"--device {name}: torch sees no such device here, only {', '.join(found)}")
    if distributed.world_size() > 1:
        if name not in (AUTO, "cpu", "cuda"):
            raise UserError(
                f"torchrun: not with --device {name}, but with cuda, of which each process takes "
                "one, or cpu"
            )
        if name == "cuda" and local >= gpus():
            raise UserError(
                f"torchrun: --device cuda is a GPU for each process, but torch sees {gpus()} here; "
                "start as many processes as that, or use --device cpu"
            )


def has_float64(device: torch.device) -> bool:
    """Whether it computes in double precision, which Apple's GPUs do not, nor some of Intel's."""
    return device.type in ("cpu", "cuda")
