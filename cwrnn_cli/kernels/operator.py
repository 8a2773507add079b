"""A fast function as an operator of torch, which torch.compile calls without looking into it.

Compiled step by step, a layer takes minutes for a short sequence, and again for every other length;
as an operator it takes its place in the graph as it is. Outside of torch.compile the
function itself is called: that costs less.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .autograd import Arguments, FastFunction, Tensors


def as_operator(
    name: str,
    function: FastFunction,
    tensors: Sequence[str],
    settings: str,
    prepare: Callable[..., Any],
    shapes: Callable[..., Tensors],
) -> Callable[..., Tensors]:
    """Register it as ``cwrnn::name``, and its gradient as ``cwrnn::name_backward``.

    Args:
        name: of the operator.
        function: what it computes; it gets its first argument contiguous.
        tensors: the types of its arguments, "Tensor" or "Tensor?".
        settings: what else it takes, as a schema: "int[] periods, SymInt start".
        prepare: the settings as the function wants them, from those.
        shapes: (arguments, those) to empty tensors like the outputs and what the function keeps.

    Returns:
        (arguments, those) to the outputs.
    """
    count, outputs = len(tensors), function.outputs
    more = f", {settings}" if settings else ""
    schema = ", ".join(f"{kind} a{i}" for i, kind in enumerate(tensors))
    grads = ", ".join(f"Tensor? g{i}" for i in range(outputs))
    results = ", ".join(["Tensor"] * count)

    def forward(*every: Any) -> Tensors:
        arguments = (every[0].contiguous(), *every[1:count])
        outs, kept = function.forward(prepare(*every[count:]), arguments, True)
        return (*outs, *kept)

    def gradient(kept: Sequence[Tensor], *every: Any) -> Tensors:
        arguments = (every[0].contiguous(), *every[1:count])
        pulled = every[count : count + outputs]
        wanted = [argument is not None for argument in arguments]  # inductor loses lists of flags
        rest = prepare(*every[count + outputs :])
        found = function.backward(rest, arguments, tuple(kept), pulled, wanted)
        return tuple(_alone(grad, arguments[0]) for grad in found)

    any_layout = torch.Tag.flexible_layout  # it puts its arguments in order itself
    # how many tensors the function keeps is not known before it has run: a list of them
    own: Any = torch.library.custom_op(
        f"cwrnn::{name}",
        forward,
        mutates_args=(),
        schema=f"({schema}{more}) -> Tensor[]",
        tags=[any_layout],
    )
    backward: Any = torch.library.custom_op(
        f"cwrnn::{name}_backward",
        gradient,
        mutates_args=(),
        schema=f"(Tensor[] kept, {schema}, {grads}{more}) -> ({results})",
        tags=[any_layout],
    )
    own.register_fake(lambda *every: list(shapes(every[:count], *every[count:])))
    backward.register_fake(
        lambda kept, *every: tuple(
            every[0].new_empty(0 if like is None else like.shape) for like in every[:count]
        )
    )

    def remember(ctx: Any, inputs: Any, output: Sequence[Tensor]) -> None:
        ctx.rest = inputs[count:]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:count], *output[outputs:])

    def pull(ctx: Any, given: Any) -> Any:
        saved: Arguments = ctx.saved_tensors
        arguments, kept = saved[:count], list(saved[count:])
        if all(grad is None for grad in given[:outputs]):
            return (None,) * (count + len(ctx.rest))
        found = backward(kept, *arguments, *given[:outputs], *ctx.rest)
        chosen = [
            grad if argument is not None else None
            for grad, argument in zip(found, arguments, strict=True)
        ]
        return (*chosen, *[None] * len(ctx.rest))

    own.register_autograd(pull, setup_context=remember)
    return lambda arguments, *rest: tuple(own(*arguments, *rest)[:outputs])


def _alone(grad: Tensor | None, like: Tensor) -> Tensor:
    """The numbers in order and in memory of their own, as operators give them; none for None."""
    if grad is None:
        return like.new_empty(0)
    grad = grad.contiguous()
    return grad if grad.untyped_storage().nbytes() == grad.nbytes else grad.clone()
