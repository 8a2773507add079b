"""`cwrnn prepare`: a corpus to one HDF5 file; a subcommand per task, which brings it."""

import click

from .groups import LazyGroup
from .of_tasks import places


@click.group(cls=LazyGroup, places=places("prepare"))
def command() -> None:
    """Turn a corpus into one HDF5 file."""
