"""The command line as its users type it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from cwrnn_cli.benchmarks import machine
from tests.conftest import one_line_error

ROOT = Path(__file__).parents[2]
SMALL = ("--params", 100, "--runs", 2, "--epochs", 40)


def test_the_tour(cwrnn, tmp_path):
    assert "5 sequences of 320 samples (7.3 ms)" in cwrnn("prepare", "audio").output
    trained = cwrnn("train", "--model", "cw", *SMALL)
    assert "runs/audio-cw-100-seed0: trained" in trained.stdout
    assert "deviates from the paper: epochs 40, paper 2000" in trained.stderr
    shown = cwrnn("eval").stdout
    assert "built-in piece (stand-in for the paper's music)" in shown
    assert "sequence 5" in shown and "paper (Figure 3): MSE/σ median 0.0390" in shown
    made = cwrnn("generate", "audio", "--sequence", 2)
    wave, rate = soundfile.read(tmp_path / "runs/audio-cw-100-seed0/sequence2.wav")
    assert rate == 44100 and wave.shape == (320,) and np.ptp(wave) > 0
    assert (tmp_path / "runs/audio-cw-100-seed0/sequence2.png").stat().st_size > 5000
    assert "sequence2.wav" in made.stdout and "running on" not in made.stderr


def test_train_without_data_prepares_the_built_in_piece_and_says_so(cwrnn, tmp_path):
    result = cwrnn("train", "--model", "srn", *SMALL)
    assert "made data/audio.h5 from the built-in piece" in result.stderr
    assert (tmp_path / "data" / "audio.h5").exists()
    assert "made data" not in cwrnn("train", "--model", "srn", *SMALL).stderr
    assert (tmp_path / "runs" / "audio-srn-100-seed0-2").exists()


def test_eval_json(cwrnn, piece):
    cwrnn("train", "--model", "lstm", *SMALL, "--data", piece)
    result = cwrnn("eval", "--json")
    found = json.loads(result.stdout)
    assert not [line for line in result.stderr.splitlines() if not line.startswith("compiling")]
    keys = "run task model params hidden_size runs diverged standin data metrics paper"
    assert set(keys.split()) <= set(found)
    assert (found["model"], found["params"], found["hidden_size"], found["runs"]) == (
        "lstm",
        100,
        4,
        2,
    )
    assert found["standin"] is True and set(found["data"]) == {"name", "sha256"}
    for name in ("mse", "nmse", "nmse_paper"):
        values = found["metrics"][name]
        assert list(values) == ["mean", "std", "median", "q25", "q75", "min", "max"]
        assert values["min"] <= values["q25"] <= values["median"] <= values["q75"] <= values["max"]
    assert found["paper"] == {"metric": "nmse_paper", "median": 0.069}


def test_train_json_and_eval_agree(cwrnn, piece):
    trained = json.loads(cwrnn("train", "--model", "cw", *SMALL, "--data", piece, "--json").stdout)
    assert trained["run"] == "runs/audio-cw-100-seed0"
    assert trained == json.loads(cwrnn("eval", "--json").stdout)


def test_the_newest_run_is_evaluated(cwrnn, piece):
    for seed in (1, 2):
        cwrnn("train", "--model", "cw", *SMALL, "--data", piece, "--seed", seed)
    assert cwrnn("eval").stdout.startswith("runs/audio-cw-100-seed2\n")
    named = cwrnn("eval", "runs/audio-cw-100-seed1").stdout
    assert named.startswith("runs/audio-cw-100-seed1\n")


def test_resume_goes_on_with_the_same_commands_run(cwrnn, piece, tmp_path):
    command = ("train", "--model", "cw", *SMALL, "--data", piece)
    assert "nothing to resume" in cwrnn(*command, "--resume").stderr
    run = tmp_path / "runs" / "audio-cw-100-seed0"
    before = (run / "checkpoint.pt").read_bytes()
    cwrnn(*command, "--resume")
    assert [p.name for p in run.parent.iterdir()] == [run.name]
    assert (run / "checkpoint.pt").read_bytes() == before
    again = cwrnn(*command, "--lr", 1e-5, "--resume")
    assert "nothing to resume" in again.stderr and len(list(run.parent.iterdir())) == 2


def test_resume_takes_the_newest_that_is_unfinished(cwrnn, piece):
    """Here two that were begun and went no further, and one trained to its end after them."""
    command = ("train", "--model", "cw", *SMALL, "--data", piece)
    runs = [Path("runs") / f"audio-cw-100-seed0{number}" for number in ("", "-2", "-3")]
    for run in runs:
        cwrnn(*command)
        assert (run / "checkpoint.pt").exists()
    for run in runs[:2]:
        for name in ("manifest.json", "checkpoint.pt", "metrics.jsonl"):
            (run / name).unlink()
    shutil.rmtree(runs[0])  # a gap in the numbers
    said = cwrnn(*command, "--resume").stderr
    assert f"--resume: {runs[1]}, the newest unfinished one; --out names another" in said
    assert (runs[1] / "checkpoint.pt").exists() and not runs[0].exists()
    said = cwrnn(*command, "--resume").stderr
    assert f"--resume: {runs[2]}, trained to its end already" in said
    shutil.rmtree(runs[2])
    (runs[1] / "manifest.json").unlink()
    said = cwrnn(*command, "--resume").stderr
    assert f"--resume: {runs[1]}; --out names another" in said


def test_ctrl_c_saves_and_says_how_to_go_on(cwrnn, piece, tmp_path, monkeypatch):
    from cwrnn_cli.tasks.audio.engines import AudioTrainer

    measure = AudioTrainer.measure

    def press(self, active, losses):
        if self.epoch == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(self, active, losses)

    monkeypatch.setattr(AudioTrainer, "measure", press)
    command = ("train", "--model", "cw", *SMALL, "--data", piece)
    stopped = cwrnn(*command, expect=130)
    assert "interrupted after epoch 2" in stopped.stderr and "--resume goes on" in stopped.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    cwrnn(*command, "--resume")
    assert json.loads(cwrnn("eval", "--json").stdout)["epochs"] == 40
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_out_that_exists(cwrnn, piece):
    command = ("train", "--model", "cw", *SMALL, "--data", piece, "--out", "here")
    cwrnn(*command)
    assert "here: exists already; go on with --resume" in one_line_error(cwrnn(*command, expect=2))
    message = one_line_error(cwrnn(*command, "--lr", 1e-5, "--resume", expect=2))
    assert "here: a run that differs in lr" in message


def test_generate_longer_than_learnt(cwrnn, piece, tmp_path):
    cwrnn("train", "--model", "cw", *SMALL, "--data", piece)
    result = cwrnn("generate", "audio", "--out", "long.wav", "--seconds", 0.05)
    wave, _ = soundfile.read(tmp_path / "long.wav")
    assert len(wave) == 2205 and "running on by itself" in result.stderr
    cwrnn("generate", "audio", "--out", "short.wav", "--seconds", 0.001)
    short, _ = soundfile.read(tmp_path / "short.wav")
    np.testing.assert_array_equal(short, wave[:44])


def test_generate_is_at_the_level_of_the_original(cwrnn, tmp_path):
    """A learnt wave, scaled back, is closer to the original's samples than to silence."""
    rate, steps = 44100, np.arange(4410)
    original = 0.05 * np.sin(2 * np.pi * 137.8125 * steps / rate) + 0.3
    soundfile.write("quiet.wav", original, rate, subtype="FLOAT")
    cwrnn("prepare", "audio", "--src", "quiet.wav", "--sequences", 1)
    cwrnn("train", "--model", "cw", "--params", 250, "--runs", 2)
    cwrnn("generate", "audio", "--out", "learnt.wav")
    learnt, _ = soundfile.read("learnt.wav")
    np.testing.assert_allclose(learnt, original[:320], atol=0.01)


