"""Task 3's training: batches, CTC, no leak from padding, stop, kill, two processes, commands."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cwrnn_cli.clock import Clock, shared_out
from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.audio import data as audio
from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.tasks.iamondb import runs_report
from cwrnn_cli.tasks.iamondb.engines import CtcEngine, IamondbTrainer, batch_order, transcripts
from cwrnn_cli.tasks.iamondb.evaluate import recognise
from cwrnn_cli.tasks.iamondb.task import IamondbTask
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import Interrupted, train
from data_prep import store
from data_prep.errors import UserError
from tests.conftest import one_line_error
from tests.conftest import shape_of as Shape
from tests.corpora import CHARACTERS

evaluate = IamondbTask().evaluate_run


def trained(lines, path, **options):
    data = handwriting.load(lines)
    config = configure(data, options.pop("model", "cw"), 1000, **({"runs": 2} | options))
    folder = RunFolder(path)
    if not folder.exists:
        folder.start(config)
    train(config, data, folder)
    return folder


def test_buckets_hold_every_line_once():
    lengths = np.random.default_rng(0).integers(1, 100, 50)
    order = np.random.default_rng(1).permutation(13)
    found = handwriting.buckets(np.random.default_rng(2), lengths, 4, order)
    assert sorted(np.concatenate(found).tolist()) == list(range(50))
    assert sorted(map(len, found)) == [2] + [4] * 12
    spread = np.mean([np.ptp(lengths[batch]) for batch in found])
    assert spread < 15  # of about the same length


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_nothing_leaks_from_the_padding(lines, model):
    data = handwriting.load(lines)
    clock = Clock.of(10, 4) if model == "cw" else None
    shape = Shape(
        model, 4, 10, 4, clock.periods if clock else (), clock.sizes if clock else (), False, True
    )
    ensemble = Ensemble(shape, 2, dtype=torch.float64)
    ensemble.draw([np.random.default_rng(i) for i in range(2)], 0.5)
    targets = [data.encode(text) for text in data.train.text]
    chosen = [np.array([0, 1, 2]), np.array([5, 3, 4])]
    batch = handwriting.batch_of(data.train, targets, chosen)
    results = []
    for filling in (0.0, 1e3):
        x = batch.x.double().clone()
        steps = torch.arange(x.shape[2])
        x[steps[None, None] >= batch.lengths[:, :, None]] = filling
        ensemble.zero_grad()
        loss = handwriting.ctc(ensemble(x, lengths=batch.lengths), batch)
        loss.sum().backward()
        results.append((loss.detach(), [w.grad.clone() for w in ensemble.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    for one, other in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    # each line by itself, by the layer that users get and torch's own loss
    for r in range(2):
        layer, readout = ensemble.member(r)
        for b, index in enumerate(chosen[r]):
            y, _ = layer(torch.from_numpy(data.train[int(index)]).double()[None])
            log_p = readout(y)[0].log_softmax(dim=1)
            text = torch.tensor(targets[index])
            alone = torch.nn.functional.ctc_loss(
                log_p, text, (len(log_p),), (len(text),), reduction="sum"
            )
            assert results[0][0][r, b].item() == pytest.approx(alone.item(), rel=1e-9)


def test_best_path_and_error_rate():
    units = torch.tensor([[0, 1, 1, 0, 1, 2, 2, 0, 3, 3]])
    logits = torch.nn.functional.one_hot(units, 4).float()
    found = handwriting.best_path(logits, torch.tensor([8]))
    assert found[0].tolist() == [1, 1, 2]  # what is behind the end is not read
    assert handwriting.error_rate(["abc", "c"], ["axc", ""]) == pytest.approx(2 / 4)
    assert handwriting.error_rate(["ab"], ["ab"]) == 0


@pytest.mark.parametrize(("model", "lr"), [("cw", 5e-3), ("srn", 5e-3), ("lstm", 2e-2)])
def test_a_run_learns_and_stops_by_itself(lines, tmp_path, model, lr):
    options = {"lr": lr, "epochs": 90, "patience": 40, "batch": 2, "runs": 1}
    folder = trained(lines, tmp_path / "run", model=model, **options)
    found = evaluate(folder, split="valid")
    assert IamondbTask().arrays(found)["cer"].max() < 0.35 and not found.diverged.any()
    # what is judged is the best epoch's weights: the error that was noted then is theirs
    np.testing.assert_allclose(IamondbTask().arrays(found)["cer"], found.valid_cer)
    stopped = found.stopped_at > 0
    assert (found.stopped_at[stopped] == found.best_epoch[stopped] + 40).all()
    result = IamondbTask().summary(evaluate(folder))
    assert result["split"] == "test" and 0 <= result["metrics"]["cer"]["mean"] < 0.5
    noted = [json.loads(line) for line in (folder.path / "metrics.jsonl").open()]
    assert min(line["best_valid_cer"] for line in noted) == pytest.approx(found.valid_cer.min())


@pytest.mark.parametrize("batch", [4, 6])  # of 20 lines: with 6, two are left for one update
def test_the_sum_over_an_updates_lines_is_their_mean_times_so_many(lines, batch):
    data = handwriting.load(lines)
    sizes = np.array([batch] * (20 // batch) + [20 % batch] * (20 % batch > 0))
    sizes = sizes[batch_order(configure(data, "cw", 1000), 0, len(sizes))]  # update by update

    def weights(reduction: str, rates: np.ndarray, **options) -> torch.Tensor:
        options |= {"batch": batch, "runs": 2, "reduction": reduction}
        engine = CtcEngine(configure(data, "cw", 1000, **options), data, torch.float64)
        engine.train(np.arange(2), rates, np.zeros(len(rates), np.float32))
        return torch.cat([w.flatten() for w in engine.weights().values()])

    rates = np.full(len(sizes), 3e-3)
    summed = weights("sum", rates)
    torch.testing.assert_close(summed, weights("mean", rates * sizes), rtol=1e-11, atol=1e-13)
    assert not torch.allclose(summed, weights("mean", rates), rtol=1e-3)
    # deltas are clipped as they flow back from that very loss, so the two are others then
    clipped = weights("sum", rates, delta_clip=0.01)
    assert not torch.allclose(clipped, weights("mean", rates * sizes, delta_clip=0.01), rtol=1e-3)


def test_beyond_the_paper_it_learns_too(lines, tmp_path):
    """Adam, clipped gradients, a falling rate, modules of unequal size."""
    options = {"optimizer": "adam", "lr": 1e-2, "clip": 5.0, "module_shares": (4, 2, 1)}
    options |= {"epochs": 40, "batch": 2, "runs": 1, "periods": (1, 2, 4), "decay": True}
    folder = trained(lines, tmp_path / "run", **options)
    assert IamondbTask().arrays(evaluate(folder, split="valid"))["cer"].max() < 0.35
    config = folder.config()
    assert config.cell.module_sizes == shared_out(config.hidden_size, (4, 2, 1))
    assert config.parameter_count() == pytest.approx(1000, rel=0.05)
    named = {d["name"]: d["ours"] for d in config.deviations()}
    assert named["every"] == 1 and "offsets" not in named  # the file's own
    assert named["optimizer"] == "adam" and named["clip"] == 5.0 and named["decay"] is True
    np.testing.assert_allclose(config.rates(0, 3, 4), [1e-2, 7.5e-3, 5e-3])
    np.testing.assert_allclose(config.rates(3, 1, 4), [2.5e-3])
    assert named["module_sizes"] == config.cell.module_sizes and not config.momentum_ramp


def test_a_network_trains_alike_alone_and_among_others(lines, tmp_path):
    many = trained(lines, tmp_path / "many", runs=3, epochs=3).checkpoint()
    alone = trained(lines, tmp_path / "alone", runs=1, epochs=3).checkpoint()
    for name, weight in alone.weights.items():
        torch.testing.assert_close(weight[0], many.weights[name][0], rtol=1e-4, atol=1e-6)
        assert not torch.equal(many.weights[name][1], many.weights[name][0])


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "decay": True}])
def test_killed_and_resumed_it_ends_the_same(lines, tmp_path, monkeypatch, options):
    options = {"epochs": 6} | options
    whole = trained(lines, tmp_path / "whole", **options)
    advance = IamondbTrainer.advance

    def stop(self):
        if self.epoch == 3:
            os.kill(os.getpid(), 15)
        return advance(self)

    monkeypatch.setattr(IamondbTrainer, "advance", stop)
    with pytest.raises(Interrupted):
        trained(lines, tmp_path / "broken", **options)
    monkeypatch.undo()
    resumed = trained(lines, tmp_path / "broken", **options)
    a, b = whole.checkpoint(), resumed.checkpoint()
    assert a.epoch == b.epoch == 6 and a.generators == b.generators
    for mine, theirs in ((a.weights, b.weights), (a.velocity, b.velocity), (a.extra, b.extra)):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_commands(cwrnn, lines, tmp_path):
    small = ("--task", "iamondb", "--runs", 1, "--data", lines, "--epochs", 2)
    cwrnn("train", *small, "--params", 1000, "--model", "lstm")
    text = cwrnn("eval", "--plot", "ink.png").stdout
    assert "synthetic writers, not IAM-OnDB" in text and "line 0\n  right: " in text
    assert "1 of 1 network had not stopped" in text
    assert Path("ink.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(cwrnn("eval", "--split", "valid", "--json").stdout)
    assert found["metrics"]["cer"]["mean"] == found["metrics"]["valid_cer"]["mean"]
    points = "".join(f'<Point x="{x}" y="{x % 7}" time="{x / 100}"/>' for x in range(40))
    Path("line.xml").write_text(
        f"<WhiteboardCaptureSession><StrokeSet><Stroke>{points}</Stroke></StrokeSet>"
        "</WhiteboardCaptureSession>"
    )
    read = json.loads(cwrnn("eval", "--file", "line.xml", "--json").stdout)["text"]
    assert cwrnn("eval", "--file", "line.xml").stdout == read + "\n"
    assert set(read) <= set(CHARACTERS)
    text = cwrnn("eval", "--beam", 4, "--ngram", 2).stdout
    assert "beam search of width 4, character 2-gram (beyond the paper)" in text
    Path("broken.xml").write_text("<a>")
    for command, message in (
        ("eval --file none.xml", "none.xml: cannot be read"),
        ("eval --file broken.xml", "broken.xml: damaged XML"),
        ("eval --ngram 9", "--ngram 9: expected 0 to 3"),
        ("eval --split dev", "'dev' is not one of"),
    ):
        result = cwrnn(*command.split(), expect=2)
        assert message in result.stderr
    text = cwrnn("compare", *small, "--sizes", 1000, "--out", "grid").stdout
    assert "paper (Table 3)" in text and "1000 CW-RNN" in text
    assert Path("grid/curves.png").read_bytes().startswith(b"\x89PNG")
    message = one_line_error(cwrnn("prepare", "iamondb", expect=2))
    assert "register at" in message and "--standin" in message


def test_a_file_is_read_as_the_corpus_is(lines, tmp_path, capsys):
    folder = trained(lines, tmp_path / "run", epochs=2, runs=1)
    found = evaluate(folder)
    data = found.data
    wanted = transcripts(found.ensemble, 0, data, data.test)
    assert wanted == found.written[0]
    path = tmp_path / "line.xml"
    # times rise and coordinates are relative already, so the frames of the file are the line's
    frames = data.test[0].astype(np.float64)
    frames[:, :2] -= frames[:, :2].min(axis=0)
    frames[:, 2] = np.arange(len(frames)) / 10
    points = "".join(
        f'<Point x="{x!r}" y="{y!r}" time="{t!r}"/>' for x, y, t in frames[:, :3].tolist()
    )
    path.write_text(f"<W><StrokeSet><Stroke>{points}</Stroke></StrokeSet></W>")
    frames[:, 3] = 0
    frames[-1, 3] = 1
    x = torch.from_numpy(frames.astype(np.float32))[None, None]
    with torch.no_grad():
        (units,) = handwriting.best_path(found.ensemble(x)[0], torch.tensor([len(frames)]))
    assert recognise(folder, data, path) == data.decode(units)
    assert not capsys.readouterr().err


def test_the_time_of_a_file_is_repaired_as_the_corpus_is(lines, tmp_path, capsys):
    folder = trained(lines, tmp_path / "run", epochs=2, runs=1)
    data = handwriting.load(lines)

    def read(times) -> str:
        points = "".join(
            f'<Point x="{7 * i % 5}" y="{3 * i % 4}" time="{t}"/>' for i, t in enumerate(times)
        )
        path = tmp_path / "line.xml"
        path.write_text(f"<W><StrokeSet><Stroke>{points}</Stroke></StrokeSet></W>")
        return recognise(folder, data, path)

    wanted = read([5, 6, 7, 7, 7, 8, 9])
    assert not capsys.readouterr().err
    assert read([5, 6, 7, 0, 6.5, 8, 9]) == wanted
    assert "line.xml: its clock runs back by 7.00 s; its time was made monotone" in (
        capsys.readouterr().err
    )


def test_other_tasks_refuse_torchrun(cwrnn, piece, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = cwrnn("train", "--model", "cw", "--data", piece, expect=2)
    assert "trains in one process" in one_line_error(result)


@pytest.mark.parametrize("option", [{"noise": 0.1}, {"stop_on": "train_error"}])
def test_options_of_other_tasks(lines, option):
    with pytest.raises(UserError, match="not an option of --task iamondb"):
        configure(handwriting.load(lines), "cw", **option)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("lstm", {"module_shares": (2, 1)}, "only a clockwork model has modules"),
        ("cw", {"module_shares": (2, 1)}, "--module-shares 2,1: 2 shares for 9 clock periods"),
        ("cw", {"module_shares": (2, 1), "periods": (4, 1)}, "fastest first"),
        ("cw", {"clip": 0.0}, "--clip 0: expected a length above 0"),
        ("srn", {"optimizer": "adam", "momentum_ramp": True}, "not with --optimizer adam"),
    ],
)
def test_options_that_do_not_fit(lines, model, options, message):
    with pytest.raises(UserError, match=message):
        configure(handwriting.load(lines), model, 1000, **options)


def test_an_older_configuration_is_still_read(lines, tmp_path):
    config = trained(lines, tmp_path / "run", epochs=1).config()
    path = tmp_path / "run" / "config.json"
    old = json.loads(path.read_text())
    assert old.pop("optimizer") == "nesterov" and old.pop("clip") is None
    path.write_text(json.dumps(old))
    assert RunFolder(tmp_path / "run").config() == config


@pytest.mark.parametrize("option", [{"clip": 1.0}, {"optimizer": "adam"}, {"batch": 2}])
def test_options_of_this_task_only(piece, option):
    with pytest.raises(UserError, match="not an option of --task audio"):
        configure(audio.load(piece), "cw", **option)


def test_files_that_are_not_of_this_task(lines, piece, tmp_path):
    with pytest.raises(UserError, match="holds the corpus audio, not iamondb"):
        handwriting.load(piece)
    corpus = store.read(lines)
    corpus.provenance.pop("characters")
    store.write(tmp_path / "a.h5", corpus)
    with pytest.raises(UserError, match="lacks characters; prepare it again"):
        handwriting.load(tmp_path / "a.h5")


def test_runs_to_another_limit_are_told_apart():
    values = {"mean": 0.5, "min": 0.5, "max": 0.5}
    same = {"params": 700, "model": "srn", "split": "valid", "networks": 1, "diverged": 0}
    same |= {"cut_short": 0, "metrics": {"cer": values, "valid_cer": values}}
    limit = [{"name": "epochs", "ours": 40, "paper": 2000}]
    runs = {name: same | {"deviations": []} for name in ("a", "b")}
    alike = runs_report.cells_table(runs)
    assert alike and len(alike.rows) == 1 and "limit of epochs" not in alike.header
    table = runs_report.cells_table(runs | {"c": same | {"deviations": limit}})
    assert table and [row[table.header.index("limit of epochs")] for row in table.rows] == [
        "2000",
        "40",
    ]


def test_a_table_of_runs_is_the_same_made_from_what_was_written():
    """Periods are a tuple before, a list after."""
    departs = {"deviations": [{"name": "periods", "ours": (1, 2), "paper": 9}]}
    assert runs_report._departs(departs) == runs_report._departs(json.loads(json.dumps(departs)))
