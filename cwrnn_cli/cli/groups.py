"""Groups whose commands are imported when they are called, so that `--help` stays fast."""

from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group of commands that are named by their place.

    Args:
        places: name -> ("module:command", one line of help).
        options: of :class:`click.Group`.
    """

    def __init__(self, places: dict[str, tuple[str, str]] | None = None, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.places = places or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which they were given."""
        return [*self.places, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.places[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, without importing those that say theirs."""
        lines = []
        for name in self.list_commands(ctx):
            text = self.places.get(name, ("", ""))[1]
            command = None if text else self.get_command(ctx, name)
            lines.append((name, text or (command.get_short_help_str(90) if command else "")))
        with formatter.section("Commands"):
            formatter.write_dl(lines)
