"""What needs a GPU: the layers and the autograd engine there give what they give on a CPU."""

import numpy as np
import pytest
import torch

from cwrnn_cli.models import LSTM, SRN, ClockworkRNN
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.audio.engines import CompiledEngine, SilenceEngine
from cwrnn_cli.tasks.iamondb.engines import CtcEngine
from cwrnn_cli.tasks.timit.engines import StepwiseEngine
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from tests.conftest import one_line_error, random_ensemble

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: ClockworkRNN(3, 20, periods=[1, 2, 5], bidirectional=True),
        lambda: SRN(3, 20),
        lambda: LSTM(3, 20, bidirectional=True),
        lambda: LSTM(3, 20, peepholes=True),
    ],
    ids=["cw", "srn", "lstm", "lstm with peepholes"],
)
def test_layers(layer):
    torch.manual_seed(0)
    module = layer().double()
    x = torch.randn(30, 4, 3, dtype=torch.float64)
    expected = module(x)[0]
    wanted = torch.autograd.grad(expected.square().sum(), list(module.parameters()))
    module.cuda()
    found = module(x.cuda())[0]
    torch.testing.assert_close(found.cpu(), expected)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), list(module.parameters())), wanted, strict=True
    ):
        torch.testing.assert_close(mine.cpu(), theirs)


@pytest.mark.parametrize(
    ("units", "dtype", "backend"),
    [(40, torch.float32, "triton"), (300, torch.float32, "graph"), (40, torch.float64, "graph")],
)
def test_auto_takes_what_has_the_least_to_launch(units, dtype, backend):
    torch.manual_seed(0)
    layer = ClockworkRNN(3, units, periods=[1, 4]).to("cuda", dtype)
    x = torch.randn(70, 2, 3, device="cuda", dtype=dtype)
    found = layer(x)[0]
    layer.backend = backend
    torch.testing.assert_close(found, layer(x)[0], rtol=0, atol=0)
    layer.backend = "reference"
    torch.testing.assert_close(found, layer(x)[0])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device on this machine")
@pytest.mark.parametrize("layer", [lambda: ClockworkRNN(3, 20), lambda: LSTM(3, 20)])
@pytest.mark.parametrize("backend", ["triton", "graph"])
def test_a_second_gpu_while_the_first_is_the_current_one(backend, layer):
    torch.manual_seed(0)
    module, x = layer(), torch.randn(70, 2, 3)
    expected = module(x)[0]
    module.backend = backend
    for device in ("cuda:0", "cuda:1"):
        torch.testing.assert_close(module.to(device)(x.to(device))[0].cpu(), expected)


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_training(model):
    targets = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (6, 50)))
    epochs = np.arange(6), np.full(5, 1e-4), np.full(5, 0.9)
    there = SilenceEngine(random_ensemble(model, 9, 6).cuda(), targets, [])
    here = CompiledEngine(random_ensemble(model, 9, 6), targets, [])
    np.testing.assert_allclose(there.train(*epochs), here.train(*epochs), rtol=1e-5)
    for name, weight in here.weights().items():
        torch.testing.assert_close(there.weights()[name], weight)


@pytest.mark.parametrize("model", ["cw", "srn", "lstm"])
def test_words_train_alike_on_both(model):
    from tests.corpora import words as split_of

    data = split_of(np.random.default_rng(1), 6, 13, 3)
    states = []
    for device in ("cpu", "cuda"):
        ensemble = random_ensemble(
            model, 12, 2, 13, peepholes=False, dtype=torch.float32, output_size=3
        )
        generators = [np.random.default_rng(r) for r in range(2)]
        engine = StepwiseEngine(ensemble.to(device), data, 0.5, generators)
        engine.train(np.arange(2), np.full(6, 0.01), np.full(6, 0.9))
        states.append(engine.weights())
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("model", ["cw", "srn", "lstm", "gru"])
def test_lines_train_alike_on_both(lines, model, runs):
    data = TASKS["iamondb"].load(lines)
    states = []
    for device in ("cpu", "cuda"):
        config = configure(data, model, 700, runs=runs, batch=4, device=device)
        engine = CtcEngine(config, data)
        losses = engine.train(np.arange(runs), np.full(5, 1e-3), np.full(5, 0.9, np.float32))
        states.append((losses, engine.gradient_lengths, engine.weights()))
    for here, there in zip(states[0][:2], states[1][:2], strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-3)
    for name, weight in states[0][2].items():
        torch.testing.assert_close(states[1][2][name], weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize(("task", "corpus"), [("audio", "piece"), ("timit", "spoken")])
def test_a_run_from_its_start_to_its_evaluation(cwrnn, request, tmp_path, task, corpus, device):
    data = request.getfixturevalue(corpus)
    words = ("train", "--task", task, "--model", "cw", "--params", 500, "--runs", 2, "--epochs")
    words = (*words, 4, "--data", data, "--device", device, "--out", "run")
    cwrnn(*words)
    run = RunFolder(tmp_path / "run")
    assert run.config().device == device
    assert all(w.device.type == "cpu" for w in run.checkpoint().weights.values())
    cwrnn("eval", "run", "--data", data)
    cwrnn(*words, "--resume")


def test_auto_takes_it_for_many_networks(piece):
    data = TASKS["audio"].load(piece)
    assert configure(data, "cw", 1000, runs=100_000, device="auto").device == "cuda"
    assert configure(data, "cw", 1000, runs=1, device="auto").device == "cpu"


def test_memory_that_is_full_ends_in_a_line(cwrnn, piece, tmp_path):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2e-3)
    try:
        words = ("train", "--model", "gru", "--params", 1000, "--runs", 1000, "--epochs", 2)
        result = cwrnn(*words, "--data", piece, "--device", "cuda", "--out", "run", expect=2)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    message = one_line_error(result)
    assert message.startswith("--device cuda: its memory is full with --runs 1000: a run takes ")
    assert not (tmp_path / "run").exists()
