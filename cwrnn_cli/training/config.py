"""Everything that decides what a training run computes: the run folder's config.json."""

import platform
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from data_prep import __version__
from data_prep.errors import UserError

from ..models.cell import CellSpec
from ..models.ensemble import Ensemble, Shape
from ..paper import PROTOCOLS, Protocol
from .device import AUTO
from .fields import MOST_NETWORKS, check_fields
from .optimizer import OPTIMIZERS, PUBLISHED

RAMP_UPDATES = 250  # Sutskever et al. (2013), eq. 5


@dataclass(frozen=True)
class TrainConfig:
    """One training run: networks of one shape, trained on one corpus.

    Attributes:
        task: name of the task.
        cell: the hidden layer; its size is from Table 1 where that lists the budget, else the
            nearest.
        params: the parameter budget asked for.
        input_size: m.
        output_size: units of the output layer.
        bidirectional: whether a second set of weights reads each sequence from its end.
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
        weight_std: of the initial weights, or :data:`.ensemble.SCALED`: each by its unit's inputs.
        loss: what is made small, a name of the task's.
        noise: standard deviation of the Gaussian noise on the inputs in training.
        data_name: name of the corpus.
        data_sha256: of the HDF5 file.
        standin: whether it stands in for the paper's.
        device: "cpu", "cuda", "cuda:1" ..., "mps" or "xpu"; in the configuration of a run never
            "auto".
        data_path: where the HDF5 file was; not part of what is computed.
        optimizer: of :data:`.optimizer.OPTIMIZERS`; ``momentum`` is Adam's first decay rate.
        clip: longest gradient of a network, over all of its weights; longer ones are shortened to
            it. None: no limit.
        decay: whether the learning rate falls, in a straight line over all updates of ``epochs``,
            to 0.
        hold_out: in task 2, training examples of each word that are not trained on.
        scale_rate: whether the learning rate of each update is multiplied by 1 - its momentum.
        delta_clip: what each step's deltas, the gradients of the arguments of the hidden layer's
            nonlinearities, are clipped to within, elementwise, inside the backward pass, of an
            update's loss (of several sequences: ``reduction``); None: they are not.
        loss_at: in task 2, the steps of a word that count in the loss: the "last", or "every" one.
        reduction: what an update makes of its sequences' losses: their "mean", or in task 3 their
            "sum".
        data_options: how the corpus became frames; follows from data_sha256.
        first_run: of a block of a cell's runs: the first of them; run r of a block trains as run
            ``first_run + r`` of the cell, whatever else is in the block.
        part_of: how many runs the cell has of which this is a block; 0: this is no block.
    """

    task: str
    cell: CellSpec
    params: int
    input_size: int
    output_size: int
    bidirectional: bool
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
    weight_std: float | str
    loss: str
    noise: float
    data_name: str
    data_sha256: str
    standin: bool
    device: str
    data_path: str = field(compare=False)
    optimizer: str = PUBLISHED
    clip: float | None = None
    decay: bool = False
    hold_out: int = 0
    scale_rate: bool = False
    delta_clip: float | None = None
    loss_at: str = "last"
    reduction: str = "mean"
    data_options: dict[str, Any] = field(default_factory=dict, compare=False)
    first_run: int = 0
    part_of: int = 0

    def __post_init__(self) -> None:
        """Raises UserError for a field that is not what it may be."""
        check_fields(vars(self))
        if not isinstance(self.cell, CellSpec):
            raise UserError(f"cell {self.cell!r}: expected a cell")
        if self.first_run + self.runs > (self.part_of or self.runs):
            raise UserError(
                f"first_run {self.first_run}, runs {self.runs}, part_of {self.part_of}: expected a "
                "block of a cell's runs"
            )
        if self.task in PROTOCOLS and self.networks > MOST_NETWORKS:
            raise UserError(f"{self.networks} networks: expected at most {MOST_NETWORKS}")

    @property
    def protocol(self) -> Protocol:
        """The paper's, of the task."""
        return PROTOCOLS[self.task]

    @property
    def model(self) -> str:
        """Name of the cell."""
        return self.cell.name

    @property
    def hidden_size(self) -> int:
        """n, units of one direction."""
        return self.cell.hidden_size

    @property
    def shape(self) -> Shape:
        """Shape of every network."""
        return Shape(self.cell, self.input_size, self.output_size, self.bidirectional)

    @property
    def networks(self) -> int:
        """R; in task 1 network ``run * sequences + sequence``."""
        return self.runs * self.sequences if self.protocol.network_per_sequence else self.runs

    def parameter_count(self) -> int:
        """Parameters of one network, as the paper counts them."""
        return self.shape.parameter_count()

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
        rates: np.ndarray = self.lr * (left if self.decay else np.ones(count))
        if self.scale_rate:
            rates *= 1 - self.momenta(first, count).astype(np.float64)
        return rates

    def generators(self) -> list[np.random.Generator]:
        """One generator per network, a child of the root seed: the same whatever is beside it."""
        runs = range(self.first_run, self.first_run + self.runs)
        keys: list[tuple[int, ...]] = [(r,) for r in runs]
        if self.protocol.network_per_sequence:
            keys = [(r, s) for r in runs for s in range(self.sequences)]
        return [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))
            for key in keys
        ]

    def check_device(self) -> None:
        """Whether the run is of a device.

        Raises:
            UserError: it is of none, or of whichever there is.
        """
        if self.device in ("", AUTO):
            raise UserError(f"device {self.device!r}: expected that of a run, such as cpu")

    def start(self) -> tuple[Ensemble, list[np.random.Generator]]:
        """The networks at their start, on their device, and the generators to go on with."""
        self.check_device()
        ensemble, generators = Ensemble(self.shape, self.networks), self.generators()
        ensemble.draw(generators, self.weight_std)
        return ensemble.to(self.device), generators

    def values(self) -> dict[str, Any]:
        """Every field by name, those of the cell among them; those of a block if it is one."""
        left_out = {"cell"} if self.part_of else {"cell", "first_run", "part_of"}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        return {"task": own.pop("task")} | self.cell.to_json() | own

    def computed(self) -> dict[str, Any]:
        """:meth:`values` without where the HDF5 file was."""
        return {name: value for name, value in self.values().items() if name != "data_path"}

    def differences(self, other: "TrainConfig") -> list[str]:
        """Names of the fields in which two runs compute something else."""
        alike = {f.name for f in fields(self) if not f.compare}
        mine, theirs = self.values(), other.values()
        return [n for n in mine | theirs if n not in alike and mine.get(n) != theirs.get(n)]

    def deviations(self) -> list[dict[str, Any]]:
        """Where this run departs from the paper's protocol: name, the paper's value, ours.

        Where the paper is silent, its value is our reading of it. Seed, data and device are none.
        """
        protocol = self.protocol
        published: dict[str, Any] = {
            "lr": learning_rate(protocol, self.cell),
            "momentum": protocol.momentum,
            # what cannot rise is the optimiser's
            "momentum_ramp": protocol.momentum_ramp and OPTIMIZERS[self.optimizer].ramps,
            "weight_std": protocol.weight_std,
            "loss": protocol.loss,
            "noise": protocol.noise,
            "batch": protocol.batch,
            "optimizer": PUBLISHED,
            "clip": None,
            "decay": False,
            "patience": protocol.patience,
            "stop_on": protocol.stop_on,
            "runs": protocol.runs,
            "hold_out": 0,
            "scale_rate": False,
            "delta_clip": None,
            "loss_at": protocol.loss_at,
            "reduction": protocol.reduction,
            "epochs": protocol.epochs,
            "bidirectional": protocol.bidirectional,
            "input_size": protocol.input_size,
            "output_size": protocol.output_size,
        }
        if protocol.sequences is not None:
            published["sequences"] = protocol.sequences
        if protocol.length is not None:
            published["length"] = protocol.length
        table = protocol.hidden_sizes.get(self.params, {})
        if self.model in table:
            published["hidden_size"] = table[self.model]
        found = {name: (value, getattr(self, name)) for name, value in published.items()}
        if self.params not in protocol.hidden_sizes:
            found["params"] = (list(protocol.hidden_sizes), self.params)
        if self.cell.like:
            found = {"model": (list(protocol.learning_rates), self.model)} | found
        found |= self.cell.deviations(protocol)
        found |= {
            name: (value, self.data_options[name])
            for name, value in protocol.data_options.items()
            if name in self.data_options
        }
        return [
            {"name": name, "paper": paper, "ours": ours}
            for name, (paper, ours) in found.items()
            if ours != paper
        ]

    def to_json(self) -> dict[str, Any]:
        """For config.json: every field, what follows from them, and the versions."""
        return {
            **self.values(),
            "parameter_count": self.parameter_count(),
            "deviations": self.deviations(),
            "versions": versions(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainConfig":
        """Back from config.json.

        Raises:
            UserError: the cell is none that we have, a field is missing, or one is not what it may
                be.
        """
        if not isinstance(values, dict):
            raise UserError("expected an object with a run's configuration")
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        needed = {f.name for f in fields(cls) if f.default is f.default_factory is MISSING}
        if missing := sorted(needed - known.keys() - {"cell"}):
            raise UserError(f"no {', '.join(missing)}; expected a run's whole configuration")
        try:
            cell = CellSpec.from_json(values)
        except KeyError as error:
            raise UserError(f"no {error.args[0]}; expected a cell that is installed") from error
        except (ValueError, TypeError) as error:
            raise UserError(str(error)) from error
        return cls(cell=cell, **known)


def learning_rate(protocol: Protocol, cell: CellSpec | type[CellSpec]) -> float:
    """The paper's for a cell; for one that the paper has not, that of the cell it is like."""
    try:
        return protocol.learning_rates[cell.like or cell.name]
    except KeyError:
        raise UserError(
            f"--model {cell.name}: task {protocol.task} has no learning rate for it, and the cell "
            "names no other as `like`"
        ) from None


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
