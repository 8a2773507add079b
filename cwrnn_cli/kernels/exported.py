"""A recurrence as a loop inside of the graph, for torch.export and ONNX: any length, any batch.

The other backends leave a graph of one length behind, with every step written out. Here a step is
the body of torch's `scan`, which stays a loop in the exported program. One network, R = 1.
"""

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._higher_order_ops.scan import scan as _scan

# it sets itself to DEBUG when it is imported, and then prints every graph
logging.getLogger("torch._higher_order_ops.partitioner").setLevel(logging.WARNING)


def scan(step: Callable[[Any, Any], tuple[Any, Any]], initial: Any, inputs: Any) -> Any:
    """The outputs of all steps.

    Args:
        step: (state, one step of the inputs) to the next state and the output, which must share no
            memory (torch's wish): clones of what is both.
        initial: state, a tensor or a tuple of them; see :func:`initial_state`.
        inputs: (T, ...), a tensor or a tuple of them.

    Returns:
        (T, ...), as the outputs are.
    """
    _, outputs = _scan(step, initial, inputs)
    return outputs


def initial_state(x: Tensor, weight_hh: Tensor, given: Tensor | None) -> Tensor:
    """(B, n): the given one (1, B, n), or zeros.

    torch 2.11's scan has wrong gradients, without a word, where its initial state has none (pytorch
    issue 184528); so this has one, of a zero that it adds: 0 times a weight that every mask allows.
    """
    zeros = weight_hh.new_zeros(x.shape[1], weight_hh.shape[2])
    return (zeros if given is None else given[0]) + 0 * weight_hh[0, 0, 0]


def drive(x: Tensor, weight_ih: Tensor | None, weight_hh: Tensor, bias: Tensor | None) -> Tensor:
    """(T, B, rows of the weights): what enters at each step from outside, of x (1, B, T, m).

    Without ``weight_ih``, if not m = 0, x is what enters already.
    """
    found = weight_hh.new_zeros(x.shape[2], x.shape[1], weight_hh.shape[1])
    if weight_ih is not None:
        found = found + x[0].transpose(0, 1) @ weight_ih[0].T
    elif x.shape[3]:
        found = found + x[0].transpose(0, 1)
    return found if bias is None else found + bias[0]


def network(outputs: Tensor) -> Tensor:
    """(T, B, n) to (1, B, T, n)."""
    return outputs.transpose(0, 1)[None]
