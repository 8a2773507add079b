"""Task 1's tables and figures: errors by sequence, Table 2, row 1, Figure 3 and Figure 5."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.files import write_text

from ..paper import AUDIO, MODEL_NAMES, MODELS
from ..tasks.audio import METRIC_NAMES
from . import figures
from .tables import data_label, number, plus_minus, table


def evaluation_text(summary: dict[str, Any]) -> str:
    """What `cwrnn eval` shows of :func:`cwrnn_cli.training.audio_results.summary`."""
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


@dataclass(frozen=True)
class Results:
    """The contents of results.h5.

    Attributes:
        summaries: (model, parameters) -> JSON of `cwrnn eval` for that cell.
        errors: (model, parameters) -> MSE/σ of the networks that did not diverge.
        best: (model, parameters) -> (S, T) waves of the best networks.
        targets: (S, T).
    """

    summaries: dict[tuple[str, int], dict[str, Any]]
    errors: dict[tuple[str, int], np.ndarray]
    best: dict[tuple[str, int], np.ndarray]
    targets: np.ndarray


def read_results(path: Path) -> Results:
    """Read results.h5."""
    summaries: dict[tuple[str, int], dict[str, Any]] = {}
    errors: dict[tuple[str, int], np.ndarray] = {}
    best: dict[tuple[str, int], np.ndarray] = {}
    with h5py.File(path, "r") as file:
        for model in MODELS:
            for params in sorted(map(int, file.get(model, {}))):
                group, key = file[f"{model}/{params}"], (model, params)
                summaries[key] = json.loads(group.attrs["summary"])
                errors[key] = group["nmse_paper"][()][~group["diverged"][()]]
                best[key] = group["best"][()]
        targets = file["targets"][()]
    return Results(summaries, errors, best, targets)


def comparison(results: Results) -> dict[str, Any]:
    """The JSON of `cwrnn compare`: every cell, and the paper's ratio at each size."""
    ratios = {}
    for params in sorted({params for _, params in results.errors}):
        means = {
            model: float(results.errors[model, params].mean())
            for model in MODELS
            if len(results.errors.get((model, params), ()))
        }
        if "cw" in means:
            ratios[str(params)] = {
                f"{model}_over_cw": means[model] / means["cw"] for model in means if model != "cw"
            }
    return {
        "task": "audio",
        "cells": [
            {k: v for k, v in s.items() if k != "sequences"} for s in results.summaries.values()
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
        paper, ours = summary["paper"] or {}, summary["metrics"]["nmse_paper"]
        rows.append(
            [
                f"{params} {MODEL_NAMES[model]}",
                str(summary["hidden_size"]),
                f"{summary['lr']:g}",
                plus_minus(ours["mean"], ours["std"]),
                number(ours["median"]),
                plus_minus(paper.get("mean"), paper.get("std")),
                number(paper.get("median")),
                number(summary["metrics"]["nmse"]["mean"]),
                f"{summary['diverged']}/{summary['networks']}",
            ]
        )
    header = (
        "parameters",
        "units",
        "rate",
        "MSE/σ",
        "median",
        "paper (Table 2)",
        "paper (Fig. 3)",
        "MSE/variance",
        "diverged",
    )
    lines = [
        f"data: {data_label(first['data']['name'], first['standin'])}; {first['runs']} runs x "
        f"{first['networks'] // first['runs']} sequences, {first['epochs']} epochs",
        "",
        table(header, rows),
        "",
    ]
    for params, ratio in comparison(results)["ratios"].items():
        lines += [
            f"{params} parameters: CW-RNN's mean MSE/σ is {value:.1f} times below "
            f"{MODEL_NAMES[name.removesuffix('_over_cw')]}'s"
            + (" (paper: 5.7)" if name == "lstm_over_cw" and params == "1000" else "")
            for name, value in ratio.items()
        ]
    return "\n".join(lines)


def write_report(out: Path, results: Results, command: str) -> list[Path]:
    """Write table.txt, comparison.json, figure3.png and figure5.png beside results.h5.

    Args:
        out: the grid's folder.
        results: of :func:`read_results`.
        command: what made them, for the captions.

    Returns:
        The files.
    """
    first = next(iter(results.summaries.values()))
    caption = f"data: {data_label(first['data']['name'], first['standin'])}; {command}"
    files = [out / n for n in ("table.txt", "comparison.json", "figure3.png", "figure5.png")]
    write_text(files[0], f"{command}\n{comparison_text(results)}\n")
    write_text(files[1], json.dumps(comparison(results), indent=1, ensure_ascii=False) + "\n")
    figures.boxes(
        files[2], results.errors, caption, AUDIO.medians, "MSE / σ of the target", logarithmic=True
    )
    largest = max(params for _, params in results.best)
    largest_best: dict[str, np.ndarray] = {
        m: results.best[m, largest] for m in MODELS if (m, largest) in results.best
    }
    figures.waves(files[3], results.targets, largest_best, caption)
    return files
