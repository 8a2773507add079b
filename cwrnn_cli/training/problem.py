"""What a task says of a corpus, and shows of files and of runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import UserError


@dataclass(frozen=True)
class Problem:
    """What a corpus asks of a network and of training.

    Attributes:
        input_size: m.
        output_size: units of the output layer.
        sequences: S, of the training set.
        length: T, steps of the longest of them.
        data_options: how the corpus became frames.
    """

    input_size: int
    output_size: int
    sequences: int
    length: int
    data_options: Mapping[str, Any]

    def check_sizes(self, configured: Mapping[str, Any]) -> None:
        """Whether a run's configuration has the same sizes; UserError where it has not."""
        for name in ("input_size", "output_size", "sequences", "length"):
            asked, found = getattr(self, name), configured[name]
            if asked != found:
                raise UserError(
                    f"{name} {found} in the run's config.json, {asked} in its data; restore that "
                    "file, or train again"
                )


@dataclass(frozen=True)
class Recognised:
    """What a network makes of one file.

    Attributes:
        json: for ``--json``.
        text: for people.
    """

    json: dict[str, Any]
    text: str


@dataclass(frozen=True)
class RunsReport:
    """Runs of `cwrnn train` side by side.

    Attributes:
        json: for ``--json``.
        text: for people, narrow enough for a terminal.
        files: that were written.
    """

    json: dict[str, Any]
    text: str
    files: list[Path]
