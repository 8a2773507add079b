"""Where a run trains: what is accepted, what `auto` takes, and what a device without doubles gets.

This machine may have no GPU; what torch sees is then said for it, and nothing is trained there.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cwrnn_cli import load
from cwrnn_cli.kernels.numba.threads import default_threads
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.audio import engines as audio
from cwrnn_cli.tasks.audio.engines import SilenceEngine
from cwrnn_cli.tasks.iamondb import engines as handwriting
from cwrnn_cli.tasks.iamondb.place import cpu_ms, expects_gpu, gpu_ms
from cwrnn_cli.tasks.timit import engines as words
from cwrnn_cli.tasks.timit.engines import StepwiseEngine
from cwrnn_cli.training import device as devices
from cwrnn_cli.training import engine as training_engine
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.engine import lengths_of, summed
from cwrnn_cli.training.folder import RunFolder
from data_prep.errors import UserError
from tests.conftest import one_line_error, random_ensemble
from tests.corpora import words as split_of


@pytest.fixture
def sees(monkeypatch):
    """Let torch see other devices than there are."""

    def see(gpus: int = 0, mps: bool = False, xpu: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.xpu, "is_available", lambda: xpu)

    return see


def test_what_torch_sees_is_accepted(sees):
    sees(2, True, True)
    assert devices.seen() == ["cpu", "cuda", "cuda:0", "cuda:1", "mps", "xpu"]
    for name in ("auto", *devices.seen()):
        devices.check_device(name)
    with pytest.raises(UserError, match="--device cuda:2: torch sees no such device here, only cp"):
        devices.check_device("cuda:2")
    with pytest.raises(UserError, match="--device auto"):
        devices.check_device("auto", auto=False)


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "xpu"])
def test_what_it_does_not_see_is_refused_in_a_line(cwrnn, piece, sees, name):
    sees()
    for command in ("train --model cw", "compare", "scan"):
        words = (*command.split(), "--data", piece, "--device", name)
        message = one_line_error(cwrnn(*words, expect=2))
        assert message == f"--device {name}: torch sees no such device here, only cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cdua", "cpu:0"])
def test_other_words_are_no_devices(cwrnn, name):
    result = cwrnn("train", "--model", "cw", "--device", name, expect=2)
    assert f"{name!r} is none of auto, cpu, cuda, cuda:N, mps, xpu." in one_line_error(result)


def test_torchrun_takes_a_gpu_for_each_process(sees, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    sees(2, True)
    for name in ("auto", "cpu", "cuda"):
        devices.check_device(name)
    for name in ("cuda:1", "mps"):
        with pytest.raises(UserError, match=f"torchrun: not with --device {name}, but with cuda"):
            devices.check_device(name)
    sees(1)
    with pytest.raises(UserError, match="a GPU for each process, but torch sees 1 here"):
        devices.check_device("cuda")


@pytest.mark.parametrize(("task", "corpus", "module"), [
    ("audio", "piece", audio), ("timit", "spoken", words),
])  # fmt: skip
def test_auto_takes_a_gpu_from_so_many_networks_per_core(
    request, sees, monkeypatch, task, corpus, module
):
    pytest.importorskip("triton", reason="torch brings Triton on Linux only")
    data = TASKS[task].load(request.getfixturevalue(corpus))
    cores = default_threads()
    each = 5 if task == "audio" else 1  # networks of a run
    enough = -(-module.NETWORKS_PER_CORE * cores // each)
    sees(1)
    assert configure(data, "cw", runs=enough, device="auto").device == "cuda"
    assert configure(data, "lstm", runs=enough, device="auto").device == "cuda"
    assert configure(data, "gru", runs=enough, device="auto").device == "cpu"  # none is fused
    too_few = (module.NETWORKS_PER_CORE * cores - 1) // each
    assert configure(data, "cw", runs=too_few, device="auto").device == "cpu"
    assert configure(data, "cw", runs=enough, device="cpu").device == "cpu"
    assert configure(data, "cw", runs=enough).device == "cpu"  # as it was for who does not ask
    sees(0, mps=True)
    assert configure(data, "cw", runs=enough, device="auto").device == "cpu"
    sees(1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # or the first would take it, the second a CPU
    assert configure(data, "cw", runs=enough, device="auto").device == "cpu"
    sees(2)
    assert configure(data, "cw", runs=enough, device="auto").device == "cuda"


def test_task_3_is_expected_to_be_faster_where_an_update_is_long(lines):
    data = TASKS["iamondb"].load(lines)
    sizes = {"input_size": 4, "output_size": 82, "length": 526}  # IAM-OnDB's
    measured = {  # results/iamondb/speed: ms per update of 8 lines, on one thread
        ("srn", 10000): 2.54, ("lstm", 10000): 2.87, ("cw", 10000): 2.41,
        ("srn", 50000): 6.08, ("lstm", 50000): 7.52, ("cw", 50000): 3.46,
        ("srn", 100000): 10.65, ("lstm", 100000): 12.42, ("cw", 100000): 4.17,
    }  # fmt: skip
    configs = {}
    for (model, params), ms in measured.items():
        config = replace(configure(data, model, params, runs=1, batch=8), **sizes)
        assert cpu_ms(config) == pytest.approx(ms, rel=0.2)
        assert gpu_ms(config) == pytest.approx(5.26)
        configs[model, params] = config
    assert not any(expects_gpu(replace(config, batch=1)) for config in configs.values())
    assert not expects_gpu(configs["cw", 100000]) and expects_gpu(configs["lstm", 100000])
    assert expects_gpu(replace(configs["cw", 100000], batch=64))
    # step by step: a layer that is neither cuDNN's nor narrow enough for a fused kernel
    assert not expects_gpu(replace(configs["lstm", 100000], delta_clip=1.0))
    assert not expects_gpu(replace(configs["lstm", 100000], runs=2))
    gru = replace(configure(data, "gru", 50000, runs=1, batch=8), **sizes)
    assert expects_gpu(gru)  # no compiled loop, but cuDNN's


def test_help_says_the_rule_and_that_it_is_calculated(cwrnn):
    text = " ".join(cwrnn("train", "--help").stdout.split())
    for task in TASKS.values():
        assert f"{task.name}: {task.gpu_rule}" in text
    assert "nothing has been measured on a GPU yet" in text


def test_a_run_goes_on_where_it_was_begun(cwrnn, piece, sees):
    words = ("train", "--model", "cw", "--params", 100, "--runs", 200, "--epochs", 1)
    words = (*words, "--data", piece, "--out", "run")
    cwrnn(*words)
    assert RunFolder("run").config().device == "cpu"
    sees(1)  # where auto would take the GPU
    message = one_line_error(cwrnn(*words, "--resume", expect=2))
    expected = "run: a run that differs in device; resume with --device cpu, that it was begun on,"
    assert message.startswith(expected)
    sees()
    cwrnn(*words, "--resume")


def test_so_does_a_comparison(cwrnn, piece, sees):
    words = ("compare", "--models", "cw", "--sizes", 100, "--runs", 200, "--epochs", 1)
    words = (*words, "--data", piece, "--out", "grid")
    cwrnn(*words)
    sees(1)
    message = one_line_error(cwrnn(*words, "--resume", expect=2))
    expected = "grid: was begun on cpu; resume with that as --device, or choose another --out"
    assert message == expected


def test_a_run_of_a_gpu_is_evaluated_anywhere(cwrnn, piece, tmp_path):
    cwrnn("train", "--model", "cw", "--params", 100, "--runs", 1, "--epochs", 2, "--data", piece,
          "--out", "run", "--device", "cpu")  # fmt: skip
    before = cwrnn("eval", "run", "--data", piece, "--json").stdout
    config = tmp_path / "run" / "config.json"
    text = config.read_text()
    for name in ("cuda", "cuda:1", "mps", "xpu"):
        config.write_text(text.replace('"device": "cpu"', f'"device": "{name}"'))
        assert RunFolder(tmp_path / "run").config().device == name
        after = cwrnn("eval", "run", "--data", piece, "--json").stdout
        assert after.replace(f'"device": "{name}"', '"device": "cpu"') == before
        cwrnn("generate", "audio", "run")
        layer, _ = load(tmp_path / "run", network=0)
        assert next(layer.parameters()).device.type == "cpu"


class NoDoubles(TorchDispatchMode):
    """What has no float64 refuses to make one."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for value in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
                raise TypeError(f"{function}: float64")
        return found


