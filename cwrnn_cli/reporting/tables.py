"""Plain-text tables."""

from collections.abc import Sequence
from typing import Any

from ..paper import MODEL_NAMES
from ..tasks.audio import METRIC_NAMES


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])


def number(value: float | None) -> str:
    """Two significant digits or more; a dash for None."""
    if value is None:
        return "–"
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e4):
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def plus_minus(mean: float | None, std: float | None) -> str:
    """mean±std."""
    return number(mean) if std is None else f"{number(mean)}±{number(std)}"


def data_label(name: str, standin: bool) -> str:
    """The data's name, with what it stands in for where it does."""
    return f"{name} (stand-in for the paper's music)" if standin else name


def evaluation_text(summary: dict[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`cwrnn_cli.training.evaluate.summary`."""
    paper = summary["paper"]
    units = "cells" if summary["model"] == "lstm" else "hidden units"
    lines = [
        f"{MODEL_NAMES[summary['model']]}, {summary['hidden_size']} {units}, "
        f"{summary['parameter_count']} parameters; {summary['runs']} runs of "
        f"{len(summary['sequences'])} sequences; {summary['epochs']} epochs, "
        f"learning rate {summary['lr']:g}",
        f"data: {data_label(summary['data']['name'], summary['standin'])}",
    ]
    lines += [
        f"deviates from the paper: {d['name']} {d['ours']}, paper {d['paper']}"
        for d in summary["deviations"]
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
    if summary["diverged"]:
        lines.append(
            f"{summary['diverged']} of {summary['networks']} networks diverged; "
            "the statistics are of the others"
        )
    return "\n".join(lines)


def _metric_cells(metrics: dict[str, Any]) -> list[str]:
    scale = metrics["nmse_paper"]
    return [
        *(plus_minus(metrics[name]["mean"], metrics[name]["std"]) for name in METRIC_NAMES),
        number(scale["median"]),
        f"{number(scale['q25'])}..{number(scale['q75'])}",
    ]
