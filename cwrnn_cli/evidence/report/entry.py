"""One folder of `cwrnn compare` or `cwrnn train`, as the page shows it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.reading import json_of, lines_of

from ...benchmarks.options import BENCH
from ...clock import Clock
from ...console import quoted, warn
from ...reporting import benchmarks, page
from ...reporting.survey import survey_texts
from ...reporting.vector import svg
from ...tasks import TASKS, task_of
from ...training.config import TrainConfig
from ...training.evaluation import Evaluation
from ...training.folder import CELLS_FOLDER, CONFIG, LARGEST_METRICS, METRICS, RunFolder
from ...training.grid import RESULTS
from ...training.manifest import MANIFEST
from ...training.results import Cell, Results, read_results, read_runs
from ...training.sections import Found, Part, Picture, Remark, Section, Sheet, Story
from ...training.survey import is_survey, read_survey
from ..folders import from_rows, of_runs, read_manifest

Evaluate = Callable[[str], Evaluation[Any]]


@dataclass(frozen=True)
class Entry:
    """A folder's part of the page.

    Attributes:
        name: of the folder, as the user has it.
        title: where the paper has it, and on which data.
        command: that made it.
        file: of the rows that its numbers are made from, below the folder that was asked for.
        story: what its task says.
        clocks: of its largest networks.
        text: the table as its command prints it.
        facts: where its numbers come from.
        manifest: the whole of it; "" if there is none.
        label: of its data.
        started: when its command began, UTC; "" if nobody noted it.
        few: networks, beside the paper's; "": no fewer.
    """

    name: str
    title: str
    command: str
    file: str
    story: Story
    clocks: Sequence[Clock]
    text: str
    facts: Sheet
    manifest: str
    label: str
    started: str
    few: str = ""

    @property
    def anchor(self) -> str:
        """Its place in the page."""
        return "of-" + "".join(c if c.isalnum() else "-" for c in self.name)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of one run."""
    grid = (folder / CELLS_FOLDER).exists() or (folder / RESULTS).exists()
    return (folder / CONFIG).exists() and not grid


def entry_of(folder: Path, name: str, data: Path | None) -> Entry:
    """A folder's part of the page.

    Args:
        folder: of a grid, of runs that were compared, of one grid on several corpora, or of a run.
        name: of the folder in the page.
        data: the prepared corpus, where the runs' own place is not to be believed.

    Raises:
        UserError: it holds none of these, or not all of it yet.
    """
    if is_run(folder):
        return _of_run(RunFolder(folder), name, data)
    manifest = read_manifest(folder)
    rows = folder / RESULTS
    if measures_layers(folder):
        return _of_layers(folder, name, manifest)
    if not rows.exists():
        raise UserError(
            f"{folder}: no {RESULTS} yet; go on with `{manifest['command']} --resume`, "
            "or name a folder of `cwrnn compare` or `cwrnn train`"
        )
    make = _of_survey if is_survey(rows) else _of_runs if of_runs(manifest) else _of_grid
    return make(folder, name, manifest, data)


def measures_layers(folder: Path) -> bool:
    """Whether a folder is that of `cwrnn bench layer`."""
    try:
        rows = json_of(folder / BENCH)["rows"]
        return "width" in rows[0]
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return False


def _of_layers(folder: Path, name: str, manifest: dict[str, Any]) -> Entry:
    """The appendix: operations that are counted, and times that were measured."""
    result = json_of(folder / BENCH)
    found = benchmarks.layer_table(result)
    caption = "How many times as fast as an SRN, beside how many times fewer operations"
    drawn = svg(lambda path: benchmarks.plot_layers(path, result))
    parts: list[Part] = [
        Picture(drawn, f"{caption}, by width", f"{caption}; a line per batch size."),
        Sheet(caption, *found, note=benchmarks.layer_note(found)),
    ]
    sessions = manifest.get("sessions") or [{}]
    return Entry(
        name=name,
        title="The appendix: operations and speed",
        command=manifest["command"],
        file=f"{name}/{BENCH}",
        story=Story(
            benchmarks.layer_claims(result, manifest["command"]),
            [Section("Operation counts beside measured speed", parts)],
        ),
        clocks=(),
        text=f"{manifest['command']}\n{benchmarks.layer_text(result)}\n",
        facts=_facts(name, manifest, "none: random inputs", BENCH),
        manifest=json.dumps(manifest, indent=1, ensure_ascii=False),
        label="random inputs",
        started=sessions[0].get("started") or "",
    )


