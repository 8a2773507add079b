"""Talking to the user: results on stdout, everything else on stderr. A leaf.

It stands at the top of the package, not in ``cli``, because the tasks' own commands talk too.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from data_prep.errors import UserError, shown
from data_prep.files import write_text
from data_prep.strict_json import dumps

DATA_FOLDER = Path("data")
RUNS_FOLDER = Path("runs")
_SHOWN = 10  # problems on stderr
_QUIET, _VERBOSE = -1, 1
_MEANT = f"{__name__}.loudness"  # where click's context has it: for the command and all above it


def first_process() -> bool:
    """Whether this is the only process, or the first one under torchrun: the one that talks."""
    return os.environ.get("RANK", "0") == "0"


def _loudness() -> int:
    context = click.get_current_context(silent=True)
    return int(context.meta.get(_MEANT, 0)) if context else 0


def _loudness_option(flags: list[str], loudness: int, help_text: str) -> click.Option:
    def set_it(context: click.Context, parameter: click.Parameter, given: bool) -> None:
        if given:
            context.meta[_MEANT] = loudness

    return click.Option(
        flags, is_flag=True, is_eager=True, expose_value=False, callback=set_it, help=help_text
    )


# of every command; the last one that is typed holds
LOUDNESS: list[click.Parameter] = [
    _loudness_option(["-q", "--quiet"], _QUIET, "Only results, warnings and errors."),
    _loudness_option(
        ["-v", "--verbose"],
        _VERBOSE,
        "Also which data and engine are taken, how long it took, and where an error is from.",
    ),
]


def command_line() -> str:
    """What the user typed, without what does not change the result."""
    unimportant = {
        "--resume",
        "--json",
        "--collect",
        "--tensorboard",
        *(flag for option in LOUDNESS for flag in option.opts),
    }
    words = shlex.join(["cwrnn", *(word for word in sys.argv[1:] if word not in unimportant)])
    return words.encode(errors="backslashreplace").decode()  # it goes into files of UTF-8


def quiet() -> bool:
    """Whether --quiet was given."""
    return _loudness() == _QUIET


def verbose() -> bool:
    """Whether --verbose was given."""
    return _loudness() == _VERBOSE


def warn(message: str) -> None:
    """What the user has to know: on stderr, with --quiet too."""
    if first_process():
        with suppress(OSError):  # a stderr that takes no more does not end the work
            for line in message.split("\n"):
                click.echo(shown(line), err=True)


def say(message: str) -> None:
    """Talk to the user: on stderr, so that stdout holds results only."""
    if not quiet():
        warn(message)


def note(message: str) -> None:
    """What only --verbose says."""
    if verbose():
        warn(message)


def quoted(path: Path) -> str:
    """A path that can be pasted into a shell."""
    return shlex.quote(str(path))


def say_written(*paths: Path) -> None:
    """Which files a command has written beside its results."""
    say("written: " + ", ".join(map(quoted, paths)))


def print_json(value: Any) -> None:
    """The one JSON object of a command's --json."""
    text = dumps(value, indent=1, ascii_only=False)
    if not all(map(str.isprintable, text.split("\n"))):  # a name with what a terminal would obey
        text = dumps(value, indent=1)
    click.echo(text)


def print_text(text: str) -> None:
    """A command's result for people: on stdout, what is not printable in its lines escaped."""
    click.echo("\n".join(map(shown, text.split("\n"))))


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else there."
)

# of every command that prepares a corpus
origin_option = click.option(
    "--origin",
    help="Where the source is to be had, such as a package and its version; goes into the file's "
    "provenance.",
)


def progress_bar(total: int, description: str, unit: str = "epoch") -> Any:
    """A tqdm bar on stderr, silent when that is not a terminal, and with --quiet."""
    from tqdm import tqdm  # noqa: PLC0415  (slow to import)

    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        file=sys.stderr,
        disable=not (sys.stderr.isatty() and first_process() and not quiet()),
        dynamic_ncols=True,
    )


def refuse_both_sources() -> None:
    """Raises UserError where both --standin and --src were typed; a variable may name a source."""
    context = click.get_current_context()
    if context.get_parameter_source("src") == ParameterSource.COMMANDLINE:
        raise UserError("--standin and --src: expected one of them")


def say_problems(out: Path, problems: list[str], repaired: Sequence[str] = ()) -> None:
    """What is wrong with a corpus: all of it in a file beside ``out``, on stderr how much it is.

    Args:
        out: the corpus' file.
        problems: what was passed over; the first few are on stderr too.
        repaired: what was kept all the same.
    """
    path = out.with_name(out.stem + ".passed-over.txt")
    path.unlink(missing_ok=True)
    if not (problems or repaired):
        return
    write_text(path, "".join(f"{line}\n" for line in (*problems, *repaired)))
    for problem in problems[:_SHOWN]:
        warn(f"passed over: {problem}")
    if problems:
        warn(f"{len(problems)} passed over in all, listed in {quoted(path)}")
    if repaired:
        warn(f"{len(repaired)} repaired and kept, listed in {quoted(path)}")
