"""Task 2's training: compiled loop against autograd, early stop, kill and resume, commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cwrnn_cli.clock import Clock
from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.timit import data as words
from cwrnn_cli.tasks.timit.engines import CompiledEngine, Learning, StepwiseEngine, TimitTrainer
from cwrnn_cli.tasks.timit.evaluate import arrays
from cwrnn_cli.tasks.timit.task import TimitTask
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted, train
from data_prep import store
from data_prep.errors import UserError
from tests.conftest import one_line_error
from tests.conftest import shape_of as Shape
from tests.corpora import WORDS
from tests.corpora import words as split_of

evaluate = TimitTask().evaluate_run


@settings(max_examples=20)
@given(
    model=st.sampled_from(["cw", "srn", "lstm"]),
    units=st.integers(4, 35),
    periods=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    peepholes=st.booleans(),
    features=st.integers(1, 20),
    classes=st.integers(2, 20),
    seed=st.integers(0, 1000),
    learning=st.builds(
        Learning,
        batch=st.integers(1, 4),
        loss_at=st.sampled_from(["last", "every"]),
        delta_clip=st.sampled_from([None, 0.01]),
    ),
    origin=st.integers(0, 1),
    cell_output=st.sampled_from(["tanh", "2tanh", "sigmoid"]),
    quarters=st.integers(0, 3),
)
def test_the_compiled_loop_is_autograds(
    model,
    units,
    periods,
    peepholes,
    features,
    classes,
    seed,
    learning,
    origin,
    cell_output,
    quarters,
):
    rng = np.random.default_rng(seed)
    data = split_of(rng, classes + 2, features, classes)
    clock = Clock.of(units, sorted(periods)) if model == "cw" else None
    shape = Shape(
        model,
        features,
        units,
        classes,
        [(p, quarters * p // 4) for p in clock.periods] if clock else (),
        clock.sizes if clock else (),
        peepholes and model == "lstm",
        clock_origin=origin,
        cell_output=cell_output,
    )
    engines = []
    for engine, options in ((CompiledEngine, {}), (StepwiseEngine, {"backend": "reference"})):
        ensemble = Ensemble(shape, 3, dtype=torch.float64)
        generators = [np.random.default_rng((seed, r)) for r in range(3)]
        # not so large that the networks are chaotic and magnify what is lost to rounding
        ensemble.draw(generators, 0.7 / units**0.5)
        engines.append(engine(ensemble, data, 0.5, generators, learning=learning, **options))
    active = np.array([0, 2])
    start = engines[0].weights()
    for _ in range(2):
        momenta = np.linspace(0.5, 0.9, -(-len(data) // learning.batch))
        rates = 0.02 * (1.1 - momenta)
        losses = [engine.train(active, rates, momenta) for engine in engines]
        np.testing.assert_allclose(*losses, rtol=1e-9)
        longest = [engine.gradient_lengths.max(axis=0) for engine in engines]
        assert longest[0].shape == (2,)
        np.testing.assert_allclose(*longest, rtol=1e-8)
    for one, other in ((e.state().weights, e.state().velocity) for e in engines):
        assert one.keys() == other.keys() == start.keys()
    for state in ("weights", "velocity"):
        mine, theirs = (getattr(engine.state(), state) for engine in engines)
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-7, atol=1e-10)
            changed = (mine[name] != start[name]).flatten(1).any(dim=1)
            if state == "weights":
                assert changed.tolist() == [True, False, True]
    logits = [engine.logits(active, data) for engine in engines]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-6)
    engines[1].load(engines[0].state())
    engines[0].load(engines[1].state())
    assert all(torch.equal(w, engines[1].weights()[n]) for n, w in engines[0].weights().items())


def test_the_loss_is_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 7, 4)).astype(np.float32), rng.integers(0, 4, 7)
    expected = [
        torch.nn.functional.cross_entropy(torch.from_numpy(one), torch.from_numpy(labels))
        for one in logits
    ]
    np.testing.assert_allclose(words.cross_entropy(logits, labels), expected, rtol=1e-5)
    right = np.eye(4, dtype=np.float32)[labels][None]
    assert words.error_rate(right, labels).tolist() == [0.0]
    assert words.error_rate(np.full_like(right, np.nan), labels).tolist() == [1.0]


def trained(spoken, path, resume=False, **options):
    data = words.load(spoken)
    config = configure(data, options.pop("model", "cw"), 500, **options)
    folder = RunFolder(path)
    if not folder.exists:
        folder.start(config)
    train(config, data, folder)
    return folder


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_a_run_learns_and_stops_by_itself(spoken, tmp_path, model):
    lr = 0.02 if model == "lstm" else 0.005
    options = {"model": model, "runs": 3, "lr": lr, "noise": 0.2, "stop_on": "train_error"}
    folder = trained(spoken, tmp_path / "run", **options)
    found = evaluate(folder)
    assert not found.diverged.any() and (found.stopped_at > 0).all()
    assert (found.stopped_at == found.best_epoch + 5).all()
    assert found.epoch == found.stopped_at.max()
    if model != "srn":  # whose first halves are forgotten at the end
        assert found.error.mean() < 0.34 and found.train_error.mean() < 0.34
    # what is judged is the best epoch's weights: the error that was noted then is theirs
    on_train = evaluate(folder, split="train")
    np.testing.assert_allclose(on_train.error, found.train_error)
    result = TimitTask().summary(found)
    assert sum(map(sum, result["confusion"])) == 3 * 9
    assert result["standin"] and result["metrics"]["error"]["mean"] == found.error.mean()
    weighted = [
        g["metrics"]["error"]["mean"]
        * sum(np.isin(found.labels, [WORDS.index(w) for w in g["words"]]))
        for g in result["groups"]
    ]
    assert sum(weighted) / 9 == pytest.approx(found.error.mean())


def test_a_network_trains_alike_alone_and_among_others(spoken, tmp_path):
    many = trained(spoken, tmp_path / "many", runs=3, epochs=8).checkpoint()
    alone = trained(spoken, tmp_path / "alone", runs=1, epochs=8).checkpoint()
    for name, weight in alone.weights.items():
        assert torch.equal(weight[0], many.weights[name][0])
        assert not torch.equal(many.weights[name][1], many.weights[name][0])


def test_killed_and_resumed_it_ends_the_same(spoken, tmp_path, monkeypatch):
    whole = trained(spoken, tmp_path / "whole", runs=2, epochs=12)
    data = words.load(spoken)
    config = configure(data, "cw", 500, runs=2, epochs=12)
    folder = RunFolder(tmp_path / "broken")
    folder.start(config)
    for until in (3, 7):
        advance = TimitTrainer.advance

        def stop(self, until=until, advance=advance):
            if self.epoch == until:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGTERM)
            return advance(self)

        monkeypatch.setattr(TimitTrainer, "advance", stop)
        with pytest.raises(Interrupted):
            train(config, data, folder)
        monkeypatch.undo()
    train(config, data, folder)
    a, b = whole.checkpoint(), folder.checkpoint()
    assert a.epoch == b.epoch and a.generators == b.generators
    for mine, theirs in ((a.weights, b.weights), (a.velocity, b.velocity), (a.extra, b.extra)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (whole.path / "metrics.jsonl").read_text() == (folder.path / "metrics.jsonl").read_text()


def test_a_network_that_diverges_stops_and_is_counted(spoken, tmp_path):
    folder = trained(spoken, tmp_path / "run", model="srn", runs=2, lr=1e38)
    found = evaluate(folder)
    assert found.diverged.all()
    summary = TimitTask().summary(found)
    assert summary["diverged"] == 2 and summary["metrics"]["error"]["mean"] is None
    assert summary["medians"]["as_constant"]["median"] == 1 - 1 / len(summary["words"])
    rows = arrays(found)
    assert np.isinf(rows["largest_gradient"]).all() and (rows["largest_gradient_at"] == 1).all()


def test_the_commands(cwrnn, spoken, tmp_path):
    small = ("--task", "timit", "--params", 500, "--runs", 2, "--data", spoken)
    cwrnn("train", *small, "--model", "cw", "--epochs", 4, "--stop-on", "train_error")
    text = cwrnn("eval", "--plot", "confusion.png").stdout
    assert "rising falling" in text and "synthetic voices, not TIMIT" in text
    assert "2 of 2 networks were cut short" in text
    assert Path("confusion.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(cwrnn("eval", "--task", "timit", "--split", "train", "--json").stdout)
    assert found["task"] == "timit" and found["split"] == "train" and found["networks"] == 2
    assert {d["name"] for d in found["deviations"]} == {
        "runs", "epochs", "stop_on",
        "output_size", "hidden_size",  # of the small corpus
    }  # fmt: skip
    rng = np.random.default_rng(0)
    soundfile.write("word.wav", 0.1 * rng.standard_normal(8000), 16000)
    lines = cwrnn("eval", "--file", "word.wav").stdout.splitlines()
    assert len(lines) == 3 and sum(float(line.split()[1]) for line in lines) == pytest.approx(
        1, abs=0.01
    )
    found = json.loads(cwrnn("eval", "--file", "word.wav", "--json").stdout)
    assert list(found["words"]) == [line.split()[0] for line in lines]
    for command, message in (
        ("eval --file none.wav", "none.wav: no such file"),
        (
            "eval --split valid",
            "--split valid: the run held none of its training set out; train one",
        ),
        ("generate audio runs/timit-cw-500-seed0", "a run of task timit; expected one of audio"),
    ):
        assert message in one_line_error(cwrnn(*command.split(), expect=2))
    options = (*small, "--epochs", 3, "--sizes", "500,1000", "--out", "grid")
    del_params = [w for i, w in enumerate(options) if i not in (2, 3)]
    text = cwrnn("compare", *del_params).stdout
    assert "SRN / CW-RNN" in text and "the paper's numbers are on TIMIT" in text
    assert {p.name for p in Path("grid").iterdir()} >= {
        "table.txt", "figure4.png", "comparison.json", "results.h5", "confusion-cw-1000.png",
    }  # fmt: skip
    again = json.loads(cwrnn("compare", *del_params, "--resume", "--json").stdout)
    assert len(again["cells"]) == 6 and set(again["ratios"]) == {"500", "1000"}
    low, value, high = (again["ratios"]["500"]["lstm_over_cw"][k] for k in ("low", "ratio", "high"))
    assert low <= value <= high


def test_files_that_are_not_of_this_task(spoken, piece, tmp_path):
    with pytest.raises(UserError, match="holds the corpus audio, not timit"):
        words.load(piece)
    corpus = store.read(spoken)
    corpus.provenance.pop("groups")
    store.write(tmp_path / "a.h5", corpus)
    with pytest.raises(UserError, match="lacks groups; prepare it again"):
        words.load(tmp_path / "a.h5")


def test_the_corpus_may_be_named_by_the_environment(cwrnn, tmp_path, monkeypatch):
    monkeypatch.setenv("CWRNN_TIMIT", str(tmp_path / "nowhere"))
    assert "nowhere: no such folder" in one_line_error(cwrnn("prepare", "timit", expect=2))
    monkeypatch.setenv("CWRNN_IAMONDB", str(tmp_path / "nowhere"))
    assert "nowhere: no such folder" in one_line_error(cwrnn("prepare", "iamondb", expect=2))
