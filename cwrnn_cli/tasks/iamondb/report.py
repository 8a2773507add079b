"""Task 3's tables and figures: character error rates, examples in ink, Table 3."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.files import write_text
from data_prep.strict_json import dumps

from ...paper import IAMONDB
from ...reporting import page
from ...reporting.figures import Target, curves, pyplot, save
from ...reporting.tables import Table, counted, percent, percent_plus_minus
from ...training.folder import CELLS_FOLDER, METRICS, RunFolder
from ...training.problem import RunsReport
from ...training.results import Results

# deviations that a table of runs has columns for
_SHOWN = ("runs", "epochs", "params", "hidden_size")


def evaluation_text(summary: Mapping[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`.evaluate.summary`."""
    paper, metrics = summary["paper"] or {}, summary["metrics"]
    lines = [
        f"{page.network_line(summary, ' per direction')}; {counted(summary['runs'], 'run')}, "
        f"learning rate {summary['lr']:g}, {counted(summary['epochs'], 'epoch')}",
        f"data: {page.data_of(summary)}, "
        f"{counted(summary['sequences'], 'line')} of the {summary['split']} set",
        *page.deviation_lines(summary),
        "",
        f"character error rate, {_decoding(summary)}: {percent_plus_minus(metrics['cer'])} %",
        "validation set at the best epoch, best path: "
        f"{percent_plus_minus(metrics['valid_cer'])} %",
    ]
    if summary["split"] == "test" and "mean" in paper:
        lines.append(f"paper (Table 3): {percent(paper['mean'])} % on IAM-OnDB")
    reasons = {
        "diverged": "diverged",
        "cut_short": "had not stopped by the rule of patience yet",
    }
    lines += page.count_lines(summary, reasons)
    return "\n".join(lines)


def _decoding(summary: Mapping[str, Any]) -> str:
    beam = summary["beam"]
    if not beam:
        return "best path"
    model = f", character {beam['ngram']}-gram" if beam["ngram"] else ""
    return f"beam search of width {beam['width']}{model} (beyond the paper)"


def examples_text(examples: list[tuple[str, str, str]]) -> str:
    """Name, right text and text read of some lines."""
    return "\n".join(
        f"\n{name}\n  right: {right}\n  read:  {read}" for name, right, read in examples
    )


def ink(path: Target, lines: list[tuple[str, str, np.ndarray]], summary: Mapping[str, Any]) -> None:
    """Lines as they were written, with the right text and the text read.

    Args:
        path: what to write.
        lines: right text, text read, and (T, 4) frames in the file's units: x, y, t, end of
            stroke (positions, not offsets).
        summary: of :func:`.evaluate.summary`, for the caption.
    """
    plt = pyplot()
    caption = (
        f"{page.label_of(summary['model'])}, {summary['parameter_count']} parameters; "
        f"data: {page.data_of(summary)}, {summary['split']} set"
    )
    figure, axes = plt.subplots(len(lines), 1, figsize=(9, 0.3 + 1.35 * len(lines)), squeeze=False)
    for axis, (right, read, frames) in zip(axes[:, 0], lines, strict=True):
        draw_ink(axis, frames)
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_title(f"right: {right}\nread:  {read}", fontsize=8, loc="left", family="monospace")
        axis.axis("off")
    figure.text(0.5, 0.003, caption, ha="center", va="bottom", fontsize=7, color="#444444")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    save(figure, path)


def draw_ink(axis: Any, frames: np.ndarray) -> None:
    """The strokes of a line on an axis of matplotlib's; (T, 4) frames as of :func:`ink`."""
    begin = 0
    for end in (np.flatnonzero(frames[:, 3] > 0.5) + 1).tolist():
        stroke = frames[begin:end]
        dot = "." if len(stroke) == 1 else None  # a line of one point would not be seen
        axis.plot(
            stroke[:, 0], -stroke[:, 1], color="#222222", linewidth=1, marker=dot, markersize=3
        )
        begin = end


def comparison(results: Results) -> dict[str, Any]:
    """The JSON of `cwrnn compare`: every cell."""
    return page.comparison(results)


