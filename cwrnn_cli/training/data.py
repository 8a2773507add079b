"""What all prepared corpora have in common."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from data_prep.errors import UserError

from ..console import warn

if TYPE_CHECKING:
    from .config import TrainConfig


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


def check_is_of(data: Data, config: "TrainConfig", known: Any = None) -> None:
    """Whether a corpus is what a run was trained on.

    Args:
        data: the corpus.
        config: of the run.
        known: what the run's manifest has of its data. A file of the same source, prepared alike
            by the same version, has the same sequences, whatever was said of where the source is
            to be had (``--origin``): it is taken, with a line.

    Raises:
        UserError: it is not; in what they differ.
    """
    if data.sha256 == config.data_sha256:
        return
    if _same_source(data, known):
        warn(f"{data.path}: not this run's file, but its source, prepared alike")
        return
    ours = {"name": config.data_name, "stand-in": config.standin, **config.data_options}
    given = {"name": data.source, "stand-in": data.standin, **getattr(data, "options", {})}
    differ = [f"{n} {ours[n]}, not {given[n]}" for n in ours if n in given and ours[n] != given[n]]
    raise UserError(
        f"{data.path}: not the data of this run (sha256 {data.sha256[:12]}, expected "
        f"{config.data_sha256[:12]}{''.join('; ' + each for each in differ)}); "
        "name the right file with --data"
    )


def _same_source(data: Data, known: Any) -> bool:
    try:
        before = known["provenance"]
        same = _but_origin(before) == _but_origin(data.provenance)
        return bool(same and before["source"]["sha256"])  # of all its files
    except (KeyError, TypeError):
        return False


def _but_origin(provenance: Any) -> Any:
    source = {k: v for k, v in provenance["source"].items() if k != "origin"}
    return provenance | {"source": source}
