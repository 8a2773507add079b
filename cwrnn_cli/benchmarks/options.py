"""What the commands of `cwrnn bench` share."""

from typing import Any

import click

from data_prep.errors import UserError

from ..console import print_json


def numbers(text: str | None, option: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers of at least 1 with commas between.

    Raises:
        UserError: anything else.
    """
    if text is None:
        return default
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UserError(f"{option} {text}: expected numbers with commas between, such as 40,256")
    return found


def show(result: dict[str, Any], text: str, as_json: bool) -> None:
    """A benchmark's result on stdout: JSON, or a table."""
    if as_json:
        print_json(result)
    else:
        click.echo(text)
