"""Everything that decides what a training run computes: the run folder's config.json."""

import platform
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from data_prep import __version__

from ..clock import Clock
from ..models.ensemble import Shape
from ..models.sizing import count_parameters
from ..paper import PROTOCOLS

RAMP_UPDATES = 250  # Sutskever et al. (2013), eq. 5


@dataclass(frozen=True)
class TrainConfig:
    """One training run: networks of one shape, trained on one corpus.

    Attributes:
        task: "audio", "timit" or "iamondb".
        model: "cw", "srn" or "lstm".
        params: the parameter budget asked for.
        input_size: m.
        hidden_size: n, from Table 1 where it lists the budget, else the nearest; per direction.
        output_size: units of the output layer.
        bidirectional: whether a second set of weights reads each sequence from its end.
        periods: clock periods of a CW-RNN, else ().
        module_sizes: its module sizes, else ().
        peepholes: of an LSTM.
        forget_bias: of an LSTM, or None.
        runs: trainings with different initial weights; in task 1, of each sequence.
        sequences: S, of the training set.
        length: T, steps of the longest of them.
        batch: sequences per update.
        seed: root seed; network r draws from its child (r,), in task 1 (run r, sequence s) from its
            child (r, s).
        epochs: passes over the training set, at the most.
        patience: epochs without improvement after which a network stops, or None.
        stop_on: what has to improve, or None.
        lr: learning rate.
        momentum: Nesterov's final momentum.
        momentum_ramp: whether it rises to that value as in Sutskever et al. (2013) or is constant.
        weight_std: of the initial weights.
        noise: standard deviation of the Gaussian noise on the inputs in training.
        loss: name of the loss.
        data_name: name of the corpus.
        data_sha256: of the HDF5 file.
        standin: whether it stands in for the paper's.
        device: "cpu" or "cuda".
        data_path: where the HDF5 file was; not part of what is computed.
        optimizer: "nesterov", or "adam" with ``momentum`` as its first decay rate.
        clip: longest gradient of a network, over all of its weights; longer ones are shortened to
            it. None: no limit.
        decay: whether the learning rate falls, in a straight line over all updates of ``epochs``,
            to 0.
        data_options: how the corpus became frames; follows from data_sha256.
    """

    task: str
    model: str
    params: int
    input_size: int
    hidden_size: int
    output_size: int
    bidirectional: bool
    periods: tuple[int, ...]
    module_sizes: tuple[int, ...]
    peepholes: bool
    forget_bias: float | None
    runs: int
    sequences: int
    length: int
    batch: int
    seed: int
    epochs: int
    patience: int | None
    stop_on: str | None
    lr: float
    momentum: float
    momentum_ramp: bool
    weight_std: float
    noise: float
    loss: str
    data_name: str
    data_sha256: str
    standin: bool
    device: str
    data_path: str = field(compare=False)
    optimizer: str = "nesterov"
    clip: float | None = None
    decay: bool = False
    data_options: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def shape(self) -> Shape:
        """Shape of every network."""
        return Shape(
            self.model,
            self.input_size,
            self.hidden_size,
            self.output_size,
            self.periods,
            self.module_sizes,
            self.peepholes,
            self.bidirectional,
        )

    @property
    def networks(self) -> int:
        """R; in task 1 network ``run * sequences + sequence``."""
        return self.runs * self.sequences if self.task == "audio" else self.runs

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
            bidirectional=self.bidirectional,
            peepholes=self.peepholes,
        )

    def momenta(self, first: int, count: int) -> np.ndarray:
        """(count,) float32 momentum of the updates from ``first`` on.

        With the ramp: min(1 - 2^(-1 - log2(floor(t / 250) + 1)), momentum), that is 1/2, 3/4, 5/6
        ... every 250 updates (Sutskever et al., 2013, eq. 5).
        """
        updates = np.arange(first, first + count)
        if not self.momentum_ramp:
            return np.full(count, self.momentum, np.float32)
        ramp = 1.0 - 0.5 / (updates // RAMP_UPDATES + 1)
        return np.minimum(ramp, self.momentum).astype(np.float32)

    def rates(self, first: int, count: int, of_all: int) -> np.ndarray:
        """(count,) float64 learning rates of the updates from ``first`` on, of ``of_all``."""
        left = 1.0 - np.arange(first, first + count) / of_all
        return self.lr * (left if self.decay else np.ones(count))

    def generators(self) -> list[np.random.Generator]:
        """One generator per network, a child of the root seed: the same whatever is beside it."""
        keys: list[tuple[int, ...]] = [(r,) for r in range(self.runs)]
        if self.task == "audio":
            keys = [(r, s) for r in range(self.runs) for s in range(self.sequences)]
        return [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))
            for key in keys
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
            "noise": protocol.noise,
            "batch": protocol.batch,
            "optimizer": "nesterov",
            "clip": None,
            "decay": False,
            "patience": protocol.patience,
            "stop_on": protocol.stop_on,
            "runs": protocol.runs,
        }
        if protocol.patience is None or self.epochs < protocol.epochs:
            published["epochs"] = protocol.epochs
        if self.model == "cw":
            published["periods"] = protocol.periods
            if self.module_sizes != Clock.of(self.hidden_size, self.periods).sizes:
                published["module_sizes"] = "equal"
        ours = {name: getattr(self, name) for name in published} | self.data_options
        published |= {n: v for n, v in protocol.data_options.items() if n in self.data_options}
        return [
            {"name": name, "paper": value, "ours": ours[name]}
            for name, value in published.items()
            if ours[name] != value
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
            KeyError: the periods or module sizes are missing.
            TypeError: another field is.
        """
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
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
