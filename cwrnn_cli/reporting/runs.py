"""What `cwrnn runs` shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..training.listing import Run
from .csv import csv_text
from .tables import number, table

_SHOWN = 40  # characters of a value in a table; --json has all


def runs_text(runs: Sequence[Run], parent: Path) -> str:
    """A row per run."""
    header = ("run", "task", "model", "parameters", "networks", "epoch", "lowest", "of", "state")
    rows = [
        [
            str(run.path.relative_to(parent)),
            *_of(run),
            number(run.best) if run.best is not None else "",
            run.metric,
            run.state,
        ]
        for run in runs
    ]
    return table(header, rows) if rows else f"{parent}: no runs"


def _of(run: Run) -> list[str]:
    if run.config is None:
        return [""] * 5
    config = run.config
    each = (config.task, config.model, config.params, config.networks)
    return [*map(str, each), f"{run.epoch} of {config.epochs}"]


def runs_csv(runs: Sequence[Run]) -> str:
    """A line per run, and one of names before them."""
    names = ["run", "task", "model", "params", "networks", "state", "epoch", "epochs"]
    return csv_text([run.row() for run in runs], [*names, "metric", "best"]).rstrip("\n")


def differences_text(found: Mapping[str, tuple[Any, Any]], first: Run, second: Run) -> str:
    """A row per name."""
    if not found:
        return "nothing differs"
    rows = [[name, *map(_value, pair)] for name, pair in found.items()]
    return table(("", str(first.path), str(second.path)), rows)


def _value(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
