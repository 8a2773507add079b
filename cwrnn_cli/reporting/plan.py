"""What `cwrnn compare --all` will do, and how long it should take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import UserError
from data_prep.reading import json_of

from ..training.whole import Estimate, Part, share_of
from .tables import table

WHOLE = "all.json"  # of its folder: see Begun
QUICK = (
    "--quick: small settings of the same protocol, for a taste; these are not the paper's numbers, "
    "nor a test of them"
)
LASTS = (
    "about: if networks that stop early do so when ours did (on the stand-ins, or on the paper's "
    "corpus); at most: if none does. Each part goes on where it was with --resume"
)
_UNITS = (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


class Begun(NamedTuple):
    """What the folder of `cwrnn compare --all` was begun with.

    Attributes:
        quick: whether with small settings.
        data: task -> where its corpus is, but for stand-ins.
    """

    quick: bool
    data: Mapping[str, str]

    @classmethod
    def read(cls, out: Path) -> "Begun":
        """Of a folder.

        Raises:
            UserError: it cannot be read, or holds something else.
        """
        path = out / WHOLE
        try:
            found = json_of(path)
            quick, data = found["quick"], dict(found.get("data", {}))
            if not isinstance(quick, bool) or not all(isinstance(p, str) for p in data.values()):
                raise TypeError("a value of another kind")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            wanted = 'write {"quick": true} there if its command had --quick, else {"quick": false}'
            raise UserError(f"damaged; {wanted}", place=path) from error
        return cls(quick, data)


def duration(seconds: float) -> str:
    """Two digits and a unit, such as "2.5 h"; "done" for 0."""
    if seconds <= 0:
        return "done"
    for name, size in _UNITS:
        if seconds >= 1.5 * size or name == "s":
            count = seconds / size
            return f"{count:.0f} {name}" if count >= 10 or name == "s" else f"{count:.1f} {name}"
    raise AssertionError("the last unit takes all")


def plan_text(
    parts: Sequence[Part],
    estimates: Sequence[Estimate],
    others: Mapping[str, tuple[str, float]],
) -> str:
    """A row per part, one of all together, and on what data.

    Args:
        parts: in the order in which they are done.
        estimates: theirs.
        others: what is done beside training: name -> what, and its seconds.
    """
    rows = [_row(part, found) for part, found in zip(parts, estimates, strict=True)]
    rows += [[f"{name}: {what}", "", "", duration(s), ""] for name, (what, s) in others.items()]
    rest = sum(seconds for _, seconds in others.values())
    expected = sum(e.seconds for e in estimates) + rest
    most = sum(e.most for e in estimates) + rest
    rows.append(["all that is left", "", "", duration(expected), _most(expected, most)])
    labels = {p.task.name: p.task.data_label(p.data.source, p.data.standin) for p in parts}
    lines = [f"data of {name}: {label}" for name, label in labels.items()]
    header = ("part", "cells x networks", "epochs", "about", "at most")
    return "\n".join([table(header, rows), "", *lines])


def _row(part: Part, estimate: Estimate) -> list[str]:
    cells, task = part.grid.cells, part.task
    first = cells[0]
    stops = first.patience is not None and first.patience < first.epochs
    return [
        f"{task.name}: {share_of(task).shows}",
        f"{len(cells)} x {first.networks}",
        f"early stop, or {first.epochs}" if stops else str(first.epochs),
        duration(estimate.seconds),
        _most(estimate.seconds, estimate.most),
    ]


def _most(expected: float, most: float) -> str:
    """Only where it is another."""
    return duration(most) if duration(most) != duration(expected) else ""
