"""What all prepared corpora have in common."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from data_prep.errors import UserError


@dataclass(frozen=True)
class Data:
    """A prepared corpus; a subclass adds what it holds.

    Attributes:
        source: name of the corpus.
        standin: whether it stands in for the paper's.
        sha256: of the file.
        path: of the file.
        provenance: how it was made, as its file tells (see :class:`data_prep.store.Corpus`).
        task: name of the task that reads it.
    """

    source: str
    standin: bool
    sha256: str
    path: Path
    # by its name only, so that a subclass can have fields without a default
    provenance: dict[str, Any] = field(default_factory=dict, compare=False, kw_only=True)

    task: ClassVar[str]

    def signals(self) -> Iterable[np.ndarray]:
        """What the training set has of fast and slow: (T, channels) of each sequence.

        Raises:
            UserError: this corpus does not tell.
        """
        raise UserError(f"--module-shares spectrum: not with --task {self.task}")


D = TypeVar("D", bound=Data)
