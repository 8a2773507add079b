"""From options to a :class:`TrainConfig`: each task's protocol, with what is given changed."""

from typing import Any

import numpy as np

from data_prep.errors import UserError

from ..models.cell import CellSpec, cell_named, option_owners
from ..models.sizing import hidden_size_for
from ..paper import Protocol
from .config import TrainConfig, learning_rate
from .data import Data
from .optimizer import OPTIMIZERS, PUBLISHED
from .registry import TASKS, AnyTask


def configure(data: Data, model: str, params: int | None = None, **options: Any) -> TrainConfig:
    """The paper's protocol for the task of ``data``, with what is given changed.

    Args:
        data: a prepared corpus, as the task loads it.
        model: name of a cell.
        params: budget; None: the largest of the task in Table 1.
        options: fields of :class:`TrainConfig`, and of the cell's options; None leaves the
            protocol's value.

    Raises:
        UserError: a value out of range, or options that do not fit the model or the task.
    """
    task = TASKS[data.task]
    protocol, problem = task.protocol, task.problem(data)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        cell = cell_named(model)
    except ValueError as error:
        raise UserError(f"--{error}") from error
    own = _own_options(cell, protocol, given)
    _check_task(task, given)
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
        "noise": protocol.noise,
        "device": "cpu",
    }
    config = TrainConfig(
        task=task.name,
        cell=_sized(cell, protocol, params, (problem.input_size, problem.output_size), own),
        params=params,
        bidirectional=protocol.bidirectional,
        weight_std=protocol.weight_std,
        data_name=data.source,
        data_sha256=data.sha256,
        standin=data.standin,
        data_path=str(data.path.resolve()),
        **vars(problem),
        **(values | given),
    )
    _check(config)
    return config


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
    """The cell of Table 1 where it has one, else that whose network is nearest to the budget."""
    options = cell.published(protocol) | given
    try:
        hidden_size = protocol.hidden_sizes.get(params, {}).get(cell.name)
        if hidden_size is None or sizes != protocol.sizes or cell.resizes(given):
            hidden_size = hidden_size_for(
                params, cell.name, *sizes, bidirectional=protocol.bidirectional, **options
            )
        return cell.of_size(hidden_size, options)
    except ValueError as error:
        raise UserError(f"--params {params}: {error}") from error


def _check(config: TrainConfig) -> None:
    for name, value, low in (
        ("runs", config.runs, 1),
        ("epochs", config.epochs, 1),
        ("batch", config.batch, 1),
        ("patience", config.patience, 1),
        ("seed", config.seed, 0),
    ):
        if value is not None and value < low:
            raise UserError(f"--{name} {value}: expected at least {low}")
    if not (0 < config.lr < np.inf):
        raise UserError(f"--lr {config.lr:g}: expected a learning rate above 0")
    if not (0 <= config.momentum < 1):
        raise UserError(f"--momentum {config.momentum:g}: expected 0 or more, below 1")
    if config.momentum_ramp and not OPTIMIZERS[config.optimizer].ramps:
        raise UserError(f"--momentum-ramp: not with --optimizer {config.optimizer}")
    if config.clip is not None and not (0 < config.clip < np.inf):
        raise UserError(f"--clip {config.clip:g}: expected a length above 0")
    if not (0 <= config.noise < np.inf):
        raise UserError(f"--noise {config.noise:g}: expected a standard deviation, 0 or more")
