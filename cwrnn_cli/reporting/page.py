"""What the reports of all tasks share: how an evaluation opens, and the files of a comparison."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.files import write_text

from ..models import CELLS
from ..training.registry import TASKS, AnyTask
from ..training.results import Results

TABLE = "table.txt"  # of a comparison


def label_of(model: str) -> str:
    """A cell's name in tables."""
    return CELLS[model].label


def data_of(summary: Mapping[str, Any]) -> str:
    """The data's name, with what it stands in for where it does."""
    return TASKS[summary["task"]].data_label(summary["data"]["name"], summary["standin"])


def network_line(summary: Mapping[str, Any], more: str = "") -> str:
    """Which network: label, units (``more`` behind them), parameters."""
    cell = CELLS[summary["model"]]
    return (
        f"{cell.label}, {summary['hidden_size']} {cell.unit}{more}, "
        f"{summary['parameter_count']} parameters"
    )


def deviation_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each departure from the paper's protocol."""
    return [
        f"deviates from the paper: {d['name']} {d['ours']}, paper {d['paper']}"
        for d in summary["deviations"]
    ]


def count_lines(summary: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    """A line for each count of networks that is not 0: key of the summary -> what they did."""
    return [
        f"{summary[name]} of {summary['networks']} networks {reason}"
        for name, reason in reasons.items()
        if summary[name]
    ]


def cell_name(key: tuple[str, int]) -> str:
    """A cell of the grid, in the first column of tables."""
    model, params = key
    return f"{params} {label_of(model)}"


def comparison(
    results: Results, left_out: Iterable[str] = (), **more: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON of `cwrnn compare`.

    Args:
        results: of the grid.
        left_out: keys of a cell's summary that are too long for it.
        more: that the task adds.
    """
    hidden = set(left_out)
    cells = [{k: v for k, v in s.items() if k not in hidden} for s in results.summaries.values()]
    return {"task": results.first["task"], "cells": cells, **more}


def write_report(task: AnyTask, results: Results, command: str) -> list[Path]:
    """Write table.txt, comparison.json and the task's figures beside results.h5.

    Args:
        task: whose grid it is.
        results: of the grid.
        command: what made them, for the captions.

    Returns:
        The files.
    """
    out = results.folder
    files = [out / TABLE, out / "comparison.json"]
    write_text(files[0], f"{command}\n{task.comparison_text(results)}\n")
    text = json.dumps(task.comparison(results), indent=1, ensure_ascii=False)
    write_text(files[1], text + "\n")
    return files + task.figures(out, results, f"data: {data_of(results.first)}; {command}")
