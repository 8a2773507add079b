"""A result folder: are its files those of its manifest, and its tables those of its raw rows?"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.errors import UserError

from ..reporting.benchmarks import layer_text, precision_text
from ..reporting.page import TABLE, report_texts
from ..reporting.scan import SCAN_TEXT, scan_text
from ..tasks import TASKS
from ..training.grid import RESULTS
from ..training.manifest import MANIFEST, digests
from ..training.results import Results, read_results
from ..training.scan import SCAN, SCAN_ROWS, scores
from .differences import Difference, compare_lines, same_values


def result_folders(results: Path) -> list[Path]:
    """All folders with a manifest, in ``results`` or below, by name.

    Raises:
        UserError: there is none.
    """
    found = sorted(path.parent for path in Path(results).rglob(MANIFEST))
    if not found:
        raise UserError(f"{results}: no result folders (none has a {MANIFEST}); name another one")
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest.

    Raises:
        UserError: there is none, or it is not one.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for key in ("command", "configuration", "files", "sessions"):
            manifest[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
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
        return [Difference(f"{name}/{MANIFEST}", "no manifest", str(error.message))]
    if manifest["files"] is None:
        left = "digests of the files: the command was killed, or is still at work"
        return [Difference(f"{name}/{MANIFEST}", "files: null", left)]
    noted, there = manifest["files"], digests(folder)
    changed = [file for file in noted.keys() & there.keys() if noted[file] != there[file]]
    found = [Difference(f"{name}/{file}", "nothing", "a file") for file in noted.keys() - there]
    found += [
        Difference(f"{name}/{file}", "a file", "none: the manifest does not know it")
        for file in there.keys() - noted
    ]
    lines = list(_rebuilt(folder, name, manifest, set(changed)))
    explained = {difference.place.rpartition(":")[0] for difference in lines}
    found += [
        Difference(f"{name}/{file}", f"sha256 {there[file][:12]}", f"{noted[file][:12]}")
        for file in changed
        if f"{name}/{file}" not in explained
    ]
    return sorted([*found, *lines], key=lambda difference: difference.place)


def from_rows(results: Results) -> Results:
    """A grid whose summaries are made anew from its rows."""
    task = TASKS[results.first["task"]]
    cells = {}
    for key, cell in results.cells.items():
        numbers = task.numbers(cell.summary, cell.arrays, results.shared)
        again = cell.summary | json.loads(json.dumps(numbers, sort_keys=True))
        cells[key] = replace(cell, summary=again)
    return replace(results, cells=cells)


def _rebuilt(
    folder: Path, name: str, manifest: dict[str, Any], changed: set[str]
) -> Iterator[Difference]:
    """Tables and JSON made anew from the raw rows, and where the files are otherwise."""
    texts: dict[str, str] = {}
    runs = manifest["configuration"]
    if isinstance(runs, dict) and {"runs", "at"} <= runs.keys():  # of `cwrnn compare --run`
        try:
            texts[TABLE] = _runs_text(folder, runs)
        except (OSError, ValueError, KeyError) as error:
            yield Difference(f"{name}/{TABLE}", f"runs that cannot be read ({error})", "raw rows")
    elif (folder / RESULTS).exists():
        try:
            stored = read_results(folder / RESULTS)
        except (OSError, ValueError, KeyError) as error:
            yield Difference(f"{name}/{RESULTS}", f"what cannot be read ({error})", "raw rows")
            return
        results = from_rows(stored)
        for (model, params), cell in results.cells.items():
            noted = stored.cells[model, params].summary
            for key, value in cell.summary.items():
                if not same_values(noted.get(key), value):
                    place = f"{name}/{RESULTS}:{model}/{params} {key}"
                    yield Difference(place, str(noted.get(key)), str(value))
        texts |= report_texts(TASKS[results.first["task"]], results, manifest["command"])
    if (folder / SCAN).exists():
        scan = json.loads((folder / SCAN).read_text(encoding="utf-8"))
        if (folder / SCAN_ROWS).exists():
            scan |= scores(folder / SCAN_ROWS)
        texts[SCAN] = json.dumps(scan, indent=1) + "\n"
        texts[SCAN_TEXT] = scan_text(scan) + "\n"
    for path in sorted(folder.glob("*.json")):
        if (file := path.with_suffix(".txt").name) not in texts and (folder / file).exists():
            try:
                text = _bench_text(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError) as error:
                yield Difference(f"{name}/{path.name}", f"what cannot be read ({error})", "JSON")
                continue
            texts |= {} if text is None else {file: text + "\n"}
    for file, text in texts.items():
        if (folder / file).exists():
            there = (folder / file).read_text(encoding="utf-8")
            yield from compare_lines(f"{name}/{file}", there, text, exact=file in changed)


def _runs_text(folder: Path, configuration: dict[str, Any]) -> str:
    """table.txt of runs that were compared, from each one's errors and epochs."""
    names = configuration["runs"]
    summaries = {n: json.loads((folder / f"{n}.json").read_text(encoding="utf-8")) for n in names}
    noted = {n: (folder / f"{n}.jsonl").read_text(encoding="utf-8") for n in names}
    lines = {n: [json.loads(line) for line in text.splitlines()] for n, text in noted.items()}
    task = TASKS[next(iter(summaries.values()))["task"]]
    return task.runs_text(summaries, lines, configuration["at"]) + "\n"


def _bench_text(result: Any) -> str | None:
    """What `cwrnn bench` shows of its JSON; None: it is not a benchmark's."""
    if not isinstance(result, dict) or not result.get("rows"):
        return None
    if "precision" in result["rows"][0]:
        return precision_text(result)
    if "width" in result["rows"][0]:
        return layer_text(result)
    return next(filter(None, (task.bench_text(result) for task in TASKS.values())), None)
