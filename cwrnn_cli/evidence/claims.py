"""The paper's claims, a row each: what it says, what we found, on what, and whether it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import jinja2

from data_prep.errors import UserError

VERDICTS = ("holds", "holds in part", "fails", "open", "not tested")


@dataclass(frozen=True)
class Claim:
    """A row of CLAIMS.md. Every field is text, and none is empty.

    Attributes:
        place: in the paper.
        says: what the paper claims.
        found: what we found, with its interval.
        data: on which data.
        n: of how many networks, or points.
        verdict: of :data:`VERDICTS`.
        command: that shows it.
    """

    place: str
    says: str
    found: str
    data: str
    n: str
    verdict: str
    command: str


def claims_of(content: Mapping[str, Any], environment: jinja2.Environment) -> list[Claim]:
    """The rows of claims.toml, whose texts are templates.

    ``{% set %}`` of ``content["before"]`` hold in all of them.

    Raises:
        UserError: a row lacks a field, has one too many, an empty one, or another verdict.
        jinja2.TemplateError: a text asks for what is not there.
    """
    names, before = [field.name for field in fields(Claim)], content.get("before", "")
    found = []
    for number, row in enumerate(content["claim"], 1):
        texts = {
            name: environment.from_string(before + str(text)).render().strip()
            for name, text in row.items()
        }
        if list(texts) != names or not all(texts.values()):
            raise UserError(f"claim {number}: expected {', '.join(names)}, none of them empty")
        if texts["verdict"] not in VERDICTS:
            raise UserError(
                f"claim {number}: verdict {texts['verdict']!r}; expected {', '.join(VERDICTS)}"
            )
        found.append(Claim(**texts))
    return found
