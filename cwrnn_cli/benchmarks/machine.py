"""The machine, its peak, a clock that alternates, and the peak of memory."""

import ctypes
import gc
import math
import platform
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..kernels.numba import memory
from ..training.manifest import machine

NO_JAX = "JAX is not installed, its rows are missing: pip install jax would add them"


def describe() -> dict[str, Any]:
    """The machine, the threads that are used, and versions."""
    return {
        **machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "jax": version("jax") if has_jax() else None,
    }


def has_jax() -> bool:
    """Whether JAX is installed."""
    return find_spec("jax") is not None


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/meminfo")


def available_bytes() -> int:
    """Memory that can be had without swapping; a generous guess where the system does not tell."""
    try:
        return _meminfo("MemAvailable")
    except OSError:
        return 8 << 30


def peak_gflops(size: int = 2048, repeats: int = 7) -> float:
    """What a large `torch.mm` in float32 reaches: the best of several."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def alternate(
    calls: Mapping[str, Callable[[], Any]],
    least: int,
    most: int,
    seconds: float,
    longest: float = math.inf,
    needed: Collection[str] = (),
) -> dict[str, list[float]]:
    """Time several calls in turns, so that a noisy moment hits them all.

    Args:
        calls: name -> what to time; each is called once before, which may compile it.
        least: rounds.
        most: rounds.
        seconds: after so long no round is begun beyond the least.
        longest: a call whose least rounds would take longer, in seconds, is left out: its list is
            empty. By that first call, and if it seems so, by a second.
        needed: names of those that are never left out.

    Returns:
        name -> seconds of each round.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    first = {name: timed(call) for name, call in calls.items()}
    for name, call in calls.items():
        if name not in needed and least * first[name] > longest:
            first[name] = timed(call)
    chosen = {n: c for n, c in calls.items() if n in needed or least * first[n] <= longest}
    begun = time.perf_counter()
    for round_ in range(most):
        if round_ >= least and time.perf_counter() - begun > seconds:
            break
        for name, call in chosen.items():
            times[name].append(timed(call))
    return times


def timed(call: Callable[[], Any]) -> float:
    """How many seconds a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(times: list[float]) -> dict[str, Any]:
    """Median, least and greatest, and each round (4 digits), in milliseconds."""
    return {
        "ms": 1e3 * statistics.median(times),
        "ms_min": 1e3 * min(times),
        "ms_max": 1e3 * max(times),
        "rounds_ms": [float(f"{1e3 * t:.4g}") for t in times],
    }


def peak_bytes(call: Callable[[], None]) -> int | None:
    """By how much the resident memory rises at most during a call; None where Linux does not tell.

    Buffers that are kept from earlier calls are given back first, so that they count.
    """
    memory.release()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        before = _status("VmRSS")
        call()
        return max(_status("VmHWM") - before, 0)
    except (OSError, AttributeError):
        return None


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/self/status")
