"""From options to a :class:`TrainConfig`: each task's protocol, with what is given changed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_prep.errors import UserError

from ..clock import Clock, shared_out
from ..models.sizing import hidden_size_for
from ..paper import PROTOCOLS, Protocol
from ..tasks import audio, handwriting, words
from .config import TrainConfig

# options that not all tasks have
_ONLY = {
    "noise": {"timit"},
    "stop_on": {"timit"},
    "patience": {"timit", "iamondb"},
    "batch": {"iamondb"},
    "optimizer": {"iamondb"},
    "clip": {"iamondb"},
    "decay": {"iamondb"},
}
Data = audio.AudioData | words.WordsData | handwriting.LinesData


def configure(data: Data, model: str, params: int | None = None, **options: Any) -> TrainConfig:
    """The paper's protocol for the task of ``data``, with what is given changed.

    Args:
        data: a prepared corpus, as the task loads it.
        model: "cw", "srn" or "lstm".
        params: budget; None: the largest of the task in Table 1.
        options: fields of :class:`TrainConfig`; None leaves the protocol's value. ``periods`` may
            also be a number of exponential modules. ``module_shares``: ratio of a CW-RNN's module
            sizes, in the order of the periods, which must then ascend.

    Raises:
        UserError: a value out of range, or options that do not fit the model or the task.
    """
    if isinstance(data, audio.AudioData):
        own: dict[str, Any] = {
            "task": "audio",
            "input_size": 0,
            "output_size": 1,
            "sequences": data.targets.shape[0],
            "length": data.targets.shape[1],
            "loss": "half_sum_of_squares",
        }
    elif isinstance(data, handwriting.LinesData):
        own = {
            "task": "iamondb",
            "input_size": data.train.frames.shape[1],
            "output_size": len(data.characters) + 1,
            "sequences": len(data.train),
            "length": int(np.diff(data.train.offsets).max()),
            "loss": "ctc",
            "data_options": data.options,
        }
    else:
        own = {
            "task": "timit",
            "input_size": data.train.frames.shape[1],
            "output_size": len(data.words),
            "sequences": len(data.train),
            "length": int(np.diff(data.train.offsets).max()),
            "loss": "cross_entropy",
            "data_options": data.features,
        }
    protocol = PROTOCOLS[own["task"]]
    own |= {
        "data_name": data.source,
        "data_sha256": data.sha256,
        "standin": data.standin,
        "data_path": str(data.path.resolve()),
    }
    given = {name: value for name, value in options.items() if value is not None}
    return _complete(protocol, own, model, params or max(protocol.hidden_sizes), given)


def _complete(
    protocol: Protocol, own: dict[str, Any], model: str, params: int, given: dict[str, Any]
) -> TrainConfig:
    if model not in protocol.learning_rates:
        raise UserError(f"--model {model}: expected cw, srn or lstm")
    periods = given.pop("periods", None)
    if periods is not None and model != "cw":
        raise UserError(f"--periods: only a CW-RNN has clock periods, not --model {model}")
    shares = given.pop("module_shares", None)
    if shares and model != "cw":
        raise UserError(f"--module-shares: only a CW-RNN has modules, not --model {model}")
    for name, tasks in _ONLY.items():
        if name in given and protocol.task not in tasks:
            option = name.replace("_", "-")
            raise UserError(f"--{option}: not an option of --task {protocol.task}")
    peepholes = given.pop("peepholes", protocol.peepholes) and model == "lstm"
    forget_bias = given.pop("forget_bias", protocol.forget_bias) if model == "lstm" else None
    wanted = periods if periods is not None else protocol.periods
    sizes = (own["input_size"], own["output_size"])
    _check_shares(shares, wanted)
    try:
        papers = protocol.hidden_sizes.get(params) if periods is None and not shares else None
        if papers and sizes == protocol.sizes:
            hidden_size = papers[model]  # Table 1
        else:
            hidden_size = hidden_size_for(
                params,
                model,
                *sizes,
                wanted if model == "cw" else None,
                protocol.bidirectional,
                peepholes,
                shares,
            )
        own_sizes = shared_out(hidden_size, shares) if shares else None
        clock = Clock.of(hidden_size, wanted, own_sizes) if model == "cw" else None
    except ValueError as error:
        raise UserError(f"--params {params}: {error}") from error
    values: dict[str, Any] = {
        "runs": protocol.runs,
        "batch": protocol.batch,
        "seed": 0,
        "epochs": protocol.epochs,
        "patience": protocol.patience,
        "stop_on": protocol.stop_on,
        "lr": protocol.learning_rates[model],
        "momentum": protocol.momentum,
        "momentum_ramp": protocol.momentum_ramp and given.get("optimizer") != "adam",
        "noise": protocol.noise,
        "device": "cpu",
    }
    config = TrainConfig(
        model=model,
        params=params,
        hidden_size=hidden_size,
        bidirectional=protocol.bidirectional,
        periods=clock.periods if clock else (),
        module_sizes=clock.sizes if clock else (),
        peepholes=peepholes,
        forget_bias=forget_bias,
        weight_std=protocol.weight_std,
        **(values | own | given),
    )
    _check(config)
    return config


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
    if config.optimizer == "adam" and config.momentum_ramp:
        raise UserError("--momentum-ramp: not with --optimizer adam")
    if config.clip is not None and not (0 < config.clip < np.inf):
        raise UserError(f"--clip {config.clip:g}: expected a length above 0")
    if not (0 <= config.noise < np.inf):
        raise UserError(f"--noise {config.noise:g}: expected a standard deviation, 0 or more")


def _check_shares(shares: Sequence[int] | None, periods: int | Sequence[int]) -> None:
    if not shares:
        return
    option = f"--module-shares {','.join(map(str, shares))}"
    modules = periods if isinstance(periods, int) else len(periods)
    if len(shares) != modules:
        raise UserError(f"{option}: {len(shares)} shares for {modules} clock periods")
    if not isinstance(periods, int) and list(periods) != sorted(periods):
        raise UserError(f"{option}: with it, --periods must be given fastest first")
