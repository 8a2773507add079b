"""An option of the command line that not every task, or not every cell, has. A leaf.

Tasks and cells declare theirs; :mod:`cwrnn_cli.cli.options` makes click options of them. So the
command line knows none of their names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from data_prep.errors import UserError

from .console import RUNS_FOLDER
from .paper import Protocol


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: the keyword, ``stop_on`` for ``--stop-on``.
        help: one sentence, without the default.
        kind: ``int``, ``float``, ``str``, ``bool`` (``--x/--no-x``), or the words to choose from.
        parse: from the text that was given (``kind`` is ``str``) to the value; raises ValueError.
        only: for a cell's option: what is said to who gives it for another cell, such as "only a
            CW-RNN has clock periods".
        default: what holds if it is not given, as the help shows it; "" if that follows from each
            task's protocol (``of_protocol``).
        of_protocol: from a protocol to what holds there, as the help shows it.
    """

    name: str
    help: str
    kind: type | tuple[str, ...] = str
    parse: Callable[[str], Any] | None = None
    only: str = ""
    default: str = ""
    of_protocol: Callable[[Protocol], str] | None = None

    @property
    def flag(self) -> str:
        """As it is typed."""
        return "--" + self.name.replace("_", "-")


def shown_defaults(values: Mapping[str, str]) -> str:
    """What holds for each name, as a help text says it: the commonest first, then the others.

    ``{"a": "100", "b": "100", "c": "3"}`` gives ``"100, c 3"``.
    """
    found = list(values.values())
    common = max(found, key=found.count)
    if len(values) > 1 and found.count(common) == 1:
        return ", ".join(f"{name} {value}" for name, value in values.items())
    others = [f"{name} {value}" for name, value in values.items() if value != common]
    return ", ".join([common, *others])


def short(value: float) -> str:
    """A number as people type it: 3e-4, 0.95, 100."""
    text = f"{value:g}"
    return f"{value:.0e}".replace("e-0", "e-") if abs(value) < 1e-2 and value else text


class Number(click.ParamType[float]):
    """A finite number within a range, both ends included.

    Args:
        kind: ``int`` or ``float``.
        least: the least one.
        most: the greatest one.
    """

    def __init__(self, kind: type[int] | type[float], least: float, most: float) -> None:
        self.kind, self.least, self.most = kind, least, most
        self.name = "integer" if kind is int else "float"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Raises click's error for what is no number, UserError for one out of range."""
        try:
            number = self.kind(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a valid {self.name}.", parameter, context)
        within(parameter.opts[0] if parameter else str(self.name), number, self.least, self.most)
        return number


class _RunPath(click.Path):
    """A run folder: the shell completes those below runs/, and else any folder."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """See :class:`click.Path`."""
        runs = [str(path) for path in sorted(RUNS_FOLDER.glob("*")) if path.is_dir()]
        found = [CompletionItem(run) for run in runs if run.startswith(incomplete)]
        return [CompletionItem(incomplete, type="dir"), *found]


# what several commands have
RUN = _RunPath(path_type=Path)
SEED = Number(int, 0, 2**63 - 1)
REPEATS = Number(int, 1, 10**6)
SECONDS = Number(float, 0, 10**8)
COUNT = Number(int, 1, 10**9)


def within(option: str, value: float, least: float, most: float = inf) -> None:
    """Raises UserError if an option's value is out of range, not a number, or infinite."""
    if value >= least and value <= most and value != inf:
        return
    shown = str(value)[:40] if isinstance(value, int) else f"{value:g}"
    bound = f"at most {most:g}" if value > most else f"at least {least:g}"
    raise UserError(f"{option} {shown}: expected {'a number, ' * (value == inf)}{bound}")


def numbers(text: str, option: str, example: str, most: int = 10**9) -> tuple[int, ...]:
    """Whole numbers from 1 to ``most`` with commas between.

    Raises:
        UserError: anything else.
    """
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise UserError(f"{option} {text}: expected numbers with commas between, such as {example}")
    within(option, max(found), 1, most)
    return found
