"""A result folder: are its files those of its manifest, and its tables those of its raw rows?"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.reading import json_of, lines_of, text_of
from data_prep.strict_json import dumps

from ..benchmarks.cluster import costed_again
from ..reporting.analysis import JSON
from ..reporting.benchmarks import (
    gpu_resources_text,
    layer_text,
    precision_text,
    saving_text,
)
from ..reporting.cluster import costs_text, measured_text
from ..reporting.csv import CSV, csv_text, runs_rows
from ..reporting.page import TABLE, report_texts
from ..reporting.scan import SCAN_TEXT, scan_rows, scan_text
from ..reporting.search import search_text
from ..reporting.survey import survey_texts
from ..tasks import TASKS
from ..training.folder import LARGEST_METRICS
from ..training.grid import RESULTS
from ..training.manifest import MANIFEST, digests
from ..training.results import Cell, Results, read_results, read_runs
from ..training.scan import SCAN, SCAN_ROWS, scores
from ..training.search import BEST, TRIALS, judged
from ..training.survey import is_survey, read_survey
from .differences import Difference, compare_lines, same_values

EVALUATION = "eval.json"
EVALUATION_ROWS = "eval.h5"
# of a manifest, beside configuration and data
_KEYS: dict[str, tuple[type, ...]] = {
    "command": (str,),
    "files": (dict, type(None)),
    "sessions": (list,),
}


def result_folders(results: Path) -> list[Path]:
    """All folders with a manifest, in ``results`` or below, by name; not those still at work.

    Raises:
        UserError: there is none.
    """
    found = sorted(
        path.parent
        for path in Path(results).rglob(MANIFEST)
        if not any(part.startswith(".") for part in path.relative_to(results).parts)
    )
    if not found:
        raise UserError(f"{results}: no result folders (none has a {MANIFEST}); name another one")
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest.

    Raises:
        UserError: no such folder, no manifest in it, or it is not one.
    """
    path = Path(folder) / MANIFEST
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    try:
        manifest = json_of(path)
        if not all(isinstance(manifest[key], kind) for key, kind in _KEYS.items()):
            raise TypeError("a value of another kind")
        manifest["configuration"], manifest["data"]
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a manifest; restore it, or run its command again") from error
    found: dict[str, Any] = manifest
    return found


def check_folder(folder: Path, name: str) -> list[Difference]:
    """Everything in which a folder differs from its manifest and its raw rows.

    Args:
        folder: with a manifest.
        name: of the folder in messages.
    """
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        return [Difference(f"{name}/{MANIFEST}", error.message, "a manifest")]
    if manifest["files"] is None:
        left = "digests of the files: the command was killed, or is still at work"
        return [Difference(f"{name}/{MANIFEST}", "files: null", left)]
    noted, there = manifest["files"], digests(folder)
    changed = {file for file in noted.keys() & there.keys() if noted[file] != there[file]}
    found = [Difference(f"{name}/{file}", "nothing", "a file") for file in noted.keys() - there]
    found += [
        Difference(f"{name}/{file}", "a file", "none: the manifest does not know it")
        for file in there.keys() - noted
    ]
    for part in (_grid, _survey, _evaluation, _runs, _scan, _search, _analysis, _benchmarks):
        found += _checked(part, folder, name, manifest, changed)
    explained = {difference.file for difference in found}
    found += [
        Difference(f"{name}/{file}", f"sha256 {there[file][:12]}", noted[file][:12])
        for file in changed
        if f"{name}/{file}" not in explained
    ]
    return sorted(found, key=lambda difference: (difference.file, difference.line))


# what a part of a folder gives: differences in its rows, and its files' texts made anew
Part = Callable[[Path, str, dict[str, Any]], Iterator[Difference | tuple[str, str]]]


def _checked(
    part: Part, folder: Path, name: str, manifest: dict[str, Any], changed: set[str]
) -> Iterator[Difference]:
    """The differences of one part; whatever goes wrong in it is one, too."""
    try:
        for made in part(folder, name, manifest):
            if isinstance(made, Difference):
                yield made
                continue
            file, text = made
            if (folder / file).exists():
                there = text_of(folder / file, LARGEST_METRICS, errors="replace")
                yield from compare_lines(f"{name}/{file}", there, text, exact=file in changed)
    except Exception as error:  # rows of strangers, and tasks of other packages
        said = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        yield Difference(name, f"{part.__name__[1:]}: {said}", "raw rows that can be read")


def from_rows(results: Results) -> Results:
    """A grid whose summaries are made anew from its rows."""
    cells = {key: _from_rows(cell, results) for key, cell in results.cells.items()}
    return replace(results, cells=cells)


def _from_rows(cell: Cell, results: Results | None = None) -> Cell:
    shared = results.shared if results else cell.arrays
    numbers = TASKS[cell.summary["task"]].numbers(cell.summary, cell.arrays, shared)
    return replace(cell, summary=cell.summary | json.loads(dumps(numbers, sort_keys=True)))


def _summaries(place: str, noted: dict[str, Any], made: dict[str, Any]) -> Iterator[Difference]:
    """Where a summary is not what the rows give."""
    for key, value in made.items():
        if not same_values(noted.get(key), value):
            yield Difference(f"{place} {key}", str(noted.get(key)), str(value))


