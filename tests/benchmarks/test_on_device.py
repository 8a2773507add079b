"""`cwrnn bench layer --device` and `bench ensemble --device`, where the device is the CPU."""

import json

import pytest

from cwrnn_cli.benchmarks import on_device
from cwrnn_cli.evidence.folders import check_folder
from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks.audio import on_device as audio
from tests.conftest import one_line_error

GRID = ("--widths", "16", "--batches", "1,2", "--lengths", 5, "--repeats", 2)


def test_layers(cwrnn, tmp_path):
    shown = cwrnn("bench", "layer", "--device", "cpu", *GRID, "--out", "here", "--json")
    found = json.loads(shown.stdout)
    assert found["device"] == "cpu" and found["machine"]["gpu"] == "cpu"
    rows = {(row["cell"], row["backend"], row["batch"]): row for row in found["rows"]}
    for cell in CELLS.values():
        assert (type(cell.of_size(8, {"periods": 2}).layer(1)).__name__, "auto", 2) in rows
    assert ("ClockworkRNN", "cascade", 1) in rows and ("ClockworkRNN", "triton", 1) not in rows
    assert "ClockworkRNN (triton) left out: backend 'triton': it runs on a GPU" in shown.stderr
    base = rows["torch.nn.RNN", "torch", 2]
    own = [rows["SRN", backend, 2] for backend in ("auto", "cascade")]
    for (_, _, batch), row in rows.items():
        assert row["rounds"] == len(row["rounds_ms"]) <= 2 and row["bytes"] is None
        if batch == 2:
            assert row["ratio"] == pytest.approx(base["ms"] / row["ms"])
    assert max(row["ratio_own"] for row in own) == 1
    assert {p.name for p in (tmp_path / "here").iterdir()} == {
        "bench.json", "bench.txt", "manifest.json", "table.csv",
    }  # fmt: skip
    assert check_folder(tmp_path / "here", "here") == []
    assert "on cpu, cpu; " in (tmp_path / "here" / "bench.txt").read_text()


def test_what_device_does_not_go_with(cwrnn):
    for words, message in (
        (("--device", "nowhere"), "--device nowhere: torch sees no such device here"),
        (("--device", "auto"), "--device auto: torch sees no such device here"),
        (("--device", "cpu", "--plot", "p.png"), "--plot: not with --device"),
        (("--flashrnn",), "--flashrnn: only with --device"),
        (("--device", "cpu", "--flashrnn"), "--flashrnn: it is not installed"),
    ):
        assert message in one_line_error(cwrnn("bench", "layer", *GRID, *words, expect=2))


def test_a_row_that_fails_leaves_the_others(monkeypatch):
    entries = on_device._entries

    def broken(*arguments, **more):
        def fail():
            raise RuntimeError("no such kernel\nand more lines")

        yield from entries(*arguments, **more)
        yield on_device._Entry("Broken", "triton", fail)

    monkeypatch.setattr(on_device, "_entries", broken)
    said = []
    found = on_device.run([16], [1], [4], "cpu", 1, note=said.append)
    assert "width 16, batch 1, length 4: Broken (triton) left out: no such kernel" in said
    assert len(found["rows"]) >= 6 and "Broken" not in {row["cell"] for row in found["rows"]}


def test_ensembles():
    found = audio.ensembles([2], "cpu", repeats=2, seconds=60, length=9, epochs=3, sizes=[100])
    assert [row["model"] for row in found["rows"]] == ["srn", "lstm", "cw"]
    for row in found["rows"]:
        assert row["engine"] == "CompiledEngine" and row["runs"] == 2
        assert len(row["rounds_ms"]) == len(row["torch_rounds_ms"]) == 2
        each = sorted(row["rounds_ms"])
        per_s = 2 * 3 * 1e3 / (sum(each) / 2)
        assert row["networks_epochs_per_s"] == pytest.approx(per_s, rel=0.01)
    text = audio.text(found)
    assert "100 CW-RNN" in text and "9 steps" in text


def test_figure3_to_its_end_and_in_part(cwrnn, tmp_path):
    words = ("bench", "figure3", "--runs", 1, "--epochs", 200)
    whole = json.loads(cwrnn(*words, "--out", "whole", "--json").stdout)
    assert len(whole["rows"]) == 12 and not whole["extrapolated"]
    assert {row["trained"] for row in whole["rows"]} == {200}
    assert whole["wall_s"] == pytest.approx(sum(row["wall_s"] for row in whole["rows"]))
    part = json.loads(cwrnn(*words, "--seconds", 0, "--out", "part", "--json").stdout)
    assert part["extrapolated"]
    for row in part["rows"]:  # two pieces: the first, and a rate from the second
        assert 2 <= row["trained"] < 200
        assert row["wall_s"] > row["first_s"] > 0
    for name, said in (("whole", "measured"), ("part", "extrapolated from a part")):
        text = (tmp_path / name / "bench.txt").read_text()
        assert text.endswith(f"s, {said}\n") and "60 networks: " in text
        assert check_folder(tmp_path / name, name) == []