def main_table(results: Results) -> Table:
    """Table 3, ours beside the paper's."""
    rows = []
    for key, summary in results.by_size():
        model, params = key
        metrics, epoch = summary["metrics"], summary["metrics"]["best_epoch"]["median"]
        rows.append(
            [
                page.cell_name(key),
                str(summary["hidden_size"]),
                f"{summary['lr']:g}",
                percent_plus_minus(metrics["cer"]),
                percent(IAMONDB.table.get(params, {}).get(model)),
                percent_plus_minus(metrics["valid_cer"]),
                "–" if epoch is None else f"{epoch:.0f}",
                f"{summary['diverged']}/{summary['cut_short']}",
            ]
        )
    header = (
        "parameters", "units", "rate", "test CER %", "paper (Table 3)", "validation CER %",
        "best epoch", "diverged/cut",
    )  # fmt: skip
    return Table(header, rows)


def comparison_text(results: Results) -> str:
    """Table 3, ours beside the paper's, with what it is of."""
    first = results.first
    return "\n".join(
        [
            f"data: {page.data_of(first)}; {counted(first['runs'], 'run')}, best path; "
            "the paper's numbers are on IAM-OnDB",
            *page.deviations_of(results),
            "",
            *main_table(results).lines(),
        ]
    )


def figures(out: Path, results: Results, caption: str) -> list[Path]:
    """Draw the learning curves of the grid's runs."""
    names = sorted(f"{model}-{params}" for model, params in results.cells)
    noted = {name: out / CELLS_FOLDER / name / METRICS for name in names}
    validation_curves(out / "curves.png", {n: read_lines(p) for n, p in noted.items()}, caption)
    return [out / "curves.png"]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def validation_curves(
    path: Target, runs: Mapping[str, Sequence[Mapping[str, Any]]], caption: str
) -> None:
    """Validation error over epochs, a line per run (its best network).

    Args:
        path: what to write.
        runs: name -> lines of metrics.jsonl.
        caption: data and how it was made.
    """
    points = {
        name: [(line["epoch"], 100 * min(line["valid_cer"])) for line in lines]
        for name, lines in runs.items()
    }
    curves(path, points, "validation CER, %", caption)


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
        noted = (run.path / METRICS).read_text(encoding="utf-8")
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
    return RunsReport(result, text, files)


def runs_cells(summaries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs that differ in their seeds only, taken together.

    Args:
        summaries: name -> JSON of its `cwrnn eval`, all on one split.

    Returns:
        For each model, size and departure from the paper (a limit of epochs is one), in the order
        of the runs: params, model, departs, runs (names), networks, diverged, cut_short, and of cer
        and valid_cer the mean, min and max over all networks that did not diverge; None where all
        did.
    """
    together: dict[tuple[Any, ...], list[str]] = {}
    for name, summary in summaries.items():
        limit = [d["ours"] for d in summary["deviations"] if d["name"] == "epochs"]
        cell_of = summary["params"], summary["model"], _departs(summary), *limit
        together.setdefault(cell_of, []).append(name)
    cells = []
    for (params, model, departs, *_), names in together.items():
        parts = [summaries[name] for name in names]
        cell: dict[str, Any] = {"params": params, "model": model, "departs": departs}
        cell |= {"runs": names, "networks": sum(part["networks"] for part in parts)}
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
    rows = [
        [
            page.cell_name((cell["model"], cell["params"])),
            cell["departs"] or "–",
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
        "parameters", "departs from the paper by", "networks", f"{split} CER %, mean",
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
    lines_of_all = [*runs_table(summaries, lines, at).lines()]
    if cells := cells_table(summaries):
        lines_of_all += ["", "runs that differ in their seeds only, together", "", *cells.lines()]
    return "\n".join([f"{_runs_label(summaries)}, best path", "", *lines_of_all])


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
        "parameters", "run", "departs from the paper by", "units", f"{_split(summaries)} CER %",
        "paper (Table 3, test)", "validation CER %", "best epoch", "epochs", "stopped by",
        *(f"validation by epoch {epoch}" for epoch in at),
    )  # fmt: skip
    return Table(header, rows)


def _runs_label(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The runs' data, and what a row is."""
    networks = {summary["runs"] for summary in summaries.values()}
    each = "one network each" if networks == {1} else "means over the networks of each run"
    return f"data: {page.data_of(next(iter(summaries.values())))}; {each}"


def _departs(result: Mapping[str, Any]) -> str:
    """Where a run departs from the paper, but for what a table of runs has columns for."""
    variant = [d for d in result["deviations"] if d["name"] not in _SHOWN]
    return ", ".join(f"{d['name']} {_as_json(d['ours'])}" for d in variant)


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
        changed = {deviation["name"]: deviation["ours"] for deviation in result["deviations"]}
        epochs = changed.get("epochs", IAMONDB.epochs)
        end = "--epochs" if result["epochs"] == epochs else "us: cut short"
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
