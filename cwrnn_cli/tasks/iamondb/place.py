"""CPU or GPU for task 3: what an update should take; on a GPU that is calculated, not measured."""

from math import ceil

from ...kernels.numba.threads import default_threads
from ...models.cell import has_loop
from ...training.config import TrainConfig
from ...training.optimizer import PUBLISHED
from .engines import LAYOUTS

_MEASURED_BATCH = 8
_WIDEST = 64  # units of a module that fused kernels keep on chip, for several networks at once
_STEP_MS = 0.01  # of a GPU
_TIMES = 2  # that it must be faster, as it is only an expectation


def cpu_ms(config: TrainConfig) -> float:
    """An update of all networks on the CPU, a network per core.

    Of 8 lines it takes a core 2 ms and another 0.1 ms per 1000 parameters that are multiplied at
    each step; a slow module's are counted at its ticks only. That is within a fifth of what was
    measured for the compiled loops (results/iamondb/speed). Autograd takes 2.5 times as long where
    layers are compiled, else 10 times.
    """
    n = config.hidden_size
    active = sum(units / period for period, units in config.cell.modules) / n
    ms = (2 + 1e-4 * active * config.params) * config.batch / _MEASURED_BATCH
    if not has_loop(LAYOUTS, config.cell):
        ms *= 10
    elif config.optimizer != PUBLISHED:
        ms *= 2.5
    return ms * ceil(config.runs / default_threads())


def gpu_ms(config: TrainConfig) -> float:
    """The same on a GPU, which waits for one step after the other and not for products.

    The longest line's steps, forward, backward and in CTC: 10 us each, however wide the layer and
    the batch. By cuDNN, or a fused kernel for the whole sequence; without either every step is some
    twenty launches of 5 us.
    """
    cell = config.cell
    clipped = config.delta_clip is not None  # what neither of them does
    narrow = max(units for _, units in cell.modules) <= _WIDEST
    cudnn = config.runs == 1 and cell.peer is not None
    fused = not clipped and (cudnn or (narrow and has_loop(LAYOUTS, cell)))
    return _STEP_MS * config.length * (1 if fused else 10)


def expects_gpu(config: TrainConfig) -> bool:
    """Whether a GPU should train a run at least twice as fast."""
    return cpu_ms(config) >= _TIMES * gpu_ms(config)
