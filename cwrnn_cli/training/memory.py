"""Memory: what a run takes, what there is, and what would fit."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch

from data_prep.errors import UserError
from data_prep.memory import free_bytes

from ..option import within
from .config import TrainConfig
from .folder import RunFolder
from .registry import TASKS

_MARGIN = 0.9  # of the memory: the rest is fragments, and what would have been asked for next
_ASKED = re.compile(r"Tried to allocate ([\d.]+) (bytes|[KMG]iB)")  # torch's words
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_FLOAT = 4  # bytes
# of a network's weights at the least: themselves, the velocity, the gradient, the checkpoint's copy
_COPIES = 4
_NETWORK = 2048  # bytes of a network's random generator and numbers
PROCESS = 300 << 20  # bytes of a process with torch in it


def least_bytes(config: TrainConfig) -> int:
    """What a run takes of this machine's memory at the least."""
    weights = sum(prod(size) for size in config.shape.weights().values())
    return config.networks * (_COPIES * _FLOAT * weights + _NETWORK)


def check_memory(config: TrainConfig, size_option: str = "--params") -> None:
    """Refuse what cannot fit into this machine's memory, before anything is trained.

    Args:
        config: of a run.
        size_option: behind what its parameters were typed.

    Raises:
        UserError: what would fit.
    """
    need, there = least_bytes(config), free_bytes()
    if need <= there:
        return
    runs, params = (int(_MARGIN * there / need * asked) for asked in (config.runs, config.params))
    fits = f"--runs {runs}" if runs else f"{size_option} {params}"
    raise UserError(
        f"--runs {config.runs} with {size_option} {config.params}: {_size(need)} of memory or more "
        f"for the weights, of {_size(there)}; {fits} would fit"
    )


def check_jobs(jobs: int, configs: Iterable[TrainConfig]) -> None:
    """Refuse more processes at once than fit into this machine's memory.

    Raises:
        UserError: how many would.
    """
    each, there = PROCESS + max(map(least_bytes, configs)), free_bytes()
    if jobs * each > there:
        within("--jobs", jobs, 1, max(there // each, 1))


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"


@dataclass(frozen=True)
class Memory:
    """A device's memory, in bytes.

    Attributes:
        peak: the most that this run's tensors have taken so far.
        available: what they could take: that, and what is free.
    """

    peak: int
    available: int


def memory_of(device: str) -> Memory | None:
    """Of a device, since :func:`one_line_if_full` began; None: torch does not count there."""
    if torch.device(device).type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    peak = torch.cuda.max_memory_allocated(device)
    return Memory(peak, free + torch.cuda.memory_reserved(device))


def fitting_runs(runs: int, memory: Memory, asked: int) -> int:
    """How many runs would fit, by what each takes; 0: not one.

    Args:
        runs: that did not fit, all of one size.
        memory: of their device, at that moment.
        asked: bytes that they asked for and did not get.
    """
    each = max(memory.peak + asked, 1) / runs
    return min(int(_MARGIN * memory.available / each), runs - 1)


@contextmanager
def one_line_if_full(config: TrainConfig, folder: RunFolder, writes: bool) -> Iterator[None]:
    """Train inside: of a device's memory that is full one line is made, that says what would fit.

    Args:
        config: that is trained.
        folder: of the run; one that has no checkpoint yet is taken away again.
        writes: whether this process writes there, and not another that trains with it.

    Raises:
        UserError: of the memory.
    """
    if torch.device(config.device).type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # or nothing is counted yet
        torch.cuda.reset_peak_memory_stats(config.device)
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = _full(config, str(error))
        if folder.has_checkpoint:
            reason += f"; epoch {folder.checkpoint().epoch} is saved, --resume goes on from there"
        elif writes:
            folder.discard()
        raise UserError(reason) from error


def _full(config: TrainConfig, message: str) -> str:
    """The line."""
    runs, memory, found = config.runs, memory_of(config.device), _ASKED.search(message)
    begin = f"--device {config.device}: its memory is full with --runs {runs}"
    if runs == 1:
        batches = any(option.name == "batch" for option in TASKS[config.task].train_options)
        return f"{begin}; take {'a smaller --batch, or ' * batches}--device cpu"
    if memory is None:
        return f"{begin}; take fewer, or --device cpu"
    asked = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    each, fit = (memory.peak + asked) / runs, fitting_runs(runs, memory, asked)
    what = f"--runs {fit} would fit" if fit else "not even --runs 1 would fit; take --device cpu"
    has = f"a run takes {each / 2**20:.0f} MiB or more, of {memory.available / 2**20:.0f}"
    return f"{begin}: {has}; {what}"
