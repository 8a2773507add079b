"""What a checkpoint may contain: it is believed only where it fits its run's configuration."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .checkpoints import Checkpoint
from .config import TrainConfig
from .optimizer import OPTIMIZERS

BEST = "best."  # prefix of the names of the weights at each network's best epoch
_WEIGHTS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_NUMBERS = _WEIGHTS | {torch.int64, torch.int32, torch.bool}
# what is known of each network beside its weights; of one that stops early these three
_EARLY = ("lowest", "best_epoch", "stopped_at")
_EPOCHS = {"best_epoch", "stopped_at", "diverged_at", "largest_gradient_at"}
_DTYPES = {
    **dict.fromkeys({*_EPOCHS, "excursions"}, torch.int64),
    **dict.fromkeys(("lowest", "largest_gradient"), torch.float64),
}
_STATE_BITS = {"state": 128, "inc": 128}  # of PCG64


def problem(checkpoint: Checkpoint, config: TrainConfig) -> str | None:
    """Why a checkpoint is none of a run, if so: names, shapes, types and states of generators."""
    epoch = checkpoint.epoch
    if not isinstance(epoch, int) or not 0 <= epoch <= config.epochs:
        return f"epoch {epoch!r} of {config.epochs}"
    parts = {"weights": checkpoint.weights, "velocity": checkpoint.velocity}
    for name, part in (parts | {"extra": checkpoint.extra}).items():
        if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
            return f"{name}: no named tensors"
    networks = config.networks
    shapes = {name: (networks, *shape) for name, shape in config.shape.weights().items()}
    best = {n: t for n, t in checkpoint.extra.items() if n.startswith(BEST)}
    kept = not checkpoint.velocity  # `cwrnn keep` leaves out what is not evaluated
    buffers = {
        name + suffix: shape
        for suffix in OPTIMIZERS[config.optimizer].buffers.values()
        for name, shape in shapes.items()
    }
    found = _wrong(checkpoint.velocity, {} if kept else buffers)
    if not (kept and best and not checkpoint.weights):
        found = found or _wrong(checkpoint.weights, shapes)
    if best or config.stop_on is not None:
        found = found or _wrong(best, {BEST + name: shape for name, shape in shapes.items()})
    others = {n: t for n, t in checkpoint.extra.items() if n not in best}
    needed = ["diverged_at", *(_EARLY if config.stop_on is not None else ())]
    if "largest_gradient" in others:
        needed.append("largest_gradient_at")
    if missing := [name for name in needed if name not in others]:
        return f"{missing[0]}: missing"
    return found or _wrong_numbers(others, networks, epoch) or _wrong_states(checkpoint, config)


def _wrong(tensors: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    for name in [*shapes, *(tensors.keys() - shapes.keys())]:
        if name not in tensors or name not in shapes:
            return f"{name}: {'missing' if name in shapes else 'not of this network'}"
        if not _is_plain(tensors[name], _WEIGHTS) or tuple(tensors[name].shape) != shapes[name]:
            return f"{name}: expected numbers {shapes[name]}"
    return None


def _is_plain(tensor: Any, dtypes: set[torch.dtype]) -> bool:
    if not isinstance(tensor, Tensor) or tensor.dtype not in dtypes:
        return False
    if tensor.layout != torch.strided or not tensor.is_cpu:
        return False
    # every number has a place of its own
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    apart = all(step > 0 for size, step in steps if size > 1)
    return apart and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.itemsize


def _wrong_numbers(numbers: Mapping[str, Any], networks: int, epoch: int) -> str | None:
    for name, values in numbers.items():
        expected = _DTYPES.get(name)
        if not _is_plain(values, {expected} if expected else _NUMBERS):
            return f"{name}: expected {expected or 'numbers'}"
        if values.shape != (networks,):
            return f"{name}: expected one number for each of {networks} networks"
        if name in _EPOCHS and networks and not -1 <= values.min() <= values.max() <= epoch:
            return f"{name}: expected epochs up to {epoch}, or -1"
    return None


def _wrong_states(checkpoint: Checkpoint, config: TrainConfig) -> str | None:
    """Of the random generators, as JSON; none where there is nothing to go on with."""
    expected = f"generators: expected PCG64's states of {config.networks} networks"
    try:
        states = json.loads(checkpoint.generators)
        if not checkpoint.velocity:
            return None if states == [] else expected
        if len(states) != config.networks:
            return expected
        for state in states:
            words = [(state["state"][name], bits) for name, bits in _STATE_BITS.items()]
            words += [(state["has_uint32"], 1), (state["uinteger"], 32)]
            fits = all(isinstance(word, int) and 0 <= word < 1 << bits for word, bits in words)
            if state["bit_generator"] != "PCG64" or not fits:
                return expected
    except (ValueError, TypeError, LookupError, RecursionError):
        return expected
    return None
