"""Plain-text tables."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Cells as text, for :func:`table` and for pages."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self) -> list[str]:
        """As plain text."""
        return table(self.header, self.rows).splitlines()


def said_once(found: Table, own: Collection[str]) -> tuple[str, Table]:
    """What is the same in all rows, in words, and the table without these columns.

    Columns without a value in any row are left out without a word.

    Args:
        found: the table; of one row all is its own.
        own: columns that stay.
    """
    if len(found.rows) < 2:
        return "", found
    columns = dict(zip(found.header, zip(*found.rows, strict=True), strict=True))
    same = {n: each[0] for n, each in columns.items() if len(set(each)) == 1 and n not in own}
    kept = [name for name in columns if name not in same]
    rows = list(zip(*(columns[name] for name in kept), strict=True))
    said = (f"{name} {value}" for name, value in same.items() if value != "–")
    return "; ".join(said), Table(kept, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])


def counted(count: int, what: str) -> str:
    """A count and what is counted, such as "1 run" or "2 runs"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


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


def interval(values: Mapping[str, float | None], write: Callable[[float | None], str]) -> str:
    """A median with its interval, such as "0.041 (0.038..0.044)"; ∞ where it is not finite.

    Args:
        values: ``median``, ``low`` and ``high``.
        write: one of them.
    """
    names = ("median", "low", "high")
    middle, low, high = ("∞" if values[n] is None else write(values[n]) for n in names)
    return middle if values["low"] is None else f"{middle} ({low}..{high})"


def percent(value: float | None) -> str:
    """A rate in percent; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def percent_plus_minus(values: Mapping[str, float | None]) -> str:
    """mean±std, in percent."""
    mean, std = values["mean"], values["std"]
    return percent(mean) if std is None else f"{percent(mean)}±{percent(std)}"
