"""Task 2's tables and figures: errors by group, confusions, Figure 4 and Table 2, row 2."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ...models import CELLS
from ...paper import TIMIT
from ...reporting import page
from ...reporting.figures import Target, boxes, pyplot, save, shades
from ...reporting.tables import Table, counted, percent, percent_plus_minus, table
from ...statistics import ratio
from ...training.results import Results


def evaluation_text(summary: Mapping[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`.evaluate.summary`."""
    paper, metrics = summary["paper"] or {}, summary["metrics"]
    lines = [
        f"{page.network_line(summary)}; {counted(summary['runs'], 'run')}, "
        f"learning rate {summary['lr']:g}; "
        f"stopped after {counted(summary['epochs'], 'epoch')} at the latest",
        f"data: {page.data_of(summary)}, "
        f"{counted(summary['sequences'], 'word')} of the {summary['split']} set",
        *page.deviation_lines(summary),
    ]
    rows = [["all", *_cells(metrics["error"])]]
    rows += [
        [" ".join(group["words"]), *_cells(group["metrics"]["error"])]
        for group in summary["groups"]
    ]
    lines += ["", table(("errors in %", "mean", "median", "quartiles"), rows), ""]
    lines.append(
        f"training set without noise: {percent_plus_minus(metrics['train_error'])} % errors, "
        f"best epoch {metrics['best_epoch']['median']:.0f} (median)"
        if metrics["best_epoch"]["median"] is not None
        else "every network diverged"
    )
    if summary["split"] == "test":
        if "mean" in paper:
            lines.append(f"paper (Table 2): {percent_plus_minus(paper)} % errors on TIMIT")
        if "median" in paper:
            lines.append(f"paper (Figure 4): median {percent(paper['median'])} % on TIMIT")
    reasons = {"diverged": "diverged", "cut_short": "were cut short by --epochs"}
    lines += page.count_lines(summary, reasons)
    return "\n".join(lines)


def _cells(error: dict[str, float | None]) -> list[str]:
    quartiles = f"{percent(error['q25'])}..{percent(error['q75'])}"
    return [percent_plus_minus(error), percent(error["median"]), quartiles]


def confusions(path: Target, summary: Mapping[str, Any]) -> None:
    """The confusion matrix: rows are what was said, columns what was heard.

    Args:
        path: what to write.
        summary: of :func:`.evaluate.summary`.
    """
    plt = pyplot()
    counts = np.array(summary["confusion"], np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = summary["words"]
    size = 2.5 + 0.24 * len(words)
    figure, axis = plt.subplots(figsize=(size, size))
    image = axis.imshow(shares, cmap=shades(), vmin=0, vmax=1)
    places = range(len(words))
    axis.set_xticks(places, words, rotation=90, fontsize=7)
    axis.set_yticks(places, words, fontsize=7)
    end = 0
    for group in summary["groups"][:-1]:
        end += len(group["words"])
        axis.axhline(end - 0.5, color="grey", linewidth=0.5)
        axis.axvline(end - 0.5, color="grey", linewidth=0.5)
    axis.set_xlabel("heard")
    axis.set_ylabel("said")
    figure.colorbar(image, shrink=0.6, label="share").solids.set_rasterized(True)
    title = f"{page.label_of(summary['model'])}, {summary['parameter_count']} parameters"
    axis.set_title(f"{title}; data: {page.data_of(summary)}", fontsize=8)
    figure.tight_layout()
    save(figure, path)


def comparison(results: Results) -> dict[str, Any]:
    """The JSON of `cwrnn compare`: every cell, and the ratios of mean errors at each size."""
    labels = results.shared["labels"]
    wrong = {key: predicted != labels for key, predicted in results.finite("predicted").items()}
    ratios: dict[str, dict[str, Any]] = {}
    for params in results.sizes:
        there = [m for m in CELLS if len(wrong.get((m, params), ()))]
        ratios[str(params)] = {
            f"{a}_over_{b}": ratio(wrong[a, params], wrong[b, params], labels)
            for a, b in sorted(combinations(there, 2), key=lambda pair: -there.index(pair[1]))
        }
    hidden = ("confusion", "words")
    return page.comparison(results, hidden, ratios=ratios, wins=page.wins(results, "error"))


def main_table(results: Results) -> Table:
    """Every cell, ours beside Table 2, row 2."""
    rows = []
    for key, summary in results.by_size():
        paper, metrics = summary["paper"] or {}, summary["metrics"]
        epoch = metrics["best_epoch"]["median"]
        rows.append(
            [
                page.cell_name(key),
                str(summary["hidden_size"]),
                f"{summary['lr']:g}",
                percent_plus_minus(metrics["error"]),
                percent_plus_minus(paper) if "mean" in paper else "–",
                percent(metrics["train_error"]["mean"]),
                "–" if epoch is None else f"{epoch:.0f}",
                f"{summary['diverged']}/{summary['cut_short']}",
            ]
        )
    header = (
        "parameters", "units", "rate", "test errors %", "paper (Table 2)", "train errors %",
        "best epoch", "diverged/cut",
    )  # fmt: skip
    return Table(header, rows)


def median_table(results: Results) -> Table:
    """Medians beside Figure 4's."""
    return page.median_table(results, percent, TIMIT.medians, "paper (Fig. 4)", "a guess")


def ratio_table(results: Results) -> Table:
    """Of mean test errors, with both intervals."""
    rows = [
        [
            params,
            " / ".join(map(page.label_of, name.split("_over_"))),
            f"{value['ratio']:.2f}",
            *(f"{value[f'low{w}']:.2f} to {value[f'high{w}']:.2f}" for w in ("", "_words")),
        ]
        for params, found in comparison(results)["ratios"].items()
        for name, value in found.items()
    ]
    header = ("parameters", "errors of", "ratio", "other networks", "and other test words")
    return Table(header, rows)


def comparison_text(results: Results) -> str:
    """The comparison as a table, ours beside the paper's."""
    first = results.first
    lines = [
        f"data: {page.data_of(first)}; {counted(first['runs'], 'run')}; "
        "the paper's numbers are on TIMIT",
        *page.deviations_of(results),
        "",
        *main_table(results).lines(),
        "",
        *median_table(results).lines(),
        "",
        "ratios of mean test errors, with 95 % intervals: other initial weights on the same test "
        "set; [other test words, too]:",
    ]
    for params, which, value, networks, words in ratio_table(results).rows:
        lines.append(f"{params} parameters: {which} {value} ({networks}) [{words}]")
    lines += page.win_lines(results, "error")
    return "\n".join(lines)


def figures(out: Path, results: Results, caption: str) -> list[Path]:
    """Draw Figure 4, and the largest networks' confusion matrices."""
    files = [out / "figure4.png"]
    figure4(files[0], results, caption + page.left_out(results))
    for model, summary in largest(results).items():
        files.append(out / f"confusion-{model}-{summary['params']}.png")
        confusions(files[-1], summary)
    return files


def largest(results: Results) -> dict[str, dict[str, Any]]:
    """Model -> summary of its largest networks, of the models that have the largest size."""
    most = max(results.sizes)
    return {m: summary for (m, params), summary in results.summaries.items() if params == most}


def figure4(path: Target, results: Results, caption: str) -> None:
    """Box plots of errors per model and size."""
    errors = {key: 100 * values for key, values in results.finite("error").items()}
    medians = {m: {p: 100 * v for p, v in sizes.items()} for m, sizes in TIMIT.medians.items()}
    others = {
        key: {marker: 100 * value for marker, value in values.items()}
        for key, values in page.medians_of_all(results).items()
    }
    boxes(path, errors, caption, medians, "test errors, %", others)
