"""Task 2's tables and figures: errors by group, confusions, Figure 4 and Table 2, row 2."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.files import write_text

from ..paper import MODEL_NAMES, MODELS, WORDS
from . import figures
from .tables import data_label, percent, percent_plus_minus, table

_RESAMPLES = 10_000


def evaluation_text(summary: dict[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`cwrnn_cli.training.words_results.summary`."""
    paper, metrics = summary["paper"] or {}, summary["metrics"]
    units = "cells" if summary["model"] == "lstm" else "hidden units"
    lines = [
        f"{MODEL_NAMES[summary['model']]}, {summary['hidden_size']} {units}, "
        f"{summary['parameter_count']} parameters; {summary['runs']} runs, "
        f"learning rate {summary['lr']:g}; stopped after {summary['epochs']} epochs at the latest",
        f"data: {data_label(summary['data']['name'], summary['standin'])}, "
        f"{summary['sequences']} words of the {summary['split']} set",
    ]
    lines += [
        f"deviates from the paper: {d['name']} {d['ours']}, paper {d['paper']}"
        for d in summary["deviations"]
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
    for name, reason in (("diverged", "diverged"), ("cut_short", "were cut short by --epochs")):
        if summary[name]:
            lines.append(f"{summary[name]} of {summary['networks']} networks {reason}")
    return "\n".join(lines)


def _cells(error: dict[str, float | None]) -> list[str]:
    quartiles = f"{percent(error['q25'])}..{percent(error['q75'])}"
    return [percent_plus_minus(error), percent(error["median"]), quartiles]


def confusions(path: Path, summary: dict[str, Any]) -> None:
    """The confusion matrix as a PNG: rows are what was said, columns what was heard.

    Args:
        path: to write.
        summary: of :func:`cwrnn_cli.training.words_results.summary`.
    """
    plt = figures.pyplot()
    counts = np.array(summary["confusion"], np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = summary["words"]
    size = 2.5 + 0.24 * len(words)
    figure, axis = plt.subplots(figsize=(size, size))
    image = axis.imshow(shares, cmap="Greens", vmin=0, vmax=1)
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
    figure.colorbar(image, shrink=0.6, label="share")
    title = f"{MODEL_NAMES[summary['model']]}, {summary['parameter_count']} parameters"
    data = data_label(summary["data"]["name"], summary["standin"])
    axis.set_title(f"{title}; data: {data}", fontsize=8)
    figure.tight_layout()
    figures.save(figure, path)


@dataclass(frozen=True)
class Results:
    """The contents of results.h5.

    Attributes:
        summaries: (model, parameters) -> JSON of `cwrnn eval` for that cell.
        errors: (model, parameters) -> rate of wrong test words of the networks that did not
            diverge.
    """

    summaries: dict[tuple[str, int], dict[str, Any]]
    errors: dict[tuple[str, int], np.ndarray]


def read_results(path: Path) -> Results:
    """Read results.h5."""
    summaries: dict[tuple[str, int], dict[str, Any]] = {}
    errors: dict[tuple[str, int], np.ndarray] = {}
    with h5py.File(path, "r") as file:
        for model in MODELS:
            for params in sorted(map(int, file.get(model, {}))):
                group, key = file[f"{model}/{params}"], (model, params)
                summaries[key] = json.loads(group.attrs["summary"])
                errors[key] = group["error"][()][~group["diverged"][()]].astype(np.float64)
    return Results(summaries, errors)


def ratio(above: np.ndarray, below: np.ndarray) -> dict[str, float]:
    """Ratio of mean errors, with the 2.5 and 97.5 % points of its bootstrap over networks."""
    rng = np.random.default_rng(0)
    means = [
        values[rng.integers(len(values), size=(_RESAMPLES, len(values)))].mean(axis=1)
        for values in (above, below)
    ]
    low, high = np.quantile(means[0] / np.maximum(means[1], 1e-12), (0.025, 0.975))
    value = above.mean() / max(below.mean(), 1e-12)
    return {"ratio": float(value), "low": float(low), "high": float(high)}


def comparison(results: Results) -> dict[str, Any]:
    """The JSON of `cwrnn compare`: every cell, and the ratios of mean errors at each size."""
    ratios: dict[str, dict[str, Any]] = {}
    for params in sorted({params for _, params in results.errors}):
        there: dict[str, np.ndarray] = {
            m: results.errors.get((m, params), np.empty(0)) for m in MODELS
        }
        pairs = (("srn", "cw"), ("lstm", "cw"), ("srn", "lstm"))
        ratios[str(params)] = {
            f"{a}_over_{b}": ratio(there[a], there[b])
            for a, b in pairs
            if len(there[a]) and len(there[b])
        }
    left_out = {"confusion", "words"}
    return {
        "task": "timit",
        "cells": [
            {k: v for k, v in s.items() if k not in left_out} for s in results.summaries.values()
        ],
        "ratios": ratios,
    }


def comparison_text(results: Results) -> str:
    """The comparison as a table, ours beside the paper's."""
    first = next(iter(results.summaries.values()))
    rows = []
    for (model, params), summary in sorted(
        results.summaries.items(), key=lambda item: (item[0][1], MODELS.index(item[0][0]))
    ):
        paper, metrics = summary["paper"] or {}, summary["metrics"]
        epochs = metrics["best_epoch"]["median"]
        rows.append(
            [
                f"{params} {MODEL_NAMES[model]}",
                str(summary["hidden_size"]),
                f"{summary['lr']:g}",
                percent_plus_minus(metrics["error"]),
                percent(metrics["error"]["median"]),
                percent_plus_minus(paper) if "mean" in paper else "–",
                percent(paper.get("median")),
                percent(metrics["train_error"]["mean"]),
                "–" if epochs is None else f"{epochs:.0f}",
                f"{summary['diverged']}/{summary['cut_short']}",
            ]
        )
    header = (
        "parameters", "units", "rate", "test errors %", "median", "paper (Table 2)",
        "paper (Fig. 4)", "train errors %", "epochs", "diverged/cut",
    )  # fmt: skip
    data = data_label(first["data"]["name"], first["standin"])
    lines = [
        f"data: {data}; {first['runs']} runs; the paper's numbers are on TIMIT",
        "",
        table(header, rows),
        "",
        "ratios of mean test errors, with 95 % intervals (bootstrap over networks):",
    ]
    for params, found in comparison(results)["ratios"].items():
        for name, value in found.items():
            above, _, below = name.partition("_over_")
            lines.append(
                f"{params} parameters: {MODEL_NAMES[above]} / {MODEL_NAMES[below]} "
                f"{value['ratio']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
            )
    return "\n".join(lines)


def write_report(out: Path, results: Results, command: str) -> list[Path]:
    """Write table.txt, comparison.json, figure4.png and the largest networks' confusion matrices.

    Args:
        out: the grid's folder.
        results: of :func:`read_results`.
        command: what made them, for the captions.

    Returns:
        The files.
    """
    first = next(iter(results.summaries.values()))
    caption = f"data: {data_label(first['data']['name'], first['standin'])}; {command}"
    files = [out / name for name in ("table.txt", "comparison.json", "figure4.png")]
    write_text(files[0], f"{command}\n{comparison_text(results)}\n")
    write_text(files[1], json.dumps(comparison(results), indent=1, ensure_ascii=False) + "\n")
    errors = {key: 100 * values for key, values in results.errors.items()}
    medians = {m: {p: 100 * v for p, v in sizes.items()} for m, sizes in WORDS.medians.items()}
    figures.boxes(files[2], errors, caption, medians, "test errors, %")
    largest = max(params for _, params in results.summaries)
    for model in MODELS:
        if (model, largest) in results.summaries:
            files.append(out / f"confusion-{model}-{largest}.png")
            confusions(files[-1], results.summaries[model, largest])
    return files
