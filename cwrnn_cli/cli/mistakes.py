"""Whatever goes wrong is one line; of what is mistyped, with what was probably meant."""

import errno
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from data_prep.errors import NO_ROOM, UserError, refused, shown

from ..console import warn


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


class Fault(click.ClickException):
    """What must not happen: a line with where it happened, and an exit status of its own."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h

    def __init__(self, error: BaseException) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        message = shown(" ".join(str(error).split()))
        super().__init__(
            f"this is a fault of cwrnn: {type(error).__name__} in {where}: {message}; "
            "with -v the same command says how it came there"
        )


@contextmanager
def one_line() -> Iterator[None]:
    """Make one line of whatever goes wrong: exit status 2, of a fault of ours 70, of Ctrl-C 130.

    A closed pipe (`cwrnn eval | head -0`) is click's, which ends without a word.
    """
    try:
        yield
    except click.UsageError as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):  # which shows the help
            raise
        message = " ".join(error.format_message().split())
        place = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        raise UserError(message + place) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt as stop:
        warn("interrupted")
        raise click.exceptions.Exit(130) from stop
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM | {errno.EIO}:
            with suppress(OSError, ValueError):  # what stdout has not taken is not tried again
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise refused(error) or Fault(error) from error


@contextmanager
def no_lost_interrupt() -> Iterator[None]:
    """End on a Ctrl-C that comes while an object is taken away: Python would print and forget it.

    The process ends there and then, as if it were killed, with exit status 130.
    """
    before = sys.unraisablehook

    def end(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            warn("interrupted")
            os._exit(130)
        before(lost)

    sys.unraisablehook = end
    try:
        yield
    finally:
        sys.unraisablehook = before


def open_streams() -> None:
    """Have stdout and stderr, and let them take any text.

    A closed one (`2>&-`) is /dev/null from now on: else a file would take its number, and its
    text. Characters that a stream's encoding lacks are written by their numbers.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w" if number else "r", encoding="utf-8")
            if stream.fileno() != number:
                os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)
    for talk in (sys.stdout, sys.stderr):
        if isinstance(talk, TextIOWrapper):
            talk.reconfigure(errors="backslashreplace")
