"""Options that several commands share, made from the registries of tasks and cells."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..console import DATA_FOLDER, json_option, note, quoted, say, warn
from ..help import section
from ..models import CELLS
from ..models.cell import option_owners
from ..models.ensemble import SCALED
from ..option import Option, numbers, short, shown_defaults
from ..paper import Protocol
from ..tasks import TASKS
from ..training.data import Data
from ..training.device import AUTO, KINDS, is_device
from ..training.loop import GOES_ON, Interrupted
from ..training.registry import AnyTask
from ..training.task import Task
from .mistakes import Choice, did_you_mean

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
# groups of options in several commands' help
NETWORK, DATA, TRAINING, OUTPUT = "Network", "Data", "Training", "Output"


def by_task(value: Callable[[Protocol], str]) -> str:
    """What holds for each task, as a help text's default."""
    return f"[default: {shown_defaults({t.name: value(t.protocol) for t in TASKS.values()})}]"


def _default_rates() -> str:
    """The commonest rate, then those that differ: "RATE; MODEL: TASK RATE"."""
    rates = {
        cell.name: {
            t.name: short(t.protocol.learning_rates[cell.name])
            for t in TASKS.values()
            if cell.name in t.protocol.learning_rates
        }
        for cell in CELLS.values()
    }
    common = Counter(rate for row in rates.values() for rate in row.values()).most_common(1)[0][0]
    parts = [common]
    for model, row in rates.items():
        others = ", ".join(f"{task} {rate}" for task, rate in row.items() if rate != common)
        parts += [f"{model}: {others}"] if others else []
    return "; ".join(parts)


