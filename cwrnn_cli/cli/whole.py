"""`cwrnn compare --all`: all of the paper, one task after the other."""

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.reading import json_of
from data_prep.strict_json import dumps

from ..benchmarks.options import BENCH
from ..benchmarks.options import write as write_bench
from ..console import (
    DATA_FOLDER,
    command_line,
    note,
    print_json,
    print_text,
    progress_bar,
    say,
    say_written,
)
from ..models import CELLS
from ..reporting.figures import pyplot
from ..reporting.page import write_report
from ..reporting.plan import LASTS, QUICK, WHOLE, Begun, duration, plan_text
from ..reporting.sizes import NOTE, table1
from ..reporting.tables import counted
from ..training import distributed
from ..training.data import Data
from ..training.device import AUTO, check_device
from ..training.folder import check_free, writing
from ..training.grid import RESULTS, open_grid, run_grid
from ..training.jobs import cores, one_thread
from ..training.manifest import certified, certified_whole, has_ended
from ..training.manifest import note as note_in_manifest
from ..training.manifest import noted as noted_in_manifest
from ..training.memory import check_jobs
from ..training.registry import TASKS, AnyTask
from ..training.results import read_results
from ..training.standin import prepare_standins
from ..training.whole import Estimate, Part, estimate, grid_of, share_of, tasks_of_all, warm_up
from .mistakes import did_you_mean
from .options import resumable

PLAN, TABLES, PAGE = "plan.txt", "tables.txt", "report.html"
OPERATIONS, STANDINS = "operations", "data"
# of `bench layer`: with --quick, and without
_QUICK = {"widths": (40, 256), "batches": (1, 32), "lengths": (320,), "repeats": 3, "seconds": 0.2}
_FULL = {
    "widths": (40, 64, 128, 256, 512, 1024),
    "batches": (1, 32, 128),
    "lengths": (320,),
    "repeats": 5,
    "seconds": 2.0,
}


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes:
        out: folder.
        given: corpora, TASK=PATH.
        quick: small settings.
        jobs: cells at once, where a task trains one on one thread; None: as many as cores.
        device: to train on.
        resume: whether to go on with what is in ``out``.
    """

    out: Path
    given: Sequence[str] = ()
    quick: bool = False
    jobs: int | None = None
    device: str = "auto"
    resume: bool = False


def compare_all(asked: Asked, as_json: bool = False) -> None:
    """Print the plan, train what is not trained yet, and show all tables.

    Args:
        asked: what was asked for.
        as_json: whether to print one JSON object instead.

    Raises:
        UserError: a corpus that cannot be read or made, or ``out`` holds something else.
        click.exceptions.Exit: 130, after Ctrl-C; all is saved.
    """
    if distributed.world_size() > 1:
        raise UserError("--all: not under torchrun; --jobs trains several cells at once")
    check_device(asked.device)
    given = _given(asked.given)
    with writing(asked.out):
        begun_with = _begun_with(asked)
        parts = _parts(asked, given, begun_with)
        if not (asked.out / WHOLE).exists():  # before any other file, so that --resume knows it
            _note(asked, parts)
        for part in parts:
            _open(part, begun_with)
        _note(asked, parts)  # a corpus may have moved
        plan, estimates, layers = _plan(asked, parts)
        (say if as_json else print_text)(plan)
        write_text(asked.out / PLAN, f"{command_line()}\n{plan}\n")
        for part, found in zip(parts, estimates, strict=True):
            if not part.done:
                with _kept_to(part.task.name, found.seconds):
                    _run(part)
            if noted_in_manifest(part.out, "tolerance") is None:  # or killed just before it was
                tolerances = read_results(part.out / RESULTS).tolerances()
                note_in_manifest(part.out, tolerance=tolerances)
        if not has_ended(asked.out / OPERATIONS):
            with _kept_to(OPERATIONS, layers):
                _measure(asked.quick, asked.out / OPERATIONS)
        _show(asked, parts, as_json)


@contextmanager
def _kept_to(name: str, planned: float) -> Iterator[None]:
    """Say how long a part has taken, beside the plan."""
    began = time.perf_counter()
    yield
    took = duration(time.perf_counter() - began)
    say(f"{name}: done, took {took} (planned: {duration(planned)})")


def _begun_with(asked: Asked) -> dict[str, Path]:
    """Task -> where its corpus was, of a folder of this command with the same settings.

    One with nothing but stand-ins is new: what made them went no further.
    """
    others = [each for each in asked.out.iterdir() if each.name != STANDINS]
    if not any(is_occupied(each) for each in others if not each.name.startswith(".")):
        return {}
    if not asked.resume:
        check_free(asked.out)
    try:
        quick, data = Begun.read(asked.out)
    except UserError as error:
        raise UserError(f"{asked.out}: holds nothing of --all; choose another --out") from error
    if quick != asked.quick:
        was = "with" if quick else "without"
        raise UserError(f"{asked.out}: was begun {was} --quick; choose another --out")
    return {name: _below_here(Path(path)) for name, path in data.items()}


def _below_here(path: Path) -> Path:
    """As it would be typed, so that a command does not change by resuming."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _note(asked: Asked, parts: Sequence[Part]) -> None:
    """What the folder is of; its own stand-ins are found without, wherever it is moved."""
    paths = {part.task.name: part.data.path for part in parts}
    data = {name: str(p.absolute()) for name, p in paths.items() if p != _own(asked, name)}
    write_text(asked.out / WHOLE, dumps({"quick": asked.quick, "data": data}, indent=1) + "\n")


