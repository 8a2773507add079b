"""Everything that the page of `cwrnn report` shows, of one folder or of all below it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.errors import UserError

from ...clock import Clock
from ...console import command_line
from ...reporting import clocks
from ...reporting.claimed import RULE
from ...reporting.plan import QUICK, WHOLE, Begun
from ...reporting.sizes import NOTE, table1
from ...reporting.vector import svg
from ...tasks import TASKS
from ...training.config import versions
from ...training.folder import CELLS_FOLDER, CONFIG
from ...training.grid import RESULTS
from ...training.manifest import machine, program
from ...training.sections import Claim, Picture, Sheet
from ..claims import CLAIMS
from ..folders import read_manifest, result_folders
from ..pages import published_claims
from .entry import Entry, entry_of, measures_layers

_PUBLISHED_RULE = (
    "Holds and fails are for the data named in the row and no wider. A published number of Section "
    "4.1 holds where ours is within a factor of two of it, in part where ours is better or on one "
    "piece only; an order or a bound holds where its interval, or every pair or point, is on the "
    "paper's side. Not tested: stand-in data cannot show the paper's number. Open: our data do not "
    "decide it; one network decides nothing."
)
Progress = Callable[[int], Any]


@dataclass(frozen=True)
class Report:
    """The page.

    Attributes:
        name: of the folder that it is of.
        caution: of a taste of the paper, that it is one; "": of anything else.
        claims: its first screen.
        rule: how they are judged.
        claims_file: that they are from; "": each from the rows of its command.
        entries: folders that are shown.
        clocks: of their networks.
        sizes: Table 1, where folders of several are shown.
        others: all folders, where only some are shown.
        made: when, by which program, where.
    """

    name: str
    caution: str
    claims: Sequence[Claim]
    rule: str
    claims_file: str
    entries: Sequence[Entry]
    clocks: Sequence[Picture]
    sizes: Sheet | None
    others: Sheet | None
    made: Sheet


def gather(results: Path, data: Path | None = None, progress: Progress = lambda _: None) -> Report:
    """What there is to show.

    Args:
        results: a folder of `cwrnn compare` or `cwrnn train`, or one with such folders below it.
        data: the prepared corpus of its runs, if it has moved.
        progress: called with the number of folders done.

    Raises:
        UserError: there is no such folder, nothing of the kind in it, or it is not finished.
    """
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; name one of `cwrnn compare` or `cwrnn train`")
    name = results.resolve().name
    if _is_one(results):
        entries, others = [entry_of(results, name, data)], None
        progress(1)
    else:
        folders = _folders(results)
        shown = [folder for folder in folders if _is_shown(folder)]
        if not shown:
            raise UserError(
                f"{results}: no folder below it has rows and figures of `cwrnn compare`; "
                "name one of `cwrnn compare` or `cwrnn train`"
            )
        entries = list(_entries(shown, results, name, data, progress))
        entries.sort(key=lambda entry: entry.title.partition(":")[0])  # by the paper's sections
        others = _others(folders, results, name, {entry.name: entry.label for entry in entries})
    published = published_claims(results)
    progress(1)
    drawn = dict.fromkeys(clock for entry in entries for clock in entry.clocks)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Report(
        name=name,
        caution=_caution(results, [] if published else entries),
        claims=published or [claim for entry in entries for claim in entry.story.claims],
        rule=_PUBLISHED_RULE if published else RULE,
        claims_file=f"{name}/{CLAIMS}" if published else "",
        entries=entries,
        clocks=[_drawn(clock) for clock in drawn],
        sizes=None if len(entries) == 1 else _sizes(),
        others=others,
        made=_made(now),
    )


def _caution(results: Path, entries: Sequence[Entry]) -> str:
    """What is to be known of a taste: `cwrnn compare --all --quick`, or few networks."""
    quick = (results / WHOLE).exists() and Begun.read(results).quick
    few = sorted({entry.few for entry in entries} - {""})
    says = QUICK if quick else f"Fewer networks than the paper's ({'; '.join(few)})"
    return f"{says}. Verdicts are of these few networks." if quick or few else ""


def _sizes() -> Sheet:
    found = table1(task.protocol for task in TASKS.values() if task.protocol.hidden_sizes)
    return Sheet("Hidden units of each network by its parameters", *found, NOTE)


def _is_one(results: Path) -> bool:
    """Whether a folder is a command's own, finished or not, not one of such folders."""
    own = (RESULTS, CELLS_FOLDER, CONFIG)
    return any((results / name).exists() for name in own) or not _folders(results)


def steps(results: Path) -> int:
    """How often :func:`gather` reports progress, about."""
    return 1 + max(1, sum(map(_is_shown, _folders(results))))


def _folders(results: Path) -> list[Path]:
    """Folders with a manifest below RESULTS, itself among them if it is one."""
    try:
        return result_folders(results)
    except UserError:
        return []


def _is_shown(folder: Path) -> bool:
    """Of many folders those with rows whose command has left a picture of them."""
    rows = (folder / RESULTS).exists() or measures_layers(folder)
    return rows and any(folder.glob("*.png"))


def _entries(
    folders: Sequence[Path], results: Path, name: str, data: Path | None, progress: Progress
) -> Iterator[Entry]:
    for folder in folders:
        yield entry_of(folder, f"{name}/{folder.relative_to(results).as_posix()}", data)
        progress(1)


def _others(folders: Sequence[Path], results: Path, name: str, shown: Mapping[str, str]) -> Sheet:
    """A row per folder, as its manifest has it; several corpora by their label if it is shown."""
    rows = []
    for folder in folders:
        manifest = read_manifest(folder)
        path = f"{name}/{folder.relative_to(results).as_posix()}"
        data = manifest["data"] or {}
        sources = data if isinstance(data, list) else [data]
        names = list(dict.fromkeys(source.get("name", "–") for source in sources))
        about = names[0] if len(names) == 1 else shown.get(path) or f"{len(names)} corpora"
        last = manifest["sessions"][-1] if manifest["sessions"] else {}
        rows.append(
            [
                path,
                "above" if path in shown else "–",
                about,
                (last.get("ended") or "–")[:10],
                (last.get("commit") or "–")[:12],
                manifest["command"],
            ]
        )
    header = ("folder", "shown", "data", "ended", "commit", "command")
    return Sheet("Every folder and the command that made it", header, rows)


def _drawn(clock: Clock) -> Picture:
    return Picture(
        svg(lambda path: clocks.draw_clock(path, clock)),
        clocks.words(clock),
        f"{clock.hidden_size} units in {len(clock.periods)} modules: when each module runs, and "
        "the mask of W_H (coloured: weights that may be other than 0).",
    )


def _made(now: str) -> Sheet:
    here, tree = machine(), program()
    changed = "" if tree["clean"] else ", with changes"
    rows = [
        ["command", command_line()],
        ["when", now],
        ["program", ", ".join(f"{name} {version}" for name, version in versions().items())],
        *([["commit", tree["commit"][:12] + changed]] if tree["commit"] else []),
        ["machine", f"{here['processor']}, {here['cores']} cores, {here['system']}"],
    ]
    return Sheet("Command, program and machine", ("", ""), rows)
