"""`cwrnn generate`: let a network play; a subcommand per task that can, which brings it."""

import click

from .groups import LazyGroup
from .of_tasks import places


@click.group(cls=LazyGroup, places=places("generate"))
def command() -> None:
    """Let a trained network play what it has learnt."""
