"""Task 3's tables and figures: character error rates, examples in ink, Table 3."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.reading import lines_of

from ...paper import IAMONDB
from ...reporting import page
from ...reporting.figures import Target, curves, pyplot, save
from ...reporting.tables import Table, counted, percent, percent_plus_minus
from ...training.folder import CELLS_FOLDER, LARGEST_METRICS, METRICS
from ...training.results import Results


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
    return [json.loads(line) for line in lines_of(path, LARGEST_METRICS)]


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
