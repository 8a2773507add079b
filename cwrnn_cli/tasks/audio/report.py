"""Task 1's tables and figures: errors by sequence, Table 2, row 1, Figure 3 and Figure 5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...models import CELLS, ClockworkSpec, LSTMSpec
from ...paper import AUDIO
from ...reporting import page
from ...reporting.figures import boxes, waves
from ...reporting.tables import number, plus_minus, table
from ...training.results import Results
from .data import METRIC_NAMES

_MAIN = "nmse_paper"  # MSE/σ, the paper's scale
PAPERS_RATIO = 5.7  # Section 4.1: of the LSTM's mean to the CW-RNN's, largest networks


def evaluation_text(summary: Mapping[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`.evaluate.summary`."""
    paper = summary["paper"]
    lines = [
        f"{page.network_line(summary)}; {summary['runs']} runs of "
        f"{len(summary['sequences'])} sequences; {summary['epochs']} epochs, "
        f"learning rate {summary['lr']:g}",
        f"data: {page.data_of(summary)}",
        *page.deviation_lines(summary),
    ]
    rows = []
    parts = [("all", summary)] + [
        (f"sequence {i + 1}", part) for i, part in enumerate(summary["sequences"])
    ]
    for name, part in parts:
        rows.append([name, *_metric_cells(part["metrics"]), str(part["diverged"])])
    header = ["", *METRIC_NAMES.values(), "MSE/σ median", "quartiles", "diverged"]
    lines += ["", table(header, rows)]
    if paper is not None and "mean" in paper:
        lines += ["", f"paper (Table 2): MSE/σ {plus_minus(paper['mean'], paper['std'])}"]
    if paper is not None and "median" in paper:
        lines.append(f"paper (Figure 3): MSE/σ median {number(paper['median'])}")
    lines += page.count_lines(summary, {"diverged": "diverged; the statistics are of the others"})
    return "\n".join(lines)


def _metric_cells(metrics: dict[str, Any]) -> list[str]:
    scale = metrics["nmse_paper"]
    return [
        *(plus_minus(metrics[name]["mean"], metrics[name]["std"]) for name in METRIC_NAMES),
        number(scale["median"]),
        f"{number(scale['q25'])}..{number(scale['q75'])}",
    ]


def comparison(results: Results) -> dict[str, Any]:
    """The JSON of `cwrnn compare`: every cell, and how many times others' mean errors are ours."""
    errors = results.finite(_MAIN)
    ours = ClockworkSpec.name
    ratios = {}
    for params in results.sizes:
        means = {
            model: float(errors[model, params].mean())
            for model in CELLS
            if len(errors.get((model, params), ()))
        }
        if ours in means:
            ratios[str(params)] = {
                f"{model}_over_{ours}": means[model] / means[ours]
                for model in means
                if model != ours
            }
    return page.comparison(results, ["sequences"], ratios=ratios, wins=page.wins(results, _MAIN))


def comparison_text(results: Results) -> str:
    """The comparison as a table, ours beside the paper's."""
    first = results.first
    rows = []
    for key, summary in results.by_size():
        paper, ours = summary["paper"] or {}, summary["metrics"][_MAIN]
        rows.append(
            [
                page.cell_name(key),
                str(summary["hidden_size"]),
                f"{summary['lr']:g}",
                plus_minus(ours["mean"], ours["std"]),
                number(summary["within"]),
                plus_minus(paper.get("mean"), paper.get("std")),
                number(summary["metrics"]["nmse"]["mean"]),
                f"{summary['diverged']}/{summary['networks']}",
            ]
        )
    header = (
        "parameters",
        "units",
        "rate",
        "MSE/σ",
        "± within",
        "paper (Table 2)",
        "MSE/variance",
        "diverged",
    )
    lines = [
        f"data: {page.data_of(first)}; {first['runs']} runs x "
        f"{first['networks'] // first['runs']} sequences, {first['epochs']} epochs",
        *page.deviations_of(results),
        "",
        table(header, rows),
        "mean ± s.d. over the networks that did not diverge, of all sequences together; within: "
        "over those of one sequence",
        "",
        *page.median_lines(results, number, AUDIO.medians, "paper (Fig. 3)", "the constant mean"),
        "",
    ]
    largest = {str(max(AUDIO.hidden_sizes)): PAPERS_RATIO}
    for params, ratio in comparison(results)["ratios"].items():
        for name, value in ratio.items():
            above, _, below = name.partition("_over_")
            papers = largest.get(params) if above == LSTMSpec.name else None
            times = f"{value:.1f} times below" if value >= 1 else f"{1 / value:.1f} times above"
            lines.append(
                f"{params} parameters: {page.label_of(below)}'s mean MSE/σ is {times} "
                f"{page.label_of(above)}'s" + (f" (paper: {papers})" if papers else "")
            )
    lines += page.win_lines(results, _MAIN)
    return "\n".join(lines)


def figures(out: Path, results: Results, caption: str) -> list[Path]:
    """Draw Figure 3, and Figure 5 of the largest networks."""
    files = [out / "figure3.png", out / "figure5.png"]
    boxes(
        files[0],
        results.finite(_MAIN),
        caption + page.left_out(results),
        AUDIO.medians,
        "MSE / σ of the target",
        page.medians_of_all(results),
        logarithmic=True,
    )
    largest = max(results.sizes)
    best: dict[str, np.ndarray] = {
        model: cell.arrays["best"]
        for (model, params), cell in results.cells.items()
        if params == largest
    }
    waves(files[1], results.shared["targets"], best, caption)
    return files
