"""What `cwrnn bench cluster` and `cluster-cost` show."""

from collections.abc import Mapping
from typing import Any

from .benchmarks import machine_text
from .plan import duration
from .tables import table


def measured_text(result: Mapping[str, Any]) -> str:
    """A row for each number of processes."""
    rows = [
        [
            str(row["processes"]),
            str(row["units"]),
            f"{row['train_s']:.1f}",
            f"{100 * row['busy']:.1f}",
            "–" if (gap := row["overhead_per_unit_s"]) is None else f"{1000 * gap:.0f}",
            f"{row['idle_per_process_s']:.2f}",
            f"{row['longest_unit_s']:.2f}",
            f"{row['command_s']:.1f}",
        ]
        for row in result["rows"]
    ]
    header = (
        "processes",
        "units",
        "train s",
        "busy %",
        "between units ms",
        "idle at the end s",
        "longest unit s",
        "command s",
    )
    return (
        f"{machine_text(result)}\na small grid under torchrun; busy: of all processes' time until "
        "the last unit's end, that in units;\nbetween units: the median; idle: of a process; "
        "command: with interpreters and evaluation\n\n" + table(header, rows)
    )


def costs_text(result: Mapping[str, Any]) -> str:
    """A row for each number of processes, of all units once and so often."""
    rows = [
        [
            str(row["times"]),
            str(row["processes"]),
            str(row["units"]),
            duration(row["work_s"]),
            duration(row["seconds"]),
            duration(row["bound_s"]),
            f"{100 * row['busy']:.1f}",
            f"{row['idle_per_process_s']:.1f} s",
            f"{row['words_per_s']:.3g}",
            f"{row['files_per_s']:.3g}",
        ]
        for row in result["rows"]
    ]
    header = (
        "times",
        "processes",
        "units",
        "work",
        "takes",
        "no less than",
        "busy %",
        "idle per process",
        "words/s",
        "files/s",
    )
    return (
        f"simulated from the units of {', '.join(result['grids'])} ({', '.join(result['data'])}), "
        f"none of several runs longer than {result['longest']:g} s, {result['overhead']:g} s "
        "beside each;\nno less than: the work over the processes, or the longest unit; words: to "
        "the store; files: made, without later checkpoints\n\n" + table(header, rows)
    )
