"""`cwrnn generate`: let a network play; a subcommand per task that can, which brings it."""

import click

from .groups import LazyGroup
from .of_tasks import places

_PLACES = places("generate")


@click.group(
    cls=LazyGroup,
    places=_PLACES,
    examples=[("the newest run", f"cwrnn generate {name}") for name in _PLACES],
)
def command() -> None:
    """Let a trained network play what it has learnt."""
