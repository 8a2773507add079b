"""Task 1's Triton kernels against autograd; run with TRITON_INTERPRET=1 (or on a GPU, without)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.audio.data import AudioData
from cwrnn_cli.tasks.audio.engines import AudioTrainer, SilenceEngine
from cwrnn_cli.tasks.audio.fused import FusedEngine
from cwrnn_cli.training.configure import configure
from tests.conftest import random_ensemble

NETWORKS = 2
EPOCHS = np.array([2e-3, 1e-3]), np.array([0.5, 0.9], np.float32)  # rates, momenta
MEAN = "half_mean_of_squares"

CASES = [  # steps, loss and clip, shape
    (9, {}, {"model": "cw", "hidden_size": 11, "periods": [1, 2, 4]}),
    (8, {"delta_clip": 0.02}, {"model": "cw", "hidden_size": 16, "periods": [2, 3, 7]}),
    (9, {}, {"model": "cw", "hidden_size": 7, "periods": [2, 3, 11], "clock_origin": 1}),
    (5, {"loss": MEAN}, {"model": "cw", "hidden_size": 5, "periods": [1, 1, 2**31]}),
    (9, {}, {"model": "cw", "hidden_size": 7, "periods": [(2, 1), (4, 0), (4, 3)]}),
    (1, {}, {"model": "cw", "hidden_size": 3, "periods": [1, 2]}),
    (6, {"loss": MEAN}, {"model": "srn", "hidden_size": 15}),
    (6, {"delta_clip": 0.02}, {"model": "srn", "hidden_size": 33}),
    (7, {}, {"model": "lstm", "hidden_size": 4}),
    (5, {"delta_clip": 0.005}, {"model": "lstm", "hidden_size": 15, "cell_output": "sigmoid"}),
    (4, {"loss": MEAN}, {"model": "lstm", "hidden_size": 16, "cell_output": "2tanh"}),
    (5, {}, {"model": "lstm", "hidden_size": 3, "peepholes": False}),
    (1, {}, {"model": "lstm", "hidden_size": 1}),
]


def fused(shape, targets, device, dtype, **options):
    ensemble = random_ensemble(networks=len(targets), dtype=dtype, **shape).to(device)
    return FusedEngine(ensemble, targets, [], **options)


def targets_of(networks: int, steps: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(steps).uniform(-1, 1, (networks, steps)))


def assert_same(mine, theirs, tolerance: float = 0.0) -> None:
    """Weights and velocity of two engines, and the lengths of their gradients."""
    np.testing.assert_allclose(mine.gradient_lengths, theirs.gradient_lengths, rtol=tolerance)
    states = mine.state(), theirs.state()
    for kept in ("weights", "velocity"):
        found, expected = (getattr(state, kept) for state in states)
        assert list(found) == list(expected)
        for name in found:
            torch.testing.assert_close(
                found[name], expected[name], rtol=tolerance, atol=tolerance / 1000
            )


def check(device: str, dtype: torch.dtype, tolerance: float, cases=CASES) -> int:
    """Cases are what autograd makes of them; how many there were."""
    for steps, options, shape in cases:
        targets = targets_of(NETWORKS, steps)
        ensemble = random_ensemble(networks=NETWORKS, dtype=dtype, **shape).to(device)
        judge = SilenceEngine(ensemble, targets, [], "reference", **options)
        mine = fused(shape, targets, device, dtype, **options)
        losses = [engine.train(np.arange(NETWORKS), *EPOCHS) for engine in (mine, judge)]
        assert losses[0].shape == (len(EPOCHS[0]), NETWORKS) and losses[0].dtype == np.float32
        np.testing.assert_allclose(*losses, rtol=max(tolerance, 1e-6))
        assert_same(mine, judge, tolerance)
    return len(cases)


SHAPES = [
    {"model": "cw", "hidden_size": 5, "periods": [1, 2, 4]},
    {"model": "lstm", "hidden_size": 2},
]


def check_resumed(device: str, shape) -> None:
    """An engine that is loaded in between goes on bit for bit."""
    targets, who = targets_of(2, 4), np.arange(2)
    rates, momenta = EPOCHS
    through, first = (fused(shape, targets, device, torch.float32) for _ in range(2))
    through.train(who, rates, momenta)
    first.train(who, rates[:1], momenta[:1])
    second = fused(shape | {"scale": 9.0}, targets, device, torch.float32)
    second.load(first.state())
    second.train(who, rates[1:], momenta[1:])
    assert np.array_equal(second.gradient_lengths, through.gradient_lengths[1:])
    second.gradient_lengths = through.gradient_lengths
    assert_same(second, through)


def check_alone(device: str, shape) -> None:
    """A network with its own rate trains as it does alone; one that is not asked for stays."""
    targets = targets_of(3, 4)
    rates, momenta = EPOCHS
    company = fused(shape, targets, device, torch.float32)
    before = company.state()
    found = company.train(np.array([0, 2]), np.stack([rates, 2 * rates], axis=1), momenta)
    after = company.state()
    for network, factor, column in ((0, 1, 0), (2, 2, 1)):
        single = fused(shape, targets, device, torch.float32)
        losses = single.train(np.array([network]), factor * rates, momenta)
        assert np.array_equal(losses[:, 0], found[:, column])
        for name, weight in single.weights().items():
            assert torch.equal(weight[network], after.weights[name][network])
    for kept in ("weights", "velocity"):
        for name, value in getattr(before, kept).items():
            assert torch.equal(value[1], getattr(after, kept)[name][1])


def check_diverged(device: str, shape) -> None:
    """A network that diverges says so, and takes no other with it."""
    targets, who = targets_of(3, 4), np.arange(3)
    rates, momenta = EPOCHS
    healthy, ill = (fused(shape, targets, device, torch.float32) for _ in range(2))
    huge = np.stack([rates, np.full(len(rates), 1e30), rates], axis=1)
    expected, losses = healthy.train(who, rates, momenta), ill.train(who, huge, momenta)
    assert not np.isfinite(losses[-1, 1]) and not np.isfinite(ill.gradient_lengths[-1, 1])
    assert np.array_equal(losses[:, [0, 2]], expected[:, [0, 2]])
    for name, weight in healthy.weights().items():
        assert torch.equal(weight[[0, 2]], ill.weights()[name][[0, 2]])


def trainer_of(model: str, lr: float, autograd: bool) -> AudioTrainer:
    """A run of a few epochs on a GPU, which stands in for the CPU where there is none."""
    targets = targets_of(2, 5).float().numpy()
    one = np.ones(2, np.float32)
    data = AudioData("a", False, "", Path("a.h5"), targets, one, one, ["a", "b"])
    config = configure(data, model, 100, runs=1, epochs=3, lr=lr)
    trainer = AudioTrainer(replace(config, device="cuda"), data)
    assert isinstance(trainer.engine, FusedEngine)
    if autograd:
        ensemble, generators = config.start()
        trainer.engine = SilenceEngine(ensemble, torch.from_numpy(targets), generators, "reference")
    return trainer


def check_run(model: str, lr: float) -> None:
    """A run tells what it does with autograd, and goes on from a checkpoint bit for bit."""
    mine, judge = (trainer_of(model, lr, autograd) for autograd in (False, True))
    second = trainer_of(model, lr, False)
    while not mine.finished:
        found, expected = mine.advance(), judge.advance()
        assert found["diverged"] == expected["diverged"]
        np.testing.assert_allclose(
            *(
                [line[name] or 0.0 for name in ("epoch", "mse_median")]
                for line in (found, expected)
            ),
            rtol=1e-4,
        )
        if mine.epoch == 1:
            second.restore(mine.checkpoint())
    assert (found["diverged"] > 0) == (lr > 1)
    assert np.array_equal(mine.stop.diverged_at, judge.stop.diverged_at)
    np.testing.assert_allclose(mine.gradients.length, judge.gradients.length, rtol=1e-4)
    while not second.finished:
        second.advance()
    ends = mine.checkpoint(), second.checkpoint()
    for kept in ("weights", "velocity", "extra"):
        for name, value in getattr(ends[0], kept).items():
            assert np.array_equal(value, getattr(ends[1], kept)[name], equal_nan=True)
    assert ends[0].generators == ends[1].generators


def check_rest(device: str) -> int:
    """All that is not an engine beside autograd's; how many checks there were."""
    checks = (check_resumed, check_alone, check_diverged)
    for each in checks:
        for shape in SHAPES:
            each(device, shape)
    runs = [("cw", 1e-2), ("lstm", 1e-2), ("srn", 1e10)]
    for model, lr in runs:
        check_run(model, lr)
    return len(checks) * len(SHAPES) + len(runs)


if __name__ == "__main__":
    Ensemble.to = lambda ensemble, _: ensemble  # there is no GPU
    with np.errstate(all="ignore"):  # some diverge
        done = check("cpu", torch.float64, 1e-9)
        done += check("cpu", torch.float32, 1e-4, [CASES[0], CASES[7]])
        print(f"{done + check_rest('cpu')} cases agree")
