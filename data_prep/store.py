"""The one HDF5 schema of all corpora: the only place that knows it, for writing and for reading.

Layout (`SCHEMA` = 1)::

    /                    attributes schema (int), corpus (str), standin (bool), provenance (JSON)
    /train, /valid, /test    one group per split that the corpus has
        frames   (N, D) float32   all sequences of the split, one after the other
        offsets  (S + 1,) int64   sequence s is frames[offsets[s]:offsets[s + 1]]
        names    (S,) UTF-8       where a sequence came from
        shift, scale  (S or 1, D) float64   original = frames * scale + shift
        labels   (S,) int64       class of each sequence (timit), or
        text     (S,) UTF-8       transcript of each sequence (iamondb), or neither (audio)

The first 512 bytes are an HDF5 user block with a checksum of everything behind it, so that a
truncated or damaged file is refused before anything in it is believed. Writing the same corpus
twice gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from . import hdf5
from .errors import UserError, is_of_memory
from .reading import content_of
from .sealed import USER_BLOCK, header, sealed_hdf5
from .strict_json import dumps

SCHEMA = 1
SPLITS = ("train", "valid", "test")
_DTYPES = {
    "frames": np.dtype(np.float32),
    "offsets": np.dtype(np.int64),
    "shift": np.dtype(np.float64),
    "scale": np.dtype(np.float64),
    "labels": np.dtype(np.int64),
}
_MAGIC = "cwrnn corpus, HDF5 behind 512 bytes; sha256 of the rest: "


@dataclass(frozen=True)
class Split:
    """Sequences of variable length.

    Attributes:
        frames: (N, D) float32, all sequences one after the other.
        offsets: (S + 1,) int64, sequence s is ``frames[offsets[s]:offsets[s + 1]]``.
        names: S names.
        shift: (S, D) or (1, D) float64.
        scale: (S, D) or (1, D) float64; ``frames * scale + shift`` are the original units.
        labels: (S,) int64 classes, or None.
        text: S transcripts, or None.
    """

    frames: np.ndarray
    offsets: np.ndarray
    names: list[str]
    shift: np.ndarray
    scale: np.ndarray
    labels: np.ndarray | None = None
    text: list[str] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Sequence ``index``: (T, D) float32."""
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of a split of {len(self)}")
        return self.frames[self.offsets[index] : self.offsets[index + 1]]

    def part(self, indices: Sequence[int]) -> "Split":
        """Some of its sequences, at least one, in the order of ``indices``; copies."""
        chosen = [self[i] for i in indices]
        shift, scale = (a if len(a) == 1 else a[list(indices)] for a in (self.shift, self.scale))
        return Split(
            np.concatenate(chosen),
            np.cumsum([0, *map(len, chosen)]).astype(np.int64),
            [self.names[i] for i in indices],
            shift,
            scale,
            None if self.labels is None else self.labels[list(indices)],
            None if self.text is None else [self.text[i] for i in indices],
        )


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus.

    Attributes:
        corpus: "audio", "timit" or "iamondb".
        standin: True if it only stands in for the data of the paper's experiment.
        provenance: how it was made: source files with sha256, every parameter, and what prepared
            it, :data:`data_prep.PREPARATION` (JSON types).
        splits: "train", and "valid" and "test" where the task has them.
        sha256: of the file it was read from; empty before it is written.
    """

    corpus: str
    standin: bool
    provenance: dict[str, Any]
    splits: dict[str, Split] = field(default_factory=dict)
    sha256: str = ""


def write(path: Path, corpus: Corpus) -> None:
    """Write a corpus, whole or not at all.

    Raises:
        ValueError: a split breaks the schema.
        UserError: the place cannot be written.
    """
    if problem := _problem(corpus.splits):
        raise ValueError(problem)
    with sealed_hdf5(path, _MAGIC) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["corpus"] = corpus.corpus
        file.attrs["standin"] = corpus.standin
        file.attrs["provenance"] = dumps(corpus.provenance, sort_keys=True)
        for name, split in corpus.splits.items():
            group = file.create_group(name)
            group["frames"] = split.frames
            group["offsets"] = split.offsets
            group["shift"] = split.shift
            group["scale"] = split.scale
            _write_texts(group, "names", split.names)
            if split.labels is not None:
                group["labels"] = split.labels
            if split.text is not None:
                _write_texts(group, "text", split.text)


def _write_texts(group: h5py.Group, name: str, texts: list[str]) -> None:
    hdf5.have_room()
    text = h5py.string_dtype("utf-8")
    group.create_dataset(name, data=texts, dtype=text, shape=(len(texts),))


def read(path: Path, corpus: str | None = None) -> Corpus:
    """Read a corpus, wholly checked.

    Args:
        path: the file.
        corpus: the corpus that it must be, if that matters.

    Raises:
        UserError: no such file; not one of ours; truncated or changed since it was written; of
            another schema; of another corpus. Each says what to do.
    """
    path = Path(path)
    again = f"make it with `cwrnn prepare {corpus or 'audio'}`"
    try:
        content = content_of(path, hdf5.LARGEST, (_MAGIC.encode(),))
    except UserError as error:
        raise UserError(f"{error.reason}; name it with --data, or {again}", place=path) from error
    if not content.startswith(_MAGIC.encode()):
        raise UserError(f"{path}: not a corpus of cwrnn; {again}")
    behind = hashlib.sha256(memoryview(content)[USER_BLOCK:]).hexdigest()
    if content[:USER_BLOCK] != header(_MAGIC, behind):
        raise UserError(f"{path}: truncated or damaged (its checksum is wrong); {again} again")
    try:
        with hdf5.opened(path, content) as file:
            found = _checked(file, hashlib.sha256(content).hexdigest())
    except hdf5.FAILURES as error:
        if is_of_memory(error):
            hdf5.have_room()  # or it declares more than there is
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(f"breaks the schema ({reason}); {again} again", place=path) from error
    if corpus is not None and found.corpus != corpus:
        raise UserError(f"{path}: holds the corpus {found.corpus}, not {corpus}; {again}")
    return found


def _checked(file: h5py.File, sha256: str) -> Corpus:
    """What an open file holds; of its failures, ValueError for what breaks the schema."""
    schema = int(file.attrs["schema"])
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}, this version reads schema {SCHEMA}")
    splits = {}
    for name in SPLITS:
        if name not in file:
            continue
        group = file[name]
        splits[name] = Split(
            frames=group["frames"][()],
            offsets=group["offsets"][()],
            names=list(group["names"].asstr()[()]),
            shift=group["shift"][()],
            scale=group["scale"][()],
            labels=group["labels"][()] if "labels" in group else None,
            text=list(group["text"].asstr()[()]) if "text" in group else None,
        )
    if problem := _problem(splits):
        raise ValueError(problem)
    provenance = json.loads(file.attrs["provenance"])
    if not isinstance(provenance["source"]["name"], str):
        raise ValueError("provenance: the source has no name")
    return Corpus(
        corpus=str(file.attrs["corpus"]),
        standin=bool(file.attrs["standin"]),
        provenance=provenance,
        splits=splits,
        sha256=sha256,
    )


def _problem(splits: Mapping[str, Split]) -> str | None:
    """What is wrong with the splits, if anything."""
    for name, split in splits.items():
        if name not in SPLITS:
            return f"split {name}, expected one of {', '.join(SPLITS)}"
        if problem := _problem_of(split):
            return f"{name}: {problem}"
    widths = {split.frames.shape[1] for split in splits.values()}
    if len(widths) > 1:
        return f"frames of {min(widths)} and of {max(widths)} numbers"
    return None


def _problem_of(split: Split) -> str | None:
    for what, dtype in _DTYPES.items():
        values = getattr(split, what)
        if values is not None and (not isinstance(values, np.ndarray) or values.dtype != dtype):
            return f"{what} must be {dtype}, not {getattr(values, 'dtype', type(values).__name__)}"
    count, offsets = split.offsets.size - 1, split.offsets
    if split.frames.ndim != 2 or not split.frames.shape[1] or offsets.ndim != 1:
        return "frames must be (N, D) and offsets (S + 1,)"
    if count < 1:
        return "no sequences"
    if offsets[0] != 0 or offsets[-1] != len(split.frames) or np.any(np.diff(offsets) < 1):
        return f"offsets must rise from 0 to {len(split.frames)}"
    if not np.isfinite(split.frames).all():
        return "frames hold values that are not finite"
    for affine in (split.shift, split.scale):
        if affine.shape not in {(count, split.frames.shape[1]), (1, split.frames.shape[1])}:
            return f"shift and scale must be (S, D) or (1, D), not {affine.shape}"
        if not np.isfinite(affine).all():
            return "shift or scale hold values that are not finite"
    for what, values in (("names", split.names), ("labels", split.labels), ("text", split.text)):
        if values is not None and np.shape(values) != (count,):
            return f"{len(values)} {what} for {count} sequences"
    if split.labels is not None and split.labels.min() < 0:
        return f"label {split.labels.min()}, expected 0 or more"
    return None
