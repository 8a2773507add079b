"""`cwrnn bench handwriting`: seconds per epoch, ours and torch.nn's on the same lines, in turns.

Each point takes some batches of lines, the same for everybody: forward pass of a bidirectional
network, CTC, backward pass, Nesterov step. Ours is the compiled loop that `cwrnn train` takes, and
beside it what it takes elsewhere: our compiled layers under autograd. torch.nn gets its own SGD,
and the lines packed, or padded: that is faster, but its backward direction begins in the padding.
The median over the rounds, scaled up to an epoch. torch.nn has no CW-RNN: beside one stands
torch.nn.RNN of its width.
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
from ...help import Command, section
from ...kernels.numba.threads import run_all
from ...models import CELLS, LSTMSpec
from ...option import COUNT, REPEATS, SECONDS
from ...paper import IAMONDB
from ...reporting.benchmarks import machine_text
from ...reporting.page import cell_name
from ...reporting.tables import table
from ...training.config import TrainConfig
from ...training.configure import configure
from .data import Batch, IamondbData, batch_of, buckets, ctc, load
from .engines import LAYOUTS, CompiledEngine, CtcEngine

OURS, AUTOGRAD = "cwrnn", "cwrnn by autograd"
PACKED, PADDED = "torch.nn", "torch.nn padded"
MOMENTUM = 0.9

Update = Callable[[Batch], None]


def _compiled(
    config: TrainConfig, data: IamondbData, chosen: list[np.ndarray]
) -> Callable[[], None]:
    engine = CompiledEngine(config, data)
    rates, momenta = np.full(len(chosen), config.lr), np.full(len(chosen), MOMENTUM)

    def call() -> None:  # in a thread of the pool, as in training
        run_all(engine.learn, [(0, chosen, rates, momenta)], 1)

    return call


def _autograd(config: TrainConfig, data: IamondbData) -> Update:
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
    lines: int = IAMONDB.batch,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the paper's cells.

    Args:
        data: the lines.
        sizes: parameters.
        batches: of each point and round.
        repeats: rounds per point at the most.
        seconds: per size, about.
        lines: of an update.
        tick: called after each size.

    Returns:
        The JSON of `cwrnn bench handwriting`: machine, peak_gflops, data, standin, batches (of a
        round), share (of an epoch's steps that they have), lines, rows.
    """
    lengths = np.diff(data.train.offsets)
    targets = [data.encode(text) for text in data.train.text or []]
    rng = np.random.default_rng(0)
    every = buckets(rng, lengths, lines, rng.permutation(-(-len(lengths) // lines)))
    chosen = every[:batches]
    work = [batch_of(data.train, targets, [own]) for own in chosen]
    share = int(lengths[np.concatenate(chosen)].sum()) / int(lengths.sum())  # of an epoch
    rows = []
    for params in sizes:
        trainees: dict[tuple[str, str], Callable[[], None]] = {}
        for cell in CELLS.values():
            config = configure(data, cell.name, params, "--sizes", batch=lines)
            if cell in LAYOUTS:
                trainees[cell.name, OURS] = _compiled(config, data, chosen)
            trainees[cell.name, AUTOGRAD] = _over(work, _autograd(config, data))
            trainees[cell.name, PACKED] = _over(work, _torchs(config, True))
            trainees[cell.name, PADDED] = _over(work, _torchs(config, False))
        times = machine.alternate(
            {" by ".join(key): update for key, update in trainees.items()}, 1, repeats, seconds
        )
        rounds = {key: machine.spread(times[" by ".join(key)]) for key in trainees}
        measured = {key: found["ms"] / 1e3 / share for key, found in rounds.items()}
        for (model, by), value in measured.items():
            row = {"params": params, "model": model, "by": by, "s_per_epoch": value}
            row["ms_per_update"] = rounds[model, by]["ms"] / len(chosen)
            row["autograd_over_this"] = measured[model, AUTOGRAD] / value
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
        "lines": lines,
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
            *(f"{row[key]:.2f}" for key in ("ms_per_update", "autograd_over_this") if key in row),
            f"{row['torch_lstm_over_this']:.2f}",
            f"{row['padded_torch_lstm_over_this']:.2f}",
        ]
        for row in result["rows"]
    ]
    lines = result.get("lines", IAMONDB.batch)
    ours: tuple[str, ...] = ()
    what = f"batches of {lines} lines"
    if "ms_per_update" in result["rows"][0]:  # results of before have no compiled loop
        ours = ("ms per update", "autograd / this")
        what = f"{lines} lines per update; {OURS} itself takes one thread"
    header = ("parameters", "by", "s per epoch", *ours, "torch.nn.LSTM / this", "padded / this")
    return (
        f"{machine_text(result)}\ndata: {result['data']}; training only, {what}\n"
        f"{table(header, rows)}"
    )


@click.command(
    cls=Command, examples=[("one size", "cwrnn bench handwriting --sizes 100000 --seconds 60")]
)
@section("Measurement")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DATA_FOLDER / "iamondb.h5",
    show_default=True,
    help="Prepared HDF5 file.",
)
@click.option("--sizes", help="Parameters.  [default: Table 1's]")
@click.option(
    "--batches", type=COUNT, default=24, show_default=True, help="Of lines, per point and round."
)
@click.option("--lines", type=COUNT, default=IAMONDB.batch, show_default=True, help="Per update.")
@click.option(
    "--repeats", type=REPEATS, default=5, show_default=True, help="Rounds per point at the most."
)
@click.option("--seconds", type=SECONDS, default=600.0, show_default=True, help="Per size, about.")
@section("Output")
@out_option
@json_option
def command(
    data: Path,
    sizes: str | None,
    batches: int,
    lines: int,
    repeats: int,
    seconds: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Task 3's training against autograd and torch.nn, on packed and padded lines."""
    chosen = numbers_or(tuple(sorted(IAMONDB.hidden_sizes)), sizes, "--sizes")
    corpus = load(data)
    settings: dict[str, Any] = {
        "sizes": chosen,
        "batches": batches,
        "lines": lines,
        "repeats": repeats,
        "seconds": seconds,
    }
    with kept(out, settings, corpus) as folder:
        bar = progress_bar(len(chosen), "handwriting", unit="size")
        result = run(corpus, **settings, tick=lambda: bar.update(1))
        bar.close()
        show(result, text(result), as_json, folder)