def _open(part: Part, begun_with: dict[str, Path]) -> None:
    """Make a part's folder, or check that it is of the same grid and data."""
    try:
        open_grid(part.out, part.grid, resume=True)  # of the whole folder it has been said
    except UserError as error:
        was = begun_with.get(part.task.name)
        if was in (None, part.data.path):
            raise
        begun = f"it was begun with --data {part.task.name}={was}"
        raise UserError(f"{error.message}; {begun}") from error


def _given(words: Sequence[str]) -> dict[str, Path]:
    """Task -> file of its corpus, of --data TASK=PATH."""
    names = [task.name for task in tasks_of_all()]
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path or name not in names:
            near = did_you_mean(name, names) if equals else ""
            expected = f"--all needs TASK=PATH, with TASK of {', '.join(names)}"
            raise UserError(f"--data {word}: {expected}.{near}")
        if name in found:
            raise UserError(f"--data {word}: a second one for {name}; leave one out")
        if not Path(path).is_file():
            raise UserError(f"--data {word}: no such file; prepare it, or leave it out")
        found[name] = Path(path)
    return found


def _own(asked: Asked, name: str) -> Path:
    """Where the stand-in of a task is made."""
    return asked.out / STANDINS / f"{name}.h5"


def _places(asked: Asked, given: dict[str, Path], begun_with: dict[str, Path]) -> dict[str, Path]:
    """Task -> the file given, that it was begun with, one made here, data/TASK.h5, or to be made.

    Raises:
        UserError: what it was begun with has gone, and one would be made instead.
    """
    places = {}
    for name in (task.name for task in tasks_of_all()):
        own, was = _own(asked, name), begun_with.get(name)
        usual = [given.get(name), was, own, DATA_FOLDER / f"{name}.h5"]
        there = [path for path in usual if path and path.exists()]
        if was and not there:
            raise UserError(f"{was}: no such file; it was begun with it: --data {name}=PATH")
        places[name] = [*there, own][0]
    return places


def _parts(asked: Asked, given: dict[str, Path], begun_with: dict[str, Path]) -> list[Part]:
    """What is there is read before anything is made."""
    tasks = {task.name: task for task in tasks_of_all()}
    places = _places(asked, given, begun_with)
    corpora = {name: tasks[name].load(path) for name, path in places.items() if path.exists()}
    missing = {path: tasks[name] for name, path in places.items() if name not in corpora}
    if missing:
        _make(asked, missing)
    corpora |= {task.name: task.load(path) for path, task in missing.items()}
    return [_part(asked, corpora[name]) for name in places]


def _make(asked: Asked, missing: dict[Path, AnyTask]) -> None:
    """Stand-ins, saying so."""
    made = ", ".join(task.data_label(task.name, True) for task in missing.values())
    line = f"no corpus given, nor in {DATA_FOLDER}: making {made}; --data TASK=PATH for yours"
    for name in (task.name for task in missing.values() if not task.without_data):
        variable = f"CWRNN_{name.upper()}"  # of `cwrnn prepare`
        if os.environ.get(variable):
            line += f"; {variable} names your corpus: prepare it first with `cwrnn prepare {name}`"
    say(line)
    (asked.out / STANDINS).mkdir(exist_ok=True)
    prepare_standins(missing)


def _part(asked: Asked, data: Data) -> Part:
    task, path = TASKS[data.task], data.path
    out = asked.out / task.name
    note(f"data: {path}: {data.source}, sha256 {data.sha256[:12]}")
    grid = grid_of(data, asked.quick, device=asked.device)
    on_cpu = {cell.device for cell in grid.cells} == {"cpu"}
    jobs = (asked.jobs or cores()) if task.data_parallel and on_cpu else 0
    if asked.jobs and jobs:
        check_jobs(min(jobs, len(grid.cells)), grid.cells)
    words = ["--task", task.name]
    if asked.quick:
        share = share_of(task)
        words += ["--sizes", ",".join(map(str, share.quick_sizes))]
        for name, value in share.quick.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
    if asked.device != AUTO:
        words += ["--device", asked.device]
    words += ["--data", str(path), "--out", str(out)]
    return Part(data, grid, out, jobs, shlex.join(["cwrnn", "compare", *words]))


