"""Everything that decides what a training run computes: the run folder's config.json."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from data_prep import __version__
from data_prep.errors import UserError

from ..clock import Clock
from ..models.ensemble import Shape
from ..models.sizing import count_parameters, hidden_size_for
from ..paper import PROTOCOLS, Protocol
from ..tasks.audio import AudioData

RAMP_EPOCHS = 250  # Sutskever et al. (2013), eq. 5


@dataclass(frozen=True)
class TrainConfig:
    """One training run: R runs of each of S sequences, all of one shape.

    Attributes:
        task: "audio".
        model: "cw", "srn" or "lstm".
        params: the parameter budget asked for.
        hidden_size: n, from Table 1 where it lists the budget, else the nearest.
        periods: clock periods of a CW-RNN, else ().
        module_sizes: its module sizes, else ().
        peepholes: of an LSTM.
        forget_bias: of an LSTM, or None.
        runs: trainings of each sequence with different initial weights.
        sequences: S.
        length: T, steps of each.
        seed: root seed; network (run r, sequence s) draws from its child (r, s).
        epochs: passes over the sequence, one update each.
        lr: learning rate.
        momentum: Nesterov's final momentum.
        momentum_ramp: whether it rises to that value as in Sutskever et al. (2013) or is constant.
        weight_std: of the initial weights.
        loss: name of the loss, "half_sum_of_squares".
        data_name: name of the piece.
        data_sha256: of the HDF5 file.
        standin: whether the piece is our own.
        device: "cpu" or "cuda".
        data_path: where the HDF5 file was; not part of what is computed.
    """

    task: str
    model: str
    params: int
    hidden_size: int
    periods: tuple[int, ...]
    module_sizes: tuple[int, ...]
    peepholes: bool
    forget_bias: float | None
    runs: int
    sequences: int
    length: int
    seed: int
    epochs: int
    lr: float
    momentum: float
    momentum_ramp: bool
    weight_std: float
    loss: str
    data_name: str
    data_sha256: str
    standin: bool
    device: str
    data_path: str = field(compare=False)

    @property
    def shape(self) -> Shape:
        """Shape of every network."""
        protocol = PROTOCOLS[self.task]
        return Shape(
            self.model,
            protocol.input_size,
            self.hidden_size,
            protocol.output_size,
            self.periods,
            self.module_sizes,
            self.peepholes,
        )

    @property
    def networks(self) -> int:
        """R: network ``run * sequences + sequence``."""
        return self.runs * self.sequences

    def parameter_count(self) -> int:
        """Parameters of one network, as the paper counts them."""
        shape = self.shape
        return count_parameters(
            self.model,
            self.hidden_size,
            shape.input_size,
            shape.output_size,
            shape.periods or None,
            shape.module_sizes or None,
            peepholes=self.peepholes,
        )

    def momenta(self, first: int, count: int) -> np.ndarray:
        """(count,) float32 momentum of the epochs from ``first`` on.

        With the ramp: min(1 - 2^(-1 - log2(floor(t / 250) + 1)), momentum), that is 1/2, 3/4, 5/6
        ... every 250 updates (Sutskever et al., 2013, eq. 5).
        """
        epochs = np.arange(first, first + count)
        if not self.momentum_ramp:
            return np.full(count, self.momentum, np.float32)
        ramp = 1.0 - 0.5 / (epochs // RAMP_EPOCHS + 1)
        return np.minimum(ramp, self.momentum).astype(np.float32)

    def generators(self) -> list[np.random.Generator]:
        """One generator per network: the root seed's child of that (run, sequence)."""
        return [
            np.random.Generator(
                np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(r, s)))
            )
            for r in range(self.runs)
            for s in range(self.sequences)
        ]

    def differences(self, other: "TrainConfig") -> list[str]:
        """Names of the fields in which two runs compute something else."""
        return [
            f.name
            for f in fields(self)
            if f.compare and getattr(self, f.name) != getattr(other, f.name)
        ]

    def deviations(self) -> list[dict[str, Any]]:
        """Where this run departs from the paper's protocol: name, the paper's value, ours."""
        protocol = PROTOCOLS[self.task]
        published: dict[str, Any] = {
            "lr": protocol.learning_rates[self.model],
            "momentum": protocol.momentum,
            "epochs": protocol.epochs,
            "runs": protocol.runs,
        }
        if self.model == "cw":
            published["periods"] = protocol.periods
        return [
            {"name": name, "paper": value, "ours": getattr(self, name)}
            for name, value in published.items()
            if getattr(self, name) != value
        ]

    def to_json(self) -> dict[str, Any]:
        """For config.json: every field, what follows from them, and the versions."""
        return {
            **asdict(self),
            "parameter_count": self.parameter_count(),
            "deviations": self.deviations(),
            "versions": versions(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainConfig":
        """Back from config.json.

        Raises:
            KeyError: a field is missing.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__}
        known["periods"] = tuple(known["periods"])
        known["module_sizes"] = tuple(known["module_sizes"])
        return cls(**known)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    import numba  # noqa: PLC0415  (slow to import)
    import torch  # noqa: PLC0415

    return {
        "cwrnn": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numba": str(numba.__version__),
        "numpy": str(np.__version__),
    }


def audio_config(
    data: AudioData,
    model: str,
    params: int = 1000,
    runs: int | None = None,
    seed: int = 0,
    epochs: int | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    momentum_ramp: bool | None = None,
    periods: int | Sequence[int] | None = None,
    peepholes: bool | None = None,
    forget_bias: float | None = None,
    device: str = "cpu",
) -> TrainConfig:
    """The paper's protocol for task 1, with what is given changed.

    Raises:
        UserError: a value out of range, or options that do not fit the model.
    """
    protocol = PROTOCOLS["audio"]
    if model not in protocol.learning_rates:
        raise UserError(f"--model {model}: expected cw, srn or lstm")
    if periods is not None and model != "cw":
        raise UserError(f"--periods: only a CW-RNN has clock periods, not --model {model}")
    if peepholes is None:
        peepholes = protocol.peepholes
    peepholes = peepholes and model == "lstm"
    wanted = periods if periods is not None else protocol.periods
    try:
        hidden_size = _hidden_size(protocol, model, params, wanted, periods is None, peepholes)
        clock = Clock.of(hidden_size, wanted) if model == "cw" else None
    except ValueError as error:
        raise UserError(f"--params {params}: {error}") from error
    if model == "lstm" and forget_bias is None:
        forget_bias = protocol.forget_bias
    config = TrainConfig(
        task="audio",
        model=model,
        params=params,
        hidden_size=hidden_size,
        periods=clock.periods if clock else (),
        module_sizes=clock.sizes if clock else (),
        peepholes=peepholes,
        forget_bias=forget_bias if model == "lstm" else None,
        runs=protocol.runs if runs is None else runs,
        sequences=data.targets.shape[0],
        length=data.targets.shape[1],
        seed=seed,
        epochs=protocol.epochs if epochs is None else epochs,
        lr=protocol.learning_rates[model] if lr is None else lr,
        momentum=protocol.momentum if momentum is None else momentum,
        momentum_ramp=protocol.momentum_ramp if momentum_ramp is None else momentum_ramp,
        weight_std=protocol.weight_std,
        loss="half_sum_of_squares",
        data_name=data.source,
        data_sha256=data.sha256,
        standin=data.standin,
        device=device,
        data_path=str(data.path.resolve()),
    )
    for name, value, low, expected in (
        ("--runs", config.runs, 1, "at least 1"),
        ("--epochs", config.epochs, 1, "at least 1"),
        ("--seed", config.seed, 0, "at least 0"),
    ):
        if value < low:
            raise UserError(f"{name} {value}: expected {expected}")
    if not (0 < config.lr < np.inf):
        raise UserError(f"--lr {config.lr:g}: expected a learning rate above 0")
    if not (0 <= config.momentum < 1):
        raise UserError(f"--momentum {config.momentum:g}: expected 0 or more, below 1")
    return config


def _hidden_size(
    protocol: Protocol,
    model: str,
    params: int,
    periods: int | Sequence[int],
    papers_periods: bool,
    peepholes: bool,
) -> int:
    """Table 1's hidden size where it has one, else the nearest count."""
    listed = protocol.hidden_sizes.get(params)
    if listed is not None and papers_periods:
        return listed[model]
    return hidden_size_for(
        params,
        model,
        protocol.input_size,
        protocol.output_size,
        periods if model == "cw" else None,
        protocol.bidirectional,
        peepholes,
    )
