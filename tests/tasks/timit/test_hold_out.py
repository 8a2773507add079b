"""Task 2's --hold-out: a split of the training set to choose by, apart from it and the test set."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import cwrnn_cli
from cwrnn_cli.tasks.timit.data import load
from cwrnn_cli.tasks.timit.task import TimitTask
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from data_prep import timit
from data_prep.errors import UserError
from tests.conftest import one_line_error
from tests.data_prep.test_timit import GROUPS, write_corpus

TASK = TimitTask()


def trained(spoken, path, **options):
    data = load(spoken)
    config = configure(data, "cw", 500, epochs=4, **options)
    folder = RunFolder(path)
    folder.start(config)
    train(config, data, folder)
    return folder


@pytest.fixture(scope="module")
def run(spoken, tmp_path_factory) -> RunFolder:
    """Three networks that were trained on all but two examples of each word."""
    return trained(spoken, tmp_path_factory.mktemp("held") / "run", runs=3, hold_out=2, lr=0.005)


@pytest.mark.parametrize("count", [1, 2])
def test_the_last_examples_of_every_word_are_held_out(spoken, count):
    data = load(spoken)
    found = data.hold_out(count)
    by_word = [np.flatnonzero(data.train.labels == label) for label in range(3)]
    wanted = {
        "train": sorted(i for mine in by_word for i in mine[:-count]),
        "valid": sorted(i for mine in by_word for i in mine[-count:]),
    }
    for name, indices in wanted.items():
        part = found.split(name)
        assert part.names == [data.train.names[i] for i in indices]
        assert part.labels.tolist() == data.train.labels[indices].tolist()
        for mine, index in enumerate(indices):
            assert (part[mine] == data.train[index]).all()
        assert part.offsets[-1] == len(part.frames)
        assert (part.shift is data.train.shift) and (part.scale is data.train.scale)
    assert found.test is data.test


def test_without_it_nothing_changes(spoken, tmp_path):
    data = load(spoken)
    assert data.hold_out(0) is data
    with pytest.raises(UserError, match="--split valid: the run held none of its training set out"):
        data.split("valid")
    plain = trained(spoken, tmp_path / "plain", runs=1)
    zero = trained(spoken, tmp_path / "zero", runs=1, hold_out=0)
    assert plain.config() == zero.config()
    for name, weight in plain.checkpoint().weights.items():
        assert torch.equal(weight, zero.checkpoint().weights[name])
    assert "hold_out" not in {d["name"] for d in plain.config().deviations()}
    assert TASK.judged_by(plain.config()) == "train"


def test_a_word_must_have_an_example_left(spoken):
    with pytest.raises(UserError, match="has 3 training examples of 'falling', and one has to"):
        load(spoken).hold_out(3)


@pytest.mark.parametrize("count", [1, 3])
def test_no_speaker_of_a_word_is_on_two_sides(tmp_path, count):
    timit.prepare(tmp_path / "a.h5", write_corpus(tmp_path / "a"), GROUPS)
    data = load(tmp_path / "a.h5").hold_out(count)
    said = {}
    for name in ("train", "valid", "test"):
        places = [text.split(": ") for text in data.split(name).names]
        said[name] = {(word, place.split("/")[2]) for word, place in places}
        assert len(said[name]) == len(places)  # no speaker says a word twice
    assert {n: len(s) for n, s in said.items()} == {
        "train": 3 * (5 - count), "valid": 3 * count, "test": 3 * 2,
    }  # fmt: skip
    assert len(said["train"] | said["valid"] | said["test"]) == 3 * 7


def test_networks_train_on_what_is_left(spoken, run):
    data = load(spoken).hold_out(2)
    config = run.config()
    assert config.hold_out == 2 and config.sequences == len(data.train) == 9
    assert config.length == np.diff(data.train.offsets).max()
    assert {"name": "hold_out", "paper": 0, "ours": 2} in config.deviations()
    # as if the file had never held the others
    whole = configure(data, "cw", 500, epochs=4, runs=3, lr=0.005)
    trainer = TASK.trainer(whole, data)
    while not trainer.finished:
        trainer.advance()
    for name, weight in run.checkpoint().weights.items():
        assert torch.equal(weight, trainer.checkpoint().weights[name])
    # they still stop by the training set
    on_train = TASK.evaluate_run(run, split="train")
    assert len(on_train.labels) == 9
    np.testing.assert_allclose(on_train.cross_entropy, on_train.lowest, rtol=1e-5)


def test_choices_are_made_by_the_words_held_out(run):
    valid = TASK.evaluate_run(run, split="valid")
    assert TASK.judged_by(run.config()) == "valid"
    assert len(valid.labels) == 6 and sorted(valid.labels) == [0, 0, 1, 1, 2, 2]
    assert TASK.selection(valid).tolist() == valid.error.tolist()
    for split in ("train", "test"):
        with pytest.raises(ValueError, match=f"choices by errors on the split {split}"):
            TASK.selection(TASK.evaluate_run(run, split=split))


def test_the_best_network_is_the_one_with_the_fewest_errors_on_them(spoken, tmp_path):
    # of these two networks the other one has the lower cross entropy on what it was trained on
    folder = trained(spoken, tmp_path / "run", runs=2, seed=5, hold_out=1, lr=0.005)
    found = TASK.evaluate_run(folder, split="valid")
    best = int(found.error.argmin())
    assert best != int(found.lowest.argmin())
    layer, _ = cwrnn_cli.load(folder.path)
    wanted, _ = cwrnn_cli.load(folder.path, best)
    assert torch.equal(layer.weight_hh, wanted.weight_hh)


def test_an_older_configuration_held_nothing_out(run, tmp_path):
    old = json.loads((run.path / "config.json").read_text())
    assert old.pop("hold_out") == 2
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert RunFolder(tmp_path).config().hold_out == 0


def test_the_commands(cwrnn, spoken):
    words = ("--task", "timit", "--runs", 2, "--epochs", 2, "--data", spoken, "--hold-out", 1)
    text = cwrnn("train", "--model", "cw", "--params", 500, *words).stderr
    assert "deviates from the paper: hold_out 1, paper 0" in text
    found = json.loads(cwrnn("eval", "--split", "valid", "--json").stdout)
    assert (found["split"], found["sequences"]) == ("valid", 3)
    assert "3 words of the valid set" in cwrnn("eval", "--split", "valid").stdout
    cwrnn("compare", "--models", "srn,cw", "--sizes", "500", *words, "--out", "grid")
    cell = "grid/cells/srn-500"
    found = json.loads(cwrnn("eval", cell, "--split", "train", "--json").stdout)
    assert found["sequences"] == 12
    message = one_line_error(cwrnn("train", "--model", "cw", *words[:-1], 4, expect=2))
    assert message == "--hold-out 4: expected 0 to 3"


def test_a_corpus_split_by_speakers_holds_none_of_their_words_out(spoken):
    data = load(spoken)
    split = replace(data, provenance=data.provenance | {"parameters": {"split_by": "speaker"}})
    with pytest.raises(UserError, match="--hold-out 1: .* is split by speakers"):
        split.hold_out(1)
    assert split.hold_out(0) is split
