"""What the results of all tasks share: statistics over networks, and the paper's numbers."""

from importlib import import_module
from typing import Any

import numpy as np

from data_prep.errors import UserError

from ..paper import PROTOCOLS
from .config import TrainConfig
from .configure import Data

_MODULES = {"audio": "audio_results", "timit": "words_results", "iamondb": "handwriting_results"}


def results_of(task: str) -> Any:
    """The module that judges runs of a task: its evaluate, summary and collect."""
    return import_module(f".{_MODULES[task]}", __package__)


def check_data(config: TrainConfig, data: Data) -> None:
    """Raises UserError if these are not the data that a run was trained on."""
    if data.sha256 != config.data_sha256:
        raise UserError(
            f"{data.path}: not the data of this run (sha256 {data.sha256[:12]}, "
            f"expected {config.data_sha256[:12]}); name the right file with --data"
        )


def heading(config: TrainConfig, epoch: int, diverged: np.ndarray) -> dict[str, Any]:
    """What the JSON of `cwrnn eval` begins with.

    Args:
        config: of the run.
        epoch: epochs trained.
        diverged: (R,) bool.
    """
    return {
        "task": config.task,
        "model": config.model,
        "params": config.params,
        "parameter_count": config.parameter_count(),
        "hidden_size": config.hidden_size,
        "runs": config.runs,
        "networks": config.networks,
        "epochs": epoch,
        "lr": config.lr,
        "diverged": int(diverged.sum()),
        "standin": config.standin,
        "data": {"name": config.data_name, "sha256": config.data_sha256},
        "paper": published(config),
        "deviations": config.deviations(),
    }


def statistics(values: np.ndarray) -> dict[str, float | None]:
    """mean, std (of a sample), median, q25, q75, min and max; None where undefined."""
    names = ("mean", "std", "median", "q25", "q75", "min", "max")
    if not len(values):
        return dict.fromkeys(names)
    q25, median, q75 = np.quantile(values, (0.25, 0.5, 0.75))
    numbers = (
        values.mean(),
        values.std(ddof=1) if len(values) > 1 else None,
        median,
        q25,
        q75,
        values.min(),
        values.max(),
    )
    return {n: None if v is None else float(v) for n, v in zip(names, numbers, strict=True)}


def published(config: TrainConfig) -> dict[str, Any] | None:
    """What the paper reports for this model and size, or None if it has no such network."""
    protocol = PROTOCOLS[config.task]
    if protocol.hidden_sizes.get(config.params, {}).get(config.model) != config.hidden_size:
        return None
    found: dict[str, Any] = {"metric": protocol.metric}
    median = protocol.medians.get(config.model, {}).get(config.params)
    if median is not None:
        found["median"] = median
    if config.params in protocol.table:
        found["mean"] = protocol.table[config.params][config.model]
    if config.params == max(protocol.hidden_sizes) and protocol.results:
        result = protocol.results[config.model]
        found |= {"mean": result.mean, "std": result.std}
    return found
