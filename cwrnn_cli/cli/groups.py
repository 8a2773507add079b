"""Groups whose commands are imported when they are called, so that `--help` stays fast."""

import errno
import sys
import time
import traceback
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from data_prep.errors import UserError

from ..console import LOUDNESS, note, verbose
from ..help import Command
from .mistakes import did_you_mean, no_lost_interrupt, one_line, open_streams

_WHOLE = 1000  # characters: no short help is cut


class LazyGroup(click.Group, Command):
    """A group of commands that are named by their place; each takes --quiet and --verbose.

    Args:
        places: name -> ("module:command", one line of help).
        options: of :class:`click.Group`.
    """

    command_class = Command

    def __init__(self, places: dict[str, tuple[str, str]] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.places = places or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which they were given."""
        return [*self.places, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in self.places:
            module, _, name = self.places[cmd_name][0].partition(":")
            command: click.Command | None = getattr(import_module(module), name)
        else:
            command = super().get_command(ctx, cmd_name)
        if command and LOUDNESS[0] not in command.params:
            command.params += LOUDNESS
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See :class:`click.Group`; a near miss is told which is near.

        Raises:
            UserError: no such command.
        """
        names = self.list_commands(ctx)
        if args[0] in names or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        near = did_you_mean(args[0], names) or f" There are {', '.join(names)}."
        raise UserError(f"{ctx.command_path} {args[0]}: no such command.{near}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, or as many as it takes."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._help(ctx, name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, or options if the word begins with a dash."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self._help(ctx, name)) for name in names]
        return commands + super(click.Group, self).shell_complete(ctx, incomplete)

    def _help(self, ctx: click.Context, name: str) -> str:
        """A command's, without importing those that say it here."""
        if text := self.places.get(name, ("", ""))[1]:
            return text
        command = self.get_command(ctx, name)
        return command.get_short_help_str(_WHOLE) if command else ""


class CommandLine(LazyGroup):
    """The outermost group: whatever goes wrong ends in one line (:func:`.one_line`)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.params += LOUDNESS

    def main(self, *args: Any, **more: Any) -> Any:
        """See :class:`click.Group`."""
        try:
            open_streams()
            return super().main(*args, **more)
        except KeyboardInterrupt:  # before click looks out for it, or afterwards
            sys.exit(130)
        except OSError as error:  # stderr takes no more either
            sys.exit(2 if error.errno != errno.EPIPE else 1)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """See :class:`click.Group`."""
        with one_line():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """See :class:`click.Group`; with --verbose also where an error is from, and the time."""
        began, used = time.perf_counter(), time.process_time()
        try:
            with no_lost_interrupt(), one_line():
                return super().invoke(ctx)
        except click.ClickException:
            if verbose():
                traceback.print_exc()
            raise
        finally:
            wall, cpu = time.perf_counter() - began, time.process_time() - used
            note(f"took {wall:.1f} s, {cpu:.1f} s of the processor")
