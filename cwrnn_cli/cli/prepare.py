"""`cwrnn prepare`: a corpus to one HDF5 file; a subcommand per task, which brings it."""

import click

from .groups import LazyGroup
from .of_tasks import places

_PLACES = places("prepare")


@click.group(
    cls=LazyGroup,
    places=_PLACES,
    examples=[(f"what {name} is made from", f"cwrnn prepare {name} --help") for name in _PLACES],
)
def command() -> None:
    """Turn a corpus into one HDF5 file."""