@pytest.mark.parametrize("model", ["cw", "srn", "lstm", "gru"])
def test_autograd_trains_alike_where_there_are_no_doubles(model, monkeypatch, lines):
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (3, 20))).float()
    data = split_of(np.random.default_rng(1), 6, 13, 3)
    pen = TASKS["iamondb"].load(lines)
    config = configure(pen, model, 700, runs=2, batch=5)

    def engines():
        silent = random_ensemble(model, 6, 3, dtype=torch.float32)
        yield SilenceEngine(silent, targets, [], "reference")
        of_words = random_ensemble(
            model, 6, 3, 13, peepholes=False, dtype=torch.float32, output_size=3
        )
        generators = [np.random.default_rng(r) for r in range(3)]
        yield StepwiseEngine(of_words, data, 0.5, generators, "reference")
        yield handwriting.CtcEngine(config, pen)

    def train(engine):
        networks = engine.ensemble.networks
        settings = np.full(4, 1e-3), np.full(4, 0.9, np.float32)
        return engine.train(np.arange(networks), *settings)

    expected = [(train(engine), engine) for engine in engines()]
    monkeypatch.setattr(training_engine, "has_float64", lambda device: False)
    found = list(engines())
    for (losses, before), engine in zip(expected, found, strict=True):
        with NoDoubles():  # where `auto` takes another backend, as if it was traced
            after = train(engine)
        np.testing.assert_allclose(after, losses, rtol=1e-6)
        assert engine.gradient_lengths.dtype == np.float64
        np.testing.assert_allclose(engine.gradient_lengths, before.gradient_lengths, rtol=1e-5)
        for name, weight in before.weights().items():
            torch.testing.assert_close(engine.weights()[name], weight)