def _bench(quick: bool) -> dict[str, Any]:
    """Settings of :func:`.benchmarks.layer.run`: the paper's cells."""
    chosen: dict[str, Any] = _QUICK if quick else _FULL
    return chosen | {"models": [name for name, cell in CELLS.items() if not cell.like]}


def _plan(asked: Asked, parts: Sequence[Part]) -> tuple[str, list[Estimate], float]:
    """The plan in words, and the estimates in it: of each part, and of the operations."""
    from ..benchmarks import layer  # noqa: PLC0415  (slow to import)

    began = time.perf_counter()
    cells = sum(len(part.grid.cells) for part in parts)
    say(
        f"measuring some epochs of each of {counted(cells, 'cell')}, to say how long all of it "
        "will take: a minute or two; more where loops have to be compiled first ..."
    )
    warm_up([part for part in parts if not part.done])
    pyplot()  # loaded, so that no part's figures are blamed for that
    bar = progress_bar(cells, "measuring", unit="cell")
    found = [estimate(part, lambda: bar.update(1)) for part in parts]
    bar.close()
    settings = _bench(asked.quick)
    layers = 0.0
    if not has_ended(asked.out / OPERATIONS):
        layers = layer.expected_seconds(**settings)
    points = prod(len(settings[name]) for name in ("widths", "batches", "lengths"))
    what = f"the appendix's counts beside measured speed ({points} points)"
    text = plan_text(parts, found, {OPERATIONS: (what, layers)})
    took = duration(time.perf_counter() - began)
    text += f"\n\n(To measure this took {took}; stand-ins, where they were to be made, are made.)"
    return f"{text}\n\n{QUICK if asked.quick else LASTS}", found, layers


def _run(part: Part) -> None:
    """Train a part's grid, and make its tables and figures."""
    bar = progress_bar(sum(cell.epochs for cell in part.grid.cells), part.task.name)

    def show(epoch: int, values: dict[str, Any]) -> None:
        bar.update(epoch - bar.n)

    with (
        writing(part.out),
        one_thread() if part.jobs else nullcontext(),
        certified(part.out, part.command, part.data, part.grid.configuration),
    ):
        with resumable(bar, " of a network"):
            run_grid(part.grid, part.data, part.out, show, part.jobs)
        results = read_results(part.out / RESULTS)
        write_report(part.task, results, part.command)


def _measure(quick: bool, out: Path) -> None:
    """Count operations, and measure layers."""
    from ..benchmarks import layer  # noqa: PLC0415  (slow to import)
    from ..reporting import benchmarks as report  # noqa: PLC0415

    settings = _bench(quick)
    words = ["--out", str(out)]
    for name, value in settings.items():
        several = isinstance(value, list | tuple)
        words += [f"--{name}", ",".join(map(str, value)) if several else f"{value:g}"]
    command = shlex.join(["cwrnn", "bench", "layer", *words])
    with certified_whole(out, command, None, settings) as folder:
        result = layer.run(**settings, note=note)
        write_bench(result, report.layer_text(result), folder)
        report.plot_layers((folder / BENCH).with_suffix(".png"), result)


def _show(asked: Asked, parts: Sequence[Part], as_json: bool) -> None:
    """All tables, and where everything is."""
    from ..evidence.report.gather import gather  # noqa: PLC0415  (slow to import)
    from ..evidence.report.html import page as html  # noqa: PLC0415

    page = asked.out / PAGE
    text = tables_text(parts, asked.quick)
    write_text(asked.out / TABLES, text + "\n")
    write_text(page, html(gather(asked.out)))
    layers = (asked.out / OPERATIONS / BENCH).with_suffix(".txt")
    if as_json:
        found = {p.task.name: p.task.comparison(read_results(p.out / RESULTS)) for p in parts}
        counted = json_of(asked.out / OPERATIONS / BENCH)
        print_json({"quick": asked.quick, **found, OPERATIONS: counted})
    else:
        print_text(f"{text}\n\n{OPERATIONS}\n\n{layers.read_text(encoding='utf-8').rstrip()}")
    figures = sorted(path for part in parts for path in part.out.glob("*.png"))
    say_written(asked.out / TABLES, *figures, layers, layers.with_suffix(".png"), page)


def tables_text(parts: Sequence[Part], quick: bool) -> str:
    """Tables 1 to 3, ours beside the paper's; the same however often it was interrupted."""
    lines = [QUICK, ""] if quick else []
    lines += ["Table 1", "", *table1([part.task.protocol for part in parts]).lines(), NOTE]
    for part in parts:
        results = read_results(part.out / RESULTS)
        lines += ["", f"{share_of(part.task).shows}: {part.command}", ""]
        lines += part.task.comparison_text(results).splitlines()
    return "\n".join(lines)
