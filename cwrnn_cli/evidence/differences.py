"""Where a file is not what it should be, line by line."""

import math
import re
from dataclasses import dataclass
from itertools import zip_longest

_NOISE = 1e-9  # relative; another processor may add in another order
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Difference:
    """One place that is not as it should be.

    Attributes:
        place: file, with the line or the row where there is one.
        found: what is there.
        expected: what the raw rows give.
    """

    place: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}, expected {self.expected}"


def compare_lines(place: str, found: str, expected: str, exact: bool = True) -> list[Difference]:
    """The lines in which two texts differ.

    Args:
        place: the file.
        found: its text.
        expected: what it should be.
        exact: whether numbers must be equal to the last digit of many; else to 1e-9 of their size.
    """
    nothing = "nothing"
    return [
        Difference(f"{place}:{number}", _quoted(mine) or nothing, _quoted(wanted) or nothing)
        for number, (mine, wanted) in enumerate(
            zip_longest(found.splitlines(), expected.splitlines()), 1
        )
        if mine != wanted and (exact or not _alike(mine, wanted))
    ]


def _quoted(line: str | None) -> str:
    return "" if line is None else f"“{line.strip()}”"


def _alike(mine: str | None, wanted: str | None) -> bool:
    """Whether two lines are equal but for the noise in their numbers."""
    if mine is None or wanted is None or _NUMBER.sub("#", mine) != _NUMBER.sub("#", wanted):
        return False
    pairs = zip(_NUMBER.findall(mine), _NUMBER.findall(wanted), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=_NOISE) for a, b in pairs)


def same_values(found: object, expected: object) -> bool:
    """Whether two values of JSON are equal but for noise."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=_NOISE)
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same_values(value, expected[key]) for key, value in found.items()
        )
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same_values, found, expected))
    return found == expected
