"""Where a file is not what it should be, line by line."""

import math
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

_NOISE = 1e-9  # relative; another processor may add in another order
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")
NOTHING = "nothing"


@dataclass(frozen=True)
class Difference:
    """One place that is not as it should be.

    Attributes:
        file: which.
        found: what is there.
        expected: what the raw rows give.
        line: counted from 1, where it has lines.
    """

    file: str
    found: str
    expected: str
    line: int = 0

    @property
    def place(self) -> str:
        """The file, and the line if there is one."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}, expected {self.expected}"


def compare_lines(file: str, found: str, expected: str, exact: bool = True) -> list[Difference]:
    """The lines in which two texts differ; one that is missing or too many is one difference.

    Args:
        file: its name.
        found: its text.
        expected: what it should be.
        exact: whether numbers must be equal to their last digit, or to 1e-9 of their size.
    """
    mine, wanted = found.splitlines(keepends=True), expected.splitlines(keepends=True)
    differences = []
    for kind, a, b, c, d in SequenceMatcher(None, mine, wanted, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for number, (left, right) in enumerate(zip_longest(mine[a:b], wanted[c:d]), a + 1):
            if exact or not _equal_but_for_noise(left, right):
                differences.append(Difference(file, _quoted(left), _quoted(right), number))
    return differences


def _quoted(line: str | None) -> str:
    """A line as it is shown, blanks at its ends too where they matter."""
    return NOTHING if line is None else repr(line.removesuffix("\n"))


def _equal_but_for_noise(found: str | None, expected: str | None) -> bool:
    """Whether two lines are equal but for the noise in their numbers."""
    if found is None or expected is None:
        return False
    if _NUMBER.sub("#", found) != _NUMBER.sub("#", expected):
        return False
    pairs = zip(_NUMBER.findall(found), _NUMBER.findall(expected), strict=True)
    return all(same_values(float(a), float(b)) for a, b in pairs)


def same_values(found: object, expected: object) -> bool:
    """Whether two values of JSON are equal but for noise."""
    if isinstance(found, float) and isinstance(expected, float):
        both_nan = math.isnan(found) and math.isnan(expected)
        return both_nan or math.isclose(found, expected, rel_tol=_NOISE, abs_tol=_NOISE**2)
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same_values(value, expected[key]) for key, value in found.items()
        )
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same_values, found, expected))
    return type(found) is type(expected) and found == expected