def test_lengths_without_doubles(monkeypatch):
    flat = torch.tensor([[3e25, 4e25], [0.0, 0.0], [3.0, 4.0], [1e-30, 0.0]])
    exact = lengths_of(flat)
    monkeypatch.setattr(training_engine, "has_float64", lambda device: False)
    torch.testing.assert_close(lengths_of(flat).double(), exact, rtol=1e-6, atol=0)
    bad = lengths_of(torch.tensor([[torch.inf, 1.0], [torch.nan, 1.0]]))
    assert not bad.isfinite().any()


def test_sums_are_in_double_precision():
    many = [torch.tensor([1e8, 1.0])] + [torch.tensor([1.0, 1.0])] * 50
    assert summed(many).tolist() == [1e8 + 50, 51]


def test_only_cpu_and_cuda_have_doubles():
    assert devices.has_float64(torch.device("cuda:1")) and devices.has_float64(torch.device("cpu"))
    assert not devices.has_float64(torch.device("mps"))


@pytest.mark.parametrize("name", ["mps", "xpu"])
def test_other_devices_get_autograd(piece, spoken, lines, monkeypatch, name):
    """The engine is chosen by the device, which is not here: the networks stay where they are."""
    start = TrainConfig.start
    monkeypatch.setattr(TrainConfig, "start", lambda self: start(replace(self, device="cpu")))
    for task, corpus, module in (
        ("audio", piece, audio), ("timit", spoken, words), ("iamondb", lines, handwriting)
    ):  # fmt: skip
        data = TASKS[task].load(corpus)
        config = configure(data, "cw", None, runs=1, device=name)
        assert isinstance(module.make_engine(config, data), training_engine.AutogradEngine)
