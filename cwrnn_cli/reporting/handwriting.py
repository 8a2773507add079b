"""Task 3's tables and figures: character error rates, examples in ink, Table 3."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.files import write_text

from ..paper import HANDWRITING, MODEL_NAMES, MODELS
from . import figures
from .tables import data_label, percent, percent_plus_minus, table


def evaluation_text(summary: dict[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`cwrnn_cli.training.handwriting_results.summary`."""
    paper, metrics = summary["paper"] or {}, summary["metrics"]
    units = "cells" if summary["model"] == "lstm" else "hidden units"
    lines = [
        f"{MODEL_NAMES[summary['model']]}, {summary['hidden_size']} {units} per direction, "
        f"{summary['parameter_count']} parameters; {summary['runs']} runs, "
        f"learning rate {summary['lr']:g}, {summary['epochs']} epochs",
        f"data: {data_label(summary['data']['name'], summary['standin'])}, "
        f"{summary['sequences']} lines of the {summary['split']} set",
    ]
    lines += [
        f"deviates from the paper: {d['name']} {d['ours']}, paper {d['paper']}"
        for d in summary["deviations"]
    ]
    lines += [
        "",
        f"character error rate, {_decoding(summary)}: {percent_plus_minus(metrics['cer'])} %",
        "validation set at the best epoch, best path: "
        f"{percent_plus_minus(metrics['valid_cer'])} %",
    ]
    if summary["split"] == "test" and "mean" in paper:
        lines.append(f"paper (Table 3): {percent(paper['mean'])} % on IAM-OnDB")
    for name, reason in (
        ("diverged", "diverged"),
        ("cut_short", "had not stopped by the rule of patience yet"),
    ):
        if summary[name]:
            lines.append(f"{summary[name]} of {summary['networks']} networks {reason}")
    return "\n".join(lines)


def _decoding(summary: dict[str, Any]) -> str:
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


def ink(path: Path, lines: list[tuple[str, str, np.ndarray]], summary: dict[str, Any]) -> None:
    """Lines as they were written, with the right text and the text read.

    Args:
        path: PNG file to write.
        lines: right text, text read, and (T, 4) frames in the file's units: x, y, t, end of
            stroke (positions, not offsets).
        summary: of :func:`cwrnn_cli.training.handwriting_results.summary`, for the caption.
    """
    plt = figures.pyplot()
    data = data_label(summary["data"]["name"], summary["standin"])
    caption = (
        f"{MODEL_NAMES[summary['model']]}, {summary['parameter_count']} parameters; data: {data}, "
        f"{summary['split']} set"
    )
    figure, axes = plt.subplots(len(lines), 1, figsize=(9, 0.3 + 1.35 * len(lines)), squeeze=False)
    for axis, (right, read, frames) in zip(axes[:, 0], lines, strict=True):
        begin = 0
        for end in (np.flatnonzero(frames[:, 3] > 0.5) + 1).tolist():
            stroke = frames[begin:end]
            dot = "." if len(stroke) == 1 else None  # a line of one point would not be seen
            axis.plot(
                stroke[:, 0], -stroke[:, 1], color="#222222", linewidth=1, marker=dot, markersize=3
            )
            begin = end
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_title(f"right: {right}\nread:  {read}", fontsize=8, loc="left", family="monospace")
        axis.axis("off")
    figure.text(0.5, 0.003, caption, ha="center", va="bottom", fontsize=7, color="#444444")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figures.save(figure, path)


@dataclass(frozen=True)
class Results:
    """The contents of results.h5.

    Attributes:
        summaries: (model, parameters) -> JSON of `cwrnn eval` for that cell.
    """

    summaries: dict[tuple[str, int], dict[str, Any]]


def read_results(path: Path) -> Results:
    """Read results.h5."""
    summaries: dict[tuple[str, int], dict[str, Any]] = {}
    with h5py.File(path, "r") as file:
        for model in MODELS:
            for params in sorted(map(int, file.get(model, {}))):
                attributes = file[f"{model}/{params}"].attrs
                summaries[model, params] = json.loads(attributes["summary"])
    return Results(summaries)


def comparison(results: Results) -> dict[str, Any]:
    """The JSON of `cwrnn compare`: every cell."""
    return {"task": "iamondb", "cells": list(results.summaries.values())}


def comparison_text(results: Results) -> str:
    """Table 3, ours beside the paper's."""
    first = next(iter(results.summaries.values()))
    rows = []
    for (model, params), summary in sorted(
        results.summaries.items(), key=lambda item: (item[0][1], MODELS.index(item[0][0]))
    ):
        metrics, epoch = summary["metrics"], summary["metrics"]["best_epoch"]["median"]
        rows.append(
            [
                f"{params} {MODEL_NAMES[model]}",
                str(summary["hidden_size"]),
                f"{summary['lr']:g}",
                percent_plus_minus(metrics["cer"]),
                percent(HANDWRITING.table.get(params, {}).get(model)),
                percent_plus_minus(metrics["valid_cer"]),
                "–" if epoch is None else f"{epoch:.0f}",
                f"{summary['diverged']}/{summary['cut_short']}",
            ]
        )
    header = (
        "parameters", "units", "rate", "test CER %", "paper (Table 3)", "validation CER %",
        "best epoch", "diverged/cut",
    )  # fmt: skip
    data = data_label(first["data"]["name"], first["standin"])
    return "\n".join(
        [
            f"data: {data}; {first['runs']} runs, best path; the paper's numbers are on IAM-OnDB",
            "",
            table(header, rows),
        ]
    )


def write_report(out: Path, results: Results, command: str) -> list[Path]:
    """Write table.txt, comparison.json and curves.png.

    Args:
        out: the grid's folder.
        results: of :func:`read_results`.
        command: what made them, for the captions.

    Returns:
        The files.
    """
    first = next(iter(results.summaries.values()))
    caption = f"data: {data_label(first['data']['name'], first['standin'])}; {command}"
    files = [out / name for name in ("table.txt", "comparison.json", "curves.png")]
    write_text(files[0], f"{command}\n{comparison_text(results)}\n")
    write_text(files[1], json.dumps(comparison(results), indent=1, ensure_ascii=False) + "\n")
    noted = {path.parent.name: path for path in sorted(out.glob("cells/*/metrics.jsonl"))}
    lines = {
        name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for name, path in noted.items()
    }
    curves(files[2], lines, caption)
    return files


def curves(path: Path, runs: dict[str, list[dict[str, Any]]], caption: str) -> None:
    """Validation error over epochs, a line per run (its best network).

    Args:
        path: PNG file to write.
        runs: name -> lines of metrics.jsonl.
        caption: data and how it was made.
    """
    plt = figures.pyplot()
    figure, axis = plt.subplots(figsize=(7, 4.2))
    drawn: list[str | None] = []
    for name, lines in runs.items():
        colour = next((c for m, c in figures.COLOURS.items() if f"-{m}-" in f"-{name}-"), None)
        errors = [100 * min(line["valid_cer"]) for line in lines]
        style = ("-", "--", ":", "-.")[drawn.count(colour) % 4]
        drawn.append(colour)
        epochs = [line["epoch"] for line in lines]
        axis.plot(epochs, errors, label=name, color=colour, linestyle=style, linewidth=1)
    axis.set_xlabel("epochs")
    axis.set_ylabel("validation CER, %")
    axis.set_ylim(0, 100)
    axis.grid(linewidth=0.3)
    axis.legend(fontsize=7)
    figure.text(0.5, 0.005, caption, ha="center", va="bottom", fontsize=7)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figures.save(figure, path)
