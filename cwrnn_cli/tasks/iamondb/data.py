"""Task 3, online handwriting: a pen's path in, characters out, by CTC (Section 4.3)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep import store
from data_prep.errors import UserError
from data_prep.iamondb import steps_needed

from ...training.data import Data
from ...training.share import Excerpt

CHANNELS = 4  # x, y, time, end of a stroke
BLANK = 0  # the output unit that says "no character"; character c has unit c + 1


@dataclass(frozen=True)
class IamondbData(Data):
    """The prepared lines.

    Attributes:
        train: pen paths with text.
        valid: likewise.
        test: likewise.
        characters: what the networks can write.
        options: how the paths were made (see :class:`data_prep.iamondb.PathOptions`).
    """

    task = "iamondb"

    train: store.Split
    valid: store.Split
    test: store.Split
    characters: str
    options: dict[str, Any]

    def signals(self) -> Iterable[np.ndarray]:
        """See :meth:`.Data.signals`; the inputs."""
        return (self.train[i] for i in range(len(self.train)))

    def split(self, name: str) -> store.Split:
        """The split of that name: train, valid or test."""
        split: store.Split = getattr(self, name)
        return split

    def encode(self, text: str) -> list[int]:
        """Output units of a text; characters that no unit stands for are left out."""
        return [self.characters.index(c) + 1 for c in text if c in self.characters]

    def decode(self, units: np.ndarray) -> str:
        """The text of output units; blanks must be gone already."""
        return "".join(self.characters[unit - 1] for unit in units)


def load(path: Path) -> IamondbData:
    """Read a file of `cwrnn prepare iamondb`.

    Raises:
        UserError: it is not such a file (see :func:`data_prep.store.read`).
    """
    corpus = store.read(path, IamondbData.task)
    found = corpus.provenance
    try:
        train, valid, test = (corpus.splits[name] for name in ("train", "valid", "test"))
        characters, options = str(found["characters"]), dict(found["path"])
    except KeyError as error:
        raise UserError(f"{path}: lacks {error.args[0]}; prepare it again") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: how its paths were made is not told; prepare it again") from error
    if train.frames.shape[1] != CHANNELS or len(set(characters)) < len(characters):
        raise UserError(
            f"{path}: {train.frames.shape[1]} numbers a point, expected {CHANNELS}; or a character "
            "is there twice; prepare it again"
        )
    if any(split.text is None for split in (train, valid, test)) or not characters:
        raise UserError(f"{path}: lines without text; prepare it again")
    return IamondbData(
        train=train,
        valid=valid,
        test=test,
        characters=characters,
        options=options,
        source=corpus.provenance["source"]["name"],
        standin=corpus.standin,
        sha256=corpus.sha256,
        path=Path(path),
        provenance=corpus.provenance,
    )


def excerpt(data: IamondbData) -> Excerpt:
    """Every so many lines of each split: at the least 128 to train on."""
    every = max(len(data.train) // 128, 1)
    splits = data.train, data.valid, data.test
    train, valid, test = (split.part(range(0, len(split), every)) for split in splits)
    steps = len(data.train.frames) + len(data.valid.frames)
    return Excerpt(
        replace(data, train=train, valid=valid, test=test),
        steps / (len(train.frames) + len(valid.frames)),
        len(data.test.frames) / max(len(test.frames), 1),
    )


def check_aligned(data: IamondbData) -> None:
    """Whether every training line is long enough for its text: else CTC has no loss of it.

    Raises:
        UserError: one is not; it is named.
    """
    assert data.train.text is not None
    lengths = np.diff(data.train.offsets)
    for name, text, steps in zip(data.train.names, data.train.text, lengths, strict=True):
        if steps < steps_needed(data.encode(text)):
            raise UserError(
                f"{data.path}: {name}: {steps} frames cannot be aligned with {len(text)} "
                "characters; prepare it again"
            )


@dataclass(frozen=True)
class Batch:
    """Lines side by side, for R networks.

    Attributes:
        x: (R, B, T, D) float32, zeros behind the lines' ends.
        lengths: (R, B) int64 steps.
        targets: (all texts' units) int64, one line after the other, network after network.
        target_lengths: (R * B,) int64.
    """

    x: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def ready_for(self, like: Tensor) -> "Batch":
        """With inputs of a tensor's dtype, in memory that a GPU can read while it computes."""
        found = replace(self, x=self.x.to(like.dtype))
        if like.device.type != "cuda":
            return found
        return Batch(*(tensor.pin_memory() for tensor in vars(found).values()))

    def on(self, device: torch.device) -> "Batch":
        """With inputs and targets there; lengths stay, as CTC would wait to read them there."""
        x, targets = (t.to(device, non_blocking=True) for t in (self.x, self.targets))
        return replace(self, x=x, targets=targets)


def batch_of(split: store.Split, targets: list[list[int]], chosen: list[np.ndarray]) -> Batch:
    """Lines of a split as a batch.

    Args:
        split: where they are.
        targets: units of each line of the split.
        chosen: for each network the indices of its lines, as many for each.
    """
    lengths = np.diff(split.offsets)
    longest = max(int(lengths[own].max()) for own in chosen)
    x = torch.zeros(len(chosen), len(chosen[0]), longest, split.frames.shape[1])
    for r, own in enumerate(chosen):
        for b, index in enumerate(own):
            x[r, b, : lengths[index]] = torch.from_numpy(split[int(index)])
    wanted = [targets[index] for own in chosen for index in own]
    return Batch(
        x,
        torch.from_numpy(np.stack([lengths[own] for own in chosen])),
        torch.tensor([unit for text in wanted for unit in text], dtype=torch.int64),
        torch.tensor([len(text) for text in wanted]),
    )


def buckets(
    generator: np.random.Generator, lengths: np.ndarray, size: int, order: np.ndarray
) -> list[np.ndarray]:
    """All lines in batches of lines of about the same length.

    Args:
        generator: a network's own: which lines are together.
        lengths: (S,) steps.
        size: lines of a batch; the last one, of the longest lines, may be smaller.
        order: permutation of the batches.
    """
    ranked = np.argsort(lengths * generator.uniform(0.9, 1.1, len(lengths)), kind="stable")
    every = [ranked[first : first + size] for first in range(0, len(ranked), size)]
    return [every[i] for i in order]


def ctc(logits: Tensor, batch: Batch) -> Tensor:
    """(R, B): -log p of each line's text; logits (R, B, T, units)."""
    networks, size = batch.lengths.shape
    log_p = logits.log_softmax(dim=3).flatten(0, 1).transpose(0, 1)  # (T, R B, units)
    if log_p.device.type not in ("cpu", "cuda"):
        log_p = log_p.cpu()  # torch has it on those two
    loss = torch.nn.functional.ctc_loss(
        log_p,
        batch.targets.to(log_p.device),
        batch.lengths.flatten(),
        batch.target_lengths,
        BLANK,
        reduction="none",
        zero_infinity=True,  # a text too long for its path has no gradient
    )
    return loss.view(networks, size).to(logits.device)


def best_path(logits: Tensor, lengths: Tensor) -> list[np.ndarray]:
    """The likeliest unit at each step, repetitions and blanks taken out (Section 4.3).

    Args:
        logits: (B, T, units).
        lengths: (B,) steps.

    Returns:
        Units of each line.
    """
    paths = zip(logits.argmax(dim=2).cpu().numpy(), lengths.tolist(), strict=True)
    return [collapse(path[:steps]) for path, steps in paths]


def collapse(path: np.ndarray) -> np.ndarray:
    """The units of a path (T,), repetitions and blanks taken out."""
    first = np.concatenate([[True], path[1:] != path[:-1]])
    found: np.ndarray = path[first & (path != BLANK)]
    return found


Decode = Callable[[Tensor, Tensor], list[np.ndarray]]  # as best_path


def edits(wanted: list[str], written: list[str]) -> np.ndarray:
    """(S,) edit distances: characters to insert, delete or change."""
    from rapidfuzz.distance import Levenshtein  # noqa: PLC0415

    return np.array([Levenshtein.distance(a, b) for a, b in zip(wanted, written, strict=True)])


def error_rate(wanted: list[str], written: list[str]) -> float:
    """Character error rate: edits over characters, both summed over all lines."""
    return float(edits(wanted, written).sum() / max(sum(map(len, wanted)), 1))
