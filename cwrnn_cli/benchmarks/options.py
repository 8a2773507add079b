"""What the commands of `cwrnn bench` share."""

from typing import Any

import click

from ..console import print_json
from ..option import numbers


def numbers_or(default: tuple[int, ...], text: str | None, option: str) -> tuple[int, ...]:
    """An option's numbers, or what holds if it is not given.

    Raises:
        UserError: see :func:`cwrnn_cli.option.numbers`.
    """
    return default if text is None else numbers(text, option, ",".join(map(str, default[:2])))


def show(result: dict[str, Any], text: str, as_json: bool) -> None:
    """A benchmark's result on stdout: JSON, or a table."""
    if as_json:
        print_json(result)
    else:
        click.echo(text)
