"""The files of a comparison over several corpora."""

from pathlib import Path
from typing import Any

from data_prep.files import write_text
from data_prep.strict_json import dumps

from ..training.config import TrainConfig
from ..training.survey import Survey, SurveyRows
from .csv import CSV, csv_text
from .page import COMPARISON, TABLE, cell_name, deviation_lines, rows_of


def survey_texts(survey: Survey[Any, Any], rows: SurveyRows, command: str) -> dict[str, str]:
    """The texts of its files, by name; see :func:`write_survey_report`."""
    comparison = survey.comparison(rows)
    return {
        TABLE: f"{command}\n{survey.text(rows)}\n",
        CSV: csv_text(rows_of(comparison)),
        COMPARISON: dumps(comparison, indent=1, ascii_only=False) + "\n",
    }


def write_survey_report(
    survey: Survey[Any, Any], rows: SurveyRows, out: Path, command: str
) -> list[Path]:
    """Write table.txt, table.csv, comparison.json and the figures beside results.h5.

    Args:
        survey: the task's.
        rows: of all corpora.
        out: the folder.
        command: what made them, for the captions.

    Returns:
        The files.
    """
    texts = survey_texts(survey, rows, command)
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts] + survey.figures(out, rows, command)


def deviations_of(rows: SurveyRows) -> list[str]:
    """:func:`.page.deviation_lines` of the cells, each once."""
    found: dict[str, list[str]] = {}
    nobody = {"data_name": "", "data_sha256": "", "standin": False, "data_path": ""}
    for key, config in rows.configs.items():
        deviations = TrainConfig.from_json({**config, **nobody}).deviations()
        for line in deviation_lines({"task": rows.task, "deviations": deviations}):
            found.setdefault(line, []).append(cell_name(key))
    every = len(rows.configs)
    return [
        line if len(cells) == every else f"{line} ({', '.join(cells)})"
        for line, cells in found.items()
    ]
