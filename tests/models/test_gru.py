"""A cell that the paper has not, added by its own file: torch's equations, trained on all tasks."""

import json

import numpy as np
import pytest
import torch

from cwrnn_cli.models import CELLS, GRU
from cwrnn_cli.models.ensemble import Ensemble, Shape


def pair(**options):
    """Ours and torch's with the same weights."""
    torch.manual_seed(0)
    ours = GRU(3, 5, **options).double()
    theirs = torch.nn.GRU(3, 5, **options).double()
    with torch.no_grad():
        for suffix in ("", "_reverse") if options.get("bidirectional") else ("",):
            for name in ("ih", "hh"):
                weight = ours.get_parameter(f"weight_{name}{suffix}")
                theirs.get_parameter(f"weight_{name}_l0{suffix}").copy_(weight)
            if options.get("bias", True):
                bias, own = (ours.get_parameter(n + suffix) for n in ("bias", "bias_hn"))
                theirs.get_parameter(f"bias_ih_l0{suffix}").copy_(bias)
                both = torch.cat([torch.zeros(10, dtype=torch.float64), own])
                theirs.get_parameter(f"bias_hh_l0{suffix}").copy_(both)
    return ours, theirs


@pytest.mark.parametrize("backend", ["auto", "reference", "compiled", "torch"])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}], ids=str)
def test_values_and_gradients_are_torchs(options, backend):
    ours, theirs = pair(**options)
    ours.backend = backend
    x = torch.randn(11, 4, 3, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(2 if ours.bidirectional else 1, 4, 5, dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        y, h = module(x, h0)
        (gradient,) = torch.autograd.grad((y.square().sum() + h.sin().sum()), x)
        results.append((y, h, gradient))
    for mine, torchs in zip(*results, strict=True):
        torch.testing.assert_close(mine, torchs)


def test_packed_sequences_end_where_they_end():
    ours, theirs = pair()
    x = [torch.randn(steps, 3, dtype=torch.float64) for steps in (4, 9, 1)]
    packed = torch.nn.utils.rnn.pack_sequence(x, enforce_sorted=False)
    for mine, torchs in zip(ours(packed), theirs(packed), strict=True):
        for one, other in zip(mine, torchs, strict=True):
            torch.testing.assert_close(one, other)


def test_networks_side_by_side_are_each_by_itself():
    ensemble = Ensemble(Shape(CELLS["gru"].of_size(4, {}), 2, 1), 3, dtype=torch.float64)
    ensemble.draw([np.random.default_rng(i) for i in range(3)], 0.5)
    x = torch.randn(3, 2, 7, 2, dtype=torch.float64)
    y = ensemble(x)
    for i in range(3):
        layer, readout = ensemble.member(i)
        torch.testing.assert_close(readout(layer(x[i])[0]), y[i])


def test_a_backend_that_cannot_says_why():
    layer = GRU(0, 5)
    layer.backend = "torch"
    with pytest.raises(ValueError, match="its GRU has no way to do no input; use 'auto'"):
        layer(torch.empty(3, 1, 0))


def test_task_1(cwrnn, piece):
    options = ("--sizes", 100, "--runs", 1, "--epochs", 3, "--data", piece, "--out", "grid")
    text = cwrnn("compare", "--models", "gru,srn", *options).stdout
    assert "100 GRU" in text and "100 SRN" in text
    (found,) = [
        cell
        for cell in json.loads(cwrnn("compare", "--models", "gru,srn", *options, "--resume",
                                     "--json").stdout)["cells"]
        if cell["model"] == "gru"
    ]  # fmt: skip
    assert found["paper"] is None and abs(found["parameter_count"] - 100) < 20
    names = {d["name"]: d["paper"] for d in found["deviations"]}
    assert names["model"] == ["srn", "lstm", "cw"]


def test_task_2(cwrnn, spoken):
    options = ("--task", "timit", "--params", 500, "--runs", 2, "--epochs", 3, "--data", spoken)
    cwrnn("train", "--model", "gru", *options)
    assert "GRU, " in cwrnn("eval").stdout
    noted = [json.loads(line) for line in open("runs/timit-gru-500-seed0/metrics.jsonl")]
    assert noted[-1]["cross_entropy"] < noted[0]["cross_entropy"]


def test_task_3(cwrnn, lines):
    options = ("--task", "iamondb", "--params", 1000, "--runs", 1, "--epochs", 3, "--data", lines)
    cwrnn("train", "--model", "gru", *options)
    assert "GRU, " in cwrnn("eval").stdout
    noted = [json.loads(line) for line in open("runs/iamondb-gru-1000-seed0/metrics.jsonl")]
    assert noted[-1]["ctc"][0] < noted[0]["ctc"][0]
