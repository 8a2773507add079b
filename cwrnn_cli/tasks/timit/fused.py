"""A third way to do the epochs of task 2: all networks' in one launch of a kernel on a GPU."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ...kernels.triton import train_classifier
from ...kernels.triton.sizes import OUTPUTS, Epoch, Sizes
from ...models import ClockworkSpec, LSTMSpec, SRNSpec
from ...models.cell import CellSpec
from ...models.clocked import ClockedSpec
from ...models.ensemble import Ensemble, Shape
from ...training.engine import TrainState, Weights, restore, states_of
from .engines import Learning, logits_of

# a cell that is not here is trained by autograd
FUSED: dict[type[CellSpec], Epoch] = {
    ClockworkSpec: train_classifier.CLOCKWORK,
    SRNSpec: train_classifier.CLOCKWORK,
    LSTMSpec: train_classifier.LSTM,
}
_NEVER = 1 << 30  # a period that no sequence is long enough for
# a, b, s of what an LSTM's cells are squashed by, a + b tanh(s c)
_SQUASHES = {"tanh": (0.0, 1.0, 1.0), "2tanh": (0.0, 2.0, 1.0), "sigmoid": (0.5, 0.5, 0.5)}


def unsupported(shape: Shape, learning: Learning) -> str | None:
    """Why no kernel trains networks of a shape, or None: one does."""
    cell = shape.cell
    epoch = FUSED.get(type(cell))
    if epoch is None:
        return f"there is no kernel for the cell {cell.name}"
    if cell.hidden_size > epoch.units:
        return f"{cell.hidden_size} units, more than {epoch.units}, do not fit on chip"
    if shape.output_size > max(OUTPUTS):
        return f"it has at most {max(OUTPUTS)} outputs, not {shape.output_size}"
    if learning.batch != 1:
        return f"it learns one sequence per update, not {learning.batch}"
    if shape.bidirectional or getattr(cell, "nonlinearity", "tanh") != "tanh":
        return "it is for one direction and tanh"
    if isinstance(cell, ClockedSpec) and (cell.clock.offsets or not cell.in_loops):
        return "it has no offsets, one mask, and reads samples"
    return None


class FusedEngine:
    """An epoch in one launch, one network per program; float32 on a GPU.

    In Triton's interpreter also on the CPU, in float32 or float64. The order of the sequences is
    drawn as by the other engines, and behind it the key of the epoch's noise, which the kernel
    makes itself: of the same distribution, but other numbers than on the CPU.

    Args:
        ensemble: R networks that are not :func:`unsupported`; their weights are the start.
        words: the training set.
        noise: standard deviation of the noise.
        generators: one per network, on which training goes on drawing.
        learning: what the protocol leaves open, one sequence per update.

    Attributes:
        gradient_lengths: see :class:`.Engine`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        words: Split,
        noise: float,
        generators: list[np.random.Generator],
        learning: Learning | None = None,
    ) -> None:
        self._ensemble, self._words, self._noise = ensemble, words, noise
        self._learning = learning or Learning()
        self._generators = generators
        self._like = like = ensemble.weight_hh.detach()
        shape, cell = ensemble.shape, ensemble.shape.cell
        self._epoch = FUSED[type(cell)]
        steps = int(np.diff(words.offsets).max())
        units, outputs = cell.hidden_size, shape.output_size
        self._sizes = Sizes.of(self._epoch, units, shape.input_size, outputs, steps)
        self._theta = self._pack(dict(ensemble.named_parameters()))  # (R, stride)
        self._velocity = torch.zeros_like(self._theta)
        self._scratch = like.new_empty(ensemble.networks, self._sizes.room)
        self.gradient_lengths = np.zeros((1, ensemble.networks))
        assert words.labels is not None
        clip = self._learning.delta_clip
        squash = _SQUASHES[cell.cell_output] if isinstance(cell, LSTMSpec) else (0.0, 1.0, 1.0)
        self._arguments = {
            "frames": torch.from_numpy(words.frames).to(like.device, torch.float32).contiguous(),
            "offsets": self._int32(words.offsets),
            "labels": self._int32(words.labels),
            "settings": like.new_tensor([np.inf if clip is None else clip, *squash]),
            "features": shape.input_size,
            "classes": outputs,
            "sequences": len(words),
            "every": int(self._learning.loss_at == "every"),
            "noise": float(noise),
        } | self._own(cell)

    def _own(self, cell: CellSpec) -> dict[str, Tensor | int]:
        """Arguments of the cell's kernel only."""
        if isinstance(cell, LSTMSpec):
            return {"cells": cell.hidden_size, "peepholes": int(cell.peepholes)}
        assert isinstance(cell, ClockedSpec)
        periods = np.full(self._sizes.N, _NEVER)
        periods[: cell.hidden_size] = np.minimum(cell.clock.unit_periods, _NEVER)
        return {"periods": self._int32(periods), "origin": cell.origin}

    def _int32(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int32)).to(self._like.device)

    def _parts(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of the padded parts of (R, stride), and of what is no padding, by their names.

        In each the axes of one gate's units and of the gates are apart, the units before the gates.
        """
        sizes, shape, first = self._sizes, self._ensemble.shape, 0
        n, m, outputs = shape.cell.hidden_size, shape.input_size, shape.output_size
        found = {}
        for name, size in sizes.parts.items():
            count = int(np.prod(size))
            found[name] = theta[:, first : first + count].view(len(theta), *size)
            first += count
        return {
            "weight_hh": found["weight_hh"][:, :n, :, :n].transpose(1, 2),  # (R, G, n, n)
            "weight_ih": found["weight_x"][:, :m, :n].permute(0, 3, 2, 1),  # (R, G, n, m)
            "bias": found["weight_x"][:, m, :n].transpose(1, 2),  # (R, G, n)
            "weight_out": found["weight_out"][:, :outputs, :n],
            "bias_out": found["bias_out"][:, :outputs],
            "weight_peephole": found["peephole"][:, :, :n],
        }

    @torch.no_grad()
    def _pack(self, state: Mapping[str, Tensor]) -> Tensor:
        """(R, stride) from weights, or what is kept beside each of them, by their names."""
        cell, some = self._ensemble.shape.cell, state["weight_hh"]
        theta = self._like.new_zeros(len(some), self._sizes.stride)
        parts = self._parts(theta)
        for name, weight in state.items():
            parts[name].copy_(weight.reshape(parts[name].shape))
        if isinstance(cell, ClockedSpec):
            forbidden = torch.from_numpy(~cell.clock.mask()).to(theta.device)
            parts["weight_hh"].masked_fill_(forbidden, 0)
        return theta

    def _unpack(self, theta: Tensor) -> Weights:
        """The reverse of :meth:`_pack`."""
        parts, shapes = self._parts(theta), self._ensemble.shape.weights()
        return {n: parts[n].reshape(len(theta), *size).clone() for n, size in shapes.items()}

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; one epoch."""
        count, device = len(active), self._like.device
        orders, seeds = [], []
        for r in active:
            orders.append(self._generators[r].permutation(len(self._words)))
            seeds.append(int(self._generators[r].integers(1 << 63)))
        each = np.broadcast_to(rates.T, (count, len(momenta)))
        losses, lengths = torch.zeros(2, count, dtype=torch.float64, device=device)
        # Triton launches on the current device
        with torch.cuda.device_of(self._theta):  # type: ignore[no-untyped-call]
            train_classifier.launch(
                self._epoch,
                self._sizes,
                order=self._int32(np.stack(orders)),
                seeds=torch.tensor(seeds, device=device),
                members=self._int32(active),
                rates=torch.from_numpy(each.copy()).to(self._like),
                momenta=torch.from_numpy(momenta).to(self._like),
                theta=self._theta,
                velocity=self._velocity,
                scratch=self._scratch,
                losses=losses,
                lengths=lengths,
                **self._arguments,
            )
        self.gradient_lengths = lengths.cpu().numpy()[None]
        mean: np.ndarray = losses.cpu().numpy() / len(self._words)
        return mean[None]

    def logits(self, active: np.ndarray, split: Split) -> np.ndarray:
        """See :class:`.WordsEngine`."""
        self._ensemble.load_state_dict(self._unpack(self._theta))
        return logits_of(self._ensemble, active, split)

    def weights(self) -> Weights:
        """See :class:`.Engine`."""
        return {name: weight.cpu() for name, weight in self._unpack(self._theta).items()}

    def state(self) -> TrainState:
        """See :class:`.Engine`."""
        velocity = {name: v.cpu() for name, v in self._unpack(self._velocity).items()}
        return TrainState(self.weights(), velocity, states_of(self._generators))

    def load(self, state: TrainState) -> None:
        """See :class:`.Engine`."""
        self._theta = self._pack(state.weights)
        self._velocity = self._pack(state.velocity)
        restore(self._generators, state.generators)