def _of_grid(folder: Path, name: str, manifest: dict[str, Any], data: Path | None) -> Entry:
    results = from_rows(read_results(folder / RESULTS))
    task, command = TASKS[results.first["task"]], manifest["command"]
    noted = {f"{m}-{p}": folder / CELLS_FOLDER / f"{m}-{p}" / METRICS for m, p in results.cells}
    curves = {run: _lines(path) for run, path in noted.items() if path.exists()}
    place = f"{name}/{CELLS_FOLDER}/*/{METRICS}"
    found = Found(command, results, {}, None, curves, place, _evaluator(folder, data))
    configs = [cell.config for cell in results.cells.values()]
    text = page.report_texts(task, results, command)[page.TABLE]
    label = page.data_of(results.first)
    made = _entry(name, folder, manifest, task.name, label, found, configs, text)
    return replace(made, few=_few(results.first))


def _few(summary: Mapping[str, Any]) -> str:
    """How many seeds, where the paper has more."""
    found = (d for d in summary["deviations"] if d["name"] == "runs" and d["ours"] < d["paper"])
    return ", ".join(f"runs {each['ours']}, paper {each['paper']}" for each in found)


def _of_runs(folder: Path, name: str, manifest: dict[str, Any], data: Path | None) -> Entry:
    rows = read_runs(folder / RESULTS)
    runs: dict[str, Cell] = {
        run: _from_rows(rows[run]) for run in manifest["configuration"]["runs"]
    }
    first = next(iter(runs.values())).summary
    task, at = TASKS[first["task"]], manifest["configuration"]["at"]
    curves = {run: _lines(folder / f"{run}.jsonl") for run in runs}
    place = f"{name}/*.jsonl"
    found = Found(manifest["command"], None, runs, None, curves, place, _nowhere, at)
    text = task.runs_text({r: cell.summary for r, cell in runs.items()}, curves, at) + "\n"
    configs = [cell.config for cell in runs.values()]
    label = page.data_of(first)
    return _entry(name, folder, manifest, task.name, label, found, configs, text)


def _from_rows(cell: Cell) -> Cell:
    """A run's cell with its summary made anew from its rows."""
    key = cell.config["model"], cell.config["params"]
    results = Results(Path(), {key: cell}, cell.arrays)
    return from_rows(results).cells[key]


def _of_survey(folder: Path, name: str, manifest: dict[str, Any], data: Path | None) -> Entry:
    rows = read_survey(folder / RESULTS)
    command = manifest["command"]
    survey = TASKS[rows.task].survey()
    text = survey_texts(survey, rows, command)[page.TABLE]
    found = Found(command, survey=rows)
    configs = [dict(config) for config in rows.configs.values()]
    label = f"{len(rows.names)} {survey.corpora}"
    return _entry(name, folder, manifest, rows.task, label, found, configs, text)


def _of_run(run: RunFolder, name: str, data: Path | None) -> Entry:
    """A run: its rows are made here, by evaluating it on its data."""
    config, task = run.config(), task_of(run)
    key = config.model, config.params
    own = f"{config.model}-{config.params}"
    metrics = run.path / METRICS
    curves = {own: _lines(metrics)} if metrics.exists() and metrics.stat().st_size else {}
    has_manifest = (run.path / MANIFEST).exists()
    manifest: dict[str, Any] = read_manifest(run.path) if has_manifest else {}
    command = manifest.get("command", f"cwrnn eval {quoted(run.path)}")
    left_out, results, text = "", None, ""

    def evaluate(_: str) -> Evaluation[Any]:
        return evaluation

    if run.has_checkpoint:
        run.checkpoint()  # damaged, it has nothing to show
    try:
        evaluation = task.evaluate_run(run, _data(config, data))
        cell = task.cell(evaluation)
        results = Results(run.path, {key: cell}, task.shared_arrays(evaluation))
        text = f"cwrnn eval {quoted(run.path)}\n{task.text(cell.summary)}\n"
    except UserError as error:
        if data is not None or not run.has_checkpoint:
            raise  # named, and not the run's; or nothing to evaluate
        left_out = f"Errors and figures are left out: the run's data are not at hand ({error})."
        warn(left_out)
    found = Found(command, results, {}, None, curves, f"{name}/{METRICS}", evaluate)
    label = task.data_label(config.data_name, config.standin)
    configs = [config.to_json()]
    made = _entry(name, run.path, manifest, task.name, label, found, configs, text, CONFIG)
    if not left_out:
        return made
    story = Story((), [Section("What is not here", [Remark(left_out)]), *made.story.sections])
    return replace(made, story=story)