def _click_option(option: Option, help_text: str) -> Decorator:
    if option.kind is bool:
        name = option.flag.removeprefix("--")
        return click.option(f"--{name}/--no-{name}", option.name, default=None, help=help_text)
    kind = Choice(option.kind) if isinstance(option.kind, tuple) else option.kind

    def read(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is None or option.parse is None:
            return value
        try:
            return option.parse(value)
        except ValueError as error:
            raise UserError(f"{option.flag} {error}") from error

    return click.option(option.flag, option.name, type=kind, callback=read, help=help_text)


def task_options(which: Callable[[AnyTask], Sequence[Option]], group: str) -> list[Decorator]:
    """Options that not all tasks have, those of one name as one, with their owners in the help.

    Args:
        which: a task's.
        group: of those that several tasks have; those of one task are in one of their own.
    """
    owners: dict[str, dict[str, Option]] = {}
    for task in TASKS.values():
        for option in which(task):
            owners.setdefault(option.name, {})[task.name] = option
    made = []
    for own in owners.values():
        first = next(iter(own.values()))
        defaults = {
            name: o.of_protocol(TASKS[name].protocol) if o.of_protocol else o.default
            for name, o in own.items()
        }
        text = f"{first.help.removesuffix('.')} ({', '.join(own)})."
        if any(defaults.values()):
            text += f"  [default: {shown_defaults(defaults)}]"
        title = group if len(own) > 1 else f"Only of task {next(iter(own))}"
        made.append(together([section(title), _click_option(first, text)]))
    return made


def cell_options() -> list[Decorator]:
    """Options that not all cells have; those of one name as one."""
    made = []
    for name, owners in option_owners().items():
        option = next(option for option in owners[0].options if option.name == name)
        default = f"[default: {option.default}]"
        if option.of_protocol:
            default = by_task(option.of_protocol)
        made.append(_click_option(option, f"{option.help}  {default}"))
    return made


def of_cell(model: str, chosen: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for one model of several: without those that only others of them have.

    One that none of them has stays, to be refused.
    """
    owners = {name: {cell.name for cell in cells} for name, cells in option_owners().items()}
    return {
        name: value
        for name, value in options.items()
        if model in owners.get(name, {model}) or not owners[name].intersection(chosen)
    }


def together(options: Sequence[Decorator]) -> Decorator:
    """Several options as one decorator, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


class _WeightStd(click.ParamType[float | str]):
    """A number, or the word that makes it follow from the shapes."""

    name = f"FLOAT|{SCALED}"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float | str:
        """Raises click's error for anything else."""
        try:
            return SCALED if value == SCALED else float(value)
        except ValueError:
            self.fail(f"{value!r} is not a valid float, nor {SCALED}.", parameter, context)


class _Device(click.ParamType[str]):
    """A device, whether there is one here or not."""

    name = "auto|cpu|cuda|cuda:N|mps|xpu"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        """Raises click's error for anything else."""
        word = str(value).lower()
        if not is_device(word):
            near = " Did you mean 'cuda'?" if word == "gpu" else did_you_mean(word, KINDS)
            self.fail(f"{word!r} is none of {self.name.replace('|', ', ')}.{near}", parameter)
        return word


MODEL = Choice(list(CELLS))
task_option = click.option(
    "--task",
    type=Choice(list(TASKS)),
    default=next(iter(TASKS)),
    show_default=True,
    help="Which of the paper's experiments.",
)
rate_option = click.option(
    "--lr", type=float, help=f"Learning rate.  [default: {_default_rates()}]"
)

_PER_SEQUENCE = [t.name for t in TASKS.values() if t.protocol.network_per_sequence]
_GPU = "; ".join(f"{t.name}: {t.gpu_rule}" for t in TASKS.values() if t.gpu_rule)
_OWN_DATA = [f"{t.name}: else {t.without_data}" for t in TASKS.values() if t.without_data]


def protocol_options(seed: int = 0, several: bool = False, runs: int | None = None) -> Decorator:
    """The options that `train`, `compare`, `scan` and `search` share.

    Args:
        seed: the root seed's default.
        several: whether there may be several prepared files, as a tuple.
        runs: default of ``--runs``; None: each protocol's.
    """
    more = ""
    if several:
        more = f"  Given several times, or a folder of such files: on each ({_surveying()})."
    return together(
        [
            section(DATA),
            click.option(
                "--data",
                multiple=several,
                type=click.Path(path_type=Path),
                help=f"Prepared HDF5 file.{more}  [default: data/TASK.h5; {'; '.join(_OWN_DATA)}]",
            ),
            section(TRAINING),
            click.option(
                "--runs",
                type=int,
                default=runs,
                help="Trainings with other initial weights "
                f"({', '.join(_PER_SEQUENCE)}: of each sequence).  "
                + (f"[default: {runs}]" if runs else by_task(lambda p: str(p.runs))),
            ),
            click.option("--seed", type=int, default=seed, show_default=True, help="Root seed."),
            click.option(
                "--epochs",
                type=int,
                help=f"Passes over the data, at the most.  {by_task(lambda p: str(p.epochs))}",
            ),
            click.option(
                "--momentum",
                type=float,
                help=f"Nesterov's.  {by_task(lambda p: f'{p.momentum:g}')}",
            ),
            click.option(
                "--momentum-ramp/--no-momentum-ramp",
                default=None,
                help="Momentum that rises from 0.5 (Sutskever et al., 2013), or constant.  "
                + by_task(lambda p: "ramp" if p.momentum_ramp else "constant"),
            ),
            click.option(
                "--weight-std",
                type=_WeightStd(),
                help="Standard deviation of the Gaussian that all weights start from; "
                f"{SCALED}: 1/sqrt(f), f the inputs of a weight's unit.  "
                + by_task(lambda p: f"{p.weight_std:g}"),
            ),
            click.option(
                "--scale-rate/--no-scale-rate",
                default=None,
                help="Multiply the learning rate by 1 - momentum.  [default: no]",
            ),
            click.option(
                "--delta-clip",
                type=float,
                help="Clip each step's deltas to within this, elementwise, in the backward pass.  "
                "[default: none]",
            ),
            *task_options(lambda task: task.train_options, TRAINING),
            section(TRAINING),
            click.option(
                "--device",
                type=_Device(),
                default=AUTO,
                show_default=True,
                help="Where to train, such as cuda:1; mps and xpu take plain torch operations.  "
                f"auto: cpu, or cuda if torch sees a GPU and it is expected to be faster: {_GPU}.  "
                "That is calculated; nothing has been measured on a GPU yet.",
            ),
            section(OUTPUT),
            json_option,
        ]
    )


def _surveying() -> str:
    return ", ".join(t.name for t in TASKS.values() if type(t).survey is not Task.survey)


def load_prepared(task: AnyTask, path: Path | None) -> Data:
    """The corpus to train on: the file given, else ./data/TASK.h5, made if the task can make one.

    Raises:
        UserError: no such file, or not one of this task.
    """
    if path is None:
        path = DATA_FOLDER / f"{task.name}.h5"
        if not path.exists():
            say(task.prepare_default(path))
    elif not path.exists():
        makes = f"; make it with `cwrnn prepare {task.name} --out {quoted(path)}`"
        raise UserError(f"{path}: no such file" + makes * (("prepare", task.name) in task.commands))
    corpus = task.load(path)
    note(f"data: {path}: {corpus.source}, sha256 {corpus.sha256[:12]}")
    return corpus


_PUBLISHED = [cell.name for cell in CELLS.values() if not cell.like]
A_MODEL, A_TASK = _PUBLISHED[-1], list(TASKS)[-1]  # for examples in help
models_option = click.option(
    "--models",
    help=f"Of {', '.join(CELLS)}, with commas between.  [default: {','.join(_PUBLISHED)}]",
)
sizes_option = click.option(
    "--sizes", help="Parameters, with commas between.  [default: Table 1's]"
)


def chosen_models(text: str | None) -> list[str]:
    """Of ``--models``; by default the paper's.

    Raises:
        UserError: one that is no cell.
    """
    if text is None:
        return _PUBLISHED
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in CELLS:
            near = did_you_mean(word, CELLS)
            raise UserError(f"--models {text}: {word!r} is none of {', '.join(CELLS)}.{near}")
    return list(dict.fromkeys(words))


def refuse_others(option: str, given: Iterable[str], chosen: Sequence[str]) -> None:
    """Raises UserError if something is given for a model that is not trained."""
    for model in given:
        if model not in chosen:
            raise UserError(f"{option} {model}=...: {model} is none of the models that are trained")


def chosen_sizes(text: str | None, task: AnyTask) -> list[int]:
    """Of ``--sizes``, ascending; by default all of Table 1.

    Raises:
        UserError: no numbers.
    """
    if text is None:
        return sorted(task.protocol.hidden_sizes)
    return sorted(set(numbers(text, "--sizes", "100,1000")))


@contextmanager
def resumable(bar: Any, of: str = "") -> Iterator[None]:
    """Train under a progress bar: Ctrl-C ends in a line that says how to go on, and status 130."""
    try:
        yield
    except Interrupted as stop:
        bar.close()
        warn(f"{stop}{of}, {GOES_ON}")
        raise click.exceptions.Exit(130) from stop
    finally:
        bar.close()
