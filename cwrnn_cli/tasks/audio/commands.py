"""`cwrnn prepare audio` and `cwrnn generate audio`."""

from pathlib import Path

import click

from data_prep import audio as converter
from data_prep.audio import RATE
from data_prep.errors import UserError

from ...console import DATA_FOLDER, RUNS_FOLDER, origin_option, print_text, say, warn
from ...help import Command, section
from ...option import RUN, SECONDS
from ...outputs import CORPUS, PICTURE, SOUND, OutputFile, check_output, force_option
from ...reporting.figures import waves
from ...reporting.tables import counted
from ...training.folder import RunFolder
from ...training.folders import newest_run
from .data import continue_network
from .sound import write_wav
from .task import AudioTask


@click.command(
    cls=Command,
    examples=[
        ("the built-in piece", "cwrnn prepare audio"),
        (
            "a recording, from its second minute on",
            "cwrnn prepare audio --src song.flac --start 60 --out data/song.h5",
        ),
    ],
)
@section("Sound")
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    help="A sound file (WAV, FLAC, OGG, AIFF, MP3 ...); without it, the built-in piece.",
)
@click.option(
    "--start", type=SECONDS, default=0.0, show_default=True, help="Where to begin, in seconds."
)
@click.option(
    "--sequences",
    type=int,
    default=5,
    show_default=True,
    help="How many stretches, one after the other.",
)
@click.option(
    "--length", type=int, default=320, show_default=True, help="Samples of each, at 44.1 kHz."
)
@click.option("--channel", type=int, help="Which channel, from 1 on; without it, the mean of all.")
@origin_option
@section("Output")
@click.option(
    "--out",
    type=OutputFile(CORPUS),
    default=DATA_FOLDER / "audio.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@force_option
def prepare(
    src: Path | None,
    out: Path,
    start: float,
    sequences: int,
    length: int,
    channel: int | None,
    origin: str | None,
) -> None:
    """A few short stretches of sound for task 1: 5 of 320 samples, each scaled to [-1, 1]."""
    corpus = converter.prepare(out, src, start, sequences, length, channel, origin)
    source = corpus.provenance["source"]["name"]
    if corpus.standin:
        source += " (no --src: music that our own code plays, the same on every machine)"
    print_text(
        f"{out}: {counted(sequences, 'sequence')} of {length} samples "
        f"({1000 * length / RATE:.1f} ms) "
        f"at {RATE / 1000} kHz, from {start:g} s of {source}"
    )


@click.command(
    cls=Command,
    examples=[
        ("the first sequence of the newest run", "cwrnn generate audio"),
        (
            "the third, and on for two seconds",
            "cwrnn generate audio runs/RUN --sequence 3 --seconds 2 --out third.wav",
        ),
    ],
)
@click.argument("run", type=RUN, required=False)
@section("Sound")
@click.option(
    "--sequence", type=int, default=1, show_default=True, help="Which sequence, counted from 1."
)
@click.option(
    "--seconds",
    type=SECONDS,
    help="How long to play; beyond what was learnt it runs on freely.  [default: as learnt]",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
@section("Output")
@click.option(
    "--out",
    type=OutputFile(SOUND),
    help="WAV file to write, with a PNG of the same name beside it.  [default: in the run folder]",
)
@force_option
def generate(
    run: Path | None, out: Path | None, sequence: int, seconds: float | None, data: Path | None
) -> None:
    """The wave that the best network of RUN (the newest unless named) learnt, as WAV and PNG."""
    folder = RunFolder(run) if run else newest_run(RUNS_FOLDER, AudioTask.name)
    out = out or folder.path / f"sequence{sequence}.wav"
    if out.suffix.lower() != ".wav":
        raise UserError(f"--out {out}: expected a name that ends in .wav")
    picture = out.with_suffix(".png")
    for path, kind in ((out, SOUND), (picture, PICTURE)):
        check_output(path, kind, "--out")
    task = folder.config().task
    if task != AudioTask.name:
        raise UserError(f"{folder.path}: a run of task {task}; expected one of {AudioTask.name}")
    evaluation = AudioTask().evaluate_run(folder, data)
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
    error = evaluation.metrics["nmse_paper"][best]
    waves(
        picture,
        source.targets[index : index + 1],
        {config.model: wave[None, : 3 * config.length]},
        f"{config.parameter_count()} parameters, MSE/σ {error:.4f}; data: "
        f"{AudioTask().data_label(source.source, source.standin)}",
        [f"sequence {sequence}"],
    )
    print_text(
        f"{out}, {picture}: run {best // config.sequences} of {folder.path}, MSE/σ {error:.4f}"
    )
    if steps > config.length:
        say(
            f"the first {1000 * config.length / RATE:.1f} ms are what it was trained on; the rest "
            "is the network running on by itself, which nothing has taught it"
        )
    if clipped:
        warn(f"{100 * clipped:.1f} % of the samples were beyond full scale and were clipped")
