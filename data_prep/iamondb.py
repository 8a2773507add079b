"""Task 3's data: IAM-OnDB's lines of handwriting as pen paths (Section 4.3).

Each line is the whole path of the pen: x and y relative to the line's top left corner, t relative
to its start, and a channel that is 1 at the last point of a stroke. Every third point is kept; the
first three channels are standardised over the training set.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from os import cpu_count
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from . import PREPARATION, standardise
from .errors import UserError
from .iamondb_files import LISTS, find, lag, line_files, read_strokes, read_texts
from .iamondb_standin import MARKER
from .provenance import source_of
from .store import Corpus, Split, write

PAPER_LINES = {"train": 5364, "valid": 2956, "test": 3859}
SPLIT_OF = dict(zip(LISTS, ("train", "valid", "valid", "test"), strict=True))
_PLACEHOLDER = re.compile("%{2,}")  # in place of text that nobody could read
_RUNS_BACK = "its clock runs back by {:.2f} s"
_TOGETHER = 512  # files given to the other processes at a time


@dataclass(frozen=True)
class PathOptions:
    """How a pen path becomes frames; the defaults are the paper's.

    Attributes:
        every: keep one point of so many.
        offsets: from each point to the next, instead of positions.
        slant: shear each line upright.
    """

    every: int = 3
    offsets: bool = False
    slant: bool = False

    def __post_init__(self) -> None:
        """Raises UserError on values out of range."""
        if not 1 <= self.every <= 100:
            raise UserError(f"--every {self.every}: expected 1 to 100")


@dataclass
class Report:
    """What the converter found.

    Attributes:
        lines: split -> lines taken.
        left_out: split -> lines of its forms that were left out.
        problems: file and reason of what was left out.
        repaired: split -> lines taken whose clock ran back, each with the seconds of
            :func:`~.iamondb_files.lag`.
        characters: of the training and validation lines.
        source: what they are lines of.
        standin: whether that stands in for IAM-OnDB.
    """

    lines: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    repaired: dict[str, dict[str, float]] = field(default_factory=dict)
    characters: str = ""
    source: str = "IAM-OnDB"
    standin: bool = False


def frames_of(strokes: np.ndarray, options: PathOptions) -> np.ndarray:
    """(T, 4) float64 frames of a line: x, y (the file's units), t (seconds), end of stroke.

    Counted back from each stroke's last point, which is always kept, with its flag. The time of a
    point that is behind an earlier one becomes that one's.

    Args:
        strokes: (N, 4) of :func:`~.iamondb_files.read_strokes`.
        options: how.
    """
    points = strokes.copy()
    if options.slant:
        step = np.diff(points[:, :2], axis=0)[points[:-1, 3] == 0]
        weight = np.abs(step[:, 1])
        total = (weight * step[:, 1] ** 2).sum()
        if total > 0:
            points[:, 0] -= points[:, 1] * ((weight * step[:, 0] * step[:, 1]).sum() / total)
    points[:, :2] -= points[:, :2].min(axis=0)
    points[:, 2] = np.maximum.accumulate(points[:, 2]) - points[0, 2]
    kept: np.ndarray = points[which_kept(strokes, options)]
    if options.offsets:
        kept[1:, :3] -= kept[:-1, :3].copy()
        kept[0, :3] = 0
    return kept


def steps_needed(text: Sequence[Any]) -> int:
    """Frames that a line must have at least to be aligned with its text: as many as that is long.

    And one more between two of a kind, where the network has to write nothing (CTC's blank).
    """
    return len(text) + sum(int(a == b) for a, b in pairwise(text))


def which_kept(strokes: np.ndarray, options: PathOptions) -> np.ndarray:
    """(N,) bool, the points of a line that :func:`frames_of` makes frames of."""
    at = np.arange(len(strokes))
    ends = np.flatnonzero(strokes[:, 3])
    kept: np.ndarray = (ends[np.searchsorted(ends, at)] - at) % options.every == 0
    return kept


def prepare(
    out: Path,
    src: Path,
    splits: Path | None = None,
    options: PathOptions | None = None,
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
    origin: str | None = None,
) -> Report:
    """Read all lines of the four lists, match them with their transcripts, and store them.

    Args:
        out: the HDF5 file to write.
        src: see :func:`~.iamondb_files.find`.
        splits: likewise.
        options: of the frames; None: the paper's.
        strict: leave out the lines whose clock runs back, instead of repairing their time.
        progress: called with the number of line files read.
        origin: where the corpus is to be had; None: nobody said.

    Raises:
        UserError: parts of the corpus are not there, a split without lines; nothing is written
            then.
    """
    options = options or PathOptions()
    digests: dict[str, str] = {}
    lines_source, texts_source, lists = find(Path(src), splits, digests)
    split_of = {form: SPLIT_OF[name] for name, forms in lists.items() for form in forms}
    texts, wrong = read_texts(texts_source, split_of)
    report = Report(
        lines=dict.fromkeys(PAPER_LINES, 0),
        left_out=dict.fromkeys(PAPER_LINES, 0),
        repaired={split: {} for split in PAPER_LINES},
    )
    lines: dict[str, dict[int, np.ndarray]] = {}
    lags: dict[str, dict[int, float]] = {}
    found: dict[str, set[int]] = {}
    for form, number, place, result in _parsed(
        line_files(lines_source, split_of), options, progress
    ):
        numbers = found.setdefault(form, set())
        if number in numbers:
            raise UserError(f"{place}: line {number} of form {form} is there twice")
        numbers.add(number)
        if isinstance(result, str):
            report.problems.append(f"{place}: {result}")
        elif strict and result.lag:
            report.problems.append(f"{place}: {_RUNS_BACK.format(result.lag)}")
        else:
            lines.setdefault(form, {})[number] = result.frames
            lags.setdefault(form, {})[number] = result.lag
    for form, split in split_of.items():
        numbers = found.get(form, set())
        reason = wrong.get(form) or _mismatch(form, numbers, texts.get(form))
        if reason:
            report.problems.append(reason)
            lines.pop(form, None)
        taken = lines.get(form, {})
        for number in sorted(taken):
            text, steps = texts[form][number - 1], len(taken[number])
            if _PLACEHOLDER.search(text):
                report.problems.append(f"form {form}, line {number}: a placeholder in its text")
                del taken[number]
            elif steps < steps_needed(text):
                report.problems.append(
                    f"form {form}, line {number}: {steps} frames cannot be aligned with its text "
                    f"of {len(text)} characters"
                )
                del taken[number]
            elif lags[form][number]:
                report.repaired[split][f"{form}-{number:02d}"] = lags[form][number]
        report.lines[split] += len(taken)
        report.left_out[split] += len(numbers) - len(taken)
    report.problems.sort()
    for split in PAPER_LINES:
        if not report.lines[split]:
            raise UserError(f"{src}: no usable line of the split {split}; expected IAM-OnDB")
    good = {form: texts[form] for form in lines}
    report.characters = "".join(
        sorted({c for f, ls in good.items() if split_of[f] != "test" for line in ls for c in line})
    )
    report.standin = (lines_source.path.parent / MARKER).is_file()
    if report.standin:
        report.source = "stand-in handwriting"
    source = source_of(report.source, origin, digests)
    provenance = {
        "cwrnn": PREPARATION,
        "source": source,
        "characters": report.characters,
        "path": asdict(options),
        "left_out": report.left_out,
        "repaired": {split: len(repaired) for split, repaired in report.repaired.items()},
    }
    write(out, Corpus("iamondb", report.standin, provenance, _splits(lines, good, split_of)))
    return report


def repairs(report: Report) -> list[str]:
    """A sentence for each line whose time was repaired, in order."""
    return sorted(
        f"line {name}: {_RUNS_BACK.format(seconds)}; kept, its time made monotone"
        for lines in report.repaired.values()
        for name, seconds in lines.items()
    )


def _mismatch(form: str, numbers: set[int], text: list[str] | None) -> str | None:
    """Why a form's lines cannot be matched with its transcript, if they cannot."""
    if text is None:
        return f"form {form}: no transcript"
    if not numbers:
        return f"form {form}: no line files"
    if numbers != set(range(1, len(text) + 1)):
        return (
            f"form {form}: line files {min(numbers)} to {max(numbers)} ({len(numbers)}), "
            f"{len(text)} lines of transcript; nobody can say which belongs to which"
        )
    return None


class _Line(NamedTuple):
    """(T, 4) float32 frames, and by how many seconds the clock ran back."""

    frames: np.ndarray
    lag: float


def _parse(item: tuple[bytes, PathOptions]) -> _Line | str:
    content, options = item
    strokes = read_strokes(content)
    if isinstance(strokes, str):
        return strokes
    return _Line(frames_of(strokes, options).astype(np.float32), lag(strokes))


def _end_with_parent() -> None:
    """In a process of the pool: end when the one that began it does, however that was killed."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def _no_waiting(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Where something goes wrong inside, or Ctrl-C comes, what was begun is not waited for."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in active_children():
            worker.kill()
        raise


def _parsed(
    files: Iterable[tuple[str, int, str, bytes]],
    options: PathOptions,
    progress: Callable[[int], None] | None,
) -> Iterator[tuple[str, int, str, _Line | str]]:
    """Every file's frames, or what is wrong with it, in order; on all cores, little at a time."""
    done = 0
    # not forked: torch's and numba's threads would not survive it
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(cpu_count(), context, initializer=_end_with_parent) as pool,
        _no_waiting(pool),
    ):
        waiting: list[tuple[str, int, str]] = []
        pending: Iterator[_Line | str] = iter(())
        remaining = iter(files)
        while some := list(islice(remaining, _TOGETHER)):
            ahead = pool.map(_parse, [(c, options) for *_, c in some], chunksize=32)
            for key, result in zip(waiting, pending, strict=True):
                yield *key, result
            waiting, pending = [(form, number, place) for form, number, place, _ in some], ahead
            done += len(some)
            if progress:
                progress(done)
        for key, result in zip(waiting, pending, strict=True):
            yield *key, result


def _splits(
    lines: dict[str, dict[int, np.ndarray]], texts: dict[str, list[str]], split_of: dict[str, str]
) -> dict[str, Split]:
    """The splits, standardised with the training set's mean and deviation."""
    order = [(form, number) for form in sorted(lines) for number in sorted(lines[form])]
    parts = {split: [(f, k) for f, k in order if split_of[f] == split] for split in PAPER_LINES}
    train = np.concatenate([lines[f][k][:, :3] for f, k in parts["train"]])
    shift, scale = np.zeros((1, 4)), np.ones((1, 4))  # the end of a stroke stays 0 or 1
    shift[:, :3], scale[:, :3] = standardise.zero_mean_unit_variance(train)
    del train

    def split(keys: list[tuple[str, int]]) -> Split:
        frames = np.concatenate([lines[f][k] for f, k in keys])
        return Split(
            frames=standardise.apply(frames, shift, scale),
            offsets=np.cumsum([0, *(len(lines[f][k]) for f, k in keys)]).astype(np.int64),
            names=[f"{f}-{k:02d}" for f, k in keys],
            shift=shift,
            scale=scale,
            text=[texts[f][k - 1] for f, k in keys],
        )

    return {name: split(keys) for name, keys in parts.items()}
