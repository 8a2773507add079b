"""What `cwrnn scan --vary` shows."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any

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


def _nearest(result: Row) -> list[str]:
    rows, cells = result["nearest"], []
    sizes = _sizes(rows)
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        blank = [""] * len(result["factors"])
        papers = _of_sizes(mine[0], sizes, lambda size: number(size["paper"]))
        cells.append([f"{model}, paper", *blank, "", "", *papers, ""])
        for row in mine:
            ends = f" ({_off(row['low'])}..{_off(row['high'])})"
            medians = _of_sizes(row, sizes, lambda size: interval(size, number))
            rate = [row["rate"], f"{row['lr']:g}"]
            off = _off(row["distance"]) + ends
            cells.append([model, *_settings(row, result), *rate, *medians, off])
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
            f"{_off(row['distance'])} ({_off(row['low'])}..{_off(row['high'])})",
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
