"""What all prepared corpora have in common."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar


@dataclass(frozen=True)
class Data:
    """A prepared corpus; a subclass adds what it holds.

    Attributes:
        source: name of the corpus.
        standin: whether it stands in for the paper's.
        sha256: of the file.
        path: of the file.
        provenance: how the file was made (see :class:`data_prep.store.Corpus`).
        task: name of the task that reads it.
    """

    source: str
    standin: bool
    sha256: str
    path: Path
    provenance: dict[str, Any] = field(default_factory=dict, compare=False, kw_only=True)

    task: ClassVar[str]


D = TypeVar("D", bound=Data)
