"""Training of task 3: CTC over batches of lines, stopped by the validation set (Section 4.3)."""

import json
from typing import Any

import numpy as np
import torch

from data_prep.store import Split

from ..models.ensemble import Ensemble
from ..tasks import handwriting
from . import distributed
from .autograd import AutogradState, adam, gradient_norms, nesterov
from .config import TrainConfig
from .folder import Checkpoint
from .stopping import EarlyStop

_ORDER_KEY = 1 << 31  # of the seed's child that orders the batches; above any network's
_EVALUATION_BATCH = 64


class HandwritingTrainer:
    """See :class:`cwrnn_cli.training.loop.Trainer`.

    A network stops once its character error rate on the validation set (best path) has not been
    lower than before for ``config.patience`` epochs; the weights at its lowest are what it is
    judged by. The test set is not looked at. The loss of an update is the mean over its lines
    of -log p (docs/protocol.md).

    Under torchrun every process takes its part of each batch's lines, and torch's
    DistributedDataParallel brings their gradients together.

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
        self._now = AutogradState(ensemble.to(config.device), config.optimizer)
        self._stop = EarlyStop(config.networks, config.patience, self._now.weights())
        self._targets = [data.encode(text) for text in data.train.text or []]
        self._lengths = np.diff(data.train.offsets)
        self._updates = -(-len(data.train) // config.batch)

    @property
    def finished(self) -> bool:
        """Whether all networks have stopped, or all epochs are done."""
        return self.epoch >= self.config.epochs or not len(self._stop.active)

    def advance(self) -> dict[str, Any]:
        """One epoch of the networks that have not stopped, and the validation set."""
        active = self._stop.active
        loss, largest = self._train(active)
        self.epoch += 1
        error = np.array(
            [
                character_errors(self._now.ensemble, int(r), self.data, self.data.valid)
                for r in active
            ]
        )
        self._stop.update(self.epoch, active, error, ~np.isfinite(loss), self._now.weights())
        return {
            "epoch": self.epoch,
            "active": len(self._stop.active),
            "ctc": [float(value) for value in loss],
            "largest_gradient": [float(value) for value in largest],
            "valid_cer": [float(value) for value in error],
            "best_valid_cer": float(self._stop.lowest.min()),
            "diverged": int((self._stop.diverged_at >= 0).sum()),
        }

    def _train(self, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(A,) mean -log p of a line, each before its update; (A,) length of the longest gradient.

        The length is over all weights, before it is clipped.
        """
        config, members = self.config, torch.from_numpy(active)
        seeds = np.random.SeedSequence(config.seed, spawn_key=(_ORDER_KEY, self.epoch))
        order = np.random.default_rng(seeds).permutation(self._updates)
        mine = [
            handwriting.buckets(self._generators[r], self._lengths, config.batch, order)
            for r in active
        ]
        part, velocity = self._now.taken_out(members)
        model = distributed.parallel(part)
        ones = part.weight_hh.new_ones(len(active))
        before = self.epoch * self._updates
        momenta = config.momenta(before, self._updates).tolist()
        rates = config.rates(before, self._updates, config.epochs * self._updates).tolist()
        total, largest = torch.zeros_like(ones, dtype=torch.float64), torch.zeros_like(ones)
        for update, (rate, momentum) in enumerate(zip(rates, momenta, strict=True)):
            part.zero_grad()
            chosen = [distributed.own_part(batches[update]) for batches in mine]
            idle = not len(chosen[0])  # more processes than lines: one line all the same, for 0
            if idle:
                chosen = [batches[update][:1] for batches in mine]
            batch = handwriting.batch_of(self.data.train, self._targets, chosen)
            lengths = batch.lengths.to(ones.device)
            logits = model(batch.x.to(ones.device), lengths=lengths)
            loss = handwriting.ctc(logits, batch).sum(dim=1) * (not idle)
            # the mean over all processes' lines of this batch
            share = distributed.processes() / len(mine[0][update])
            (loss.sum() * share).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            largest = torch.maximum(largest, gradient_norms(part, config.clip))
            if config.optimizer == "adam":
                adam(part, velocity, rate, momentum, before + update)
            else:
                nesterov(part, velocity, rate * ones, momentum)
        self._now.put_back(members, part, velocity)
        distributed.sum_all(total)
        mean: np.ndarray = (total / len(self.data.train)).cpu().numpy()
        return mean, largest.cpu().numpy()

    def checkpoint(self) -> Checkpoint:
        """The state now."""
        return Checkpoint(
            self.epoch,
            self._now.weights(),
            self._now.velocity(),
            json.dumps([generator.bit_generator.state for generator in self._generators]),
            self._stop.state(),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from an earlier state."""
        self.epoch = checkpoint.epoch
        for generator, state in zip(
            self._generators, json.loads(checkpoint.generators), strict=True
        ):
            generator.bit_generator.state = state
        self._stop.restore(checkpoint.extra)
        self._now.restore(checkpoint.weights, checkpoint.velocity)


@torch.no_grad()
def transcripts(
    ensemble: Ensemble,
    network: int,
    data: handwriting.LinesData,
    split: Split,
    decode: handwriting.Decode = handwriting.best_path,
) -> list[str]:
    """What a network writes for each line of a split; on all processes the same."""
    part = ensemble.part(torch.tensor([network]))
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
        for index, units in zip(chosen, decode(logits, batch.lengths[0]), strict=True):
            written[index] = data.decode(units)
    return distributed.merged(written)


def character_errors(
    ensemble: Ensemble, network: int, data: handwriting.LinesData, split: Split
) -> float:
    """Character error rate of a network on a split, by best path."""
    return handwriting.error_rate(split.text or [], transcripts(ensemble, network, data, split))
