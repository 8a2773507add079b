"""One pool of threads for all compiled kernels, which release the interpreter's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: dict[int, ThreadPoolExecutor] = {}
# a forked child has none of its parent's threads
os.register_at_fork(after_in_child=_pools.clear)


def default_threads() -> int:
    """Those that networks are shared out to: as many as cores, or 1 where torch has but one."""
    return 1 if torch.get_num_threads() == 1 else os.cpu_count() or 1


def run_all(work: Callable[..., Any], items: Iterable[tuple[Any, ...]], threads: int) -> list[Any]:
    """``[work(*item) for item in items]``, shared out over ``threads`` threads.

    Denormal numbers are flushed to zero there: a saturated gate's gradients underflow, and
    arithmetic on denormals would cost many times the time.
    """
    pool = _pools.get(threads)
    if pool is None:
        pool = _pools[threads] = ThreadPoolExecutor(
            threads, "cwrnn", initializer=torch.set_flush_denormal, initargs=(True,)
        )
    return list(pool.map(lambda item: work(*item), items))
