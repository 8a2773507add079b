"""`cwrnn compare --all`: all of the paper, one task after the other."""

import json
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
from data_prep.strict_json import dumps

from ..benchmarks.options import BENCH
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
from ..reporting.page import write_report
from ..reporting.plan import LASTS, QUICK, duration, plan_text
from ..reporting.sizes import NOTE, table1
from ..training import distributed
from ..training.device import AUTO, check_device
from ..training.folder import check_free, writing
from ..training.grid import RESULTS, open_grid, run_grid
from ..training.jobs import cores, one_thread
from ..training.manifest import certified, certified_whole, has_ended
from ..training.manifest import note as note_in_manifest
from ..training.memory import check_jobs
from ..training.registry import AnyTask
from ..training.results import read_results
from ..training.standin import prepare_standins
from ..training.whole import Estimate, Part, estimate, grid_of, share_of, tasks_of_all, warm_up
from .mistakes import did_you_mean
from .options import resumable

WHOLE, PLAN, TABLES, PAGE = "all.json", "plan.txt", "tables.txt", "report.html"
OPERATIONS = "operations"
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
        _open(asked)
        parts = _parts(asked, given)
        for part in parts:
            open_grid(part.out, part.grid, resume=True)  # of this folder it has been said
        plan, estimates, layers = _plan(asked, parts)
        (say if as_json else print_text)(plan)
        write_text(asked.out / PLAN, f"{command_line()}\n{plan}\n")
        for part, found in zip(parts, estimates, strict=True):
            if not part.done:
                with _kept_to(part.task.name, found.seconds):
                    _run(part)
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


def _open(asked: Asked) -> None:
    """Make the folder, or check that it is one of this command with the same settings."""
    path, settings = asked.out / WHOLE, {"quick": asked.quick}
    if not asked.resume:
        check_free(asked.out)
    if is_occupied(asked.out):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["quick"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{asked.out}: holds nothing of --all; choose another --out") from error
        if found != asked.quick:
            was = "with" if found else "without"
            raise UserError(f"{asked.out}: was begun {was} --quick; choose another --out")
    write_text(path, dumps(settings, indent=1) + "\n")


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


def _places(asked: Asked, given: dict[str, Path]) -> dict[str, Path]:
    """Task -> the file given, one that was made here before, data/TASK.h5, or one to be made."""
    places = {}
    for task in tasks_of_all():
        own, usual = (folder / f"{task.name}.h5" for folder in (asked.out / "data", DATA_FOLDER))
        there = [path for path in (own, usual) if path.exists()]
        places[task.name] = given.get(task.name) or [*there, own][0]
    return places


def _parts(asked: Asked, given: dict[str, Path]) -> list[Part]:
    tasks = {task.name: task for task in tasks_of_all()}
    places = _places(asked, given)
    missing = {path: tasks[name] for name, path in places.items() if not path.exists()}
    if missing:
        made = ", ".join(task.data_label(task.name, True) for task in missing.values())
        say(f"no corpus given, nor in {DATA_FOLDER}: making {made}; --data TASK=PATH for yours")
        (asked.out / "data").mkdir(exist_ok=True)
        prepare_standins(missing)
    return [_part(asked, tasks[name], path) for name, path in places.items()]


def _part(asked: Asked, task: AnyTask, path: Path) -> Part:
    data, out = task.load(path), asked.out / task.name
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

    say("measuring a few epochs of each kind of network, to say how long all of it will take ...")
    warm_up([part for part in parts if not part.done])
    cells = sum(len(part.grid.cells) for part in parts)
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
    return f"{text}\n\n{QUICK if asked.quick else LASTS}", found, layers


def _run(part: Part) -> None:
    """Train a part's grid, and make its tables and figures."""
    bar = progress_bar(part.grid.epochs, part.task.name)

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
    note_in_manifest(part.out, tolerance=results.tolerances())


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
        write_text(folder / BENCH, dumps(result, indent=1, ascii_only=False) + "\n")
        text = report.layer_text(result)
        write_text((folder / BENCH).with_suffix(".txt"), text + "\n")
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
        counted = json.loads((asked.out / OPERATIONS / BENCH).read_text(encoding="utf-8"))
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
