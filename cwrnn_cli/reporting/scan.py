"""What `cwrnn scan` shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files import write_text

from ..training.rows import momentum_name
from .csv import write_csv
from .factorial import draw_effects, factorial_lines
from .page import data_of
from .tables import number, table

SCAN_TEXT = "scan.txt"


def scan_text(result: Mapping[str, Any]) -> str:
    """A row per model, momentum and rate; then the best rates. Or the tables of a factorial scan.

    Args:
        result: of :func:`cwrnn_cli.training.scan.collect`.
    """
    heading = [
        result["command"],
        f"data: {data_of(result)}",
        f"judged by the split {result['judged_by']}",
    ]
    shown = factorial_lines if "combinations" in result else _rate_lines
    return "\n".join([*heading, *shown(result)])


def _rate_lines(result: Mapping[str, Any]) -> list[str]:
    """Of a scan of rates."""
    sizes = list(result["rows"][0]["sizes"])
    rows = [
        [
            row["model"],
            momentum_name(row["momentum_ramp"]),
            f"{row['lr']:g}",
            *(f"{number(s['mean'])} ({s['diverged']})" for s in row["sizes"].values()),
            number(row["score"]),
        ]
        for row in result["rows"]
    ]
    header = ["model", "momentum", "rate", *(f"{size} (diverged)" for size in sizes), "all"]
    best = [
        f"best for {group}: " + ("none, networks diverged at each" if lr is None else f"{lr:g}")
        for group, lr in result["best"].items()
    ]
    return [table(header, rows), *best]


def scan_rows(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A row per point; of a factorial scan per combination, at its best rate."""
    rows: Sequence[Mapping[str, Any]] = result.get("combinations", result.get("rows"))
    return rows


def write_scan(out: Path, result: Mapping[str, Any]) -> list[Path]:
    """The table beside scan.json: scan.txt and table.csv; and effects.png, what factors do."""
    path, picture = out / SCAN_TEXT, out / "effects.png"
    write_text(path, scan_text(result) + "\n")
    if result.get("effects"):
        draw_effects(picture, result)
    return [path, write_csv(out, scan_rows(result)), *[picture] * picture.exists()]
