"""The command line: thin; each command is a module of its own, imported when it is called."""

from importlib import import_module

import click

from data_prep import __version__

_COMMANDS = {
    "prepare": "Turn a corpus into one HDF5 file.",
    "train": "Train networks of one model and size.",
    "eval": "Errors of a trained run, beside the paper's.",
    "generate": "Let a trained network play what it has learnt.",
    "compare": "Train the paper's grid; its tables and figures.",
    "bench": "Measure speed on this machine.",
}


class _Lazy(click.Group):
    """Shows its commands without importing them: `cwrnn --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"{__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cwrnn")
def main() -> None:
    """A Clockwork RNN (Koutník et al., ICML 2014): the paper's experiments, whole.

    Start with `cwrnn train --model cw`, then `cwrnn eval` and `cwrnn generate audio`.
    """
