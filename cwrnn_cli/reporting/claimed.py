"""The paper's claims as a grid's own rows judge them: its numbers, and its order of the models.

Verdicts by rule, as in results/CLAIMS.md: a published number holds where the whole interval of ours
is within a factor of two of it, in part where ours is better; an order holds where the whole
interval is on its side. One network decides nothing, nor do networks that depart from the paper's
protocol by more than their number.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..training.registry import TASKS
from ..training.results import Results
from ..training.sections import Claim
from . import page
from .tables import interval, percent

RULE = (
    "A published number holds where the whole 95 % interval of our median (diverged networks as "
    "infinite) is within a factor of two of it, in part where ours is better than that, and fails "
    "where it is worse. That one model is better than another holds, for the data that are named, "
    "where it has the lower error in more than half of the pairs of networks of one seed, at 95 %, "
    "and a bound where no point is below it. Open: our networks do not decide it, being too few or "
    "trained otherwise than the paper says. Not tested: these data are not the paper's; in Section "
    "4.1, where nobody has the paper's music, verdicts are of the piece that is named, and other "
    "music may have others. The paper's medians are read off its figures, to about 5 %."
)
_FACTOR = 2.0
_FEW = 2  # networks have an interval, however wide
_IN = ", %"  # behind what is a rate
_HARMLESS = {"runs"}  # fewer networks have wider intervals
Write = Callable[[float | None], str]


def claims_of_grid(
    results: Results,
    command: str,
    what: str,
    write: Write,
    source: str,
    same_data: bool,
    errors: str | None = None,
    published: Mapping[int, Mapping[str, float]] | None = None,
) -> list[Claim]:
    """A claim per network that the paper has a number of, and per pair of models and size.

    Args:
        results: of the grid.
        command: that made it.
        what: the number is, such as "error", or "error, %".
        write: one.
        source: the paper's figure or table that it is from.
        same_data: whether the data are such that the paper's numbers can be expected.
        errors: array by which networks of one seed are compared; None: the paper has no order.
        published: parameters -> model -> the paper's number, for networks of other sizes than its.
    """
    found = []
    for _, summary in results.by_size():
        paper = _published(summary)
        if paper is None and published:
            paper = published.get(summary["params"], {}).get(summary["model"])
        if paper is not None:
            found.append(_number(summary, paper, results, command, what, write, source, same_data))
    if errors:
        found += _orders(results, command, errors, source)
    return found


def _published(summary: Mapping[str, Any]) -> float | None:
    paper = summary["paper"] or {}
    value: float | None = paper.get("median", paper.get("mean"))
    return value


def _departures(summary: Mapping[str, Any]) -> list[str]:
    """Of a cell from the paper's protocol, or from what is our default where the paper is silent.

    But for the number of its networks.
    """
    unstated = TASKS[summary["task"]].protocol.unstated
    found = [d for d in summary["deviations"] if d["name"] not in _HARMLESS]
    whose = ["our default" if each["name"] in unstated else "paper" for each in found]
    return [f"{d['name']} {d['ours']}, {w} {d['paper']}" for d, w in zip(found, whose, strict=True)]


def _number(
    summary: Mapping[str, Any],
    paper: float,
    results: Results,
    command: str,
    what: str,
    write: Write,
    source: str,
    same_data: bool,
) -> Claim:
    medians = summary["medians"]
    label = page.label_of(summary["model"])
    unit = " %" if what.endswith(_IN) else ""
    text = f"Median {interval(medians['survivors'], write)}{unit}"
    if summary["diverged"]:
        text += (
            f" of those that did not diverge; {summary['diverged']} diverged, with these as "
            f"infinite {interval(medians['as_infinite'], write)}{unit}"
        )
    departures = _departures(summary)
    if departures:
        text += f". Departs from the protocol: {'; '.join(departures)}"
    judged = medians["as_infinite"] if summary["diverged"] else medians["survivors"]
    some = summary["diverged"] < summary["networks"]
    few = summary["networks"] < _FEW or (some and medians["survivors"]["low"] is None)
    decided = "open" if departures or few else _within(judged, paper)
    verdict = decided if same_data else "not tested"
    return Claim(
        place=f"{source}: {label}, {summary['params']} parameters",
        says=f"{what[0].upper()}{what[1:].removesuffix(_IN)} {write(paper)}{unit}",
        found=text,
        data=page.data_of(summary),
        n=_networks(summary["networks"]),
        verdict=verdict,
        command=command,
    )


def _within(ours: Mapping[str, float | None], paper: float) -> str:
    """The verdict on a number that has an interval, whose ends may be infinite."""
    ends = (ours["low"], ours["high"])
    low, high = (math.inf if end is None else end for end in ends)
    if high < paper / _FACTOR:
        return "holds in part"
    if paper / _FACTOR <= low and high <= paper * _FACTOR:
        return "holds"
    return "fails" if low > paper * _FACTOR else "open"


def _orders(results: Results, command: str, errors: str, source: str) -> list[Claim]:
    """That a model's error is below another's, in pairs of networks of one seed."""
    found = []
    for params, pairs in page.wins(results, errors).items():
        for pair, won in pairs.items():
            ours, _, others = pair.partition("_below_")
            cells = [results.summaries[model, int(params)] for model in (ours, others)]
            means = [_published(summary) for summary in cells]
            if None in means or means[0] >= means[1]:  # type: ignore[operator]
                continue
            departs = any(map(_departures, cells))
            ends = won["low"], won["high"]
            found.append(
                Claim(
                    place=f"{source}: {params} parameters",
                    says=f"{page.label_of(ours)} below {page.label_of(others)}",
                    found=f"in {won['won']} of {won['pairs']} pairs of one seed "
                    f"({percent(ends[0])} to {percent(ends[1])} %)",
                    data=page.data_of(cells[0]),
                    n=f"{won['pairs']} pairs",
                    verdict="open" if departs else _ahead(*ends),
                    command=command,
                )
            )
    return found


def _ahead(low: float | None, high: float | None) -> str:
    """The verdict on an order, from the interval of the share of pairs."""
    if low is None or high is None:
        return "open"
    return "holds" if low > 0.5 else "fails" if high < 0.5 else "open"


def _networks(count: int) -> str:
    return f"{count} network{'s' if count > 1 else ''}"
