"""Task 2, spoken word classification: one sequence of feature frames, one word (Section 4.2)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep import store
from data_prep.errors import UserError
from data_prep.features import FeatureOptions

from ...training.data import Data


@dataclass(frozen=True)
class TimitData(Data):
    """The prepared words.

    Attributes:
        train: sequences with labels.
        test: sequences with labels.
        words: name of each class.
        groups: classes that end alike: words of each group.
        features: how the frames were made (see :class:`data_prep.features.FeatureOptions`).
        valid: what :meth:`hold_out` took out of the training set, or None.
    """

    task = "timit"

    train: store.Split
    test: store.Split
    words: list[str]
    groups: list[list[str]]
    features: dict[str, Any]
    valid: store.Split | None = None

    def signals(self) -> Iterable[np.ndarray]:
        """See :meth:`.Data.signals`; the inputs."""
        return (self.train[i] for i in range(len(self.train)))

    def split(self, name: str) -> store.Split:
        """The split of that name: train, valid or test.

        Raises:
            UserError: valid, and nothing was held out.
        """
        found = {"train": self.train, "valid": self.valid, "test": self.test}[name]
        if found is None:
            raise UserError(
                f"--split {name}: the run held none of its training set out; "
                "train one with --hold-out 1"
            )
        return found

    def hold_out(self, count: int) -> "TimitData":
        """The words with some of the training set kept apart, as :attr:`valid`.

        Of every word the ``count`` last training examples, in the file's order, are held out. All
        examples of a word are of different speakers, so nobody who says a word in ``valid`` says
        that word in what is left of ``train``; other words they may, as the paper's own protocol
        has it between training and test set. The frames stay as they are in the file: standardised
        with mean and deviation over all of its training frames, those held out among them.

        Args:
            count: 0: nothing is held out.

        Raises:
            UserError: of some word nothing would be left to train on.
        """
        if not count:
            return self
        if self.provenance.get("parameters", {}).get("split_by") == "speaker":
            raise UserError(
                f"--hold-out {count}: {self.path} is split by speakers, of whom some would be both "
                "trained on and held out; prepare it with --split-by word"
            )
        assert self.train.labels is not None
        last: list[int] = []
        for label, word in enumerate(self.words):
            mine = np.flatnonzero(self.train.labels == label)
            if len(mine) <= count:
                raise UserError(
                    f"--hold-out {count}: {self.path} has {len(mine)} training examples of "
                    f"{word!r}, and one has to stay"
                )
            last += mine[-count:].tolist()
        left = [i for i in range(len(self.train)) if i not in last]
        return replace(self, train=self.train.part(left), valid=self.train.part(sorted(last)))


def load(path: Path) -> TimitData:
    """Read a file of `cwrnn prepare timit`.

    Raises:
        UserError: it is not such a file (see :func:`data_prep.store.read`).
    """
    corpus = store.read(path, TimitData.task)
    try:
        train, test = corpus.splits["train"], corpus.splits["test"]
        words = list(corpus.provenance["words"])
        groups = [list(group) for group in corpus.provenance["groups"]]
        features = dict(corpus.provenance["features"])
        size = FeatureOptions(**features).size
    except KeyError as error:
        raise UserError(f"{path}: lacks {error.args[0]}; prepare it again") from error
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{path}: its words or features are not told; prepare it again") from error
    if train.frames.shape[1] != size:
        raise UserError(
            f"{path}: frames of {train.frames.shape[1]} numbers, expected {size}; prepare it again"
        )
    for split in (train, test):
        if split.labels is None or not all(0 <= label < len(words) for label in split.labels):
            raise UserError(f"{path}: labels that are no classes; prepare it again")
    return TimitData(
        train=train,
        test=test,
        words=words,
        groups=groups,
        features=features,
        source=corpus.provenance["source"]["name"],
        standin=corpus.standin,
        sha256=corpus.sha256,
        path=Path(path),
        provenance=corpus.provenance,
    )


def draw_epoch(
    generator: np.random.Generator, split: store.Split, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """What one network's next epoch is made of: an order, and the frames with fresh noise.

    Args:
        generator: the network's own.
        split: the training set.
        noise: standard deviation of the Gaussian that is added to every number.

    Returns:
        (S,) int64 permutation, (N, D) float32 frames.
    """
    order = generator.permutation(len(split))
    frames = split.frames
    if noise:
        frames = generator.standard_normal(frames.shape, dtype=np.float32)
        frames *= np.float32(noise)
        frames += split.frames
    return order, frames


def padded(split: store.Split, indices: np.ndarray, frames: np.ndarray) -> tuple[Tensor, Tensor]:
    """Sequences as a batch, zeros behind their ends.

    Args:
        split: whose offsets tell where they lie.
        indices: (B,) which.
        frames: (N, D), the split's own or with noise.

    Returns:
        (B, T, D) float32, (B,) int64 lengths.
    """
    begins, ends = split.offsets[indices], split.offsets[indices + 1]
    x = torch.zeros(len(indices), int((ends - begins).max()), frames.shape[1])
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        x[i, : end - begin] = torch.from_numpy(frames[begin:end])
    return x, torch.from_numpy(ends - begins)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean over the sequences of -log softmax, (R,) float64; logits (R, S, K), labels (S,)."""
    wide = torch.from_numpy(logits).double().transpose(1, 2)  # (R, K, S)
    right = torch.from_numpy(labels).expand(len(logits), -1)
    loss = torch.nn.functional.cross_entropy(wide, right, reduction="none")  # (R, S)
    mean: np.ndarray = loss.numpy().mean(axis=1)
    return mean


def error_rate(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fraction of the sequences whose greatest logit is another word's, (R,); NaN is an error."""
    wrong = (logits.argmax(axis=2) != labels[None]) | np.isnan(logits).any(axis=2)
    rate: np.ndarray = wrong.mean(axis=1)
    return rate
