"""The paper as data: its protocols and its published numbers, each with its place. A leaf.

Koutník, Greff, Gomez, Schmidhuber: A Clockwork RNN, ICML 2014, PMLR 32:1863-1871. Figures' medians
are ours, read off the print to about 5 %. What we had to decide because the paper does not say it
is in the fields marked "our reading" and explained in docs/protocol.md.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published result: mean and standard deviation over runs."""

    mean: float
    std: float


@dataclass(frozen=True)
class Protocol:
    """What one experiment prescribes.

    Attributes:
        task: "audio", "timit" or "iamondb".
        section: where the paper describes it.
        input_size: m.
        output_size: units of the output layer.
        bidirectional: whether there are two directions.
        periods: clock periods of the CW-RNN.
        hidden_sizes: Table 1: parameters -> model -> hidden units (LSTM: cells), per direction.
        learning_rates: model -> rate.
        momentum: Nesterov's, its final value.
        momentum_ramp: our reading: momentum rises to its value as in Sutskever et al. (2013), whom
            the paper cites.
        weight_std: standard deviation of the Gaussian that all weights start from.
        forget_bias: what the LSTM's forget gates' biases start at, or None.
        peepholes: our reading: whether the LSTM has them (Table 1's counts fit them here).
        clock_origin: our reading: the number of a sequence's first step.
        cell_output: our reading: what squashes the output of an LSTM's cell.
        loss_at: our reading: the steps of a labelled sequence that count in the loss.
        reduction: our reading: whether an update learns from the mean of its sequences' losses or
            from their sum.
        loss: our reading: half the sum of squares over all steps, the cross entropy, or
            CTC's -log p.
        noise: standard deviation of the Gaussian noise on the inputs in training.
        batch: our reading: sequences per update.
        patience: epochs without improvement after which training stops, or None.
        stop_on: what has to improve.
        data_options: how the corpus becomes frames (`cwrnn prepare`), where a network's file may
            have been made otherwise.
        network_per_sequence: whether one network learns one sequence.
        sequences: of the training set, where the paper says how many and the corpus does not.
        length: steps of each, likewise.
        unstated: names of what the paper does not say here: fields marked "our reading" and our
            limits; their values are our defaults.
        runs: trainings of each network with different initial weights.
        epochs: of training; with ``patience``, our limit, which it should not reach.
        results: Table 2: model -> result of the largest networks, in ``metric``.
        metric: name of the metric of ``results`` and ``medians``.
        medians: model -> medians of the figure, by parameters.
        table: Table 3: parameters -> model -> mean.
    """

    task: str
    section: str
    input_size: int
    output_size: int
    bidirectional: bool
    periods: tuple[int, ...]
    hidden_sizes: dict[int, dict[str, int]]
    learning_rates: dict[str, float]
    momentum: float
    momentum_ramp: bool
    weight_std: float
    forget_bias: float | None
    peepholes: bool
    loss: str
    runs: int
    epochs: int
    results: dict[str, Published]
    metric: str
    medians: dict[str, dict[int, float]] = field(default_factory=dict)
    table: dict[int, dict[str, float]] = field(default_factory=dict)
    clock_origin: int = 0
    cell_output: str = "tanh"
    loss_at: str = "last"
    reduction: str = "mean"
    noise: float = 0.0
    batch: int = 1
    patience: int | None = None
    stop_on: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)
    network_per_sequence: bool = False
    sequences: int | None = None
    length: int | None = None
    unstated: frozenset[str] = frozenset()

    @property
    def sizes(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return self.input_size, self.output_size


def _exponential(modules: int) -> tuple[int, ...]:
    return tuple(2**i for i in range(modules))


_UNSTATED = frozenset(  # in every task
    {
        "momentum_ramp",
        "peepholes",
        "clock_origin",
        "cell_output",
        "loss_at",
        "reduction",
        "batch",
    }
)

AUDIO = Protocol(
    task="audio",
    section="4.1",
    input_size=0,
    output_size=1,
    bidirectional=False,
    periods=_exponential(9),
    hidden_sizes={  # Table 1
        100: {"srn": 9, "lstm": 4, "cw": 11},
        250: {"srn": 15, "lstm": 7, "cw": 19},
        500: {"srn": 22, "lstm": 10, "cw": 27},
        1000: {"srn": 31, "lstm": 15, "cw": 40},
    },
    learning_rates={"srn": 3e-4, "lstm": 3e-5, "cw": 3e-4},
    momentum=0.95,
    momentum_ramp=True,
    weight_std=0.1,
    forget_bias=5.0,
    peepholes=True,
    loss="half_sum_of_squares",
    network_per_sequence=True,
    sequences=5,
    length=320,
    runs=100,
    epochs=2000,
    results={  # Table 2, row 1; 1000 parameters
        "srn": Published(0.46, 0.08),
        "lstm": Published(0.04, 0.01),
        "cw": Published(0.007, 0.004),
    },
    metric="nmse_paper",
    medians={  # Figure 3
        "srn": {100: 0.47, 250: 0.47, 500: 0.47, 1000: 0.47},
        "lstm": {100: 0.069, 250: 0.050, 500: 0.043, 1000: 0.034},
        "cw": {100: 0.039, 250: 0.017, 500: 0.010, 1000: 0.006},
    },
    unstated=_UNSTATED | {"loss"},  # that it is of squares is said, not how it is reduced
)

WORD_GROUPS: tuple[tuple[str, ...], ...] = (  # Section 4.2; a group ends alike
    ("making", "walking", "cooking", "looking", "working"),
    ("biblical", "cyclical", "technical", "classical", "critical"),
    ("tradition", "addition", "audition", "recognition", "competition"),
    ("musicians", "discussions", "regulations", "accusations", "conditions"),
    ("subway", "leeway", "freeway", "highway", "hallway"),
)

TIMIT = Protocol(
    task="timit",
    section="4.2",
    input_size=13,
    output_size=25,
    bidirectional=False,
    periods=_exponential(7),
    hidden_sizes={  # Table 1
        500: {"srn": 10, "lstm": 5, "cw": 10},
        1000: {"srn": 18, "lstm": 8, "cw": 19},
        2500: {"srn": 34, "lstm": 17, "cw": 40},
        5000: {"srn": 54, "lstm": 26, "cw": 65},
        10000: {"srn": 84, "lstm": 41, "cw": 102},
    },
    learning_rates={"srn": 3e-4, "lstm": 3e-4, "cw": 3e-4},
    momentum=0.9,
    momentum_ramp=True,
    weight_std=0.1,
    forget_bias=5.0,
    peepholes=False,
    loss="cross_entropy",
    noise=0.6,
    patience=5,
    stop_on="cross_entropy",
    data_options={
        "coefficients": 12,
        "window_ms": 25.0,
        "hop_ms": 10.0,
        "preemphasis": 0.97,
        "deltas": 0,
        "trim_db": None,  # words are cut at their labels
        "features": "kaldi",  # our reading
    },
    runs=100,
    epochs=2000,
    results={  # Table 2, row 2; 10000 parameters
        "srn": Published(0.668, 0.047),
        "lstm": Published(0.342, 0.056),
        "cw": Published(0.168, 0.035),
    },
    metric="error",
    medians={  # Figure 4
        "srn": {500: 0.78, 1000: 0.74, 2500: 0.68, 5000: 0.66, 10000: 0.66},
        "lstm": {500: 0.70, 1000: 0.60, 2500: 0.43, 5000: 0.38, 10000: 0.34},
        "cw": {500: 0.62, 1000: 0.42, 2500: 0.28, 5000: 0.18, 10000: 0.16},
    },
    unstated=_UNSTATED | {"epochs", "stop_on", "features"},
)

IAMONDB = Protocol(
    task="iamondb",
    section="4.3",
    input_size=4,
    output_size=82,
    bidirectional=True,
    periods=_exponential(9),
    hidden_sizes={  # Table 1
        10000: {"srn": 40, "lstm": 25, "cw": 45},
        50000: {"srn": 121, "lstm": 67, "cw": 148},
        100000: {"srn": 185, "lstm": 100, "cw": 231},
    },
    learning_rates={"srn": 3e-4, "lstm": 3e-3, "cw": 3e-4},
    momentum=0.9,
    momentum_ramp=True,
    weight_std=0.1,
    forget_bias=None,
    peepholes=False,
    loss="ctc",
    batch=8,
    patience=50,
    stop_on="valid_cer",
    data_options={"every": 3, "offsets": False, "slant": False},
    runs=3,
    epochs=2000,
    results={},
    metric="cer",
    table={  # Table 3, character error rate
        10000: {"srn": 0.528, "lstm": 0.342, "cw": 0.672},
        50000: {"srn": 0.434, "lstm": 0.214, "cw": 0.465},
        100000: {"srn": 0.475, "lstm": 0.192, "cw": 0.395},
    },
    unstated=_UNSTATED | {"epochs"},
)

# by task; the protocols of tasks that other packages bring come in beside them when they are loaded
PROTOCOLS: dict[str, Protocol] = {p.task: p for p in (AUDIO, TIMIT, IAMONDB)}
