"""A fast forward pass and its fast gradient as one function that all of torch's autograd takes.

The two passes are code that autograd does not see into. Whatever else is asked, derivatives of the
gradient or forward mode, is computed from the plain torch operations that define the function;
`vmap` makes the axis R of networks longer. So gradients are fast, and nothing is silently zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from .backend import forward_mode, transformed

Tensors = tuple[Tensor, ...]
Arguments = tuple[Tensor | None, ...]  # None: there is none


@dataclass(frozen=True)
class FastFunction:
    """A function of tensors with a leading axis R of independent networks.

    Attributes:
        forward: (settings, arguments, whether there will be a gradient) to its outputs, and what
            its gradient wants to know; tensors with the leading axis R all of them.
        backward: (settings, arguments, what forward kept, the outputs' gradients or None for
            zeros, which gradients are wanted) to the arguments' gradients; those that are not
            wanted may be None.
        plain: (settings, arguments) to the outputs, by torch operations.
        outputs: how many outputs there are.
    """

    forward: Callable[[Any, Arguments, bool], tuple[Tensors, Tensors]]
    backward: Callable[[Any, Arguments, Any, Arguments, Sequence[bool]], Arguments]
    plain: Callable[[Any, Arguments], Tensors]
    outputs: int = 1

    def __call__(self, settings: Any, *arguments: Tensor | None) -> Tensors:
        """The outputs; ``settings`` are whatever is no tensor."""
        # Forward mode through a Function inside of another forward mode is zero in torch 2.11.
        if forward_mode():
            return self.plain(settings, arguments)
        if not transformed() and not (torch.is_grad_enabled() and _any_requires_grad(arguments)):
            return self.forward(settings, arguments, False)[0]
        results = _run(_Forward, self, settings, *arguments)
        return results[: self.outputs]


class _Forward(Function):
    @staticmethod
    def forward(function: FastFunction, settings: Any, *arguments: Tensor | None) -> Tensors:
        outputs, kept = function.forward(settings, arguments, True)
        return (*outputs, *kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.function, ctx.settings, *arguments = inputs
        kept = output[ctx.function.outputs :]
        ctx.count = len(arguments)
        ctx.mark_non_differentiable(*kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arguments, *kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        saved, outputs = ctx.saved_tensors, ctx.function.outputs
        arguments, kept = saved[: ctx.count], saved[ctx.count :]
        if all(grad is None for grad in grads[:outputs]):
            return (None,) * (2 + ctx.count)
        wanted = tuple(
            need and argument is not None
            for need, argument in zip(ctx.needs_input_grad[2:], arguments, strict=True)
        )
        function = ctx.function
        if not (torch.is_grad_enabled() or transformed()):  # nobody wants its gradient
            every = function.backward(ctx.settings, arguments, kept, grads[:outputs], wanted)
            found = _chosen(every, wanted)
        else:
            rest = (*arguments, *kept, *grads[:outputs])
            found = _run(_Backward, function, ctx.settings, wanted, *rest)
        return (None, None, *_spread(found, wanted))

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, function: FastFunction, settings: Any, *arguments: Tensor | None
    ) -> Any:
        results = _run(
            _Forward, function, settings, *_into_networks(info.batch_size, in_dims[2:], arguments)
        )
        return _out_of_networks(info.batch_size, results)


class _Backward(Function):
    """The gradients of a :class:`FastFunction`, as a function that has gradients itself."""

    @staticmethod
    def forward(
        function: FastFunction, settings: Any, wanted: tuple[bool, ...], *tensors: Tensor | None
    ) -> Tensors:
        count = len(wanted)
        arguments, rest = tensors[:count], tensors[count:]
        kept, grads = rest[: -function.outputs], rest[-function.outputs :]
        found = function.backward(settings, arguments, kept, grads, wanted)
        return _chosen(found, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.function, ctx.settings, ctx.wanted, *tensors = inputs
        outputs, count = ctx.function.outputs, len(ctx.wanted)
        ctx.kept = len(tensors) - count - outputs
        ctx.save_for_backward(*tensors[:count], *tensors[-outputs:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        function, settings, wanted, saved = (
            ctx.function,
            ctx.settings,
            ctx.wanted,
            ctx.saved_tensors,
        )
        count, outputs = len(wanted), function.outputs
        needs = ctx.needs_input_grad[3:]
        moved = [
            need and tensor is not None
            for need, tensor in zip((*needs[:count], *needs[-outputs:]), saved, strict=True)
        ]

        def gradients(*chosen: Tensor) -> Tensors:
            """The wanted gradients as plain torch operations of what is moved."""
            every = _filled(saved, moved, chosen)
            arguments, pulled = every[:count], every[count:]

            def results(*some: Tensor) -> Tensors:
                found = function.plain(settings, _filled(arguments, wanted, some))
                return _chosen(found, [grad is not None for grad in pulled])

            pull = torch.func.vjp(results, *_chosen(arguments, wanted))[1]
            found: Tensors = pull(tuple(grad for grad in pulled if grad is not None))
            return found

        pull = torch.func.vjp(gradients, *_chosen(saved, moved))[1]
        found = _spread(pull(grads), moved)
        return (None, None, None, *found[:count], *[None] * ctx.kept, *found[count:])

    @staticmethod
    def vmap(
        info: Any,
        in_dims: Any,
        function: FastFunction,
        settings: Any,
        wanted: tuple[bool, ...],
        *tensors: Tensor | None,
    ) -> Any:
        folded = _into_networks(info.batch_size, in_dims[3:], tensors)
        results = _run(_Backward, function, settings, wanted, *folded)
        return _out_of_networks(info.batch_size, results)


def _any_requires_grad(arguments: Arguments) -> bool:
    return any(argument is not None and argument.requires_grad for argument in arguments)


def _run(function: type[Function], *arguments: Any) -> Tensors:
    """As ``function.apply``, without its look for defaults that these functions do not have."""
    run: Any = function if transformed() else super(Function, function)
    results: Tensors = run.apply(*arguments)
    return results


def _chosen(values: Sequence[Any], which: Sequence[bool]) -> tuple[Any, ...]:
    return tuple(value for value, chosen in zip(values, which, strict=True) if chosen)


def _spread(values: Sequence[Tensor], which: Sequence[bool]) -> Arguments:
    """The reverse of :func:`_chosen`, with None for the others."""
    rest = iter(values)
    return tuple(next(rest) if chosen else None for chosen in which)


def _filled(values: Sequence[Any], which: Sequence[bool], new: Sequence[Any]) -> tuple[Any, ...]:
    """The values, those that are chosen replaced by the new ones, in order."""
    rest = iter(new)
    return tuple(
        next(rest) if chosen else value for value, chosen in zip(values, which, strict=True)
    )


def _into_networks(
    count: int, dims: Sequence[int | None], tensors: Sequence[Tensor | None]
) -> Arguments:
    """(R, ...) tensors, some with an axis V more, to (V R, ...)."""
    folded: list[Tensor | None] = []
    for dim, tensor in zip(dims, tensors, strict=True):
        if tensor is None:
            folded.append(None)
        elif dim is None:
            folded.append(tensor.expand(count, *tensor.shape).flatten(0, 1))
        else:
            folded.append(tensor.movedim(dim, 0).flatten(0, 1))
    return tuple(folded)


def _out_of_networks(count: int, results: Tensors) -> tuple[Tensors, tuple[int, ...]]:
    """(V R, ...) results to (V, R, ...), and where their V is."""
    unfolded = tuple(
        result.view(count, len(result) // count, *result.shape[1:]) for result in results
    )
    return unfolded, (0,) * len(unfolded)
