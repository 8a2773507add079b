"""Task 2 in the page of `cwrnn report`: its claims, Figure 4, confusions, training curves."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...paper import TIMIT
from ...reporting import page
from ...reporting.claimed import claims_of_grid
from ...reporting.figures import curves
from ...reporting.tables import percent
from ...reporting.vector import svg
from ...training.results import Results
from ...training.sections import Found, Part, Picture, Remark, Section, Sheet, Story
from . import report

_CORPUS = "TIMIT"  # as its converter names it
_MOST = 5  # mistakes named in words


def story(found: Found) -> Story:
    """See :meth:`cwrnn_cli.training.task.Task.report`."""
    sections, results = [], found.results
    if results:
        sections = [
            Section("Table 2, row 2, and Figure 4", _errors(results)),
            Section("What was heard", [_confusion(s) for s in report.largest(results).values()]),
        ]
    if found.curves:
        sections.append(Section("Training", [_curves(found)]))
    if not results:
        return Story((), sections)
    claims = claims_of_grid(
        results,
        found.command,
        "median test errors, %",
        percent,
        "Figure 4",
        same_data=results.first["data"]["name"] == _CORPUS,
        errors=TIMIT.metric,
    )
    return Story(claims, sections)


def _errors(results: Results) -> list[Part]:
    medians = report.median_table(results)
    words = "; ".join(": ".join([row[0], row[1]]) for row in medians.rows)
    parts: list[Part] = [
        Picture(
            svg(lambda path: report.figure4(path, results, "")),
            f"Box plots of test errors in percent, a box per model and size; medians: {words}",
            "The paper's Figure 4, ours: test errors; whiskers from the 2nd to the 98th "
            f"percentile. ◇: the median that the paper published, on {_CORPUS}; boxes are of "
            f"{page.drawn_networks(results)}.",
        ),
        Sheet(
            "Test errors of every model and size, beside Table 2",
            *page.beside(report.main_table(results), results.first, _CORPUS),
            note=f"the paper's are on {_CORPUS}; these on {page.data_of(results.first)}",
        ),
        Sheet(
            "Medians with their 95 % intervals, beside Figure 4",
            *page.beside(medians, results.first, _CORPUS),
        ),
    ]
    if (ratios := report.ratio_table(results)).rows:
        parts.append(Sheet("Ratios of mean test errors, with 95 % intervals", *ratios))
    if lines := page.win_lines(results, TIMIT.metric):
        parts.append(Remark(items=lines))
    return parts


def _confusion(summary: Mapping[str, Any]) -> Picture:
    """A matrix, and its most frequent mistakes in words."""
    counts, words = np.array(summary["confusion"], float), summary["words"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = float(np.diag(shares).mean())
    np.fill_diagonal(shares, 0)
    worst = np.argsort(-shares, axis=None, kind="stable")[:_MOST]
    pairs = [np.unravel_index(i, shares.shape) for i in worst if shares.flat[i] > 0]
    mistakes = ", ".join(f"{words[s]} as {words[h]} ({percent(shares[s, h])} %)" for s, h in pairs)
    name = page.network_line(summary)
    return Picture(
        svg(lambda path: report.confusions(path, summary)),
        f"Confusion matrix of {name}: {percent(right)} % on the diagonal. "
        f"Most frequent mistakes: {mistakes or 'none'}",
        f"Confusions of the {page.label_of(summary['model'])}: what was said (rows) and heard "
        f"(columns), share of all networks; lines between groups of words that end alike.",
    )


def _curves(found: Found) -> Picture:
    """Errors on the training set, of the networks' median."""
    points = {
        name: [(x["epoch"], 100 * x["train_error"]) for x in lines if x["train_error"] is not None]
        for name, lines in found.curves.items()
    }
    ends = "; ".join(f"{name}: {each[-1][1]:.1f}" for name, each in points.items() if each)
    return Picture(
        svg(lambda path: curves(path, points, "training errors, %", "")),
        f"Learning curves, training errors in percent over epochs; at the end {ends}",
        "Training: errors on the training set without noise by epoch, the median over the networks "
        "that are still trained then: late points are of those alone that have not stopped.",
        found.curves_file,
    )
