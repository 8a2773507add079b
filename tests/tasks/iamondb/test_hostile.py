"""Corpora that are whole, and still nothing that this task can learn."""

from dataclasses import replace

import numpy as np
import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from data_prep import store
from data_prep.errors import UserError
from data_prep.iamondb import steps_needed


def changed(tmp_path, lines, change):
    corpus = store.read(lines)
    path = tmp_path / "changed.h5"
    splits = {name: change(name, split) for name, split in corpus.splits.items()}
    store.write(path, replace(corpus, splits=splits))
    return path


def test_a_text_that_is_longer_than_its_path_is_not_trained_on(tmp_path, lines):
    assert [steps_needed(text) for text in ("", "ab", "aab", "aaa")] == [0, 2, 4, 5]
    task = TASKS["iamondb"]

    def longer(name, split):
        return replace(split, text=["a" * len(split[0]), *split.text[1:]])

    data = task.load(changed(tmp_path, lines, longer))
    config = configure(data, "gru", runs=1, params=3000)
    with pytest.raises(UserError, match="line 0: .* frames cannot be aligned with"):
        task.trainer(config, data)
    task.trainer(replace(config, data_sha256=""), task.load(lines))


def test_points_of_another_width_are_refused(tmp_path, lines):
    def wider(name, split):
        zeros = np.zeros((1, 5))
        frames = np.zeros((len(split.frames), 5), np.float32)
        return replace(split, frames=frames, shift=zeros, scale=zeros + 1)

    with pytest.raises(UserError, match="5 numbers a point, expected 4"):
        TASKS["iamondb"].load(changed(tmp_path, lines, wider))
