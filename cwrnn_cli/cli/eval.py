"""`cwrnn eval`: what a run is worth."""

from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..paper import PROTOCOLS
from .common import RUNS_FOLDER, json_option, print_json, report_of, say

_EXAMPLES = 5  # lines shown with what was read


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--task",
    type=click.Choice(sorted(PROTOCOLS)),
    help="Without RUN: the newest run of this task.  [default: of any]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    help="[default: test; audio has train only: a network is judged by its sequence]",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Recognise this one file (timit: a sound file; iamondb: a line file).",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="PNG file to write: confusions (timit), lines with their text in ink (iamondb).",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The run's HDF5 file, if it has moved."
)
@click.option(
    "--beam", type=int, help="Beam search of this width instead of the best path (iamondb)."
)
@click.option("--ngram", type=int, help="... with an n-gram of the training texts, n up to 3.")
@json_option
def command(
    run: Path | None,
    task: str | None,
    split: str | None,
    file: Path | None,
    plot: Path | None,
    data: Path | None,
    beam: int | None,
    ngram: int | None,
    as_json: bool,
) -> None:
    """Errors of RUN (the newest below runs/ unless named), beside the paper's."""
    from ..training.folder import RunFolder, newest_run  # noqa: PLC0415
    from ..training.results import results_of  # noqa: PLC0415

    folder = RunFolder(run) if run else newest_run(RUNS_FOLDER, task)
    found = folder.config().task
    for option, given in (("--file", file), ("--plot", plot)):
        if given and found == "audio":
            raise UserError(f"{option}: not an option for a run of task audio")
    judge, report = results_of(found), report_of(found)
    if file and found == "iamondb":
        text = judge.recognise(folder, file, data)
        if as_json:
            print_json({"run": str(folder.path), "file": str(file), "text": text})
        else:
            click.echo(text)
        return
    if file:
        likely = judge.recognise(folder, file, data)[:5]
        if as_json:
            print_json({"run": str(folder.path), "file": str(file), "words": dict(likely)})
        else:
            for word, probability in likely:
                click.echo(f"{word:<14} {probability:.3f}")
        return
    evaluation = judge.evaluate(folder, data, split, **_beam(found, beam, ngram))
    result = judge.summary(evaluation)
    if as_json:
        print_json(result)
    else:
        click.echo(f"{folder.path}\n{report.evaluation_text(result)}")
        if found == "iamondb":
            click.echo(report.examples_text(judge.examples(evaluation, _EXAMPLES)))
    if plot:
        if found == "iamondb":
            report.ink(plot, judge.drawn(evaluation, _EXAMPLES), result)
        else:
            report.confusions(plot, result)
        say(f"written: {plot}")


def _beam(task: str, width: int | None, ngram: int | None) -> dict[str, Any]:
    """The options of a beam search, if one is asked for."""
    from ..training.beam import BeamOptions  # noqa: PLC0415

    if width is None and ngram is None:
        return {}
    if task != "iamondb":
        raise UserError(f"--beam, --ngram: not options for a run of task {task}")
    return {"beam": BeamOptions(20 if width is None else width, ngram or 0)}
