"""`cwrnn prepare`: a corpus to one HDF5 file."""

from pathlib import Path

import click

from .common import DATA_FOLDER


@click.group()
def command() -> None:
    """Turn a corpus into one HDF5 file."""


@command.command()
@click.option(
    "--src",
    type=click.Path(path_type=Path),
    help="A sound file (WAV, FLAC, OGG, AIFF, MP3 ...); without it, the built-in piece.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DATA_FOLDER / "audio.h5",
    show_default=True,
    help="HDF5 file to write.",
)
@click.option(
    "--start", type=float, default=0.0, show_default=True, help="Where to begin, in seconds."
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
def audio(
    src: Path | None, out: Path, start: float, sequences: int, length: int, channel: int | None
) -> None:
    """A few short stretches of sound for task 1: 5 of 320 samples, each scaled to [-1, 1]."""
    from data_prep.audio import RATE, prepare  # noqa: PLC0415

    corpus = prepare(out, src, start, sequences, length, channel)
    source = corpus.provenance["source"]["name"]
    if corpus.standin:
        source += " (no --src: music that our own code plays, the same on every machine)"
    click.echo(
        f"{out}: {sequences} sequences of {length} samples ({1000 * length / RATE:.1f} ms) "
        f"at {RATE / 1000} kHz, from {start:g} s of {source}"
    )