def test_compare_writes_table_figures_and_results(cwrnn, piece, tmp_path):
    options = ("--sizes", "100,250", "--runs", 2, "--epochs", 30, "--data", piece, "--out", "c")
    result = cwrnn("compare", *options)
    assert "100 CW-RNN" in result.stdout and "250 LSTM" in result.stdout
    for name in ("figure3.png", "figure5.png", "table.txt", "comparison.json"):
        assert (tmp_path / "c" / name).stat().st_size > 500
    with h5py.File(tmp_path / "c" / "results.h5") as file:
        group = file["cw/250"]
        assert group["mse"].shape == (10,) and group["best"].shape == (5, 320)
        assert group["run"][()].tolist() == [0] * 5 + [1] * 5
        assert group["sequence"][()].tolist() == [0, 1, 2, 3, 4] * 2
    assert "c: exists already" in one_line_error(cwrnn("compare", *options, expect=2))
    before = (tmp_path / "c" / "results.h5").stat().st_mtime_ns
    found = json.loads(cwrnn("compare", *options, "--resume", "--json").stdout)
    assert [(c["model"], c["params"]) for c in found["cells"]][:2] == [("srn", 100), ("srn", 250)]
    assert set(found["ratios"]) == {"100", "250"}
    assert (tmp_path / "c" / "results.h5").stat().st_mtime_ns > before
    message = one_line_error(cwrnn("compare", *options, "--seed", 5, "--resume", expect=2))
    assert "other options or data" in message
    shown = cwrnn("eval", "c/cells/lstm-250").stdout
    assert "7 cells" in shown


