"""Training of task 3: CTC over batches of lines, stopped by the validation set (Section 4.3)."""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.store import Split

from ..models.ensemble import Ensemble
from ..tasks import handwriting
from . import distributed
from .audio_engines import nesterov
from .config import TrainConfig
from .folder import Checkpoint
from .words import BEST

_ORDER_KEY = 1 << 31  # of the seed's child that orders the batches; above any network's
_EVALUATION_BATCH = 64


class HandwritingTrainer:
    """See :class:`cwrnn_cli.training.loop.Trainer`.

    A network stops once its character error rate on the validation set (best path) has not been
    lower than before for ``config.patience`` epochs; the weights at its lowest are what it is
    judged by. The test set is not looked at. The loss of an update is the sum over its lines of
    -log p.

    Under torchrun every process takes its part of each batch's lines, and gradients are summed.

    Args:
        config: of the run.
        data: the lines.
    """

    def __init__(self, config: TrainConfig, data: handwriting.LinesData) -> None:
        self.config, self.data = config, data
        self.epoch = 0
        self._generators = config.generators()
        ensemble = Ensemble(config.shape, config.networks)
        ensemble.draw(self._generators, config.weight_std, config.forget_bias)
        self._ensemble = ensemble.to(config.device)
        self._velocity = {n: torch.zeros_like(w) for n, w in ensemble.named_parameters()}
        self._best_weights = self._weights()
        self._lowest = np.full(config.networks, np.inf)
        self._best_epoch = np.zeros(config.networks, np.int64)
        self._stopped_at = np.full(config.networks, -1, np.int64)
        self._diverged_at = np.full(config.networks, -1, np.int64)
        self._targets = [data.encode(text) for text in data.train.text or []]
        self._lengths = np.diff(data.train.offsets)
        self._updates = -(-len(data.train) // config.batch)

    @property
    def finished(self) -> bool:
        """Whether all networks have stopped, or all epochs are done."""
        return self.epoch >= self.config.epochs or not (self._stopped_at < 0).any()

    def _weights(self) -> dict[str, Tensor]:
        return {n: w.detach().cpu().clone() for n, w in self._ensemble.named_parameters()}

    def advance(self) -> dict[str, Any]:
        """One epoch of the networks that have not stopped, and the validation set."""
        active = np.flatnonzero(self._stopped_at < 0)
        loss = self._train(active)
        self.epoch += 1
        error = np.array(
            [character_errors(self._ensemble, int(r), self.data, self.data.valid) for r in active]
        )
        diverged = active[~np.isfinite(loss)]
        self._diverged_at[diverged] = self.epoch
        better = (error < self._lowest[active]) & np.isfinite(loss)
        weights = self._weights()
        for r in active[better]:
            for name, weight in weights.items():
                self._best_weights[name][r] = weight[r]
        self._lowest[active[better]] = error[better]
        self._best_epoch[active[better]] = self.epoch
        assert self.config.patience is not None
        tired = active[self.epoch - self._best_epoch[active] >= self.config.patience]
        self._stopped_at[tired] = self.epoch
        self._stopped_at[diverged] = self.epoch
        return {
            "epoch": self.epoch,
            "active": int((self._stopped_at < 0).sum()),
            "ctc": [float(value) for value in loss],
            "valid_cer": [float(value) for value in error],
            "best_valid_cer": float(self._lowest.min()),
            "diverged": int((self._diverged_at >= 0).sum()),
        }

    def _train(self, active: np.ndarray) -> np.ndarray:
        """(A,) mean -log p of a line, each before its update."""
        config, members = self.config, torch.from_numpy(active)
        seeds = np.random.SeedSequence(config.seed, spawn_key=(_ORDER_KEY, self.epoch))
        order = np.random.default_rng(seeds).permutation(self._updates)
        mine = [
            handwriting.buckets(self._generators[r], self._lengths, config.batch, order)
            for r in active
        ]
        part = member_part(self._ensemble, members)
        velocity = {name: buffer[members] for name, buffer in self._velocity.items()}
        rates = part.weight_hh.new_full((len(active),), config.lr)
        momenta = config.momenta(self.epoch * self._updates, self._updates).tolist()
        total = torch.zeros(len(active), dtype=torch.float64, device=rates.device)
        for update, momentum in enumerate(momenta):
            part.zero_grad()
            chosen = [distributed.own_part(batches[update]) for batches in mine]
            if len(chosen[0]):
                batch = handwriting.batch_of(self.data.train, self._targets, chosen)
                lengths = batch.lengths.to(rates.device)
                logits = part(batch.x.to(rates.device), lengths=lengths)
                loss = handwriting.ctc(logits, batch).sum(dim=1)
                loss.sum().backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            distributed.sum_gradients(part)
            nesterov(part, velocity, rates, momentum)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                self._ensemble.get_parameter(name)[members] = weight
                self._velocity[name][members] = velocity[name]
        distributed.sum_all(total)
        mean: np.ndarray = (total / len(self.data.train)).cpu().numpy()
        return mean

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        extra = {
            "lowest": self._lowest,
            "best_epoch": self._best_epoch,
            "stopped_at": self._stopped_at,
            "diverged_at": self._diverged_at,
        }
        return Checkpoint(
            self.epoch,
            self._weights(),
            {name: buffer.cpu().clone() for name, buffer in self._velocity.items()},
            json.dumps([generator.bit_generator.state for generator in self._generators]),
            {name: torch.from_numpy(values.copy()) for name, values in extra.items()}
            | {BEST + name: weight.clone() for name, weight in self._best_weights.items()},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from an earlier state."""
        self.epoch = checkpoint.epoch
        for generator, state in zip(
            self._generators, json.loads(checkpoint.generators), strict=True
        ):
            generator.bit_generator.state = state
        extra = checkpoint.extra
        self._lowest = extra["lowest"].numpy()
        self._best_epoch = extra["best_epoch"].numpy()
        self._stopped_at = extra["stopped_at"].numpy()
        self._diverged_at = extra["diverged_at"].numpy()
        self._best_weights = {name: extra[BEST + name] for name in self._best_weights}
        self._ensemble.load_state_dict(checkpoint.weights)
        for name, buffer in self._velocity.items():
            buffer.copy_(checkpoint.velocity[name])


def member_part(ensemble: Ensemble, members: Tensor) -> Ensemble:
    """A copy of some networks of an ensemble."""
    like = ensemble.weight_hh
    part = Ensemble(ensemble.shape, len(members), like.device, like.dtype)
    part.load_state_dict({n: w[members.to(w.device)] for n, w in ensemble.state_dict().items()})
    return part


@torch.no_grad()
def transcripts(
    ensemble: Ensemble, network: int, data: handwriting.LinesData, split: Split
) -> list[str]:
    """What a network writes for each line of a split, by best path; on all processes the same."""
    part = member_part(ensemble, torch.tensor([network]))
    device = part.weight_hh.device
    order = np.argsort(np.diff(split.offsets), kind="stable")
    written = [""] * len(split)
    nothing: list[list[int]] = [[]] * len(split)
    for first in range(0, len(order), _EVALUATION_BATCH):
        chosen = distributed.own_part(order[first : first + _EVALUATION_BATCH])
        if not len(chosen):
            continue
        batch = handwriting.batch_of(split, nothing, [chosen])
        logits = part(batch.x.to(device), lengths=batch.lengths.to(device))[0]
        for index, units in zip(
            chosen, handwriting.best_path(logits, batch.lengths[0]), strict=True
        ):
            written[index] = data.decode(units)
    return distributed.merged(written)


def character_errors(
    ensemble: Ensemble, network: int, data: handwriting.LinesData, split: Split
) -> float:
    """Character error rate of a network on a split, by best path."""
    return handwriting.error_rate(split.text or [], transcripts(ensemble, network, data, split))
