"""What a search is to do: of which corpus and network, what is looked for, and where."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from data_prep.strict_json import dumps

from .config import TrainConfig
from .configure import configure
from .data import Data
from .registry import TASKS
from .search_bounds import Bound
from .search_space import SEARCHED
from .study import SAMPLERS


@dataclass(frozen=True)
class Search:
    """What `cwrnn search` computes.

    Attributes:
        data: the corpus.
        fixed: ``model``, ``params`` and options, as for :func:`.configure`, the same in all trials.
        names: what is looked for, of :data:`.SEARCHED`.
        trials: how many.
        sampler: of :data:`SAMPLERS`, what proposes them.
        jobs: trials that are proposed together: the next as many know what came of them. Several
            train at once, a process each.
        processes: how many, where not all of them; that changes no number.
    """

    data: Data
    fixed: Mapping[str, Any]
    names: Sequence[str]
    trials: int
    sampler: str = SAMPLERS[0]
    jobs: int = 1
    processes: int | None = None

    @cached_property
    def base(self) -> TrainConfig:
        """The first trial: the published values of what is looked for."""
        return configure(self.data, **self.fixed)

    @cached_property
    def space(self) -> dict[str, Bound]:
        """Where it is looked for."""
        return {n: SEARCHED[n].bound(self.base, self.data, self.fixed) for n in self.names}

    @property
    def judged_by(self) -> str:
        """The split that judges; never the test set."""
        return TASKS[self.base.task].judged_by(self.base)

    @property
    def configuration(self) -> dict[str, Any]:
        """All that decides what is computed, as JSON."""
        found = {
            "trials": self.trials,
            "search": {name: bound.to_json() for name, bound in self.space.items()},
            "base": self.base.computed(),
        }
        if self.sampler != SAMPLERS[0]:
            found["sampler"] = self.sampler
        if self.jobs > 1:
            found["jobs"] = self.jobs
        return dict(json.loads(dumps(found)))
