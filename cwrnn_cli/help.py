"""What `--help` shows of a command: examples, then its options in groups. A leaf."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

_GROUP = "group"  # a parameter's attribute
OTHER = "Other"  # the group of what every command has
_COLUMN = 22  # characters of an option before its help, in all groups


class Example(NamedTuple):
    """A command line and, in a few words, what it does."""

    what: str
    words: str


class Command(click.Command):
    """A command whose help has examples, and groups of options (:func:`section`).

    Args:
        examples: to show; each is a command line that can be typed.
        options: of :class:`click.Command`.
    """

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **options: Any):
        super().__init__(*args, **options)
        self.examples = [Example(*example) for example in examples]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, and a list of options for each group, in the order in which they begin."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    lines = f"# {example.what}\n{example.words}\n".splitlines(keepends=True)
                    formatter.write("".join(" " * formatter.current_indent + x for x in lines))
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                groups.setdefault(group_of(parameter), []).append(record)
        for title in sorted(groups, key=OTHER.__eq__):  # which is the last
            (first, text), *others = groups[title]
            with formatter.section(title):
                formatter.write_dl([(first.ljust(_COLUMN), text), *others], col_max=_COLUMN)


def group_of(parameter: click.Parameter) -> str:
    """Title of the group that an option is in."""
    return str(vars(parameter).get(_GROUP, OTHER))


def section(title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that stands above the options of a group, as a heading does.

    It takes all below it that no other section has taken.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for parameter in getattr(function, "__click_params__", []):
            vars(parameter).setdefault(_GROUP, title)
        return function

    return decorate
