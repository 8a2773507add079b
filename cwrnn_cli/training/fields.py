"""What each field of a configuration may be: one table, for options and for config.json.

A value that is in no range of the table reaches no array's size and no compiled loop.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.errors import UserError

from ..models.cell import MOST_UNITS
from ..models.ensemble import SCALED
from .device import is_device
from .optimizer import OPTIMIZERS

MOST_NETWORKS = 1 << 24  # of a run: a thousand times the paper's largest experiment
_MANY = 1 << 31  # steps, sequences, epochs: what loops count
_LONGEST = 1 << 16  # characters of a name
_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True)
class Rule:
    """What a value has to be.

    Attributes:
        fits: whether one is it, whatever its type.
        expected: in words.
    """

    fits: Callable[[Any], bool]
    expected: str


def _whole(least: int, most: int) -> Rule:
    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return Rule(fits, f"at least {least} and at most {most}, a whole number")


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # a whole number may be beyond what a float can be


def _above_0(what: str) -> Rule:
    return Rule(lambda value: _is_number(value) and value > 0, f"{what} above 0, and finite")


def _or_none(rule: Rule) -> Rule:
    return Rule(lambda value: value is None or rule.fits(value), f"{rule.expected}, or none")


def _word(words: Any) -> Rule:
    return Rule(
        lambda value: isinstance(value, str) and value in words, f"one of {', '.join(words)}"
    )


_TEXT = Rule(lambda value: isinstance(value, str) and len(value) <= _LONGEST, "a text")
_TRUTH = Rule(lambda value: isinstance(value, bool), "true or false")
_NOT_NEGATIVE = Rule(
    lambda value: _is_number(value) and value >= 0, "a standard deviation, 0 or more"
)

RULES: dict[str, Rule] = {
    "task": _TEXT,
    "params": _whole(1, 1 << 40),
    "input_size": _whole(0, MOST_UNITS),
    "output_size": _whole(1, MOST_UNITS),
    "bidirectional": _TRUTH,
    "runs": _whole(1, MOST_NETWORKS),
    "sequences": _whole(1, _MANY),
    "length": _whole(1, _MANY),
    "batch": _whole(1, _MANY),
    "seed": _whole(0, (1 << 128) - 1),
    "epochs": _whole(1, _MANY),
    "patience": _or_none(_whole(1, _MANY)),
    "stop_on": _or_none(_TEXT),
    "lr": _above_0("a learning rate"),
    "momentum": Rule(lambda value: _is_number(value) and 0 <= value < 1, "0 or more, below 1"),
    "momentum_ramp": _TRUTH,
    "weight_std": Rule(
        lambda value: value == SCALED or (_is_number(value) and value > 0),
        f"a standard deviation above 0, and finite, or {SCALED}",
    ),
    "loss": _TEXT,
    "noise": _NOT_NEGATIVE,
    "data_name": _TEXT,
    "data_sha256": Rule(
        # "": of no file
        lambda value: (
            isinstance(value, str) and re.fullmatch(r"([0-9a-f]{64})?", value) is not None
        ),
        "64 hexadecimal digits",
    ),
    "standin": _TRUTH,
    "device": Rule(
        # "": of no machine
        lambda value: isinstance(value, str) and (value == "" or is_device(value)),
        "a device, such as cpu or cuda:1",
    ),
    "data_path": _TEXT,
    "optimizer": _word(OPTIMIZERS),
    "clip": _or_none(_above_0("a length")),
    "decay": _TRUTH,
    "hold_out": Rule(_whole(0, 3).fits, "0 to 3"),
    "scale_rate": _TRUTH,
    "delta_clip": _or_none(_above_0("a bound")),
    "loss_at": _word(("last", "every")),
    "reduction": _word(("mean", "sum")),
    "data_options": Rule(lambda value: isinstance(value, dict), "an object"),
    "first_run": _whole(0, MOST_NETWORKS),
    "part_of": _whole(0, MOST_NETWORKS),
}


def check_fields(values: Mapping[str, Any], named: Callable[[str], str] = str) -> None:
    """Whether values are what their fields may be.

    Args:
        values: by the fields' names; others are passed over.
        named: how the message calls a field.

    Raises:
        UserError: one is not; it says which, what it is and what was expected.
    """
    for name, value in values.items():
        rule = RULES.get(name)
        if rule is not None and not rule.fits(value):
            raise UserError(f"{named(name)} {_shown(value)}: expected {rule.expected}")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    try:
        text = value if isinstance(value, str) and value else repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