def _grid(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn compare`."""
    if not (folder / RESULTS).exists() or of_runs(manifest) or is_survey(folder / RESULTS):
        return
    stored = read_results(folder / RESULTS)
    results = from_rows(stored)
    for (model, params), cell in results.cells.items():
        place = f"{name}/{RESULTS} {model}/{params}"
        yield from _summaries(place, stored.cells[model, params].summary, cell.summary)
    configured = [c.config | {"data_path": ""} for c in results.cells.values()]
    noted = [dict(each) | {"data_path": ""} for each in manifest["configuration"] or configured]
    if not all(each in noted for each in configured) or len(noted) != len(configured):
        where = f"{name}/{MANIFEST} configuration"
        yield Difference(where, "other options", f"those in {RESULTS}")
    tolerances = results.tolerances()
    if not same_values(manifest.get("tolerance", tolerances), tolerances):
        found, expected = str(manifest["tolerance"]), str(tolerances)
        yield Difference(f"{name}/{MANIFEST} tolerance", found, expected)
    yield from report_texts(TASKS[results.first["task"]], results, manifest["command"]).items()


def _survey(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn compare` on several corpora."""
    if not (folder / RESULTS).exists() or not is_survey(folder / RESULTS):
        return
    rows = read_survey(folder / RESULTS)
    noted = manifest["configuration"]
    sources = [source["sha256"] for source in manifest["data"]]
    if (
        noted["corpora"] != rows.names
        or sources != [corpus["data"]["sha256"] for corpus in rows.corpora]
        or not _same_members(noted["cells"], list(rows.configs.values()))
    ):
        where = f"{name}/{MANIFEST} configuration"
        yield Difference(where, "other options or data", f"those in {RESULTS}")
    yield from survey_texts(TASKS[rows.task].survey(), rows, manifest["command"]).items()


def _same_members(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(each in second for each in first)


def _evaluation(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn eval --out`."""
    if not (folder / EVALUATION_ROWS).exists():
        return
    (cell,) = from_rows(read_results(folder / EVALUATION_ROWS)).cells.values()
    noted = json_of(folder / EVALUATION)
    yield from _summaries(f"{name}/{EVALUATION}", noted, cell.summary)


def _runs(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn compare --run`; folders of former versions have no rows."""
    if not of_runs(manifest):
        return
    if (folder / RESULTS).exists():
        for run, cell in read_runs(folder / RESULTS).items():
            noted = json_of(folder / f"{run}.json")
            yield from _summaries(f"{name}/{run}.json", noted, _from_rows(cell).summary)
    yield TABLE, _runs_text(folder, manifest["configuration"])
    yield CSV, csv_text(runs_rows(folder, manifest["configuration"]["runs"]))


def of_runs(manifest: dict[str, Any]) -> bool:
    """Whether a manifest is that of runs that were compared."""
    runs = manifest["configuration"]
    return isinstance(runs, dict) and {"runs", "at"} <= runs.keys()


def _scan(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn scan`; those of former versions have no rows."""
    if not (folder / SCAN).exists():
        return
    scan = json_of(folder / SCAN)
    if (folder / SCAN_ROWS).exists():
        scan |= scores(folder / SCAN_ROWS)
    yield SCAN, dumps(scan, indent=1) + "\n"
    yield SCAN_TEXT, scan_text(scan) + "\n"
    yield CSV, csv_text(scan_rows(scan))


def _search(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn search`, from what each trial has left."""
    if not (folder / TRIALS).exists():
        return
    result = judged(json_of(folder / TRIALS), folder)
    yield TRIALS, dumps(result, indent=1) + "\n"
    yield BEST, dumps(result["best"], indent=1) + "\n"
    yield TABLE, search_text(result) + "\n"
    yield CSV, csv_text(result["trials"])


def _analysis(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn analyse`: its tables as CSV."""
    if not (folder / JSON).exists():
        return
    found = json_of(folder / JSON)
    for path in sorted(folder.glob("*.csv")):
        yield path.name, csv_text(found[path.stem])


def _benchmarks(
    folder: Path, name: str, manifest: dict[str, Any]
) -> Iterator[Difference | tuple[str, str]]:
    """Of `cwrnn bench`: the table beside each JSON, and the one as CSV."""
    for path in sorted(folder.glob("*.json")):
        table = path.with_suffix(".txt")
        if table.exists() and path.name != SCAN:
            result = json_of(path)
            if isinstance(result, dict) and "pieces" in result:  # of units; the rest follows
                yield path.name, dumps(costed_again(result), indent=1, ascii_only=False) + "\n"
            text = _bench_text(result)
            if text is not None:
                yield table.name, text + "\n"
                yield CSV, csv_text(result["rows"])


def _runs_text(folder: Path, configuration: dict[str, Any]) -> str:
    """table.txt of runs that were compared, from each one's errors and epochs."""
    names = configuration["runs"]
    summaries = {n: json_of(folder / f"{n}.json") for n in names}
    noted = {n: lines_of(folder / f"{n}.jsonl", LARGEST_METRICS) for n in names}
    lines = {n: [json.loads(line) for line in found] for n, found in noted.items()}
    task = TASKS[next(iter(summaries.values()))["task"]]
    return task.runs_text(summaries, lines, configuration["at"]) + "\n"


def _bench_text(result: Any) -> str | None:
    """What `cwrnn bench` shows of its JSON; None: it is not a benchmark's."""
    if not isinstance(result, dict) or not result.get("rows"):
        return None
    if "registers" in result["rows"][0]:
        return gpu_resources_text(result)
    if "precision" in result["rows"][0]:
        return precision_text(result)
    if "safety_share" in result["rows"][0]:
        return saving_text(result)
    if "busy" in result["rows"][0]:
        return costs_text(result) if "grids" in result else measured_text(result)
    if "width" in result["rows"][0]:
        return layer_text(result)
    return next(filter(None, (task.bench_text(result) for task in TASKS.values())), None)
