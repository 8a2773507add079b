"""What a task brings to `cwrnn compare` beside its protocol. A leaf."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Excerpt(NamedTuple):
    """Some sequences of a corpus to measure on, of all of its splits.

    Attributes:
        data: these.
        epoch: how many times longer an epoch on the whole corpus takes.
        evaluation: likewise, an evaluation on the task's default split.
    """

    data: Any
    epoch: float = 1.0
    evaluation: float = 1.0


@dataclass(frozen=True)
class Blocks:
    """How a cell of a task may be trained in blocks of its networks.

    Attributes:
        exact: whether networks of a configuration train to the same bits whatever is beside them:
            in compiled loops they do, in autograd's products not quite.
        line: makes of :attr:`.Measured.each`, of all networks of a cell that were trained, what
            metrics.jsonl says of them.
    """

    exact: Callable[[Any], bool]
    line: Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Share:
    """A task's share of all of the paper.

    Attributes:
        shows: which of the paper's tables and figures it makes.
        quick_sizes: parameters of the networks that ``--quick`` trains.
        quick: the options of training that it changes, by name; what else there is, is the
            protocol's.
        lasts: model -> parameters -> epochs that our own networks took until they stopped early,
            on the average; to estimate by, and nothing else.
        excerpt: of a corpus, what to measure on.
    """

    shows: str
    quick_sizes: tuple[int, ...]
    quick: Mapping[str, Any]
    lasts: Mapping[str, Mapping[int, int]]
    excerpt: Callable[[Any], Excerpt] = Excerpt
