"""What the reports of all tasks share: how an evaluation opens, and the files of a comparison."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from data_prep.files import write_text
from data_prep.strict_json import dumps

from .. import statistics
from ..models import CELLS
from ..training.registry import TASKS, AnyTask
from ..training.results import Results
from .csv import CSV, csv_text
from .tables import Table, counted, interval, percent

TABLE, COMPARISON = "table.txt", "comparison.json"  # of a comparison


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
    """A line for each departure from the paper's protocol, or from our default.

    Args:
        summary: of a task, with its ``deviations``.
    """
    unstated = TASKS[summary["task"]].protocol.unstated
    return [
        f"deviates from our default, the paper names none: {name} {ours}, our default {theirs}"
        if name in unstated
        else f"deviates from the paper: {name} {ours}, paper {theirs}"
        for name, ours, theirs in (
            (d["name"], d["ours"], d["paper"]) for d in summary["deviations"]
        )
    ]


def deviations_of(results: Results) -> list[str]:
    """:func:`deviation_lines` of a grid's cells, each once."""
    found: dict[str, list[str]] = {}
    for key, summary in results.by_size():
        for line in deviation_lines(summary):
            found.setdefault(line, []).append(cell_name(key))
    every = len(results.cells)
    return [
        line if len(cells) == every else f"{line} ({', '.join(cells)})"
        for line, cells in found.items()
    ]


def count_lines(summary: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    """A line for each count of networks that is not 0: key of the summary -> what they did."""
    return [
        f"{summary[name]} of {counted(summary['networks'], 'network')} {reason}"
        for name, reason in reasons.items()
        if summary[name]
    ]


def cell_name(key: tuple[str, int]) -> str:
    """A cell of the grid, in the first column of tables."""
    model, params = key
    return f"{params} {label_of(model)}"


def beside(table: Table, summary: Mapping[str, Any], corpus: str) -> Table:
    """A table whose columns of the paper's numbers say on what they are, where ours are on another.

    Args:
        table: columns of the paper's begin with "paper".
        summary: of any of its cells.
        corpus: the paper's, by the name that its converter gives it.
    """
    if summary["data"]["name"] == corpus and not summary["standin"]:
        return table
    header = [f"{name}, on {corpus}" if name.startswith("paper") else name for name in table.header]
    return Table(header, table.rows)


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


def wins(results: Results, name: str) -> dict[str, Any]:
    """Parameters -> pair of models -> in how many pairs of networks the first has the lower error.

    Args:
        results: of the grid.
        name: of the errors' array.
    """
    found: dict[str, dict[str, Any]] = {}
    for params in results.sizes:
        there = [model for model in CELLS if (model, params) in results.cells]
        for others, ours in combinations(there, 2):
            a, b = (results.cells[model, params].arrays for model in (ours, others))
            if len(a[name]) == len(b[name]):
                pair = statistics.wins(a[name], b[name], (a["diverged"], b["diverged"]))
                found.setdefault(str(params), {})[f"{ours}_below_{others}"] = pair
    return found


def win_lines(results: Results, name: str) -> list[str]:
    """:func:`wins` in words."""
    lines = []
    for params, pairs in wins(results, name).items():
        for pair, found in pairs.items():
            ours, _, others = pair.partition("_below_")
            ties = f", {found['ties']} ties" if found["ties"] else ""
            lines.append(
                f"{params} parameters: {label_of(ours)} below {label_of(others)} in {found['won']} "
                f"of {found['pairs']} pairs of one seed{ties} "
                f"({percent(found['low'])} to {percent(found['high'])} %)"
            )
    return lines


def median_table(
    results: Results,
    write: Callable[[float | None], str],
    papers: Mapping[str, Mapping[int, float]],
    source: str,
    constant: str,
) -> Table:
    """Medians with their intervals, diverged networks under all conventions.

    Args:
        results: of the grid.
        write: a value.
        papers: model -> parameters -> the paper's median.
        source: the paper's figure.
        constant: what a diverged network counts as, the first time.
    """
    rows = []
    for key, summary in results.by_size():
        model, params = key
        medians = summary["medians"]
        rows.append(
            [
                cell_name(key),
                interval(medians["survivors"], write),
                write(papers.get(model, {}).get(params)),
                *(
                    interval(medians[name], write) if summary["diverged"] else ""
                    for name in ("as_constant", "as_infinite")
                ),
            ]
        )
    header = ("medians (95 %)", "did not diverge", source, f"diverged as {constant}", "as infinite")
    return Table(header, rows)


def drawn_networks(results: Results) -> str:
    """For a figure's caption: which networks its boxes are of, and marks of the others."""
    found = [
        f"{cell_name(key)} {summary['diverged']} of {summary['networks']}"
        for key, summary in results.by_size()
        if summary["diverged"]
    ]
    if not found:
        return "all networks"
    marks = "medians of all with these as the constant mean: +, as infinite: x"
    return f"networks that did not diverge, left out: {', '.join(found)}; {marks}"


def left_out(results: Results) -> str:
    """For a figure's caption: which networks are not drawn; "" if all are."""
    drawn = any(summary["diverged"] for summary in results.summaries.values())
    return f"; boxes are of {drawn_networks(results)}" if drawn else ""


def medians_of_all(results: Results) -> dict[tuple[str, int], dict[str, float]]:
    """(model, parameters) -> marker of :func:`left_out` -> median, of the cells where any diverged.

    Those that are not finite are not there.
    """
    markers = {"+": "as_constant", "x": "as_infinite"}
    found = {}
    for key, summary in results.summaries.items():
        medians = {m: summary["medians"][name]["median"] for m, name in markers.items()}
        if summary["diverged"]:
            found[key] = {marker: value for marker, value in medians.items() if value is not None}
    return found


def report_texts(task: AnyTask, results: Results, command: str) -> dict[str, str]:
    """The texts of a comparison's files, by name; see :func:`write_report`."""
    comparison = task.comparison(results)
    return {
        TABLE: f"{command}\n{task.comparison_text(results)}\n",
        CSV: csv_text(rows_of(comparison), ["model", "params"]),
        COMPARISON: dumps(comparison, indent=1, ascii_only=False) + "\n",
    }


def rows_of(comparison: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a comparison's JSON has a list of: cells, or corpora of several."""
    return next((rows for rows in comparison.values() if isinstance(rows, list)), [])


def write_report(task: AnyTask, results: Results, command: str) -> list[Path]:
    """Write table.txt, table.csv, comparison.json and the task's figures beside results.h5.

    Args:
        task: whose grid it is.
        results: of the grid.
        command: what made them, for the captions.

    Returns:
        The files.
    """
    out, texts = results.folder, report_texts(task, results, command)
    files = [out / name for name in texts]
    for path, text in zip(files, texts.values(), strict=True):
        write_text(path, text)
    return files + task.figures(out, results, f"data: {data_of(results.first)}; {command}")
