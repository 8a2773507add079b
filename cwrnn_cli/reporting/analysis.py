"""The files of `cwrnn analyse`, and what the analyses of several tasks share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from data_prep.files import write_text
from data_prep.strict_json import dumps

from ..models.ensemble import Ensemble
from ..models.modules import ALL, KINDS, READOUT, Module, each_silenced
from ..training.analysis import Analysis, Rows
from .csv import csv_text
from .figures import finish, pyplot
from .page import TABLE, data_of, deviation_lines, network_line
from .tables import table

JSON = "analysis.json"
INTACT = "none"  # in the column of the silenced module
_COLUMNS = {READOUT: "from the readout", ALL: "from readout and modules"}
NOTE = (
    "silenced: a module's outputs count as 0 for whoever read them; from the readout: its columns "
    "of W_O are 0, the hidden layer does what it did; from readout and modules: so are its columns "
    "of W_H in the rows of all other modules, it runs on and hears what it heard"
)


def write_analysis(out: Path, analysis: Analysis, run: str, command: str) -> None:
    """Write analysis.json, table.txt, a CSV per table and a PNG per figure into a folder.

    Args:
        out: the folder; it exists.
        analysis: to write.
        run: whose it is.
        command: that made it.
    """
    write_text(out / JSON, dumps({"run": run, **analysis.json}, indent=1, ascii_only=False) + "\n")
    write_text(out / TABLE, f"{command}\n{analysis.text}\n")
    for name, rows in analysis.tables.items():
        write_text(out / f"{name}.csv", csv_text(rows))
    for name, draw in analysis.figures.items():
        draw(out / f"{name}.png")


def opening(about: Mapping[str, Any], more: str) -> list[str]:
    """Which networks, of which data, for :attr:`.Analysis.text`; ``more`` behind the network."""
    data = f"data: {data_of(about)}"
    return [f"{network_line(about)}; {more}", data, *deviation_lines(about)]


def module_columns(module: Module | None) -> dict[str, Any]:
    """A module's columns in tables; None: those of the row of no module."""
    if module is None:
        return {"module": INTACT, "period": None, "direction": "", "units": None}
    units = module.units.stop - module.units.start
    direction = module.direction or "forward"
    return {
        "module": module.name, "period": module.period, "direction": direction, "units": units,
    }  # fmt: skip


def ablation(ensemble: Ensemble, measure: Callable[[Ensemble], Mapping[str, Any]]) -> Rows:
    """A row for the networks as they are, and one for each module and kind of silence.

    Args:
        ensemble: the networks.
        measure: their errors, by name.
    """
    with torch.no_grad():
        return [
            {**module_columns(module), "silenced": kind, **measure(networks)}
            for module, kind, networks in each_silenced(ensemble)
        ]


def ablation_lines(rows: Rows, cell: Callable[[Mapping[str, Any]], str], title: str) -> list[str]:
    """The table of :func:`ablation` as text, a line per module.

    Args:
        rows: of :func:`ablation`.
        cell: of a row.
        title: of the errors.
    """
    intact, *others = rows
    lines = [["(none)", "", *[cell(intact)] * len(KINDS)]]
    for row in others[:: len(KINDS)]:
        cells = [cell(r) for r in others if r["module"] == row["module"]]
        lines.append([row["module"], str(row["units"]), *cells])
    header = ("silenced module", "units", *_COLUMNS.values())
    return [title, table(header, lines), NOTE]


def draw_ablation(
    path: Path, rows: Rows, column: str, label: str, caption: str, logarithmic: bool = False
) -> None:
    """A bar per module and kind of silence, the networks as they are as a line.

    Args:
        path: PNG file to write.
        rows: of :func:`ablation`.
        column: of the rows, what is drawn.
        label: of it.
        caption: data and how it was made.
        logarithmic: the scale of it.
    """
    intact, *others = rows
    names = [row["module"] for row in others[:: len(KINDS)]]
    figure, axis = pyplot().subplots(figsize=(max(1.5 + 0.55 * len(names), 7.5), 3.6))
    for i, (kind, colour) in enumerate(zip(KINDS, ("#9fd3b4", "#1b7a43"), strict=True)):
        values = [row[column] for row in others if row["silenced"] == kind]
        places = [k + 0.38 * (i - 0.5) for k in range(len(names))]
        axis.bar(places, values, width=0.36, color=colour, label=_COLUMNS[kind])
    axis.axhline(
        intact[column], color="#444444", linestyle="--", linewidth=1, label="none silenced"
    )
    if logarithmic:
        axis.set_yscale("log")
    turned = {"rotation": 40, "ha": "right"} if max(map(len, names)) > 6 else {}
    axis.set_xticks(range(len(names)), names, **turned)
    axis.set_xlabel("silenced module, by its clock period", fontsize=8)
    axis.set_ylabel(label, fontsize=8)
    axis.tick_params(labelsize=7, which="both")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(fontsize=7, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.13), frameon=False)
    finish(figure, path, caption)
