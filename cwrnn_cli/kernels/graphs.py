"""Many small kernels in a row as one CUDA graph, so that a GPU need not wait for Python.

Only :class:`_Graph` needs a GPU; what is captured is plain torch operations, which run anywhere.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from .backend import tf32

PIECES = (64, 16, 4)  # steps of a graph
_MOST = 16  # graphs of a function that are kept, each with memory of its own
_LARGE = 1 << 19  # bytes of a step that is taken to last longer than its launch; unmeasured
# of all functions: a process captures one graph at a time, and each has memory of its own
_lock = Lock()


def pieces(steps: int) -> list[range]:
    """All steps, and less than a smallest piece more; there is at least one step."""
    found: list[range] = []
    begin = 0
    for size in PIECES:
        least = size if size > PIECES[-1] else 1
        while steps - begin >= least:
            found.append(range(begin, begin + size))
            begin += size
    return found


class Replayed:
    """A function that changes its first tensor in place, step by step along its leading axis.

    On a GPU its operations are captured when tensors of such shapes come for the first time, and
    replayed from then on. Elsewhere, inside of somebody's own capture, and where one step is large,
    it is simply called.

    Args:
        function: of tensors only, with operations that may be captured: no sizes or branches that
            depend on numbers in them.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._graphs: OrderedDict[Any, _Graph] = OrderedDict()  # the latest last

    def __call__(self, changed: Tensor, *others: Tensor) -> None:
        """Call it, or replay it."""
        large = changed[0].numel() * changed.element_size() >= _LARGE
        if not changed.is_cuda or large:
            self._function(changed, *others)
            return
        with torch.cuda.device(changed.device):
            if torch.cuda.is_current_stream_capturing():
                self._function(changed, *others)
            else:
                self._replay((changed, *others))

    def _replay(self, tensors: tuple[Tensor, ...]) -> None:
        key = (
            tensors[0].device,
            torch.cuda.current_stream().cuda_stream,
            tf32(),  # chosen when captured
            tuple((tensor.shape, tensor.dtype) for tensor in tensors),
        )
        with _lock:
            graph = self._graphs.pop(key, None) or _Graph(self._function, tensors)
            self._graphs[key] = graph
            if len(self._graphs) > _MOST:
                self._graphs.popitem(last=False)
            graph.replay(tensors)


@cache
def _beside(device: torch.device, stream: int) -> torch.cuda.Stream:
    """Where graphs that are replayed on a stream are captured.

    On the stream's own device, which torch's default is not for a second one. cuBLAS has a
    workspace per stream, which graphs keep using: those of one stream never run side by side.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class _Graph:
    """A function's operations on tensors of some shapes, captured on the current device.

    Args:
        function: changes the first tensor.
        tensors: like those that it will get.
    """

    def __init__(self, function: Callable[..., None], tensors: tuple[Tensor, ...]) -> None:
        self._own = [torch.zeros_like(t, memory_format=torch.contiguous_format) for t in tensors]
        current = torch.cuda.current_stream()
        beside = _beside(tensors[0].device, current.cuda_stream)
        beside.wait_stream(current)
        with torch.cuda.stream(beside):
            function(*self._own)  # cuBLAS makes what it needs, which cannot be captured
        current.wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=beside, capture_error_mode="thread_local"):
            function(*self._own)

    def replay(self, tensors: tuple[Tensor, ...]) -> None:
        """Do to these what the function does."""
        for own, tensor in zip(self._own, tensors, strict=True):
            own.copy_(tensor)
        self._graph.replay()
        tensors[0].copy_(self._own[0])
