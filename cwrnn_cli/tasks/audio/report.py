"""Task 1's tables and figures: errors by sequence, Table 2, row 1, Figure 3 and Figure 5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...models import CELLS, ClockworkSpec, LSTMSpec
from ...paper import AUDIO
from ...reporting import page
from ...reporting.figures import Target, boxes, waves
from ...reporting.tables import Table, counted, number, plus_minus, table
from ...statistics import ratio_of_means
from ...training.results import Results
from .data import METRIC_NAMES

MUSIC = "its own music"  # what the paper's numbers are of
_MAIN = "nmse_paper"  # MSE/σ, the paper's scale
PAPERS_RATIO = 5.7  # Section 4.1: of the LSTM's mean to the CW-RNN's, largest networks


def evaluation_text(summary: Mapping[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`.evaluate.summary`."""
    paper = summary["paper"]
    lines = [
        f"{page.network_line(summary)}; {counted(summary['runs'], 'run')} of "
        f"{counted(len(summary['sequences']), 'sequence')}; "
        f"{counted(summary['epochs'], 'epoch')}, "
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
    theirs = f", on {MUSIC}"
    if paper is not None and "mean" in paper:
        lines += ["", f"paper (Table 2): MSE/σ {plus_minus(paper['mean'], paper['std'])}{theirs}"]
    if paper is not None and "median" in paper:
        lines.append(f"paper (Figure 3): MSE/σ median {number(paper['median'])}{theirs}")
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


def main_table(results: Results) -> Table:
    """Every cell, ours beside Table 2, row 1."""
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
    return Table(header, rows)


MAIN_NOTE = (
    "mean ± s.d. over the networks that did not diverge, of all sequences together; within: "
    "over those of one sequence"
)


def median_table(results: Results) -> Table:
    """Medians beside Figure 3's."""
    papers, source = AUDIO.medians, "paper (Fig. 3)"
    return page.median_table(results, number, papers, source, "the constant mean")


def comparison_text(results: Results) -> str:
    """The comparison as a table, ours beside the paper's."""
    first = results.first
    lines = [
        f"data: {page.data_of(first)}; {counted(first['runs'], 'run')} x "
        f"{counted(first['networks'] // first['runs'], 'sequence')}, "
        f"{counted(first['epochs'], 'epoch')}; the paper's numbers are on {MUSIC}",
        *page.deviations_of(results),
        "",
        *main_table(results).lines(),
        MAIN_NOTE,
        "",
        *median_table(results).lines(),
        "",
        *ratio_lines(results),
        *page.win_lines(results, _MAIN),
    ]
    return "\n".join(lines)


def ratio_lines(results: Results) -> list[str]:
    """How many times the others' mean errors are the CW-RNN's, in words, with 95 % intervals."""
    lines = []
    errors, groups = results.finite(_MAIN), results.finite("sequence")
    largest = {str(max(AUDIO.hidden_sizes)): PAPERS_RATIO}
    for params, ratio in comparison(results)["ratios"].items():
        for name, value in ratio.items():
            above, _, below = name.partition("_over_")
            papers = largest.get(params) if above == LSTMSpec.name else None
            pair = (above, int(params)), (below, int(params))
            ends = ratio_of_means(*((errors[key], groups[key]) for key in pair))
            times = f"{value:.1f} times below"
            if value < 1:
                times = f"{1 / value:.1f} times above"
                ends = (1 / ends[1], 1 / ends[0]) if ends else None
            said = [f"95 %: {ends[0]:.1f} to {ends[1]:.1f}"] if ends else []
            if any(results.summaries[key]["diverged"] for key in pair):
                said.append("of those that did not diverge")
            said += [f"paper: {papers}"] if papers else []
            lines.append(
                f"{params} parameters: {page.label_of(below)}'s mean MSE/σ is {times} "
                f"{page.label_of(above)}'s" + (f" ({'; '.join(said)})" if said else "")
            )
    return lines


def figures(out: Path, results: Results, caption: str) -> list[Path]:
    """Draw Figure 3, and Figure 5 of the largest networks."""
    files = [out / "figure3.png", out / "figure5.png"]
    figure3(files[0], results, caption + page.left_out(results))
    figure5(files[1], results, caption)
    return files


def figure3(path: Target, results: Results, caption: str) -> None:
    """Box plots of errors per model and size."""
    boxes(
        path,
        results.finite(_MAIN),
        caption,
        AUDIO.medians,
        "MSE / σ of the target",
        page.medians_of_all(results),
        logarithmic=True,
    )


def best_waves(results: Results) -> dict[str, np.ndarray]:
    """Model -> (S, T) outputs of the best of the largest networks."""
    largest = max(results.sizes)
    return {
        model: cell.arrays["best"]
        for (model, params), cell in results.cells.items()
        if params == largest
    }


def figure5(path: Target, results: Results, caption: str) -> None:
    """Outputs of the largest networks."""
    waves(path, results.shared["targets"], best_waves(results), caption)
