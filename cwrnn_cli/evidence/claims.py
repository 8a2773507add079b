"""The paper's claims, a row each: what it says, what we found, on what, and whether it holds."""

import tomllib
from dataclasses import fields
from typing import Any

import jinja2

from data_prep.errors import UserError

from ..training.sections import VERDICTS, Claim

CLAIMS = "claims.toml"
_BETWEEN = "\x1f"  # ASCII's unit separator: in no text


def claims_of(content: str, environment: jinja2.Environment) -> list[Claim]:
    """The rows of claims.toml, whose texts are templates.

    ``{% set %}`` and macros of its text ``before`` hold in all of them.

    Args:
        content: of the file.
        environment: of the templates.

    Raises:
        UserError: it is no TOML with claims; a row lacks a field, has one too many, an empty one,
            another verdict, or asks for what is not there.
    """
    try:
        rows = tomllib.loads(content)
        before, texts = str(rows.get("before", "")), [dict(row) for row in rows["claim"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{CLAIMS}: expected TOML with [[claim]] tables ({error})") from error
    return [_claim(n, row, before, environment) for n, row in enumerate(texts, 1)]


def _claim(number: int, row: dict[str, Any], before: str, environment: jinja2.Environment) -> Claim:
    """One row; all of its texts are filled in at once, as what they share takes longest."""
    names = [field.name for field in fields(Claim)]
    if set(row) != set(names):
        raise UserError(f"{CLAIMS}: claim {number}: expected the fields {', '.join(names)}")
    try:
        template = environment.from_string(before + _BETWEEN.join(str(row[n]) for n in names))
        texts = [text.strip() for text in template.render().split(_BETWEEN)]
    except UserError:
        raise
    except Exception as error:  # a template is code
        raise UserError(f"{CLAIMS}: claim {number}: {type(error).__name__}: {error}") from error
    claim = Claim(*texts)
    if not all(texts):
        raise UserError(f"{CLAIMS}: claim {number}: {names[texts.index('')]} is empty")
    if claim.verdict not in VERDICTS:
        raise UserError(
            f"{CLAIMS}: claim {number}: verdict {claim.verdict!r}; expected {', '.join(VERDICTS)}"
        )
    return claim
