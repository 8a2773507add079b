"""Pages whose numbers come from raw rows: templates below ``RESULTS/pages``, rendered beside it.

``RESULTS/pages/docs/protocol.md`` makes ``docs/protocol.md``, as seen from the folder that RESULTS
is in. Templates are Jinja2's, in a :class:`.Sandbox`; what they can ask for is what
:func:`_environment` gives them.
"""

import functools
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from data_prep.errors import UserError
from data_prep.files import write_text
from data_prep.hdf5 import FAILURES
from data_prep.reading import json_of, text_of

from ..benchmarks import layer
from ..models import CELLS
from ..paper import PROTOCOLS
from ..reporting import page, tables
from ..reporting.plan import duration
from ..statistics import ratio
from ..tasks import TASKS
from ..training.folder import LARGEST_METRICS
from ..training.grid import RESULTS
from ..training.results import Results, read_results, read_runs
from ..training.scan import SCAN_ROWS
from ..training.sections import Claim
from ..training.survey import read_survey
from . import measures
from .claims import CLAIMS, claims_of
from .differences import Difference, compare_lines
from .folders import from_rows, read_manifest, result_folders
from .sandbox import Sandbox

PAGES = "pages"
_MADE = "<!-- Made by `cwrnn verify --write` from {}: edit that one. -->\n"


def pages(results: Path) -> dict[Path, Path]:
    """Page -> its template; none where RESULTS has no templates."""
    root = Path(results).resolve()
    templates = sorted(path for path in (root / PAGES).rglob("*.md") if path.is_file())
    return {root.parent / path.relative_to(root / PAGES): path for path in templates}


def published_claims(results: Path) -> list[Claim]:
    """The claims of RESULTS; none where it has no claims.toml.

    Raises:
        UserError: see :func:`.claims.claims_of`.
    """
    root = Path(results).resolve()
    if not (root / CLAIMS).is_file():
        return []
    return claims_of(text_of(root / CLAIMS), _environment(root))


def check_pages(results: Path) -> Iterator[Difference]:
    """Every line of a page that is not what its template and the raw rows give."""
    root = Path(results).resolve().parent
    for target, text in rendered(results):
        yield from check_page(root, target, text)


def check_page(root: Path, target: Path, text: str | Difference) -> list[Difference]:
    """Every line of one page that is not as it should be.

    Args:
        root: of the names in messages.
        target: the page.
        text: what it should be, of :func:`rendered`.
    """
    name = target.relative_to(root).as_posix()
    if isinstance(text, Difference):
        return [text]
    if not target.exists():
        return [Difference(name, "nothing", "a page; `cwrnn verify --write` makes it")]
    return compare_lines(name, text_of(target, errors="replace"), text)


def uncovered(results: Path) -> Iterator[Difference]:
    """Files below RESULTS that neither a manifest nor a template answers for.

    And pages that say they were made from a template that is not there. Only where there are
    templates: a folder of runs may hold anything else.
    """
    root = Path(results).resolve()
    made = pages(results)
    if not made:
        return
    own = {root / PAGES, *(folder for folder in result_folders(root))}
    for path in sorted(root.rglob("*")):
        if path.is_dir() or path in made or path == root / CLAIMS or path.name.startswith("."):
            continue
        if own.isdisjoint(path.parents):
            name = path.relative_to(root.parent).as_posix()
            yield Difference(name, "a file", "none, or a manifest or a template that knows it")
    start = _MADE.split("{", maxsplit=1)[0]
    for path in sorted([*root.parent.glob("*.md"), *root.parent.glob("docs/*.md")]):
        if path not in made and text_of(path, errors="replace").startswith(start):
            name = path.relative_to(root.parent).as_posix()
            yield Difference(name, "a page without its template", "its template, or no such page")


def write_pages(results: Path) -> list[Path]:
    """Make all pages anew.

    Returns:
        Those that have changed.

    Raises:
        UserError: a template asks for what is not there; nothing is written then.
    """
    texts = dict(rendered(results))
    for text in texts.values():
        if isinstance(text, Difference):
            raise UserError(str(text))
    changed = []
    for target, text in texts.items():
        if not target.exists() or text_of(target) != text:
            write_text(target, str(text))
            changed.append(target)
    return changed


def rendered(results: Path) -> Iterator[tuple[Path, str | Difference]]:
    """Each page with its text, or with what is wrong with its template."""
    root = Path(results).resolve()
    made = pages(results)
    if not made:
        return
    environment = _environment(root)
    for target, path in made.items():
        name = path.relative_to(root.parent).as_posix()
        try:
            template = environment.get_template(path.relative_to(root / PAGES).as_posix())
            yield target, _MADE.format(name) + template.render()
        except UserError as error:
            found = Difference(
                name, error.message, "results that can be read", _line_of(error, path)
            )
            yield target, found
        except Exception as error:  # a template is code
            line = getattr(error, "lineno", None) or _line_of(error, path)
            said = f"{type(error).__name__}: {error}"
            yield target, Difference(name, said, "a template that can be rendered", line)


