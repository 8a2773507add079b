"""What a run of task 3 is worth: character error rates, and what the networks write."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.iamondb import PathOptions, frames_of
from data_prep.iamondb_files import read_strokes
from data_prep.store import Split

from ..models.ensemble import Ensemble
from ..tasks import handwriting
from .beam import BeamOptions, BeamSearch
from .config import TrainConfig
from .folder import RunFolder
from .handwriting import transcripts
from .results import check_data, heading, statistics
from .stopping import best_networks


@dataclass(frozen=True)
class Evaluation:
    """A run's networks after training, each with the weights of its best epoch.

    Attributes:
        config: of the run.
        data: the lines.
        split: "test", "valid" or "train".
        epoch: epochs that the last network took.
        ensemble: the networks.
        beam: how it was decoded; None: by best path.
        written: for each network, what it writes for each line.
        cer: (R,) float64 character error rates.
        diverged: (R,) bool; their errors are no results.
        best_epoch: (R,) int64, whose weights are judged.
        stopped_at: (R,) int64, or -1 for those that ``epochs`` cut short, or that train on.
        valid_cer: (R,) float64 error rate on the validation set at that epoch.
    """

    config: TrainConfig
    data: handwriting.LinesData
    split: str
    epoch: int
    ensemble: Ensemble
    beam: BeamOptions | None
    written: list[list[str]]
    cer: np.ndarray
    diverged: np.ndarray
    best_epoch: np.ndarray
    stopped_at: np.ndarray
    valid_cer: np.ndarray

    @property
    def lines(self) -> Split:
        """The lines that were read."""
        return self.data.split(self.split)


def evaluate(
    folder: RunFolder,
    data_path: Path | None = None,
    split: str | None = None,
    beam: BeamOptions | None = None,
) -> Evaluation:
    """Run every network of a run over a split (default: test), by best path or beam search.

    Raises:
        UserError: no such run, no checkpoint, or other data than it was trained on; no such split.
    """
    split = split or "test"
    if split not in ("train", "valid", "test"):
        raise UserError(f"--split {split}: task iamondb has the splits train, valid and test")
    config, ensemble, extra, epoch = best_networks(folder)
    data = handwriting.load(data_path or Path(config.data_path))
    check_data(config, data)
    lines = data.split(split)
    decode: handwriting.Decode = handwriting.best_path
    if beam:
        texts = [data.encode(text) for text in data.train.text or []]
        decode = BeamSearch(beam, texts, config.output_size)
    written = [transcripts(ensemble, r, data, lines, decode) for r in range(config.networks)]
    return Evaluation(
        config=config,
        data=data,
        split=split,
        epoch=epoch,
        ensemble=ensemble,
        beam=beam,
        written=written,
        cer=np.array([handwriting.error_rate(lines.text or [], own) for own in written]),
        diverged=extra["diverged_at"].numpy() >= 0,
        best_epoch=extra["best_epoch"].numpy(),
        stopped_at=extra["stopped_at"].numpy(),
        valid_cer=extra["lowest"].numpy(),
    )


@torch.no_grad()
def recognise(folder: RunFolder, file: Path, data_path: Path | None = None) -> str:
    """What the run's best network (on the validation set) writes for one line file of IAM-OnDB.

    Raises:
        UserError: see :func:`evaluate`; or no such file, or not one line of strokes.
    """
    config, ensemble, extra, _ = best_networks(folder)
    data = handwriting.load(data_path or Path(config.data_path))
    check_data(config, data)
    try:
        strokes = read_strokes(Path(file).read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    if isinstance(strokes, str):
        raise UserError(f"{file}: {strokes}; expected a line file of IAM-OnDB")
    frames = (frames_of(strokes, PathOptions(**data.options)) - data.train.shift) / data.train.scale
    x = torch.from_numpy(frames.astype(np.float32))[None, None]
    part = ensemble.part(extra["lowest"].argmin()[None])
    (units,) = handwriting.best_path(part(x)[0], torch.tensor([x.shape[2]]))
    return data.decode(units)


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The JSON of `cwrnn eval`."""
    config, sane = evaluation.config, ~evaluation.diverged
    return heading(config, evaluation.epoch, evaluation.diverged) | {
        "split": evaluation.split,
        "beam": asdict(evaluation.beam) if evaluation.beam else None,
        "sequences": len(evaluation.lines),
        "metrics": {
            "cer": statistics(evaluation.cer[sane]),
            "valid_cer": statistics(evaluation.valid_cer[sane]),
            "best_epoch": statistics(evaluation.best_epoch[sane].astype(np.float64)),
        },
        "cut_short": int((evaluation.stopped_at < 0).sum()),
    }


def collect(group: Any, evaluation: Evaluation) -> None:
    """A cell's part of results.h5: a row per network. No line of the corpus goes in.

    Args:
        group: h5py group of the cell.
        evaluation: of the cell.
    """
    group["cer"] = evaluation.cer.astype(np.float32)
    group["valid_cer"] = evaluation.valid_cer.astype(np.float32)
    group["diverged"] = evaluation.diverged
    group["best_epoch"] = evaluation.best_epoch.astype(np.int32)
    group["stopped_at"] = evaluation.stopped_at.astype(np.int32)


def examples(evaluation: Evaluation, count: int) -> list[tuple[str, str, str]]:
    """Name, right text and the best network's text of some lines, spread over the split."""
    texts, best = evaluation.lines.text or [], int(evaluation.valid_cer.argmin())
    return [
        (evaluation.lines.names[i], texts[i], evaluation.written[best][i])
        for i in _spread(len(texts), count)
    ]


def drawn(evaluation: Evaluation, count: int) -> list[tuple[str, str, np.ndarray]]:
    """Right text, text read and (T, 4) frames in the file's units, of the same lines."""
    lines = evaluation.lines
    found = []
    for (_, right, read), i in zip(
        examples(evaluation, count), _spread(len(lines), count), strict=True
    ):
        frames = lines[i] * lines.scale + lines.shift
        if evaluation.data.options.get("offsets"):
            frames[:, :3] = np.cumsum(frames[:, :3], axis=0)
        found.append((right, read, frames))
    return found


def _spread(lines: int, count: int) -> list[int]:
    return sorted(set(np.linspace(0, lines - 1, min(count, lines)).astype(int).tolist()))