def test_compare_takes_rates_and_models(cwrnn, piece, tmp_path):
    options = ("--sizes", "100", "--runs", 1, "--epochs", 5, "--data", piece)
    cwrnn("compare", *options, "--models", "lstm,cw", "--lr", "lstm=1e-5", "--json")
    config = json.loads((tmp_path / "runs/compare-audio/cells/lstm-100/config.json").read_text())
    assert config["lr"] == 1e-5
    assert not (tmp_path / "runs/compare-audio/cells/srn-100").exists()
    found = json.loads((tmp_path / "runs/compare-audio/comparison.json").read_text())
    ratio = found["ratios"]["100"]["lstm_over_cw"]  # hardly trained: either may be ahead
    words = f"{ratio:.1f} times below" if ratio >= 1 else f"{1 / ratio:.1f} times above"
    table = (tmp_path / "runs/compare-audio/table.txt").read_text()
    assert f"CW-RNN's mean MSE/σ is {words} LSTM's" in table


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train --model cw --data none.h5", "none.h5: no such file; make it with"),
        ("train --model cw --data text", "text: not a corpus of cwrnn; make it with"),
        ("train --model cw --periods x", "--periods 'x': expected periods"),
        ("train --model cw --periods 1,2,4 --params 5", "--params 5: 5 parameters"),
        ("train --model srn --periods 4", "--periods: only a clockwork"),
        ("train --model cw --lr -1", "--lr -1"),
        ("train --model cw --runs 0", "--runs 0"),
        ("eval", "no run; train one with `cwrnn train --model MODEL`, where MODEL is srn, lstm"),
        ("eval --task timit", "no run of task timit; train one with"),
        ("train --task timit --model cw", "data/timit.h5: no such file; make it with"),
        ("train --model cw --noise 1", "--noise: not an option of --task audio"),
        ("prepare timit", "catalog.ldc.upenn.edu/LDC93S1"),
        ("prepare timit --src nowhere", "nowhere: no such folder"),
        ("prepare timit --standin --deltas 3", "--deltas 3: expected 0, 1 or 2"),
        ("eval nowhere", "nowhere: no run folder"),
        ("generate audio nowhere", "nowhere: no run folder"),
        ("generate audio nowhere --out x.mp3", "expected a name that ends in .wav"),
        ("prepare audio --src none.wav", "none.wav: no such file"),
        ("prepare audio --src text", "text: not a sound file"),
        ("prepare audio --start 9", "past the end"),
        ("prepare audio --out text/a.h5", "text/a.h5: cannot be written"),
        ("compare --sizes 100,x", "--sizes 100,x: expected numbers"),
        ("compare --models cw,mlp", "'mlp' is none of"),
        ("compare --lr 3", "expected MODEL=X"),
        ("compare --sizes 2", "--sizes 2"),
        ("compare --models lstm --lr cw=1", "cw is none of the models that are trained"),
        ("scan --models cw --rates lstm=1e-4", "lstm is none of the models that are trained"),
        ("compare --split valid", "--split: only with --run"),
        ("compare --at 3", "--at: only with --run"),
        ("compare --run nowhere --epochs 3", "--epochs: not with --run"),
        ("compare --run nowhere --no-momentum-ramp", "--momentum-ramp: not with --run"),
        ("compare --run nowhere --seed 0", "--seed: not with --run"),
        ("train --model cw --resume --out text", "text: no run folder; choose another --out"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_2(cwrnn, tmp_path, command, message):
    Path("text").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    assert message in one_line_error(cwrnn(*command.split(), expect=2))
    made = {p.name for p in set(tmp_path.rglob("*")) - set(before)}
    assert made <= {"data", "audio.h5"}  # the built-in piece, where it was needed


@pytest.mark.parametrize("sequence", [0, 6])
def test_no_such_sequence(cwrnn, piece, sequence):
    cwrnn("train", "--model", "cw", *SMALL, "--data", piece)
    result = cwrnn("generate", "audio", "--sequence", sequence, expect=2)
    assert "this run has 1 to 5" in one_line_error(result)
    result = cwrnn("generate", "audio", "--seconds", 0, expect=2)
    assert "--seconds 0" in one_line_error(result)


def test_unfinished_runs_are_refused_clearly(cwrnn, piece, tmp_path):
    cwrnn("train", "--model", "cw", *SMALL, "--data", piece)
    run = tmp_path / "runs" / "audio-cw-100-seed0"
    (run / "checkpoint.pt").unlink()
    assert "--resume" in one_line_error(cwrnn("eval", run, expect=2))


def test_cuda_is_refused_where_there_is_none(cwrnn, piece):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: nothing to refuse")
    result = cwrnn("train", "--model", "cw", "--data", piece, "--device", "cuda", expect=2)
    assert "torch sees no such device here" in one_line_error(result)


def python(*words, **environment):
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def test_it_runs_uninstalled_from_the_tree(tmp_path):
    shown = python("-m", "cwrnn_cli", "--help")
    assert shown.returncode == 0
    for name in ("prepare", "train", "eval", "generate", "compare"):
        assert name in shown.stdout
    assert python("-m", "cwrnn_cli", "nothing").returncode == 2


def test_help_imports_nothing_slow():
    code = (
        "import sys; from cwrnn_cli.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'numba', 'matplotlib', 'scipy', 'h5py', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_bench_layer(cwrnn, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "has_jax", lambda: False)  # its settings take long to compile
    grid = ("--widths", "16,40", "--batches", "1,3", "--lengths", 20, "--repeats", 2)
    found = json.loads(cwrnn("bench", "layer", *grid, "--json", "--plot", "p.png").stdout)
    assert found["peak_gflops"] > 1 and found["machine"]["threads"] >= 1
    cells = {(row["cell"], row["backend"]) for row in found["rows"]}
    for name in ("ClockworkRNN", "ClockworkLSTM", "ClockworkGRU"):
        assert {(name, b) for b in ("compiled", "cascade", "reference")} < cells
    assert {("GRU", b) for b in ("compiled", "torch", "reference")} < cells
    assert len(found["rows"]) == 4 * len(cells) and len(cells) >= 17
    for row in found["rows"]:
        assert {"cell", "backend", "width", "batch", "length", "ms", "ratio", "bytes"} <= set(row)
        assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"]
        assert (row["ratio"] == 1) == (row["cell"] == "torch.nn.RNN")
    assert (tmp_path / "p.png").stat().st_size > 5000
    assert "torch.nn.LSTM" in cwrnn("bench", "layer", *grid[:2], "--lengths", 5).stdout
    assert "--widths 4: at least 8" in one_line_error(
        cwrnn("bench", "layer", "--widths", 4, expect=2)
    )
    assert "--lengths x" in one_line_error(cwrnn("bench", "layer", "--lengths", "x", expect=2))


def test_bench_ensemble(cwrnn, monkeypatch):
    monkeypatch.setattr(machine, "has_jax", lambda: False)  # its settings take long to compile
    found = json.loads(
        cwrnn(
            "bench", "ensemble", "--runs", "1,20", "--repeats", 1, "--seconds", 0.1, "--json"
        ).stdout
    )
    assert len(found["rows"]) == 3 * 4 * 2 and found["figure3_s"] > 0
    for row in found["rows"]:
        assert {"model", "params", "runs", "networks_epochs_per_s", "ratio"} <= set(row)


def test_operations_are_those_of_the_papers_appendix():
    from cwrnn_cli.benchmarks.layer import operations

    found = operations(80, 0, 8)  # k = 10: k^2 sum (g - i) / 2^i
    count = found["paper"]
    assert count == pytest.approx(100 * sum((8 - i) / 2**i for i in range(8)))
    # the appendix says at most k^2 (2g - 2); summed up it is 2^(1 - g) k^2 more
    assert count == pytest.approx(100 * (2 * 8 - 2 + 2**-7)) and found["paper_ratio"] >= 8 / 4
    assert found["cascade"] == pytest.approx(100 * sum((i + 1) / 2**i for i in range(8)))
    assert operations(80, 5, 8)["paper"] - count <= 2 * 10 * 5
