"""`cwrnn generate`: let a network play."""

from pathlib import Path

import click

from data_prep.errors import UserError

from .common import RUNS_FOLDER, say


@click.group()
def command() -> None:
    """Let a trained network play what it has learnt."""


@command.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="WAV file to write, with a PNG of the same name beside it.  [default: in the run folder]",
)
@click.option(
    "--sequence", type=int, default=1, show_default=True, help="Which sequence, counted from 1."
)
@click.option(
    "--seconds",
    type=float,
    help="How long to play; beyond what was learnt it runs on freely.  [default: as learnt]",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
def audio(
    run: Path | None, out: Path | None, sequence: int, seconds: float | None, data: Path | None
) -> None:
    """The wave that the best network of RUN (the newest unless named) learnt, as WAV and PNG."""
    from data_prep.audio import RATE  # noqa: PLC0415

    from ..reporting.figures import waves  # noqa: PLC0415
    from ..reporting.sound import write_wav  # noqa: PLC0415
    from ..reporting.tables import data_label  # noqa: PLC0415
    from ..tasks.audio import continue_network  # noqa: PLC0415
    from ..training.audio_results import evaluate  # noqa: PLC0415
    from ..training.folder import RunFolder, newest_run  # noqa: PLC0415

    folder = RunFolder(run) if run else newest_run(RUNS_FOLDER, "audio")
    out = out or folder.path / f"sequence{sequence}.wav"
    if out.suffix.lower() != ".wav":
        raise UserError(f"--out {out}: expected a name that ends in .wav")
    if folder.config().task != "audio":
        raise UserError(
            f"{folder.path}: a run of task {folder.config().task}; expected one of audio"
        )
    evaluation = evaluate(folder, data)
    config, source = evaluation.config, evaluation.data
    if not 1 <= sequence <= config.sequences:
        raise UserError(f"--sequence {sequence}: this run has 1 to {config.sequences}")
    steps = config.length if seconds is None else round(seconds * RATE)
    if not 0 < steps <= 60 * RATE:
        raise UserError(f"--seconds {seconds:g}: expected more than 0, at most 60")
    index = sequence - 1
    best = evaluation.best(index)
    if steps > 10 * RATE:
        say("playing ...")
    wave = continue_network(*evaluation.ensemble.member(best), steps)
    clipped = write_wav(out, wave * source.scale[index] + source.shift[index], RATE)
    picture = out.with_suffix(".png")
    error = evaluation.metrics["nmse_paper"][best]
    waves(
        picture,
        source.targets[index : index + 1],
        {config.model: wave[None, : 3 * config.length]},
        f"{config.parameter_count()} parameters, MSE/σ {error:.4f}; data: "
        f"{data_label(source.source, source.standin)}",
        [f"sequence {sequence}"],
    )
    click.echo(
        f"{out}, {picture}: run {best // config.sequences} of {folder.path}, MSE/σ {error:.4f}"
    )
    if steps > config.length:
        say(
            f"the first {1000 * config.length / RATE:.1f} ms are what it was trained on; the rest "
            "is the network running on by itself, which nothing has taught it"
        )
    if clipped:
        say(f"{100 * clipped:.1f} % of the samples were beyond full scale and were clipped")
