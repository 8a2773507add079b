"""What a run of task 3 is worth: character error rates, and what the networks write."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import UserError
from data_prep.iamondb_files import LARGEST, lag, read_strokes
from data_prep.reading import content_of
from data_prep.store import Split

from ...console import say
from ...statistics import conventions, statistics
from ...training.engine import LargestGradients
from ...training.evaluation import Evaluation
from ...training.folder import RunFolder
from ...training.stopping import BestNetworks
from .data import Decode, IamondbData, best_path, edits
from .decode import BeamOptions, BeamSearch
from .engines import transcripts
from .reading import Reader


@dataclass(frozen=True)
class IamondbEvaluation(Evaluation[IamondbData]):
    """A run's networks after training, each with the weights of its best epoch.

    Attributes:
        beam: how it was decoded; None: by best path.
        written: for each network, what it writes for each line.
        edits: (R, L) edits of each line, from what was written to the right text.
        best_epoch: (R,) int64, whose weights are evaluated.
        stopped_at: (R,) int64, or -1 for those that ``epochs`` cut short, or that train on.
        valid_cer: (R,) float64 error rate on the validation set at that epoch.
        gradients: the longest in training.
    """

    beam: BeamOptions | None
    written: list[list[str]]
    edits: np.ndarray
    best_epoch: np.ndarray
    stopped_at: np.ndarray
    valid_cer: np.ndarray
    gradients: LargestGradients

    @property
    def lines(self) -> Split:
        """The lines that were read."""
        return self.data.split(self.split)

    @property
    def characters(self) -> np.ndarray:
        """(L,) of each line's right text."""
        return np.array([len(text) for text in self.lines.text or []], np.int16)


def evaluate(
    run: RunFolder, data: IamondbData, split: str, beam: BeamOptions | None = None
) -> IamondbEvaluation:
    """Run every network of a run over a split, by best path or beam search."""
    best = BestNetworks.of(run)
    config, lines = best.config, data.split(split)
    decode: Decode = best_path
    if beam:
        texts = [data.encode(text) for text in data.train.text or []]
        decode = BeamSearch(beam, texts, config.output_size)
    written = [transcripts(best.ensemble, r, data, lines, decode) for r in range(config.networks)]
    return IamondbEvaluation(
        config=config,
        data=data,
        split=split,
        epoch=best.epoch,
        ensemble=best.ensemble,
        diverged=best.diverged,
        beam=beam,
        written=written,
        edits=np.array([edits(lines.text or [], own) for own in written]),
        best_epoch=best.extra["best_epoch"].numpy(),
        stopped_at=best.extra["stopped_at"].numpy(),
        valid_cer=best.extra["lowest"].numpy(),
        gradients=LargestGradients.of(best.extra, best.config.networks),
    )


def recognise(run: RunFolder, data: IamondbData, file: Path) -> str:
    """What the run's best network (on the validation set) writes for one line file of IAM-OnDB.

    Raises:
        UserError: no checkpoint; or no such file, or not one line of strokes; or all diverged.
    """
    reader = Reader.of(run, data)
    strokes = read_strokes(content_of(Path(file), LARGEST))
    if isinstance(strokes, str):
        raise UserError(f"{file}: {strokes}; expected a line file of IAM-OnDB")
    behind = lag(strokes)
    if behind:
        say(f"{file}: its clock runs back by {behind:.2f} s; its time was made monotone")
    return reader.read(strokes).text


def about(evaluation: IamondbEvaluation) -> dict[str, Any]:
    """See :meth:`cwrnn_cli.training.task.Task.about`."""
    return {
        "split": evaluation.split,
        "beam": asdict(evaluation.beam) if evaluation.beam else None,
        "sequences": len(evaluation.lines),
    }


def numbers(
    about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], shared: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """See :meth:`cwrnn_cli.training.task.Task.numbers`."""
    finite = ~arrays["diverged"]
    cer = _rates(arrays["edits"], shared["characters"])
    return {
        "metrics": {
            "cer": statistics(cer[finite]),
            "valid_cer": statistics(arrays["valid_cer"][finite]),
            "best_epoch": statistics(arrays["best_epoch"][finite].astype(float)),
        },
        "medians": conventions(cer, arrays["diverged"], 1.0),  # as one that writes nothing
        "cut_short": int((arrays["stopped_at"] < 0).sum()),
    }


def _rates(edits: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """(R,) character error rates: edits over characters, both summed over all lines."""
    rates: np.ndarray = edits.sum(axis=1, dtype=np.int64) / max(characters.sum(dtype=np.int64), 1)
    return rates


def arrays(evaluation: IamondbEvaluation) -> dict[str, np.ndarray]:
    """A cell's part of results.h5: a row per network. No line of the corpus goes in."""
    return {
        "cer": _rates(evaluation.edits, evaluation.characters),
        "edits": evaluation.edits.astype(np.int16),
        "valid_cer": evaluation.valid_cer,
        "diverged": evaluation.diverged,
        "best_epoch": evaluation.best_epoch.astype(np.int32),
        "stopped_at": evaluation.stopped_at.astype(np.int32),
        **evaluation.gradients.arrays(),
    }


def shared_arrays(evaluation: IamondbEvaluation) -> dict[str, np.ndarray]:
    """``characters``: (L,) of each line's right text."""
    return {"characters": evaluation.characters}


def examples(evaluation: IamondbEvaluation, count: int) -> list[tuple[str, str, str]]:
    """Name, right text and the best network's text of some lines, spread over the split."""
    texts, best = (
        evaluation.lines.text or [],
        int(np.where(evaluation.diverged, np.inf, evaluation.valid_cer).argmin()),
    )
    return [
        (evaluation.lines.names[i], texts[i], evaluation.written[best][i])
        for i in spread(len(texts), count)
    ]


def drawn(evaluation: IamondbEvaluation, count: int) -> list[tuple[str, str, np.ndarray]]:
    """Right text, text read and (T, 4) frames in the file's units, of the same lines."""
    lines = evaluation.lines
    found = []
    for (_, right, read), i in zip(
        examples(evaluation, count), spread(len(lines), count), strict=True
    ):
        found.append((right, read, pen_path(lines, i, evaluation.data)))
    return found


def pen_path(lines: Split, index: int, data: IamondbData) -> np.ndarray:
    """(T, 4) frames of a line in the file's units: positions, also where offsets were prepared."""
    frames: np.ndarray = lines[index] * lines.scale + lines.shift
    if data.options.get("offsets"):
        frames[:, :3] = np.cumsum(frames[:, :3], axis=0)
    return frames


def spread(lines: int, count: int) -> list[int]:
    """Indices of ``count`` lines, or of all if there are fewer, spread over ``lines``."""
    return sorted(set(np.linspace(0, lines - 1, min(count, lines)).astype(int).tolist()))
