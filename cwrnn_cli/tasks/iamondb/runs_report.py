"""Runs of task 3 that were trained one by one, side by side: `cwrnn compare --run`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files import write_text
from data_prep.reading import text_of
from data_prep.strict_json import dumps

from ...paper import IAMONDB
from ...reporting import page
from ...reporting.tables import Table, percent, said_once
from ...training.folder import LARGEST_METRICS, METRICS, RunFolder
from ...training.problem import RunsReport
from .report import validation_curves

# the protocol is the paper's, and our default where the paper is silent
_DEPARTS, _BY_EPOCH = "departs from the protocol by", "validation by epoch "
# deviations that a table of runs has columns for
_SHOWN = ("runs", "epochs", "params", "hidden_size")


def compare_runs(
    out: Path,
    runs: Mapping[str, RunFolder],
    summaries: Mapping[str, Mapping[str, Any]],
    at: Sequence[int],
) -> RunsReport:
    """Runs as they are, trained to their end or not, as one table with their learning curves.

    Writes each run's errors (NAME.json) and epochs (NAME.jsonl), and all of them to table.txt and
    curves.png.

    Args:
        out: folder to write into.
        runs: by their names.
        summaries: JSON of their `cwrnn eval`, all on one split.
        at: epochs at which to compare all runs.

    Returns:
        The table as text; as JSON task and runs, each a summary with the folder (``run``) and
        ``validation``: epoch -> lowest error by then, None if the run did not come so far.
    """
    at = list(dict.fromkeys(at))
    found, lines, files = [], {}, [out / page.TABLE, out / "curves.png"]
    for name, run in runs.items():
        result = summaries[name]
        noted = text_of(run.path / METRICS, LARGEST_METRICS)
        files += [out / f"{name}.json", out / f"{name}.jsonl"]
        write_text(files[-2], dumps(result, indent=1) + "\n")
        write_text(files[-1], noted)
        lines[name] = [json.loads(line) for line in noted.splitlines()]
        by_then = {str(epoch): _lowest(lines[name], epoch) for epoch in at}
        found.append({"run": str(run.path), **result, "validation": by_then})
    text = runs_text(summaries, lines, at)
    write_text(files[0], text + "\n")
    validation_curves(files[1], lines, _runs_label(summaries))
    result = {"task": IAMONDB.task, "runs": found, "cells": runs_cells(summaries)}
    return RunsReport(result, _narrow_text(summaries, lines, at), files)


def runs_cells(summaries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs that differ in their seeds only, taken together.

    Args:
        summaries: name -> JSON of its `cwrnn eval`, all on one split.

    Returns:
        For each model, size and departure from the protocol (a limit of epochs is one), in the
        order of the runs: params, model, departs, limit (of epochs), runs (names), networks,
        diverged, cut_short, and of cer and valid_cer the mean, min and max over all networks that
        did not diverge; None where all did.
    """
    together: dict[tuple[Any, ...], list[str]] = {}
    for name, summary in summaries.items():
        cell_of = summary["params"], summary["model"], _departs(summary), _limit(summary)
        together.setdefault(cell_of, []).append(name)
    cells = []
    for (params, model, departs, limit), names in together.items():
        parts = [summaries[name] for name in names]
        cell: dict[str, Any] = {"params": params, "model": model, "departs": departs}
        cell |= {"limit": limit, "runs": names, "networks": sum(part["networks"] for part in parts)}
        for key in ("diverged", "cut_short"):
            cell[key] = sum(part[key] for part in parts)
        for key in ("cer", "valid_cer"):
            found = [
                (part["networks"] - part["diverged"], part["metrics"][key])
                for part in parts
                if part["metrics"][key]["mean"] is not None
            ]
            many = sum(n for n, _ in found)
            cell[key] = {
                "mean": sum(n * values["mean"] for n, values in found) / many if many else None,
                "min": min((values["min"] for _, values in found), default=None),
                "max": max((values["max"] for _, values in found), default=None),
            }
        cells.append(cell)
    return cells


def cells_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The table of :func:`runs_cells`; None if there is no cell of several runs."""
    cells, split = runs_cells(summaries), _split(summaries)
    if len(cells) == len(summaries):
        return None
    limits = len({cell["limit"] for cell in cells}) > 1  # where some may differ in nothing else
    rows = [
        [
            page.cell_name((cell["model"], cell["params"])),
            cell["departs"] or "–",
            *([str(cell["limit"])] if limits else []),
            str(cell["networks"]),
            percent(cell["cer"]["mean"]),
            f"{percent(cell['cer']['min'])} to {percent(cell['cer']['max'])}",
            percent(cell["valid_cer"]["mean"]),
            str(cell["diverged"]),
            str(cell["cut_short"]),
            percent(_published(cell)),
        ]
        for cell in cells
    ]
    header = (
        "parameters", _DEPARTS, *(["limit of epochs"] if limits else []), "networks",
        f"{split} CER %, mean",
        "lowest to highest", "validation CER %, mean", "diverged", "cut short",
        "paper (Table 3, test)",
    )  # fmt: skip
    return Table(header, rows)


def _split(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    return str(next(iter(summaries.values()))["split"])


def runs_text(
    summaries: Mapping[str, Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    at: Sequence[int],
) -> str:
    """The table of runs, a row each.

    Args:
        summaries: name -> JSON of its `cwrnn eval`, all on one split.
        lines: name -> those of its metrics.jsonl.
        at: epochs at which to compare all runs.
    """
    each = runs_table(summaries, lines, at).lines()
    return "\n".join([f"{_runs_label(summaries)}, best path", "", *each, *_together(summaries)])


def _together(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of :func:`cells_table`, with a heading."""
    cells = cells_table(summaries)
    head = ["", "runs that differ in their seeds only, together", ""]
    return [*head, *cells.lines()] if cells else []