def _line_of(error: BaseException, template: Path) -> int:
    """The template's line in an error's traceback."""
    line, trace = 0, error.__traceback__
    while trace:
        if Path(trace.tb_frame.f_code.co_filename) == template:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _environment(root: Path) -> jinja2.Environment:
    """What templates can use.

    ``grid(NAME)``: model -> parameters -> JSON of its `cwrnn eval`, and ``ratios``, ``wins`` of the
    comparison; ``survey(NAME)``: JSON of `cwrnn compare` on several corpora;
    ``together(NAME, ...)``: parameters -> model -> the runs of `cwrnn compare --run`, one or more
    of them, their JSON, ``name``, ``folder`` and ``at_best``, the errors of each network, where it
    diverged from before that;
    ``rows(NAME, MODEL, PARAMS)`` and ``shared(NAME)``: arrays of a grid; ``scanned(NAME)``: every
    point of a scan;
    ``json(NAME)``, ``lines(NAME)`` and ``text(NAME)``: a file's contents, of each line its JSON;
    ``manifest(NAME)``; ``claims()``: see :mod:`.claims`; ``published``: task -> the paper's
    protocol; ``operations``: of :mod:`..benchmarks.layer`; ``clock_cost``, ``mean_interval``,
    ``seconds(NAME)`` that a folder's commands took, ``steps_followed``, ``table1_by_formula``: of
    :mod:`.measures`; ``ratio_of_errors``: of :mod:`..statistics`. NAMEs are relative to RESULTS.
    Filters: ``num``, ``pm``, ``pct``, ``pct_pm``, ``interval``, ``fixed(digits)``, ``g``, ``e``,
    ``median``.
    """
    environment = Sandbox(
        loader=jinja2.FileSystemLoader(root / PAGES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )

    @functools.cache
    def content(name: str) -> str:
        return str(_of_file(root, name, lambda path: text_of(path, LARGEST_METRICS)))

    @functools.cache
    def loads(name: str) -> Any:
        return _of_file(root, name, json_of)

    @functools.cache
    def load_lines(name: str) -> list[Any]:
        lines = content(name).splitlines()
        return list(_of_file(root, name, lambda path: [json.loads(line) for line in lines]))

    @functools.cache
    def results_of(name: str) -> Results:
        found: Results = _of_file(root, f"{name}/{RESULTS}", lambda p: from_rows(read_results(p)))
        return found

    @functools.cache
    def grid(name: str) -> dict[Any, Any]:
        def compared(path: Path) -> dict[Any, Any]:
            results = results_of(name)
            found: dict[Any, Any] = TASKS[results.first["task"]].comparison(results)
            for (model, params), summary in results.summaries.items():
                found.setdefault(model, {})[params] = summary
            return found

        return dict(_of_file(root, f"{name}/{RESULTS}", compared))

    @functools.cache
    def survey(name: str) -> dict[str, Any]:
        def compared(path: Path) -> dict[str, Any]:
            rows = read_survey(path)
            return TASKS[rows.task].survey().comparison(rows)

        return dict(_of_file(root, f"{name}/{RESULTS}", compared))

    @functools.cache
    def together(*names: str) -> dict[int, dict[str, list[Any]]]:
        found: dict[int, dict[str, list[Any]]] = {}
        for name in names:
            cells = _of_file(root, f"{name}/{RESULTS}", read_runs)
            for run in read_manifest(_below(root, name))["configuration"]["runs"]:
                summary = loads(f"{name}/{run}.json") | {"name": run, "folder": name}
                errors = cells[run].arrays[PROTOCOLS[summary["task"]].metric]
                summary["at_best"] = [float(error) for error in errors]
                cell = found.setdefault(summary["params"], {})
                cell.setdefault(summary["model"], []).append(summary)
        return found

    @functools.cache
    def scanned(name: str) -> dict[str, dict[str, Any]]:
        return dict(_of_file(root, f"{name}/{SCAN_ROWS}", measures.scanned))

    def rows(name: str, model: str, params: int) -> Mapping[str, Any]:
        return results_of(name).cells[model, params].arrays

    def shared(name: str) -> Mapping[str, Any]:
        return results_of(name).shared

    environment.globals |= {
        "grid": grid,
        "survey": survey,
        "together": together,
        "rows": rows,
        "scanned": scanned,
        "shared": shared,
        "json": loads,
        "lines": load_lines,
        "text": content,
        "claims": functools.cache(lambda: claims_of(content(CLAIMS), environment)),
        "manifest": lambda name: read_manifest(_below(root, name)),
        "seconds": lambda name: measures.seconds_taken(read_manifest(_below(root, name))),
        "published": PROTOCOLS,
        "operations": layer.operations,
        "clock_cost": measures.clock_cost,
        "mean_interval": measures.mean_interval,
        "steps_followed": measures.steps_followed,
        "ratio_of_errors": ratio,
        "table1_by_formula": measures.table1_by_formula,
        "cells": CELLS,
        "data_of": page.data_of,
        "min": min,
        "max": max,
        "zip": zip,
    }
    environment.filters |= {
        "num": tables.number,
        "pm": lambda values: tables.plus_minus(values["mean"], values["std"]),
        "pct": tables.percent,
        "pct_pm": tables.percent_plus_minus,
        "interval": lambda values, write=tables.number: tables.interval(values, write),
        "fixed": lambda value, digits: "–" if value is None else f"{value:.{digits}f}",
        "g": lambda value: f"{value:g}",
        "duration": duration,
        "median": statistics.median,
        "e": lambda value, digits=1: f"{value:.{digits}e}",
    }
    return environment


def _below(root: Path, name: str) -> Path:
    """A place below RESULTS: a stranger's page is to show nothing of the user's other files.

    Raises:
        UserError: it lies elsewhere.
    """
    path = root / name
    if not path.resolve().is_relative_to(root):
        raise UserError(f"{root.name}/{name}: lies outside {root.name}")
    return path


def _of_file(root: Path, name: str, read: Callable[[Path], Any]) -> Any:
    """What is read of a file below RESULTS.

    Raises:
        UserError: it cannot be read, or lies elsewhere.
    """
    try:
        return read(_below(root, name))
    except FAILURES as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(f"{root.name}/{name}: cannot be read ({said})") from error
