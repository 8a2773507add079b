"""Several processes under torchrun: how they meet, and how they train one run together.

Each takes its part of every batch, and gradients are averaged; or, in a comparison, each takes
units of work (:mod:`.claims`).

torch's DistributedDataParallel averages them. Without torchrun everything here does nothing. One
process and several compute the same sums, so the same global batch gives the same weights, but for
rounding.
"""

import gc
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from data_prep.errors import UserError

_MOST_PROCESSES = 1 << 16
_PATIENCE = timedelta(days=7)
_MEETING, _REACH = timedelta(minutes=10), timedelta(seconds=2)  # all of it, and each attempt
_PAUSE = 0.2  # seconds between attempts
_PLACE, _NAME = "cwrnn/place", "name"
_kept: list[Store] = []
_LOST = re.compile(
    r"connection (closed|reset|refused)|broken pipe|remote process exited|socket", re.IGNORECASE
)
_together = False  # whether the processes train one run


def world_size() -> int:
    """Processes that train together; 1 without torchrun."""
    return _of_torchrun("WORLD_SIZE", 1, least=1)


def rank() -> int:
    """Which of them this is, from 0 on."""
    return _of_torchrun("RANK", 0, below="WORLD_SIZE")


def local_rank() -> int:
    """Which of those on this machine this is: the number of its GPU."""
    return _of_torchrun("LOCAL_RANK", 0, below="LOCAL_WORLD_SIZE")


def local_processes() -> int:
    """How many there are on this machine."""
    return _of_torchrun("LOCAL_WORLD_SIZE", 1, least=1)


def _of_torchrun(name: str, otherwise: int, least: int = 0, below: str = "") -> int:
    """A number that torchrun puts into the environment.

    Raises:
        UserError: it is none, or out of range.
    """
    text = os.environ.get(name)
    if text is None:
        return otherwise
    most = _of_torchrun(below, 1, least=1) - 1 if below in os.environ else _MOST_PROCESSES
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise UserError(
            f"{name}={text}: expected a number from {least} to {most}, as torchrun sets it in the "
            f"environment; without torchrun, `unset {name}`"
        )
    return int(text)


def under_torchrun() -> bool:
    """Whether torchrun has started this process, be it the only one."""
    return world_size() > 1 or "TORCHELASTIC_RUN_ID" in os.environ


def run_name() -> str:
    """What torchrun calls its run, the same when it starts the processes anew."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else f"{socket.gethostname()}:{os.getppid()}"  # it has no name


def _check_environment(device: str) -> None:
    """Whether all is there by which processes meet; each takes its GPU.

    Raises:
        UserError: what is missing or wrong.
    """
    assert local_rank() <= rank() < world_size()  # or it says what is wrong
    if missing := {"RANK", "MASTER_ADDR", "MASTER_PORT"} - os.environ.keys():
        raise UserError(
            f"WORLD_SIZE={world_size()}, but no {min(missing)} in the environment: start the "
            "processes by torchrun, or `unset WORLD_SIZE`"
        )
    if device == "cuda":
        torch.cuda.set_device(local_rank())


def store(device: str) -> Store:
    """What all processes under torchrun write in and read, where each trains what it takes.

    torchrun's own outlives the processes that it starts anew, with all that they wrote. So the
    first process has another, which ends with it, and says in torchrun's where that is.

    Args:
        device: "cpu" or "cuda", of which each process takes one.

    Raises:
        UserError: the processes do not meet.
    """
    _check_environment(device)
    host, until = os.environ["MASTER_ADDR"], time.monotonic() + _MEETING.total_seconds()
    where = f"{host}:{os.environ['MASTER_PORT']}"
    try:
        common, _, _ = next(rendezvous("env://", timeout=_MEETING))
        if rank() == 0:
            own, name = _own_store(), secrets.token_hex(8)
            own.set(_NAME, name)
            common.set(_PLACE, f"{own.port} {name}")
            _kept.append(common)  # which may be in this process
            return own
        while True:
            port, name = common.get(_PLACE).decode().split()
            where = f"{host}:{port}"
            if (found := _reached(host, int(port), name)) is not None:
                return found
            if time.monotonic() > until:
                raise UserError(f"no connection to the first process, at {where}")
            time.sleep(_PAUSE)
    except (dist.DistError, ValueError) as error:  # ValueError: MASTER_PORT is none
        raise UserError(f"no connection to the first process, by way of {where}") from error


def _own_store() -> TCPStore:
    """Of the first process; it listens to all machines, whatever they call this one."""
    own = TCPStore("localhost", 0, is_master=True, wait_for_workers=False, timeout=_MEETING)
    own.set_timeout(_PATIENCE)
    return own


def _reached(host: str, port: int, name: str) -> Store | None:
    """The first process's store; None: nobody is there, or somebody else by now."""
    try:
        found = TCPStore(host, port, is_master=False, timeout=_REACH)
        if found.get(_NAME).decode() != name:
            return None
    except RuntimeError:  # DistError, or what does not speak like a store
        return None
    found.set_timeout(_PATIENCE)
    return found


def start(device: str) -> None:
    """Meet the other processes, if there are any, to train one run: gloo on CPUs, NCCL on GPUs.

    Args:
        device: "cpu" or "cuda", of which each process takes one.
    """
    global _together
    if world_size() > 1:
        _check_environment(device)
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
        _together = True


def stop() -> None:
    """Part from them."""
    global _together
    if dist.is_initialized():
        # what parallel() made lies in reference cycles and holds on to gloo's threads, which must
        # be gone before the interpreter is (pytorch/pytorch#179291: else it may abort)
        gc.collect()
        dist.destroy_process_group()
    _together = False


@contextmanager
def one_line_if_lost() -> Iterator[None]:
    """Train together inside: of a process that has ended, or its machine, one line is made."""
    try:
        yield
    except RuntimeError as error:  # gloo's is no more than that
        if not (_together and _LOST.search(str(error))):
            raise
        raise UserError(
            "another process that trains this run has ended; the same command with --resume goes on"
        ) from error


def together() -> bool:
    """Whether the processes train one run."""
    return _together


def wait() -> None:
    """Until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def own_part(indices: np.ndarray) -> np.ndarray:
    """This process's share of a batch: every world_size-th of its lines."""
    return indices[rank() :: world_size()] if _together else indices


def parallel(module: nn.Module) -> nn.Module:
    """The module; a backward pass through it leaves the mean of all processes' gradients."""
    return DistributedDataParallel(module) if _together else module


def processes() -> int:
    """Those whose gradients :func:`parallel` averages."""
    return world_size() if _together else 1


def sum_all(values: np.ndarray) -> np.ndarray:
    """The sum of float64 arrays over all processes."""
    if not _together:
        return values
    total = torch.from_numpy(values).to("cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(total)
    found: np.ndarray = total.cpu().numpy()
    return found


def any_of(flag: bool, device: str) -> bool:
    """Whether the flag is set in any of the processes that train together."""
    if not _together:
        return flag
    value = torch.tensor([float(flag)], device=device)
    dist.all_reduce(value)
    return bool(value.item())


def broadcast(text: str) -> str:
    """The first process's text, in all processes."""
    if not dist.is_initialized():
        return text
    texts: list[Any] = [text]
    dist.broadcast_object_list(texts, src=0)
    return str(texts[0])


def merged(texts: list[str]) -> list[str]:
    """The texts of all processes, each of which has "" where the line was another's."""
    if not _together:
        return texts
    every: list[Any] = [None] * world_size()
    dist.all_gather_object(every, texts)
    return ["".join(parts) for parts in zip(*every, strict=True)]
