"""What the user has mistyped: one line, with what was probably meant, and exit status 2."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any

import click

from data_prep.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """To stand behind a message: " Did you mean 'train'?", or "" if nothing is near."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class Choice(click.Choice[str]):
    """One of some words; a near miss is told which is near."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """See :class:`click.Choice`."""
        message = super().get_invalid_choice_message(value, ctx)
        return message + did_you_mean(str(value), self.choices)


@contextmanager
def one_line() -> Iterator[None]:
    """Make one line of what click says in several, and of a place that takes no more output.

    A closed pipe (`cwrnn eval | head -0`) is click's, which ends without a word.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # which shows the help
        raise
    except click.UsageError as error:
        message = " ".join(error.format_message().split())
        place = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        raise UserError(message + place) from error
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        with suppress(OSError):  # what stdout has not taken must not be tried again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        name = error.filename or "stdout, or a file"
        raise UserError(f"cannot be written ({error.strerror})", place=name) from error
