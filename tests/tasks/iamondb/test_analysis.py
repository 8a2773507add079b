"""Errors without a module, and the saliency of a line, by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cwrnn_cli.models import modules
from cwrnn_cli.tasks.iamondb.analysis import IamondbAnalyser, saliency
from cwrnn_cli.tasks.iamondb.data import error_rate, load
from cwrnn_cli.tasks.iamondb.engines import transcripts
from cwrnn_cli.tasks.iamondb.evaluate import pen_path
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from cwrnn_cli.training.stopping import BestNetworks
from data_prep.errors import UserError
from tests.conftest import random_ensemble


@pytest.fixture(scope="module")
def trained(lines, tmp_path_factory):
    data = load(lines)
    folder = RunFolder(tmp_path_factory.mktemp("run") / "cw")
    config = configure(data, "cw", 1200, runs=2, epochs=12, periods=(1, 2, 4), lr=1e-2, clip=5.0)
    folder.start(config)
    train(config, data, folder)
    return folder, data


def test_errors_are_those_of_the_best_network_with_columns_of_zeros(trained):
    folder, data = trained
    found = IamondbAnalyser().analyse(folder, data, lines=4)
    rows = found.tables["ablation"]
    best = BestNetworks.of(folder)
    index = best.best()
    part = data.valid.part([0, 2, 5, 8])
    n = best.config.hidden_size
    assert found.about["network"] == index and found.about["lines"] == 4
    names = [f"{period}{way}" for way in ("", " reverse") for period in (1, 2, 4)]
    assert [row["module"] for row in rows] == ["none", *np.repeat(names, 2)]
    starts = [*best.config.cell.clock.starts]
    for row in rows:
        network = best.ensemble.part(torch.tensor([index]))
        if row["silenced"] == modules.READOUT:
            i = (1, 2, 4).index(row["period"])
            first = n * (row["direction"] == "reverse")
            with torch.no_grad():
                network.weight_out[:, :, first + starts[i] : first + starts[i + 1]] = 0
        if row["silenced"] != modules.ALL:
            wanted = error_rate(part.text, transcripts(network, 0, data, part))
            assert row["cer"] == wanted, row


def test_saliency_is_the_size_of_each_modules_gradient(trained):
    folder, data = trained
    best = BestNetworks.of(folder)
    network = best.ensemble.part(torch.tensor([best.best()])).double()
    found = saliency(network, data, data.valid, 3)
    x = torch.from_numpy(data.valid[3]).double().requires_grad_()
    log_p = network(x[None, None])[0, 0].log_softmax(dim=1)
    path = log_p.argmax(dim=1)
    best_path = log_p.gather(1, path[:, None]).sum()
    best_path.backward()
    assert found.log_probability == pytest.approx(float(best_path))
    assert found.size.shape == (6, len(x)) and (found.size >= 0).all()
    assert (found.size.sum(0) >= x.grad.norm(dim=1).numpy() - 1e-12).all()  # triangle inequality
    assert sum(row["share"] for row in found.shares()) == pytest.approx(1)
    assert not found.size[2, np.arange(len(x)) % 4 != 0].any()
    assert found.read == transcripts(network, 0, data, data.valid.part([3]))[0]
    assert found.right == data.valid.text[3] and len(found.rows()) == len(x)


def test_saliency_is_of_the_module_that_reads(trained):
    _, data = trained
    network = random_ensemble("cw", 9, 1, 4, output_size=4, bidirectional=True)
    with torch.no_grad():
        network.weight_ih[:] = 0
        network.weight_ih_reverse[:, :6] = 0
    shares = {row["module"]: row["share"] for row in saliency(network, data, data.test, 0).shares()}
    assert shares.pop("4 reverse") == pytest.approx(1) and not any(shares.values())


def test_a_network_that_has_diverged_has_no_saliency(trained):
    _, data = trained
    network = random_ensemble("cw", 9, 1, 4, output_size=4)
    with torch.no_grad():
        network.bias_out[:] = float("nan")
    with pytest.raises(UserError, match="diverged"):
        saliency(network, data, data.test, 0)


def test_the_pens_path_is_in_the_files_units(trained):
    _, data = trained
    lines = replace(data.valid, shift=np.full((1, 4), 2.0), scale=np.full((1, 4), 3.0))
    np.testing.assert_allclose(pen_path(lines, 1, data), lines[1] * 3 + 2)
    moved = replace(data, options={**data.options, "offsets": True})
    wanted = np.cumsum(lines[1] * 3 + 2, axis=0)
    np.testing.assert_allclose(pen_path(lines, 1, moved)[:, :3], wanted[:, :3], rtol=1e-5)


def test_what_is_written(cwrnn, trained):
    folder, _ = trained
    shown = cwrnn("analyse", folder.path, "--out", "here", "--line", 2).stdout
    assert "9 of 9 lines of the validation set" in shown and "saliency of line 2, line 1" in shown
    assert {p.name for p in Path("here").iterdir()} == {
        "analysis.json", "table.txt", "manifest.json", "ablation.csv", "ablation.png",
        "shares.csv", "saliency.csv", "saliency.png",
    }  # fmt: skip
    with Path("here/saliency.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "1", "2", "4", "1 reverse", "2 reverse", "4 reverse"]


def test_of_no_line_nothing_of_the_corpus_is_shown(cwrnn, trained, lines):
    folder, *_ = trained
    shown = cwrnn("analyse", folder.path, "--out", "here", "--line", 0).stdout
    assert "silenced module" in shown and "saliency" not in shown and "right:" not in shown
    assert {path.name for path in Path("here").glob("*.png")} == {"ablation.png"}
    assert {path.name for path in Path("here").glob("*.csv")} == {"ablation.csv"}


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--lines", 0, "--lines 0: expected at least 1"),
        ("--line", 10, "--line 10: expected 1 to 9, of the validation set, or 0 for none"),
    ],
)
def test_what_is_out_of_range_is_refused(cwrnn, trained, option, value, says):
    result = cwrnn("analyse", trained[0].path, "--out", "here", option, value, expect=2)
    assert result.stderr.splitlines()[-1].startswith(f"Error: {says}")
    assert not Path("here").exists()
