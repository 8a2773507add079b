"""`cwrnn bench handwriting`: seconds per epoch, ours and torch.nn's on the same lines, in turns.

Each point takes some batches of lines, the same for everybody: forward pass of a bidirectional
network, CTC, backward pass, Nesterov step. torch.nn gets its own SGD, and the lines packed, or
padded: that is faster, but its backward direction begins in the padding. The median over the
rounds, scaled up to an epoch. torch.nn has no CW-RNN: beside one stands torch.nn.RNN of its width.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ...benchmarks import machine
from ...benchmarks.options import kept, numbers_or, out_option, show
from ...console import DATA_FOLDER, json_option, progress_bar
from ...models import CELLS, LSTMSpec
from ...option import at_least
from ...paper import IAMONDB
from ...reporting.benchmarks import machine_text
from ...reporting.page import cell_name
from ...reporting.tables import table
from ...training.config import TrainConfig
from ...training.configure import configure
from .data import Batch, IamondbData, batch_of, buckets, ctc, load
from .engines import CtcEngine

OURS, PACKED, PADDED = "cwrnn", "torch.nn", "torch.nn padded"
MOMENTUM = 0.9

Update = Callable[[Batch], None]


def _ours(config: TrainConfig, data: IamondbData) -> Update:
    chosen = CtcEngine(config, data).select(np.array([0]))

    def update(batch: Batch) -> None:
        chosen.networks.zero_grad()
        logits = chosen.networks(batch.x, lengths=batch.lengths)
        (ctc(logits, batch).sum() / batch.lengths.shape[1]).backward()  # type: ignore[no-untyped-call]
        chosen.step(config.lr, MOMENTUM)

    return update


def _torchs(config: TrainConfig, packed: bool) -> Update:
    n = config.hidden_size
    kind: Any = config.cell.peer or nn.RNN
    layer = kind(config.input_size, n, batch_first=True, bidirectional=True)
    readout = nn.Linear(2 * n, config.output_size)
    weights = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.SGD(weights, config.lr, momentum=MOMENTUM, nesterov=True)

    def update(batch: Batch) -> None:
        optimiser.zero_grad()
        x, lengths = batch.x[0], batch.lengths[0]
        if packed:
            lines = pack_padded_sequence(x, lengths, True, enforce_sorted=False)
            y, _ = pad_packed_sequence(layer(lines)[0], True)
        else:
            y, _ = layer(x)
        (ctc(readout(y)[None], batch).sum() / len(lengths)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return update


def run(
    data: IamondbData,
    sizes: tuple[int, ...],
    batches: int = 24,
    repeats: int = 5,
    seconds: float = 600.0,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the paper's cells.

    Args:
        data: the lines.
        sizes: parameters.
        batches: of each point and round.
        repeats: rounds per point at the most.
        seconds: per size, about.
        tick: called after each size.

    Returns:
        The JSON of `cwrnn bench handwriting`: machine, peak_gflops, data, standin, batches (of a
        round), share (of an epoch's steps that they have), lines, rows.
    """
    lengths = np.diff(data.train.offsets)
    targets = [data.encode(text) for text in data.train.text or []]
    rng = np.random.default_rng(0)
    every = buckets(rng, lengths, IAMONDB.batch, rng.permutation(-(-len(lengths) // IAMONDB.batch)))
    chosen = every[:batches]
    work = [batch_of(data.train, targets, [own]) for own in chosen]
    share = int(lengths[np.concatenate(chosen)].sum()) / int(lengths.sum())  # of an epoch
    rows = []
    for params in sizes:
        trainees: dict[tuple[str, str], Update] = {}
        for cell in CELLS.values():
            config = configure(data, cell.name, params, "--sizes")
            trainees[cell.name, OURS] = _ours(config, data)
            trainees[cell.name, PACKED] = _torchs(config, True)
            trainees[cell.name, PADDED] = _torchs(config, False)
        times = machine.alternate(
            {" by ".join(key): _over(work, update) for key, update in trainees.items()},
            repeats,
            seconds,
        )
        rounds = {key: machine.spread(times[" by ".join(key)]) for key in trainees}
        measured = {key: found["ms"] / 1e3 / share for key, found in rounds.items()}
        for (model, by), value in measured.items():
            row = {"params": params, "model": model, "by": by, "s_per_epoch": value}
            row["torch_lstm_over_this"] = measured[LSTMSpec.name, PACKED] / value
            row["padded_torch_lstm_over_this"] = measured[LSTMSpec.name, PADDED] / value
            rows.append(row | {"rounds_ms": rounds[model, by]["rounds_ms"]})
        tick()
    return {
        "machine": machine.describe(),
        "peak_gflops": machine.peak_gflops(),
        "data": data.source,
        "standin": data.standin,
        "batches": len(chosen),
        "share": share,
        "lines": IAMONDB.batch,
        "rows": rows,
    }


def _over(work: list[Batch], update: Update) -> Callable[[], None]:
    def call() -> None:
        for batch in work:
            update(batch)

    return call


def text(result: Mapping[str, Any]) -> str:
    """A row per network and who computes it."""
    rows = [
        [
            cell_name((row["model"], row["params"])),
            row["by"],
            f"{row['s_per_epoch']:.1f}",
            f"{row['torch_lstm_over_this']:.2f}",
            f"{row['padded_torch_lstm_over_this']:.2f}",
        ]
        for row in result["rows"]
    ]
    header = ("parameters", "by", "s per epoch", "torch.nn.LSTM / this", "padded / this")
    return (
        f"{machine_text(result)}\ndata: {result['data']}; training only, batches of "
        f"{result.get('lines', IAMONDB.batch)} lines\n{table(header, rows)}"
    )


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DATA_FOLDER / "iamondb.h5",
    show_default=True,
    help="Prepared HDF5 file.",
)
@click.option("--sizes", help="Parameters.  [default: Table 1's]")
@click.option("--batches", default=24, show_default=True, help="Of lines, per point and round.")
@click.option("--repeats", default=5, show_default=True, help="Rounds per point at the most.")
@click.option("--seconds", default=600.0, show_default=True, help="Per size, about.")
@out_option
@json_option
def command(
    data: Path,
    sizes: str | None,
    batches: int,
    repeats: int,
    seconds: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Task 3's training, batches of 8 lines, against torch.nn on packed and padded lines."""
    at_least("--batches", batches, 1)
    at_least("--repeats", repeats, 1)
    at_least("--seconds", seconds, 0)
    chosen = numbers_or(tuple(sorted(IAMONDB.hidden_sizes)), sizes, "--sizes")
    lines = load(data)
    settings: dict[str, Any] = {
        "sizes": chosen,
        "batches": batches,
        "repeats": repeats,
        "seconds": seconds,
    }
    with kept(out, settings, lines) as folder:
        bar = progress_bar(len(chosen), "handwriting", unit="size")
        result = run(lines, **settings, tick=lambda: bar.update(1))
        bar.close()
        show(result, text(result), as_json, folder)
