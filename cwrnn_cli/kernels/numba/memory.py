"""Large buffers that are used again: fresh memory costs more than what is computed in it.

The system clears every fresh page when it is first touched, and the C library gives large blocks
back as soon as they are freed, so that a training step would pay for all its pages again and again
(on the machine of results/: 1.6 ms per MiB, 50 times the time of writing it). Buffers live here
after their last tensor has died, until a request of about their size comes, or until a new one is
made while more than :data:`KEEP` bytes lie about unused.
"""

import math
import sys
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

KEEP = 1 << 30  # bytes of unused buffers at the most
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
_SMALL = 1 << 18  # bytes below which the C library keeps blocks by itself
_ALIGNMENT = 64  # a vector must not straddle two cache lines

_buffers: list[np.ndarray] = []  # the most recently used last
_caches: list[Callable[[], None]] = []
_lock = threading.Lock()


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """As ``like.new_empty(shape)``, from a used buffer if there is one."""
    size = math.prod(shape) * like.element_size()
    if size < _SMALL or like.device.type != "cpu" or like.dtype not in NUMPY:
        return like.new_empty(tuple(shape))
    with _lock:
        buffer = _take(size)
        first = -buffer.ctypes.data % _ALIGNMENT
        # numpy keeps the buffer itself as the base of a slice, so its count of references tells
        # whether any tensor still lives in it
        array = buffer[first : first + size].view(NUMPY[like.dtype]).reshape(tuple(shape))
        return torch.from_numpy(array)


def borrowed(tensor: Tensor) -> np.ndarray:
    """The numbers of a contiguous tensor, flat, sharing its memory.

    Torch lets nobody resize a tensor's storage after ``tensor.numpy()``; FSDP does so with weights.
    """
    if not tensor.numel():
        return np.empty(0, NUMPY[tensor.dtype])
    try:
        pointer = tensor.data_ptr()
    except RuntimeError:  # torch.func's wrapper, left when its transform has ended, has none
        return tensor.detach().numpy().reshape(-1)
    interface = {
        "data": (pointer, False),
        "shape": (tensor.numel(),),
        "typestr": np.dtype(NUMPY[tensor.dtype]).str,
        "version": 3,
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface, tensor=tensor))


def on_release(clear: Callable[[], None]) -> None:
    """Have something else given back, too, when :func:`release` is called."""
    _caches.append(clear)


def release() -> None:
    """Give back all buffers that nobody uses, and what others keep for later."""
    for clear in _caches:
        clear()
    with _lock:
        _buffers[:] = [_buffers[index] for index in range(len(_buffers)) if not _is_free(index)]


def _take(size: int) -> np.ndarray:
    """A buffer of at least ``size`` bytes that nobody uses, at the end of the list."""
    best = -1
    for index in range(len(_buffers)):
        fits = size + _ALIGNMENT <= _buffers[index].nbytes <= 2 * size
        smaller = best < 0 or _buffers[index].nbytes < _buffers[best].nbytes
        if fits and smaller and _is_free(index):
            best = index
    if best >= 0:
        _buffers.append(_buffers.pop(best))
    else:
        _buffers.append(np.empty(size + _ALIGNMENT, np.uint8))
        _shrink()
    return _buffers[-1]


def _is_free(index: int) -> bool:
    return sys.getrefcount(_buffers[index]) <= 2  # the list, and the argument


def _shrink() -> None:
    """Drop unused buffers, the longest unused first, until at most KEEP bytes of them are left."""
    free = [index for index in range(len(_buffers) - 1) if _is_free(index)]
    total = sum(_buffers[index].nbytes for index in free)
    dropped = set()
    for index in free:
        if total <= KEEP:
            break
        total -= _buffers[index].nbytes
        dropped.add(index)
    _buffers[:] = [buffer for index, buffer in enumerate(_buffers) if index not in dropped]


def contiguous(tensor: Tensor) -> Tensor:
    """The tensor itself where its numbers lie in order, else a copy; without its graph."""
    tensor = tensor.detach()
    if tensor.is_contiguous():
        return tensor
    return empty(tensor.shape, tensor).copy_(tensor)


def time_first(tensor: Tensor) -> Tensor:
    """(R, B, T, m) to contiguous (R, T, B, m), without a copy if it lies so already."""
    return contiguous(tensor.transpose(1, 2))