def _entry(
    name: str,
    folder: Path,
    manifest: dict[str, Any],
    task: str,
    label: str,
    found: Found,
    configs: Sequence[Mapping[str, Any]],
    text: str,
    file: str = RESULTS,
) -> Entry:
    sessions = manifest.get("sessions") or [{}]
    section = TASKS[task].protocol.section
    return Entry(
        name=name,
        title=f"Section {section}: {label}" if section[0].isdigit() else f"{task}: {label}",
        command=found.command,
        file=f"{name}/{file}",
        story=TASKS[task].report(found),
        clocks=_clocks(configs),
        text=text,
        facts=_facts(name, manifest, label, file),
        manifest=json.dumps(manifest, indent=1, ensure_ascii=False) if manifest else "",
        label=label,
        started=sessions[0].get("started") or "",
    )


def _facts(name: str, manifest: Mapping[str, Any], label: str, file: str) -> Sheet:
    """Data, rows, program and machine."""
    data = manifest.get("data")
    sources = data if isinstance(data, list) else [data] if data else []
    files = manifest.get("files") or {}
    rows = [["data", label]]
    if len(sources) == 1:
        rows.append(["data's sha256", sources[0]["sha256"]])
        origin = (sources[0].get("provenance") or {}).get("source", {}).get("origin")
        rows += [["where they are from", str(origin)]] if origin else []
    rows.append(["rows", f"{name}/{file}"])
    rows += [["rows' sha256", files[file]]] if file in files else []
    for session in manifest.get("sessions") or []:
        machine = session.get("machine") or {}
        changed = "" if session.get("clean") in (True, None) else ", with changes"
        about = [
            f"{session.get('started') or '?'} to {session.get('ended') or '?'}",
            f"commit {session['commit'][:12]}{changed}" if session.get("commit") else "",
            _machine(machine),
            ", ".join(f"{n} {v}" for n, v in (session.get("versions") or {}).items()),
        ]
        rows.append(["session", "; ".join(part for part in about if part)])
    return Sheet("Where these numbers come from", ("", ""), rows)


def _machine(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    parts = [machine["processor"], f"{machine['cores']} cores", f"{machine['memory_gib']} GiB"]
    return ", ".join([*parts, *([machine["gpu"]] if machine.get("gpu") else [])])


def _clocks(configs: Sequence[Mapping[str, Any]]) -> list[Clock]:
    """Those of the largest networks that have one, each once."""
    having = [config for config in configs if config.get("periods")]
    most = max((config["params"] for config in having), default=0)
    found = (
        Clock(tuple(config["periods"]), tuple(config["module_sizes"]))
        for config in having
        if config["params"] == most
    )
    return list(dict.fromkeys(found))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(path, LARGEST_METRICS)]


def _evaluator(folder: Path, data: Path | None) -> Evaluate:
    """Evaluates a run of a grid's own, on the corpus at hand."""

    def evaluate(name: str) -> Evaluation[Any]:
        run = RunFolder(folder / CELLS_FOLDER / name)
        if not run.has_checkpoint:
            raise UserError(f"{name}: no weights here")
        config = run.config()
        return task_of(run).evaluate_run(run, _data(config, data))

    return evaluate


def _nowhere(name: str) -> Evaluation[Any]:
    raise UserError(f"{name}: no weights here")


def _data(config: TrainConfig, given: Path | None) -> Path:
    """The run's corpus: the file that was named, or the one at its place.

    Raises:
        UserError: there is none at its place.
    """
    place = given or Path(config.data_path)
    if not place.is_file():
        raise UserError(f"{config.data_path or 'data of the run'}: no such file here")
    return place
