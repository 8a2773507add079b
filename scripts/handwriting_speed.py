"""Task 3: seconds per training epoch, ours and torch.nn's doing the same work, in turns in one run.

    python scripts/handwriting_speed.py --data data/iamondb.h5 --out results/iamondb/speed.json

Each point takes some batches of 8 lines, the same for everybody: forward pass of a bidirectional
network, CTC, backward pass, Nesterov step. torch.nn gets its own SGD, and the lines packed, or
padded: that is faster, but its backward direction begins in the padding. The median over the
rounds, scaled up to an epoch. torch.nn has no CW-RNN: beside one stands torch.nn.RNN of its width.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

sys.path.insert(0, str(Path(__file__).parents[1]))

from cwrnn_cli.benchmarks.machine import describe
from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.paper import HANDWRITING, MODEL_NAMES, MODELS
from cwrnn_cli.reporting.tables import table
from cwrnn_cli.tasks import handwriting
from cwrnn_cli.training.autograd import nesterov
from cwrnn_cli.training.configure import configure
from data_prep.files import write_text

PACKED, PADDED = "torch.nn", "torch.nn padded"


class Ours:
    def __init__(self, config: Any) -> None:
        self.ensemble = Ensemble(config.shape, 1)
        self.ensemble.draw(config.generators()[:1], config.weight_std)
        self.velocity = {n: torch.zeros_like(w) for n, w in self.ensemble.named_parameters()}
        self.rates = torch.full((1,), config.lr)

    def update(self, batch: handwriting.Batch) -> None:
        self.ensemble.zero_grad()
        logits = self.ensemble(batch.x, lengths=batch.lengths)
        (handwriting.ctc(logits, batch).sum() / batch.lengths.shape[1]).backward()
        nesterov(self.ensemble, self.velocity, self.rates, 0.9)


class Torchs:
    def __init__(self, config: Any, packed: bool) -> None:
        self.packed = packed
        kind = nn.LSTM if config.model == "lstm" else nn.RNN
        self.layer = kind(4, config.hidden_size, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * config.hidden_size, config.output_size)
        weights = [*self.layer.parameters(), *self.out.parameters()]
        self.optimiser = torch.optim.SGD(weights, config.lr, momentum=0.9, nesterov=True)

    def update(self, batch: handwriting.Batch) -> None:
        self.optimiser.zero_grad()
        if self.packed:
            packed = pack_padded_sequence(batch.x[0], batch.lengths[0], True, enforce_sorted=False)
            y, _ = pad_packed_sequence(self.layer(packed)[0], True)
        else:
            y, _ = self.layer(batch.x[0])
        (handwriting.ctc(self.out(y)[None], batch).sum() / batch.lengths.shape[1]).backward()
        self.optimiser.step()


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--batches", default=24, help="Of each point and round.")
@click.option("--rounds", default=5)
def main(data: Path, out: Path, batches: int, rounds: int) -> None:
    lines = handwriting.load(data)
    lengths = np.diff(lines.train.offsets)
    targets = [lines.encode(text) for text in lines.train.text or []]
    rng = np.random.default_rng(0)
    count = -(-len(lengths) // HANDWRITING.batch)
    chosen = handwriting.buckets(rng, lengths, HANDWRITING.batch, rng.permutation(count))[:batches]
    work = [handwriting.batch_of(lines.train, targets, [own]) for own in chosen]
    share = int(lengths[np.concatenate(chosen)].sum()) / int(lengths.sum())  # of an epoch
    rows = []
    for params in sorted(HANDWRITING.hidden_sizes):
        pairs = []
        for model in MODELS:
            config = configure(lines, model, params)
            pairs.append((model, "cwrnn", Ours(config)))
            pairs += [(model, PACKED, Torchs(config, True)), (model, PADDED, Torchs(config, False))]
        times: list[list[float]] = [[] for _ in pairs]
        for _ in range(rounds + 1):
            for (_, _, trainee), taken in zip(pairs, times, strict=True):
                start = time.perf_counter()
                for batch in work:
                    trainee.update(batch)
                taken.append((time.perf_counter() - start) / share)
        seconds = [float(np.median(taken[1:])) for taken in times]  # the first round compiles
        lstm = {by: s for (model, by, _), s in zip(pairs, seconds, strict=True) if model == "lstm"}
        for (model, who, _), value in zip(pairs, seconds, strict=True):
            rows.append(
                {"params": params, "model": model, "by": who, "s_per_epoch": value}
                | {"torch_lstm_over_this": lstm[PACKED] / value}
                | {"padded_torch_lstm_over_this": lstm[PADDED] / value}
            )
    result = {"machine": describe(), "data": lines.source, "batches": batches, "rows": rows}
    result["threads"] = os.cpu_count()
    write_text(out, json.dumps(result, indent=1) + "\n")
    header = ("parameters", "by", "s per epoch", "torch.nn.LSTM / this", "padded / this")
    cells = [
        [
            f"{r['params']} {MODEL_NAMES[r['model']]}",
            r["by"],
            f"{r['s_per_epoch']:.1f}",
            f"{r['torch_lstm_over_this']:.2f}",
            f"{r['padded_torch_lstm_over_this']:.2f}",
        ]
        for r in rows
    ]
    text = f"data: {lines.source}; training only, batches of 8 lines\n{table(header, cells)}"
    write_text(out.with_suffix(".txt"), text + "\n")
    print(text)


if __name__ == "__main__":
    main()
