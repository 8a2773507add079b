"""The epochs of task 3: CTC over batches of lines, by autograd (Section 4.3)."""

from typing import Any

import numpy as np
import torch

from data_prep.store import Split

from ...models.ensemble import Ensemble
from ...training import distributed
from ...training.config import TrainConfig
from ...training.engine import AutogradEngine
from ...training.stopping import EarlyStop, Measured
from ...training.trainer import EnsembleTrainer
from .data import Decode, IamondbData, batch_of, best_path, buckets, ctc, error_rate

_ORDER_KEY = 1 << 31  # of the seed's child that orders the batches; above any network's
_EVALUATION_BATCH = 64


class CtcEngine(AutogradEngine):
    """Batches of lines of about the same length; every network its own.

    The loss of an update is the mean over its lines of -log p (docs/protocol.md). Under torchrun
    every process takes its part of each batch's lines, and torch's DistributedDataParallel brings
    their gradients together.

    Args:
        config: of the run.
        data: the lines.
    """

    def __init__(self, config: TrainConfig, data: IamondbData) -> None:
        super().__init__(*config.start(), config.optimizer)
        self.config, self.lines = config, data.train
        self._targets = [data.encode(text) for text in data.train.text or []]
        self._lengths = np.diff(data.train.offsets)

    def train(self, active: np.ndarray, rates: np.ndarray, momenta: np.ndarray) -> np.ndarray:
        """See :class:`.Engine`; one epoch."""
        config, count = self.config, len(momenta)
        epoch = self.updates // count
        seeds = np.random.SeedSequence(config.seed, spawn_key=(_ORDER_KEY, epoch))
        order = np.random.default_rng(seeds).permutation(count)
        mine = [buckets(self.generators[r], self._lengths, config.batch, order) for r in active]
        chosen = self.select(active)
        part = chosen.networks
        model = distributed.parallel(part)
        device = part.weight_hh.device
        total = torch.zeros(len(active), dtype=torch.float64, device=device)
        for update, (rate, momentum) in enumerate(
            zip(rates.tolist(), momenta.tolist(), strict=True)
        ):
            part.zero_grad()
            indices = [distributed.own_part(batches[update]) for batches in mine]
            idle = not len(indices[0])  # more processes than lines: one line all the same, for 0
            if idle:
                indices = [batches[update][:1] for batches in mine]
            batch = batch_of(self.lines, self._targets, indices)
            logits = model(
                batch.x.to(device), lengths=batch.lengths.to(device), delta_clip=config.delta_clip
            )
            loss = ctc(logits, batch).sum(dim=1) * (not idle)
            # the mean over all processes' lines of this batch
            share = distributed.processes() / len(mine[0][update])
            (loss.sum() * share).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            chosen.step(rate, momentum, config.clip)
        chosen.put_back()
        distributed.sum_all(total)
        mean: np.ndarray = (total / len(self.lines)).cpu().numpy()
        return mean[None]


@torch.no_grad()
def transcripts(
    ensemble: Ensemble,
    network: int,
    data: IamondbData,
    split: Split,
    decode: Decode = best_path,
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
        batch = batch_of(split, nothing, [chosen])
        logits = part(batch.x.to(device), lengths=batch.lengths.to(device))[0]
        for index, units in zip(chosen, decode(logits, batch.lengths[0]), strict=True):
            written[index] = data.decode(units)
    return distributed.merged(written)


def character_errors(ensemble: Ensemble, network: int, data: IamondbData, split: Split) -> float:
    """Character error rate of a network on a split, by best path."""
    return error_rate(split.text or [], transcripts(ensemble, network, data, split))


class IamondbTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    A network stops once its character error rate on the validation set (best path) has not been
    lower than before for ``config.patience`` epochs; the weights at its lowest are what it is
    evaluated by. The test set is not looked at.

    Args:
        config: of the run.
        data: the lines.
    """

    def __init__(self, config: TrainConfig, data: IamondbData) -> None:
        self.data, self._engine = data, CtcEngine(config, data)
        self._early = EarlyStop(config.networks, config.patience, self._engine.weights())
        updates = -(-len(data.train) // config.batch)
        super().__init__(config, self._engine, self._early, updates)

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """Error rates on the validation set."""
        error = np.array(
            [
                character_errors(self._engine.ensemble, int(r), self.data, self.data.valid)
                for r in active
            ]
        )
        line = {
            "ctc": losses[-1].tolist(),
            "largest_gradient": self._engine.gradient_lengths.max(axis=0).tolist(),
            "valid_cer": error.tolist(),
        }
        return Measured(error, ~np.isfinite(losses[-1]), line)

    def after_update(self) -> dict[str, Any]:
        """And the lowest error so far."""
        return {"best_valid_cer": float(self._early.lowest.min())} | super().after_update()
