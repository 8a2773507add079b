"""What `cwrnn analyse` makes of a run: what each module of its networks does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic

from ..option import Option
from .data import D
from .folder import RunFolder

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Analysis:
    """What the modules of a run's networks do.

    Attributes:
        about: of which networks and data, for the JSON.
        tables: name -> rows of numbers and words (JSON types); those of a table have the same
            names.
        text: for people.
        figures: name -> what draws it as PNG into a file.
    """

    about: Mapping[str, Any]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    text: str
    figures: Mapping[str, Callable[[Path], None]]

    @property
    def json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.about, **self.tables}


class Analyser(ABC, Generic[D]):
    """How a task's runs are analysed.

    Attributes:
        options: of `cwrnn analyse`, passed on to :meth:`analyse`.
    """

    options: ClassVar[tuple[Option, ...]] = ()

    @abstractmethod
    def analyse(self, run: RunFolder, data: D, **options: Any) -> Analysis:
        """Look at a run's networks, with the weights that `cwrnn eval` evaluates.

        Args:
            run: with a checkpoint, of a cell with several modules.
            data: the corpus, after :meth:`.Task.hold_out`; has been checked to be the run's.
            options: :attr:`options` that were given.

        Raises:
            UserError: no checkpoint, all networks diverged, or options out of range.
        """
