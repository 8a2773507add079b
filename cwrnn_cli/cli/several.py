"""`cwrnn compare` with several --data: the grid on each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import command_line, print_json, print_text, progress_bar, say_written
from ..reporting.survey import write_survey_report
from ..training import distributed
from ..training.configure import configure
from ..training.corpora import (
    Corpus,
    check_corpora,
    collect,
    configuration,
    files_of,
    open_survey,
    run_survey,
)
from ..training.folder import writing
from ..training.grid import RESULTS
from ..training.manifest import MANIFEST, certified
from ..training.registry import AnyTask
from ..training.survey import write_survey
from .options import load_prepared, resumable


def asks_for_several(data: Sequence[Path]) -> bool:
    """Whether --data was given several times, or names a folder."""
    return len(data) > 1 or any(path.is_dir() for path in data)


def compare_several(
    experiment: AnyTask,
    data: Sequence[Path],
    budgets: Sequence[int],
    of_model: Mapping[str, Mapping[str, Any]],
    out: Path,
    resume: bool,
    as_json: bool,
) -> None:
    """Train the grid on each corpus; one report of all.

    Args:
        experiment: the task.
        data: files, and folders of files, which are taken by name.
        budgets: parameters.
        of_model: model -> its options.
        out: folder.
        resume: whether to go on with what is in it.
        as_json: whether to print the JSON instead of the table.

    Raises:
        UserError: the task compares on one corpus only, or a file cannot be read.
    """
    survey = experiment.survey()
    if distributed.world_size() > 1:
        raise UserError("torchrun: several files are trained on in one process")
    corpora = []
    for file in files_of(data):
        corpus = load_prepared(experiment, file)
        cells = [
            configure(corpus, model, params, "--sizes", **own)
            for params in budgets
            for model, own in of_model.items()
        ]
        corpora.append(Corpus(file.stem, corpus, cells))
    check_corpora(corpora)
    click.get_current_context().with_resource(writing(out))
    journal = open_survey(out, corpora, resume)
    bar = progress_bar(sum(c.epochs for each in corpora for c in each.cells), "all networks")
    sources = [corpus.data for corpus in corpora]
    with certified(out, command_line(), sources, configuration(corpora)):
        with resumable(bar, " of a network"):
            run_survey(corpora, out, journal, lambda epoch, _: bar.update(epoch - bar.n))
        rows = collect(corpora, journal)
        write_survey(out / RESULTS, rows)
        files = write_survey_report(survey, rows, out, command_line())
    if as_json:
        print_json(survey.comparison(rows))
    else:
        print_text(survey.text(rows))
    say_written(out / RESULTS, *files, out / MANIFEST)
