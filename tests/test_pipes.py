"""A pipe in the place of a folder's file holds up nobody who reads the folder."""

import os
from pathlib import Path

import pytest

from cwrnn_cli.evidence.folders import read_manifest
from cwrnn_cli.evidence.report.entry import measures_layers
from cwrnn_cli.evidence.rerun import numbers_of
from cwrnn_cli.outputs import _files_of_result
from cwrnn_cli.reporting.csv import runs_rows
from cwrnn_cli.tasks.iamondb.report import read_lines
from cwrnn_cli.training import trials, units
from cwrnn_cli.training.folder import RunFolder, configured
from cwrnn_cli.training.manifest import note, noted
from cwrnn_cli.training.rows import Journal
from cwrnn_cli.training.study import opened
from data_prep.errors import UserError

READERS = {  # what reads, the file, and what it makes of one that cannot be read
    "evidence": (read_manifest, "manifest.json", UserError),
    "note": (lambda folder: note(folder, more=1), "manifest.json", UserError),
    "noted": (lambda folder: noted(folder, "files"), "manifest.json", None),
    "outputs": (_files_of_result, "manifest.json", set()),
    "weights": (lambda folder: RunFolder(folder)._noted("checkpoint.pt"), "manifest.json", None),
    "configured": (configured, "config.json", None),
    "layers": (measures_layers, "bench.json", False),
    "ratios": (numbers_of, "bench.json", UserError),
    "runs": (lambda folder: runs_rows(folder, ["cw"]), "cw.json", UserError),
    "curves": (lambda folder: read_lines(folder / "metrics.jsonl"), "metrics.jsonl", UserError),
    "journal": (lambda folder: Journal(folder / "rows.jsonl"), "rows.jsonl", UserError),
    "study": (opened, "study.log", UserError),
    "trial": (lambda folder: trials.row_of(folder / "trial.json", []), "trial.json", UserError),
    "times": (lambda folder: units.times_of(RunFolder(folder)), "times.json", units.Damaged),
}


@pytest.mark.parametrize(("read", "name", "made"), READERS.values(), ids=READERS)
def test_a_pipe_is_not_waited_for(tmp_path: Path, read, name, made):
    os.mkfifo(tmp_path / name)
    if not isinstance(made, type):
        assert read(tmp_path) == made
        return
    with pytest.raises(made) as error:
        read(tmp_path)
    assert name in error.value.message
