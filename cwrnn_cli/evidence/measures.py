"""Numbers that only pages quote, made from raw rows or from the paper's own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..clock import Clock
from ..models.sizing import hidden_size_for
from ..paper import PROTOCOLS
from ..statistics import median
from ..training.scan import points_of

FOLLOWS = 0.2  # a tenth of the range [-1, 1]


def steps_followed(outputs: np.ndarray, targets: np.ndarray) -> list[int]:
    """For how many steps from the first each output stays within 0.2 of its target (Figure 5).

    Args:
        outputs: (S, T).
        targets: (S, T) in [-1, 1].
    """
    off = ~(np.abs(outputs - targets) <= FOLLOWS)
    return [int(row.argmax()) if row.any() else len(row) for row in off]


def table1_by_formula() -> dict[str, int]:
    """In how many ``entries`` of Table 1 the hidden size is the ``nearest`` to the budget."""
    entries = [
        (protocol, budget, model, size)
        for protocol in PROTOCOLS.values()
        for budget, row in protocol.hidden_sizes.items()
        for model, size in row.items()
    ]
    nearest = sum(
        size
        == hidden_size_for(
            budget,
            model,
            *protocol.sizes,
            bidirectional=protocol.bidirectional,
            periods=protocol.periods,
            peepholes=protocol.peepholes,
        )
        for protocol, budget, model, size in entries
    )
    return {"entries": len(entries), "nearest": nearest}


def clock_cost(task: str, model: str, params: int, periods: Sequence[int]) -> dict[str, float]:
    """What a network of so many parameters with equal modules of these periods computes.

    Args:
        task: whose inputs and outputs.
        model: a cell on the clock, of one gate.
        params: budget.
        periods: without offsets.

    Returns:
        ``units``, its n, and ``multiply_adds`` of a step in the hidden layer, by the cascade (the
        appendix of the paper counts other ones), averaged over the periods.
    """
    protocol = PROTOCOLS[task]
    n = hidden_size_for(
        params, model, *protocol.sizes, bidirectional=protocol.bidirectional, periods=tuple(periods)
    )
    clock = Clock.of(n, tuple(periods))
    inputs = protocol.input_size
    each = zip(clock.sizes, clock.starts[1:], clock.periods, strict=True)
    return {"units": n, "multiply_adds": sum(k * (end + inputs) / t for k, end, t in each)}


def scanned(path: Path) -> dict[str, dict[str, Any]]:
    """Every point of a scan, those too that were not the best: by name, as its folders are called.

    Args:
        path: of scan.h5.

    Returns:
        ``errors`` of the networks, by which choices are made, their ``mean``, ``median`` and its
        interval ``low``, ``high`` (networks resampled); ``diverged`` of ``networks``.
    """
    return {
        name: median(rows["error"].astype(float))
        | {
            "errors": rows["error"].tolist(),
            "mean": float(rows["error"].astype(float).mean()),
            "diverged": int(rows["diverged"].sum()),
            "networks": len(rows["error"]),
        }
        for name, rows in points_of(path).items()
    }


def mean_interval(values: Sequence[float]) -> dict[str, float | None]:
    """The mean of some networks and where the mean of all such networks lies, at 95 %.

    By Student's t, as befits a handful of values that are about normal.

    Args:
        values: of each network; at least one.

    Returns:
        ``n``, ``mean``, ``low`` and ``high``; the latter None for a single network.
    """
    from scipy.stats import t  # noqa: PLC0415  (slow to import)

    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return {"n": n, "mean": mean, "low": None, "high": None}
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return {"n": n, "mean": mean, "low": mean - half, "high": mean + half}


def seconds_taken(manifest: Mapping[str, Any]) -> int:
    """How long a folder's commands took from when their libraries were loaded, resumed or not.

    Raises:
        ValueError: one of them has not ended, so nobody knows.
    """
    taken = 0.0
    for session in manifest["sessions"]:
        if not session["ended"]:
            raise ValueError(f"not ended: {session['command']}")
        began, ended = (datetime.fromisoformat(session[key]) for key in ("started", "ended"))
        taken += (ended - began).total_seconds()
    return round(taken)
