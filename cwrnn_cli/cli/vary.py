"""`cwrnn scan --vary NAME=V1,V2`: options that take several values, in every combination."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import click

from data_prep.errors import UserError

from ..paper import Protocol
from .mistakes import did_you_mean
from .options import of_cell

# of the whole scan, not of what a network is
_OF_ALL = {"runs", "seed", "data", "device", "as_json"}
_FLAG = {"yes": True, "no": False}
_NONE = {"clip", "delta_clip", "module_shares"}  # what is so if they are not given
Factors = dict[str, dict[str, Any]]  # keyword -> label of a level -> its value

vary_option = click.option(
    "--vary",
    multiple=True,
    metavar="NAME=X,Y,...",
    help="Values of another option, NAME without its dashes, in every combination with the rates, "
    "sizes, momenta and those of other --vary; yes,no for one that takes none, semicolons between "
    "values that have commas. May be given several times; then the report is of main effects.",
)


def factors(given: Sequence[str], options: Mapping[str, Any], protocol: Protocol) -> Factors:
    """Each ``--vary``, read as the option itself reads its value.

    Args:
        given: as typed.
        options: of the command, for training; what is varied must not be given as well.
        protocol: of the task: "none" is a value where it has none.

    Raises:
        UserError: no such option, or values that are none of it.
    """
    known = {
        parameter.opts[0].removeprefix("--"): parameter
        for parameter in click.get_current_context().command.params
        if isinstance(parameter, click.Option) and parameter.name in options.keys() - _OF_ALL
    }
    found: Factors = {}
    for text in given:
        word, _, values = text.partition("=")
        if word not in known:
            raise UserError(
                f"--vary {text}: {word!r} cannot be varied; expected NAME=X,Y with a NAME of "
                f"{', '.join(known)}.{did_you_mean(word, known)}"
            )
        name = str(known[word].name)
        if name in found or options[name] is not None:
            raise UserError(f"--vary {text}: --{word} is given already")
        words = values.split(";" if ";" in values else ",")
        read = [_read(text, known[word], value, protocol) for value in words]
        found[name] = {_label(value): value for value in read}
        if not 1 < len(words) == len(found[name]):
            raise UserError(f"--vary {text}: expected two values or more, each once")
    return found


def _read(text: str, parameter: click.Option, word: str, protocol: Protocol) -> Any:
    """One value, by the option's own parser.

    Raises:
        UserError: it is none.
    """
    if parameter.is_flag:
        if word not in _FLAG:
            raise UserError(f"--vary {text}: {word!r}: expected yes or no")
        return _FLAG[word]
    choice = isinstance(parameter.type, click.Choice)
    none = str(parameter.name) in _NONE or getattr(protocol, str(parameter.name), 0) is None
    if word == "none" and not choice and none:
        return None
    try:
        return parameter.process_value(click.get_current_context(), word)
    except click.ClickException as error:
        raise UserError(f"--vary {text}: {error.message}") from error


def _label(value: Any) -> str:
    """A level in names of folders and in tables, the same however it was typed."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def settings(model: str, chosen: Sequence[str], found: Factors) -> Iterator[dict[str, str]]:
    """Every combination for one model: keyword -> label; without what only other models have."""
    own = of_cell(model, chosen, found)
    for labels in product(*own.values()):
        yield dict(zip(own, labels, strict=True))


def values_of(setting: Mapping[str, str], found: Factors) -> dict[str, Any]:
    """Keyword -> value of a combination."""
    return {name: found[name][label] for name, label in setting.items()}
