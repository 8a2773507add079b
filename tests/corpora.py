"""Corpora of a few sequences that networks learn in seconds."""

from pathlib import Path

import numpy as np

from data_prep import store
from data_prep.features import FeatureOptions

WORDS = ("rising", "falling", "level")
CHARACTERS = "abc"


def words(rng: np.random.Generator, count: int, features: int, classes: int) -> store.Split:
    """Sequences whose first half tells the class, and whose end does not."""
    lengths = rng.integers(3, 25, count)
    labels = rng.integers(0, classes, count)
    labels[:classes] = np.arange(classes)
    frames = []
    for length, label in zip(lengths, labels, strict=True):
        part = 0.3 * rng.standard_normal((length, features))
        part[: (length + 1) // 2] += np.cos(label * 2 + np.arange(features))
        frames.append(part.astype(np.float32))
    return store.Split(
        np.concatenate(frames),
        np.cumsum([0, *lengths]).astype(np.int64),
        [f"word {i}" for i in range(count)],
        np.zeros((1, features)),
        np.ones((1, features)),
        labels.astype(np.int64),
    )


def write_timit(path: Path, seed: int = 5) -> None:
    """15 words to train on and 9 to test, of three classes."""
    rng = np.random.default_rng(seed)
    provenance = {
        "source": {"name": "stand-in speech"},
        "words": list(WORDS),
        "groups": [["rising", "falling"], ["level"]],
        "features": FeatureOptions().to_json(),
    }
    splits = {"train": words(rng, 15, 13, 3), "test": words(rng, 9, 13, 3)}
    store.write(path, store.Corpus("timit", True, provenance, splits))


def pen_lines(rng: np.random.Generator, count: int) -> store.Split:
    """Each character is a few steps in a direction of its own."""
    texts = ["".join(rng.choice(list(CHARACTERS), rng.integers(1, 4))) for _ in range(count)]
    lines = []
    for text in texts:
        parts = [0.1 * rng.standard_normal((2, 4))]
        for c in text:
            stroke = 0.1 * rng.standard_normal((int(rng.integers(2, 5)), 4))
            stroke[:, CHARACTERS.index(c)] += 1.5
            parts += [stroke, 0.1 * rng.standard_normal((2, 4))]
        lines.append(np.concatenate(parts).astype(np.float32))
    return store.Split(
        np.concatenate(lines),
        np.cumsum([0, *map(len, lines)]).astype(np.int64),
        [f"line {i}" for i in range(count)],
        np.zeros((1, 4)),
        np.ones((1, 4)),
        text=texts,
    )


def write_iamondb(path: Path) -> None:
    """20 lines to train on, 9 to stop by and 8 to test."""
    rng = np.random.default_rng(3)
    provenance = {
        "source": {"name": "stand-in handwriting"},
        "characters": CHARACTERS,
        "path": {"every": 1, "offsets": False, "slant": False},
    }
    splits = {"train": pen_lines(rng, 20), "valid": pen_lines(rng, 9), "test": pen_lines(rng, 8)}
    store.write(path, store.Corpus("iamondb", True, provenance, splits))
