"""What `cwrnn scan --vary` shows."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

from ..models import CELLS
from .figures import finish, pyplot
from .page import data_of
from .tables import interval, number, table

Row = Mapping[str, Any]


def factorial_lines(result: Row) -> list[str]:
    """Which combination is nearest to the paper, what each factor does, and all combinations.

    Args:
        result: of :func:`cwrnn_cli.training.scan.collect`, of a factorial scan.
    """
    compared = "by that error"
    if result["metric"]:
        compared = f"by the paper's {result['metric']} on the split {result['published_on']}"
    lines = [f"each combination's rate is that with the least mean error there; shown {compared}"]
    if result["nearest"]:
        lines += ["", "nearest to the paper's medians (off: at the size that is furthest off)"]
        lines += _nearest(result)
    if result["readings"]:
        lines += ["", "readings nearest for all models, each with the nearest of its own factors"]
        lines += _readings(result)
    for measure in dict.fromkeys(row["measure"] for row in result["effects"]):
        name = result["metric"] if measure == "published" else f"error on {result['judged_by']}"
        lines += ["", f"main effects on {name}: medians of all combinations, ratio to the first"]
        lines += _effects([row for row in result["effects"] if row["measure"] == measure])
    lines += ["", "all combinations: medians (diverged of networks)"]
    return lines + _combinations(result)


def _sizes(rows: Sequence[Row]) -> list[str]:
    return sorted({size for row in rows for size in row["sizes"]}, key=int)


def _of_sizes(row: Row, sizes: Sequence[str], write: Callable[[Any], str]) -> list[str]:
    return [write(row["sizes"][size]) if size in row["sizes"] else "" for size in sizes]


def _settings(row: Row, result: Row) -> list[str]:
    return [row["settings"].get(factor, "") for factor in result["factors"]]


def _off(distance: float | None) -> str:
    """A distance as a factor."""
    return "–" if distance is None else f"x{exp(distance):.2f}"


def _off_ends(row: Row) -> str:
    """And its interval, if there is one."""
    ends = f" ({_off(row['low'])}..{_off(row['high'])})"
    return _off(row["distance"]) + ends * (row["low"] is not None)


def _nearest(result: Row) -> list[str]:
    rows, cells = result["nearest"], []
    sizes = _sizes(rows)
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        blank = [""] * len(result["factors"])
        papers = _of_sizes(mine[0], sizes, lambda size: number(size["paper"]))
        cells.append([f"{model}, paper", *blank, "", "", *papers, ""])
        for row in mine:
            medians = _of_sizes(row, sizes, lambda size: interval(size, number))
            rate = [row["rate"], f"{row['lr']:g}"]
            cells.append([model, *_settings(row, result), *rate, *medians, _off_ends(row)])
    header = ("model", *result["factors"], "rate", "", *sizes, "off (95 %)")
    return table(header, cells).splitlines()


def _readings(result: Row) -> list[str]:
    rows = result["readings"]
    shared, models = list(rows[0]["settings"]), list(rows[0]["models"])

    def write(model: Row) -> str:
        own = "".join(f"{factor}={level}, " for factor, level in model["settings"].items())
        return f"{own}{model['lr']:g}: {_off(model['distance'])}"

    cells = [
        [
            row["rate"],
            *row["settings"].values(),
            *(write(row["models"][model]) for model in models),
            _off_ends(row),
        ]
        for row in rows
    ]
    return table(("rate", *shared, *models, "off (95 %)"), cells).splitlines()


def _effects(rows: Sequence[Row]) -> list[str]:
    sizes, cells = _sizes(rows), []
    for row in rows:
        ratio = interval({**row, "median": row["ratio"]}, number)
        shown = [row["model"], row["factor"], row["level"], *_of_sizes(row, sizes, number)]
        first = row["ratio"] is None and row["low"] is None
        cells.append([*shown, "" if first else ratio, str(row["combinations"])])
    header = ("model", "factor", "level", *sizes, "ratio (95 %)", "combinations")
    return table(header, cells).splitlines()


def _combinations(result: Row) -> list[str]:
    rows = result["combinations"]
    sizes, cells = _sizes(rows), []

    def write(size: Row) -> str:
        lost = f" ({size['diverged']} of {size['networks']})" if size["diverged"] else ""
        return number(size["median"]) + lost

    for row in rows:
        rate = [row["rate"], f"{row['lr']:g}"]
        far = [number(row["score"]), _off(row["distance"])]
        cells.append(
            [row["model"], *_settings(row, result), *rate, *_of_sizes(row, sizes, write), *far]
        )
    header = ("model", *result["factors"], "rate", "", *sizes, "score", "off")
    return table(header, cells).splitlines()


def draw_effects(path: Path, result: Row) -> None:
    """The medians at each level of each factor, a row per level, a marker per size.

    Args:
        path: PNG file to write.
        result: of a factorial scan that has effects.
    """
    first = result["effects"][0]["measure"]
    rows = [row for row in result["effects"] if row["measure"] == first]
    panels = list(dict.fromkeys((row["model"], row["factor"]) for row in rows))
    sizes, plt = _sizes(rows), pyplot()
    heights = [sum((row["model"], row["factor"]) == panel for row in rows) for panel in panels]
    figure, axes = plt.subplots(
        len(panels), 1, squeeze=False, sharex=True, height_ratios=heights,
        figsize=(8, 1.4 + 0.3 * sum(heights) + 0.5 * len(panels)),
    )  # fmt: skip
    shades = plt.get_cmap("viridis")
    for axis, (model, factor) in zip(axes[:, 0], panels, strict=True):
        mine = [row for row in rows if (row["model"], row["factor"]) == (model, factor)]
        for i, size in enumerate(sizes):
            there = [(j, row["sizes"].get(size)) for j, row in enumerate(mine)]
            places = [(j, value) for j, value in there if value is not None]
            axis.plot(
                [value for _, value in places], [j for j, _ in places], "os^Dv"[i % 5],
                color=shades(0.85 * i / max(len(sizes) - 1, 1)), label=f"{size} parameters",
            )  # fmt: skip
        axis.set_yticks(range(len(mine)), [row["level"] for row in mine], fontsize=7)
        axis.set_ylim(len(mine) - 0.5, -0.5)
        axis.set_title(f"{CELLS[model].label}, {factor}", fontsize=9, loc="left")
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(which="both", linewidth=0.3)
    name = result["metric"] if first == "published" else f"error on {result['judged_by']}"
    axes[-1, 0].set_xlabel(f"{name}, median of the networks", fontsize=8)
    medians = [value for row in rows for value in row["sizes"].values() if value]
    if max(medians, default=1) > 10 * min(medians, default=1):
        axes[-1, 0].set_xscale("log")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=7, loc="upper right", ncols=4)
    finish(figure, path, f"{data_of(result)}; each at its best rate")
