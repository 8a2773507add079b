"""JSON that every reader takes: RFC 8259, which has no NaN and no infinities. A leaf."""

import json
import math
from typing import Any


def dumps(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, ascii_only: bool = True
) -> str:
    """A value as JSON; numbers in it that are not finite are null.

    Args:
        value: of JSON types.
        indent: spaces per level; None: all on one line.
        sort_keys: whether keys are in the order of the alphabet.
        ascii_only: whether other characters are escaped. They are anyhow where they are no
            characters of Unicode: what of a file's name was in no encoding.
    """
    options: dict[str, Any] = {"indent": indent, "sort_keys": sort_keys, "allow_nan": False}
    value = _finite(value)
    text = json.dumps(value, ensure_ascii=ascii_only, **options)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, **options)
    return text


def _finite(value: Any) -> Any:
    """The same with None for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
