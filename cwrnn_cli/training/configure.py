"""From options to a :class:`TrainConfig`: each task's protocol, with what is given changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data_prep.errors import UserError

from ..models.cell import CellSpec, cell_named, option_owners
from ..models.sizing import hidden_size_for
from ..paper import Protocol
from . import distributed
from .config import TrainConfig, learning_rate
from .data import Data
from .device import AUTO, gpus
from .fields import check_fields
from .memory import check_memory
from .optimizer import OPTIMIZERS, PUBLISHED
from .registry import TASKS, AnyTask
from .spectrum import energies


@dataclass(frozen=True)
class Checked:
    """Options that fit a task and a model.

    Attributes:
        cell: the model's.
        own: the cell's options that were given.
        given: the others.
    """

    cell: type[CellSpec]
    own: dict[str, Any]
    given: dict[str, Any]


def check(task: AnyTask, model: str, **options: Any) -> Checked:
    """Refuse what cannot be trained whatever the data: before any are read, or made.

    Args:
        task: to train.
        model: name of a cell.
        options: as for :func:`configure`.

    Raises:
        UserError: as there, but for ``params``.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        cell = cell_named(model)
    except ValueError as error:
        raise UserError(f"--{error}") from error
    own = _own_options(cell, task.protocol, given)
    if "delta_clip" in given and not cell.clips_deltas:
        raise UserError(f"--delta-clip: not with --model {model}, whose cell clips no deltas")
    _check_task(task, given)
    _check_ranges(given)
    return Checked(cell, own, given)


def configure(
    data: Data,
    model: str,
    params: int | None = None,
    size_option: str = "--params",
    **options: Any,
) -> TrainConfig:
    """The paper's protocol for the task of ``data``, with what is given changed.

    Args:
        data: a prepared corpus, as the task loads it.
        model: name of a cell.
        params: budget; None: the largest of the task in Table 1.
        size_option: what the user typed it behind.
        options: fields of :class:`TrainConfig`, and of the cell's options; None leaves the
            protocol's value. A ``device`` of "auto" becomes the one that the task expects to be
            the fastest.

    Raises:
        UserError: a value out of range, or options that do not fit the model or the task.
    """
    task = TASKS[data.task]
    protocol = task.protocol
    checked = check(task, model, **options)
    cell, given = checked.cell, checked.given
    held = task.hold_out(data, given.get("hold_out", 0))
    problem = task.problem(held)
    own = cell.from_data(protocol, checked.own, lambda periods: energies(held.signals(), periods))
    params = max(protocol.hidden_sizes) if params is None else params
    optimizer = given.get("optimizer", PUBLISHED)
    values: dict[str, Any] = {
        "runs": protocol.runs,
        "batch": protocol.batch,
        "seed": 0,
        "epochs": protocol.epochs,
        "patience": protocol.patience,
        "stop_on": protocol.stop_on,
        "lr": learning_rate(protocol, cell),
        "momentum": protocol.momentum,
        "momentum_ramp": protocol.momentum_ramp and OPTIMIZERS[optimizer].ramps,
        "weight_std": protocol.weight_std,
        "loss": protocol.loss,
        "loss_at": protocol.loss_at,
        "reduction": protocol.reduction,
        "noise": protocol.noise,
        "device": "cpu",
    }
    try:
        sizes = (problem.input_size, problem.output_size)
        sized = _sized(cell, protocol, params, sizes, own)
    except ValueError as error:
        raise UserError(f"{size_option} {params}: {error}") from error
    config = TrainConfig(
        task=task.name,
        cell=sized,
        params=params,
        bidirectional=protocol.bidirectional,
        data_name=data.source,
        data_sha256=data.sha256,
        standin=data.standin,
        data_path=str(data.path.resolve()),
        **vars(problem),
        **(values | given),
    )
    check_memory(config, size_option)
    return placed(config)


def placed(config: TrainConfig) -> TrainConfig:
    """The configuration with a device in place of "auto".

    A GPU for what its task expects to be trained faster there (:meth:`.Task.expects_gpu`), if torch
    sees one for each process, so that all take the same; else the CPU.
    """
    if config.device != AUTO:
        return config
    enough = gpus() >= distributed.local_processes()
    gpu = enough and TASKS[config.task].expects_gpu(config)
    return replace(config, device="cuda" if gpu else "cpu")


def _own_options(cell: type[CellSpec], protocol: Protocol, given: dict[str, Any]) -> dict[str, Any]:
    """The cell's options that are given, taken out of the others."""
    found = {}
    for name, owners in option_owners().items():
        if name not in given:
            continue
        value = given.pop(name)
        if cell not in owners:
            option = next(option for option in owners[0].options if option.name == name)
            raise UserError(f"{option.flag}: {option.only}, not --model {cell.name}")
        found[name] = value
    if refusal := cell.refusal(protocol, found):
        raise UserError(refusal)
    return found


def _check_task(task: AnyTask, given: dict[str, Any]) -> None:
    """Raises UserError for an option that only other tasks have."""
    own = {option.name for option in task.train_options}
    for name in given:
        owners = [t for t in TASKS.values() if any(o.name == name for o in t.train_options)]
        if owners and name not in own:
            raise UserError(f"--{name.replace('_', '-')}: not an option of --task {task.name}")


def _sized(
    cell: type[CellSpec],
    protocol: Protocol,
    params: int,
    sizes: tuple[int, int],
    given: dict[str, Any],
) -> CellSpec:
    """The cell of Table 1 where it has one, else that whose network is nearest to the budget.

    Raises:
        ValueError: none is so small.
    """
    options = cell.published(protocol) | given
    hidden_size = protocol.hidden_sizes.get(params, {}).get(cell.name)
    if hidden_size is None or sizes != protocol.sizes or cell.resizes(given):
        hidden_size = hidden_size_for(
            params, cell.name, *sizes, bidirectional=protocol.bidirectional, **options
        )
    return cell.of_size(hidden_size, options)


def _check_ranges(given: Mapping[str, Any]) -> None:
    check_fields(given, lambda name: "--" + name.replace("_", "-"))
    optimizer = given.get("optimizer", PUBLISHED)
    for name in ("momentum_ramp", "scale_rate"):
        if given.get(name) and not OPTIMIZERS[optimizer].ramps:
            raise UserError(f"--{name.replace('_', '-')}: not with --optimizer {optimizer}")
