"""A run folder: config.json, metrics.jsonl, checkpoint.pt; and how to find one.

The checkpoint holds everything that training goes on from and is replaced whole; metrics.jsonl is
only ever appended to, and what it has beyond the checkpoint is cut off on resuming.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.errors import UserError
from data_prep.files import atomic_write, write_text

from ..console import quoted
from ..models import CELLS
from . import contents
from .config import TrainConfig

CONFIG, METRICS, CHECKPOINT = "config.json", "metrics.jsonl", "checkpoint.pt"
CELLS_FOLDER = "cells"  # where a comparison or a scan has its runs


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after ``epoch`` epochs.

    Attributes:
        epoch: epochs done.
        weights: name -> (R, ...) tensor.
        velocity: momentum buffers, like the weights.
        generators: state of each network's random generator, as JSON.
        extra: what else the task needs, by name, such as ``diverged_at``: (R,) int64, the epoch in
            which a network diverged, or -1.
    """

    epoch: int
    weights: dict[str, torch.Tensor]
    velocity: dict[str, torch.Tensor]
    generators: str
    extra: dict[str, torch.Tensor]


def drop_half_written(folder: Path) -> None:
    """Clear away what is left of a config.json where a command was killed while it began."""
    for half_written in folder.glob(f".{CONFIG}.*"):
        half_written.unlink()


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
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return (self.path / CHECKPOINT).exists()

    def start(self, config: TrainConfig) -> None:
        """Make the folder and write config.json.

        Raises:
            UserError: it holds something already, or cannot be made.
        """
        check_free(self.path)
        write_text(self.path / CONFIG, json.dumps(config.to_json(), indent=1) + "\n")

    def start_or_resume(self, config: TrainConfig) -> None:
        """:meth:`start`, unless this very run has been started here.

        Raises:
            UserError: as there, or the run here computes something else, or cannot go on.
        """
        if not self.exists:
            drop_half_written(self.path)
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UserError(f"{self.path}: no run folder; choose another --out")
            self.start(config)
        elif different := self.config().differences(config):
            other = f"{self.path}: a run with another {', '.join(different)}; resume with "
            if different == ["device"]:
                other += f"--device {self.config().device}, that it was begun on"
            else:
                other += "the same options"
            raise UserError(f"{other}, or choose another --out")
        if self.has_checkpoint and not self.checkpoint().velocity:  # by `cwrnn keep`
            raise UserError(
                f"{self.path}: holds only the weights to evaluate; train again into another --out"
            )

    def discard(self) -> None:
        """Take away a run that has just been started here."""
        shutil.rmtree(self.path)

    def config(self) -> TrainConfig:
        """What this run computes.

        Raises:
            UserError: no or no readable config.json; or a comparison's, which has many runs.
        """
        path = self.path / CONFIG
        if cells := sorted(self.path.glob(f"{CELLS_FOLDER}/*/{CONFIG}")):
            raise UserError(
                f"{self.path}: {len(cells)} runs, a folder each; name one of them, such as "
                f"{quoted(cells[0].parent)}"
            )
        try:
            return TrainConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path}: no run folder (no {CONFIG}); see `cwrnn train`"
            ) from error
        except UserError as error:
            raise UserError(error.reason, place=path) from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not a readable run configuration ({error!r})") from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint, whole or not at all."""
        with atomic_write(self.path / CHECKPOINT) as temporary:
            torch.save(vars(checkpoint), temporary)

    def checkpoint(self) -> Checkpoint:
        """The last checkpoint.

        Raises:
            UserError: none yet, or a damaged one.
        """
        path = self.path / CHECKPOINT
        try:
            found = Checkpoint(**contents.load(path))
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path}: not trained yet (no {CHECKPOINT}); "
                "run the same `cwrnn train` command with --resume"
            ) from error
        except UserError:
            raise
        except Exception as error:  # whatever a damaged pickle or zip archive makes torch raise
            raise UserError(f"{path}: damaged; train again into another --out") from error
        if problem := contents.problem(found, self.config()):
            reason = f"does not fit {CONFIG} ({problem}); train again into another --out"
            raise UserError(reason, place=path)
        return found

    def cut_metrics(self, epoch: int) -> None:
        """Drop what metrics.jsonl has beyond ``epoch``, and any half-written line."""
        path = self.path / METRICS
        kept = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["epoch"] <= epoch:
                        kept.append(line + "\n")
                except (ValueError, KeyError, TypeError):
                    break
        write_text(path, "".join(kept))

    def append_metrics(self, values: dict[str, Any]) -> None:
        """One more line of metrics.jsonl."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def check_free(out: Path) -> None:
    """Raises UserError if there is anything at a place to write a new folder to."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already; go on with --resume, or choose another --out")


def free_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or with -2, -3 ... if that is taken."""
    candidate, number = parent / name, 1
    while candidate.exists():
        number += 1
        candidate = parent / f"{name}-{number}"
    return candidate


def names_of(runs: Sequence[RunFolder]) -> list[str]:
    """The folders' names, with as many of those above them as tell them apart.

    Args:
        runs: none of them twice.
    """
    paths = [run.path.resolve().parts for run in runs]
    every = (["-".join(path[-depth:]) for path in paths] for depth in range(1, 1000))
    return next(names for names in every if len(set(names)) == len(paths))


def run_folders(parent: Path) -> list[RunFolder]:
    """All run folders below ``parent`` that have a checkpoint, newest first."""
    found = [p.parent for p in parent.glob(f"*/{CHECKPOINT}") if (p.parent / CONFIG).exists()]
    found.sort(key=lambda folder: ((folder / CHECKPOINT).stat().st_mtime_ns, folder.name))
    return [RunFolder(folder) for folder in reversed(found)]


def newest_run(parent: Path, task: str | None) -> RunFolder:
    """The newest run of a task, or of any.

    Raises:
        UserError: there is none.
    """
    for folder in run_folders(parent):
        if task in (None, folder.config().task):
            return folder
    which, option = (f"no run of task {task}", f"--task {task} ") if task else ("no run", "")
    command = f"cwrnn train {option}--model MODEL"
    raise UserError(
        f"{parent}: {which}; train one with `{command}`, where MODEL is {', '.join(CELLS)}"
    )
