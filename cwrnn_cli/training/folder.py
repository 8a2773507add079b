"""A run folder: config.json, metrics.jsonl, checkpoint.pt; and how to find one.

The checkpoint holds everything that training goes on from and is replaced whole. The one before it
stays beside it as previous.pt while the run trains, and is taken if the newest is damaged.
metrics.jsonl is only ever appended to, and what it has beyond the checkpoint is cut off on
resuming. Who writes in the folder holds its lock.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.files import append_text, drop_stale, is_occupied, sync, write_bytes, write_text
from data_prep.locks import LOCK, PATIENCE, locked
from data_prep.reading import content_of, json_of, lines_of
from data_prep.strict_json import dumps

from ..console import quoted, warn
from .checkpoints import Checkpoint, packed, unpacked
from .config import TrainConfig
from .contents import problem

CONFIG, METRICS, CHECKPOINT = "config.json", "metrics.jsonl", "checkpoint.pt"
PREVIOUS = "previous.pt"
CELLS_FOLDER = "cells"  # where a comparison or a scan has its runs
_NUMBER = "number"  # in config.json: of the runs beside it, in the order in which they began
_MANIFEST = "manifest.json"
LARGEST_METRICS = 2**32  # bytes; it is read line by line
_SMALLEST_BUDGET = 64 * 2**20  # bytes that any checkpoint may have
_BY_FORMER_VERSIONS = re.compile(  # .checkpoint.pt.XXXXXXXX.pt
    r"\.(?:checkpoint|config|metrics|manifest|results|scan)(\.[a-z0-9]+)\.[a-z0-9_]{8}\1"
)


@contextmanager
def writing(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Be the only process to write in a folder, and tidy up after one that was killed there.

    See :func:`.locks.locked`, of which this is the use for all that resumes.

    Args:
        folder: to write in.
        patience: seconds to wait for another process to let go.

    Raises:
        UserError: as there; or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: no run folder; choose another --out")
    with locked(folder, patience):
        drop_stale(folder)
        for path in folder.glob(".*.*.*"):
            if _BY_FORMER_VERSIONS.fullmatch(path.name):
                path.unlink(missing_ok=True)
        yield


class Damaged(UserError):
    """A checkpoint is not as it was written, or is none of its run: the one before may be."""


class RunFolder:
    """One training run's folder.

    Args:
        path: of the folder; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.path / CONFIG).exists()

    @property
    def holds_several(self) -> bool:
        """Whether it is that of a comparison or a search, whose config.json is of many runs."""
        try:
            found = self._configured()
        except (UserError, ValueError, RecursionError):
            return False
        return isinstance(found, dict) and bool({"cells", "trials"} & found.keys())

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return any((self.path / name).exists() for name in (CHECKPOINT, PREVIOUS))

    def start(self, config: TrainConfig, number: int = 0) -> None:
        """Make the folder and write config.json.

        Args:
            config: what the run computes.
            number: of the runs beside it, in the order in which they began.

        Raises:
            UserError: it holds something already, is being written in, or cannot be made.
        """
        with writing(self.path):
            check_free(self.path)
            self._write(config, number)

    def _write(self, config: TrainConfig, number: int) -> None:
        values = config.to_json() | ({_NUMBER: number} if number else {})
        write_text(self.path / CONFIG, dumps(values, indent=1) + "\n")

    def start_or_resume(self, config: TrainConfig, number: int = 0) -> None:
        """:meth:`start`, unless this very run has been started here.

        If its data have moved, config.json says where they are now. A damaged checkpoint is
        replaced by the one before it.

        Raises:
            UserError: as there, or the run here computes something else, or cannot go on.
        """
        with writing(self.path):
            if not self.exists:
                if is_occupied(self.path):
                    raise UserError(f"{self.path}: no run folder; choose another --out")
                self.start(config, number)
                return
            found = self.check_is(config)
            if self.has_checkpoint:
                self.mend()
                if not self.checkpoint().velocity:  # by `cwrnn keep`
                    raise UserError(
                        f"{self.path}: holds only the weights to evaluate; train again into "
                        "another --out"
                    )
            if found.data_path != config.data_path:
                self._write(replace(found, data_path=config.data_path), self.number)

    def check_is(self, config: TrainConfig) -> TrainConfig:
        """What this run computes.

        Raises:
            UserError: it is something else than ``config``.
        """
        found = self.config()
        if different := found.differences(config):
            other = f"{self.path}: a run that differs in {', '.join(different)}; resume with "
            if different == ["device"]:
                other += f"--device {found.device}, that it was begun on"
            else:
                other += "the same options"
            raise UserError(f"{other}, or choose another --out")
        return found

    def discard(self) -> None:
        """Take away a run that has just been started here, and nothing else that is there."""
        for name in (CONFIG, METRICS, _MANIFEST, CHECKPOINT, PREVIOUS, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # of somebody else there is something
            self.path.rmdir()

    def config(self) -> TrainConfig:
        """What this run computes.

        Raises:
            UserError: no or no readable config.json; or a comparison's, which has many runs.
        """
        path = self.path / CONFIG
        if cells := sorted(self.path.glob(f"{CELLS_FOLDER}/*/{CONFIG}")):
            such = f"name one of them, such as {quoted(cells[0].parent)}"
            raise UserError(f"{len(cells)} runs, a folder each; {such}", place=self.path)
        if not self.exists:
            raise UserError(f"no run folder (no {CONFIG}); see `cwrnn train`", place=self.path)
        try:
            found = self._configured()
            if _is_search(found):
                there = "its best.json has the command to train with what was found"
                raise UserError(f"a search's folder, not a run's; {there}", place=self.path)
            return TrainConfig.from_json(found)
        except UserError as error:
            raise UserError(error.reason, place=error.place or path) from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"not a readable run configuration ({_in_short(error)})"
            raise UserError(f"{reason}; restore that file, or train again", place=path) from error

    def _configured(self) -> Any:
        """The contents of config.json, which may be anybody's."""
        return json_of(self.path / CONFIG)

    @property
    def number(self) -> int:
        """Of the runs beside it, in the order in which they began; 0: it has none."""
        try:
            found = self._configured()[_NUMBER]
        except (UserError, ValueError, KeyError, TypeError, RecursionError):
            return 0
        return found if isinstance(found, int) else 0

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint, whole or not at all; the former one is kept beside it.

        Metrics of the epochs before are on the disk then: resuming cuts off only what is beyond.
        """
        if (self.path / METRICS).exists():
            sync(self.path / METRICS)
        write_bytes(self.path / CHECKPOINT, packed(checkpoint), former=PREVIOUS)

    def checkpoint(self) -> Checkpoint:
        """The last checkpoint; if it is damaged, with a line on stderr, the one before it.

        Raises:
            UserError: none yet, or one that cannot be read, or a damaged one and none before it.
        """
        for _ in range(2):  # a training beside us may have put one in its place between two looks
            try:
                return self._read(CHECKPOINT)
            except FileNotFoundError:  # killed between two renames, or there is none
                damaged = None
            except Damaged as error:
                damaged = error
                break
            if (self.path / PREVIOUS).exists():
                break
        try:
            found = self._read(PREVIOUS)
        except (FileNotFoundError, Damaged) as error:
            raise damaged or UserError(
                f"{self.path}: not trained yet (no {CHECKPOINT}); "
                f"run the same `cwrnn train` command with --resume --out {self.path}"
            ) from error
        if damaged:
            warn(f"{damaged.place}: damaged; {PREVIOUS}, of epoch {found.epoch}, is taken instead")
        return found

    def _read(self, name: str) -> Checkpoint:
        """One of the two.

        Raises:
            FileNotFoundError: it is not there.
            Damaged: it is, or is none of this run.
            UserError: it cannot be read.
        """
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(path)
        config = self.config()
        try:
            content = content_of(path, _budget(config))
        except UserError as error:
            if path.exists():
                raise
            raise FileNotFoundError(path) from error  # renamed meanwhile
        again = "train again into another --out"
        try:
            found = unpacked(content, self._noted(name))
        except ValueError as error:
            raise Damaged(f"damaged; {again}", path) from error
        if wrong := problem(found, config):
            raise Damaged(f"does not fit {CONFIG} ({wrong}); {again}", path)
        return found

    def _noted(self, name: str) -> str | None:
        """The sha256 that `cwrnn keep` has noted of a checkpoint."""
        try:
            kept = json_of(self.path / _MANIFEST)["weights"]
            return str(kept["sha256"]) if kept["file"] == name else None
        except (UserError, OSError, ValueError, KeyError, TypeError):
            return None

    def mend(self) -> None:
        """Put the checkpoint before the last in the place of a last one that is damaged or gone.

        For who holds the folder's lock. With a damaged one and none before it, nothing is done.

        Raises:
            UserError: one cannot be read, whatever is in it.
        """
        try:
            self._read(CHECKPOINT)
        except (FileNotFoundError, Damaged):
            with suppress(FileNotFoundError, Damaged):
                self._read(PREVIOUS)
                self.checkpoint()  # which says so
                os.replace(self.path / PREVIOUS, self.path / CHECKPOINT)

    def settle(self) -> None:
        """The run has ended: drop the checkpoint before the last, if the last is as was written.

        Raises:
            UserError: it is not, or cannot be read.
        """
        try:
            self._read(CHECKPOINT)
        except Damaged as error:
            reason = "not as it was written; the same command with --resume goes on"
            raise UserError(reason, error.place) from error
        (self.path / PREVIOUS).unlink(missing_ok=True)

    def drop_checkpoints(self) -> None:
        """Nothing trains on from here, or evaluates this."""
        for name in (CHECKPOINT, PREVIOUS):
            (self.path / name).unlink(missing_ok=True)

    def cut_metrics(self, epoch: int) -> None:
        """Drop what metrics.jsonl has beyond ``epoch``, and any half-written line.

        A line that is damaged is left out, and said so.
        """
        path = self.path / METRICS
        kept = bytearray()
        lines = lines_of(path, LARGEST_METRICS) if path.exists() else ()
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break  # half of the last one
            try:
                if json.loads(line)["epoch"] <= epoch:
                    kept += line
            except (ValueError, LookupError, TypeError, RecursionError):
                warn(f"{path}, line {number}: damaged; left out")
        write_bytes(path, memoryview(kept))

    def append_metrics(self, values: dict[str, Any]) -> None:
        """One more line of metrics.jsonl."""
        append_text(self.path / METRICS, dumps(values) + "\n")


def configured(folder: Path) -> Any:
    """What a config.json holds, which may be anybody's; None: it cannot be read."""
    try:
        return json_of(folder / CONFIG)
    except (UserError, ValueError, RecursionError):
        return None


def _is_search(found: Any) -> bool:
    """Whether a config.json is that of `cwrnn search`."""
    return isinstance(found, dict) and "trials" in found


def _in_short(error: Exception) -> str:
    """What is wrong with a file that is no JSON, or not of the right kind."""
    if isinstance(error, UnicodeError):
        return "no UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"{type(error).__name__}: {error}"[:100]


def _budget(config: TrainConfig) -> int:
    """Bytes that a checkpoint may have: weights, what the optimiser keeps, the best, more."""
    each = 8 * 8 * config.parameter_count() + 4096
    return max(_SMALLEST_BUDGET, 2 * each * config.networks)


def check_free(out: Path) -> None:
    """Raises UserError if there is anything at a place to write a new folder to."""
    if is_occupied(out):
        raise UserError(f"{out}: exists already; go on with --resume, or choose another --out")
