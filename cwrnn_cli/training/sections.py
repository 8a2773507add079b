"""What `cwrnn report` shows of a folder, as data: claims, tables, pictures, sounds, remarks.

A task tells its story with these (:meth:`.Task.report`); how a page looks is no business of its.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .evaluation import Evaluation
from .results import Cell, Results
from .survey import SurveyRows

VERDICTS = ("holds", "holds in part", "fails", "open", "not tested")


@dataclass(frozen=True)
class Claim:
    """What the paper claims, and what we found. Every field is text, and none is empty.

    Attributes:
        place: in the paper.
        says: what the paper claims.
        found: what we found, with its interval.
        data: on which data.
        n: of how many networks, or points.
        verdict: of :data:`VERDICTS`.
        command: that shows it.
    """

    place: str
    says: str
    found: str
    data: str
    n: str
    verdict: str
    command: str


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        svg: the element, without a name of its own (see :func:`cwrnn_cli.reporting.vector.svg`).
        label: what is to be seen, for those who do not see it.
        caption: below it.
        file: that it was drawn from; "": the rows of the folder.
    """

    kind: ClassVar[str] = "picture"
    svg: str
    label: str
    caption: str
    file: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        caption: above it.
        header: of its columns.
        rows: as many cells each.
        note: below it.
        file: as of :class:`Picture`.
    """

    kind: ClassVar[str] = "sheet"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    file: str = ""


@dataclass(frozen=True)
class Sound:
    """Something to listen to.

    Attributes:
        label: what is heard.
        wav: a whole WAV file.
    """

    label: str
    wav: bytes


@dataclass(frozen=True)
class Sounds:
    """Players, in groups to compare.

    Attributes:
        caption: above them.
        groups: title of each -> its sounds.
    """

    kind: ClassVar[str] = "sounds"
    caption: str
    groups: Mapping[str, Sequence[Sound]]


@dataclass(frozen=True)
class Remark:
    """A paragraph, such as why something is left out, and a list."""

    kind: ClassVar[str] = "remark"
    text: str = ""
    items: Sequence[str] = ()


Part = Picture | Sheet | Sounds | Remark


@dataclass(frozen=True)
class Section:
    """Some parts under a title."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Story:
    """All that a task says of a folder."""

    claims: Sequence[Claim] = ()
    sections: Sequence[Section] = ()


def _nothing(name: str) -> Evaluation[Any]:
    raise KeyError(name)


@dataclass(frozen=True)
class Found:
    """What a folder holds; one of ``results``, ``runs`` and ``survey``, or no rows at all.

    Attributes:
        command: that made it.
        results: a grid, its summaries made anew from its rows; of a single run one cell.
        runs: name -> cell, of runs that were compared.
        survey: one grid on several corpora.
        curves: name -> lines of its metrics.jsonl, of the runs that have left one here.
        curves_file: where they are.
        evaluate: name of a run (MODEL-PARAMS of a grid) -> its evaluation on the corpus at hand;
            raises UserError where there is none, or no weights.
        at: epochs at which the runs were compared.
    """

    command: str
    results: Results | None = None
    runs: Mapping[str, Cell] = field(default_factory=dict)
    survey: SurveyRows | None = None
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    curves_file: str = ""
    evaluate: Callable[[str], Evaluation[Any]] = _nothing
    at: Sequence[int] = ()
