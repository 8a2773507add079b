"""What `cwrnn search` shows."""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from data_prep.files import write_text

from .csv import write_csv
from .page import TABLE, data_of
from .tables import counted, number, table


def search_text(result: Mapping[str, Any]) -> str:
    """A row per trial, the best first; then how to train its networks.

    Args:
        result: of :func:`cwrnn_cli.training.search.collect`.
    """
    learnt = ", which the networks are trained on" if result["judged_on_training_set"] else ""
    best = result["best"]
    names = list(result["search"])
    rows = [
        [
            f"{row['number']}{_mark(row, best)}",
            *(_shown(row["parameters"][name]) for name in names),
            "diverged" if row["value"] is None else number(row["value"]),
            _epochs(row),
            str(row["epochs"]),
            f"{row['seconds']:.0f}",
        ]
        for row in sorted(result["trials"], key=_order)
    ]
    return "\n".join(
        [
            result["command"],
            f"data: {data_of(result)}",
            f"judged by the split {result['judged_by']}{learnt}; mean error over runs: "
            f"{result['runs']}, each of {counted(result['epochs'], 'epoch')} at the most",
            f"{counted(len(rows), 'trial')}{_by(result)}, {result['diverged']} diverged",
            table(["trial", *names, "error", "best epoch", "epochs", "seconds"], rows),
            f"best: trial {best['trial']}: {best['command']}"
            if best
            else "best: none, networks of every trial diverged",
        ]
    )


def _by(result: Mapping[str, Any]) -> str:
    """What proposed them, where it was not the usual one; a search of before says nothing."""
    return ", proposed by chance" * (result.get("sampler") == "random")


def _order(row: Mapping[str, Any]) -> tuple[float, int]:
    return inf if row["value"] is None else row["value"], row["number"]


def _mark(row: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    words = ["published"] * row["published"]
    words += ["best"] * (best is not None and row["number"] == best["trial"])
    return f" ({', '.join(words)})" if words else ""


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _epochs(row: Mapping[str, Any]) -> str:
    """Of each network, where a task has such a thing."""
    return "–" if row["best_epochs"] is None else ",".join(map(str, row["best_epochs"]))


def write_search(out: Path, result: Mapping[str, Any]) -> list[Path]:
    """The table as files beside trials.json: table.txt and table.csv."""
    path = out / TABLE
    write_text(path, search_text(result) + "\n")
    return [path, write_csv(out, result["trials"])]
