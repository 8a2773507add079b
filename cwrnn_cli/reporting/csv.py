"""Tables as CSV, for spreadsheets and data frames: the JSON's numbers under the JSON's names."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files import write_text
from data_prep.reading import json_of
from data_prep.strict_json import dumps

CSV = "table.csv"  # in a result folder, beside its JSON


def csv_text(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """A line of names, and a line per row.

    Args:
        rows: of JSON types. What is inside of an object has its name behind the object's and a dot,
            such as ``metrics.cer.mean``; a list is JSON text in one cell, null an empty one.
        names: of columns that are there even if no row has them.
    """
    flat = [dict(_flat(row)) for row in rows]
    columns = dict.fromkeys((*names, *(name for row in flat for name in row)))
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue().encode(errors="backslashreplace").decode()


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = dumps(value, ascii_only=False)
    return "" if text == "null" else text


def write_csv(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """:func:`csv_text` as table.csv of a folder.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / CSV
    write_text(path, csv_text(rows))
    return path


def runs_rows(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """A row per run that was compared: its name, and the errors in NAME.json of the folder."""
    return [{"name": name, **json_of(folder / f"{name}.json")} for name in names]