def _narrow_text(
    summaries: Mapping[str, Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    at: Sequence[int],
) -> str:
    """:func:`runs_text` for a terminal: what all runs have in common is said once."""
    departures = {name: _departures(result) for name, result in summaries.items()}
    everywhere = [
        each
        for each in next(iter(departures.values()))
        if len(departures) > 1 and all(each in others for others in departures.values())
    ]
    found = runs_table(summaries, lines, at)
    place = found.header.index(_DEPARTS)
    rows = [list(row) for row in found.rows]
    for row, own in zip(rows, departures.values(), strict=True):
        row[place] = ", ".join(each for each in own if each not in everywhere) or "–"
    header = [name.replace(_BY_EPOCH, "by ").replace("Table 3, ", "") for name in found.header]
    same, narrow = said_once(Table(header, rows), ("parameters", "run"))
    said = [f"{_runs_label(summaries)}, best path"]
    if everywhere:
        said.append(f"all depart from the protocol by {', '.join(everywhere)}")
    said += [f"all: {same}"] if same else []
    said += [f"by N: {_BY_EPOCH.removesuffix(' ')} N, CER %"] if at else []
    return "\n".join([*said, "", *narrow.lines(), *_together(summaries)])


def runs_table(
    summaries: Mapping[str, Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    at: Sequence[int],
) -> Table:
    """See :func:`runs_text`."""
    rows = [
        [*_run_cells(name, result), *(percent(_lowest(lines[name], epoch)) for epoch in at)]
        for name, result in summaries.items()
    ]
    header = (
        "parameters", "run", _DEPARTS, "units", f"{_split(summaries)} CER %",
        "paper (Table 3, test)", "validation CER %", "best epoch", "epochs", "stopped by",
        *(f"{_BY_EPOCH}{epoch}" for epoch in at),
    )  # fmt: skip
    return Table(header, rows)


def _runs_label(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The runs' data, and what a row is."""
    networks = {summary["runs"] for summary in summaries.values()}
    each = "one network each" if networks == {1} else "means over the networks of each run"
    return f"data: {page.data_of(next(iter(summaries.values())))}; {each}"


def _limit(result: Mapping[str, Any]) -> int:
    """Epochs at the most."""
    changed = [d["ours"] for d in result["deviations"] if d["name"] == "epochs"]
    return int(changed[0]) if changed else IAMONDB.epochs


def _departs(result: Mapping[str, Any]) -> str:
    """Where a run departs from the protocol, but for what a table of runs has columns for."""
    return ", ".join(_departures(result))


def _departures(result: Mapping[str, Any]) -> list[str]:
    variant = [d for d in result["deviations"] if d["name"] not in _SHOWN]
    return [f"{d['name']} {_as_json(d['ours'])}" for d in variant]


def _as_json(value: Any) -> Any:
    """As it is read again, so that a table made of that is the same."""
    return list(value) if isinstance(value, tuple) else value


def _published(cell: Mapping[str, Any]) -> float | None:
    """The paper's mean for what does not depart from it, if it has the cell."""
    if cell["departs"]:
        return None
    return IAMONDB.table.get(cell["params"], {}).get(cell["model"])


def _run_cells(name: str, result: Mapping[str, Any]) -> list[str]:
    model, params, metrics = result["model"], result["params"], result["metrics"]
    departs = _departs(result)
    end = "divergence" if result["diverged"] == result["networks"] else "the rule"
    if result["cut_short"]:
        end = "--epochs" if result["epochs"] == _limit(result) else "us: cut short"
    best = metrics["best_epoch"]["median"]
    return [
        page.cell_name((model, params)),
        name,
        departs or "–",
        str(result["hidden_size"]),
        percent(metrics["cer"]["mean"]),
        percent(_published(dict(result) | {"departs": departs})),
        percent(metrics["valid_cer"]["mean"]),
        "–" if best is None else f"{best:.0f}",
        str(result["epochs"]),
        end,
    ]


def _lowest(lines: Sequence[Mapping[str, Any]], epoch: int) -> float | None:
    """The lowest error on the validation set up to an epoch, if the run came so far."""
    if len(lines) < epoch:
        return None
    return min(float(min(line["valid_cer"])) for line in lines[:epoch])
