"""Task 3 in the page of `cwrnn report`: Table 3, learning curves, ink with what was read.

Ink and texts are those of the corpus at hand and of nothing else: rows hold no line of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from data_prep.errors import UserError

from ...paper import IAMONDB
from ...reporting import page
from ...reporting.claimed import claims_of_grid
from ...reporting.tables import percent
from ...reporting.vector import svg
from ...training.results import Results
from ...training.sections import Claim, Found, Part, Picture, Remark, Section, Sheet, Story
from . import evaluate, report, runs_report
from .evaluate import IamondbEvaluation

_CORPUS = "IAM-OnDB"  # as its converter names it
_LINES = 4  # of ink


def story(found: Found) -> Story:
    """See :meth:`cwrnn_cli.training.task.Task.report`."""
    sections = []
    if found.results:
        sections.append(Section("Table 3", _table3(found.results)))
    if found.runs:
        sections.append(Section("Table 3, run by run", list(_runs(found))))
    if found.curves:
        sections.append(Section("Training", [_curves(found)]))
    summaries = _summaries(found)
    if summaries:
        sections.append(Section("Ink, and what was read", list(_ink(found, summaries))))
    return Story(_claims(found.results, found.command) if found.results else (), sections)


def _claims(results: Results, command: str) -> list[Claim]:
    same = results.first["data"]["name"] == _CORPUS
    what = "character error rate on the test set, %"
    errors, table = IAMONDB.metric, IAMONDB.table
    return claims_of_grid(results, command, what, percent, "Table 3", same, errors, table)


def _table3(results: Results) -> list[Part]:
    return [
        Sheet(
            "Character error rates on the test set, best path, beside Table 3",
            *page.beside(report.main_table(results), results.first, _CORPUS),
            note=f"the paper's are on {_CORPUS}; these on {page.data_of(results.first)}",
        )
    ]


def _runs(found: Found) -> Iterator[Part]:
    summaries = {name: cell.summary for name, cell in found.runs.items()}
    lines = {name: found.curves.get(name, ()) for name in summaries}
    first = next(iter(summaries.values()))
    yield Sheet(
        "Runs as they are, trained to their end or not",
        *page.beside(runs_report.runs_table(summaries, lines, found.at), first, _CORPUS),
        note=f"data: {page.data_of(first)}",
    )
    if cells := runs_report.cells_table(summaries):
        together = page.beside(cells, first, _CORPUS)
        yield Sheet("Runs that differ in their seeds only, together", *together)


def _curves(found: Found) -> Picture:
    runs = found.curves
    lowest = "; ".join(
        f"{name}: {percent(min(min(line['valid_cer']) for line in lines))} % at the lowest"
        for name, lines in runs.items()
        if lines
    )
    return Picture(
        svg(lambda path: report.validation_curves(path, runs, "")),
        f"Learning curves, character error rate on the validation set over epochs; {lowest}",
        "Training: error on the validation set by epoch, of each run's best network.",
        found.curves_file,
    )


def _summaries(found: Found) -> dict[str, Mapping[str, Any]]:
    """Of each run that could be drawn, by its name."""
    if found.results:
        return {f"{m}-{params}": s for (m, params), s in found.results.summaries.items()}
    return {name: cell.summary for name, cell in found.runs.items()}


def _ink(found: Found, summaries: Mapping[str, Mapping[str, Any]]) -> Iterator[Part]:
    """Lines that the run with the least error on the validation set reads."""
    errors = {name: each["metrics"]["valid_cer"]["min"] for name, each in summaries.items()}
    finite = {name: error for name, error in errors.items() if error is not None}
    if not finite:
        yield Remark("Left out: every network diverged, none reads a line.")
        return
    name = min(finite, key=lambda each: finite[each])
    try:
        evaluation = found.evaluate(name)
    except UserError as error:
        yield Remark(
            f"Left out: the rows hold no line of the corpus, and its ink is not at hand ({error}). "
            "With the corpus, name its file with --data, and the folder that has the checkpoints."
        )
        return
    assert isinstance(evaluation, IamondbEvaluation)
    lines = evaluate.drawn(evaluation, _LINES)
    read = "; ".join(f"“{right}” read as “{text}”" for right, text, _ in lines)
    summary = summaries[name]
    yield Picture(
        svg(lambda path: report.ink(path, lines, summary)),
        f"Lines of handwriting as they were written: {read}",
        f"{name}, the run with the least error on the validation set: lines of the "
        f"{evaluation.split} set in ink, the right text, and what was read.",
        evaluation.data.path.name,
    )
    if not evaluation.data.standin:
        yield Remark(
            f"Ink and texts are from {evaluation.data.path.name} ({evaluation.data.source}). Its "
            "licence may forbid passing them on, and this page with them."
        )
