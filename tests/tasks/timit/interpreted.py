"""The fused engine against autograd in Triton's interpreter; run with TRITON_INTERPRET=1."""

import sys

import numpy as np
import torch
import triton
import triton.language as tl

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels.triton.classifier import normal
from cwrnn_cli.models.ensemble import Ensemble
from cwrnn_cli.tasks.timit import engines
from cwrnn_cli.tasks.timit.engines import Learning, StepwiseEngine
from cwrnn_cli.tasks.timit.fused import FusedEngine
from tests.conftest import shape_of
from tests.corpora import words as split_of

NETWORKS, WORDS, CLASSES, NOISE = 3, 3, 3, 0.5
CASES = [  # model, units, features, periods, options, how it learns
    ("cw", 10, 3, [1, 2, 3, 7], {"clock_origin": 1}, Learning(delta_clip=0.05)),
    ("cw", 34, 16, [2, 5], {}, Learning(loss_at="every")),
    ("srn", 32, 4, [], {}, Learning()),
    ("lstm", 5, 3, [], {"peepholes": True}, Learning(loss_at="every", delta_clip=0.05)),
    ("lstm", 17, 2, [], {"cell_output": "sigmoid"}, Learning()),
    ("lstm", 6, 4, [], {"peepholes": True, "cell_output": "2tanh"}, Learning()),
]


def philox(seed: int, place: np.ndarray) -> np.ndarray:
    """(4, ...) uint32: Philox 4x32-10 of Salmon et al. (2011), with 64 bits of key."""
    c = [place.astype(np.uint64), *(np.zeros_like(place, np.uint64) for _ in range(3))]
    k = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return np.stack(c).astype(np.uint32)


@triton.jit
def write_normal(seed, into, count):
    place = tl.program_id(0) * 256 + tl.arange(0, 256)
    tl.store(into + place, normal(tl.load(seed), place), mask=place < count)


def normal_of(seed: int, shape: tuple[int, int], device) -> np.ndarray:
    """What a kernel adds to frames of this shape, times the deviation; float32."""
    count = shape[0] * shape[1]
    into = torch.empty(count, device=device)
    write_normal[(triton.cdiv(count, 256),)](torch.tensor([seed], device=device), into, count)
    return into.cpu().numpy().reshape(shape)


def check_noise(device="cpu") -> None:
    """It is Philox's, by Box and Muller, and normal."""
    key = 0x2A4F_91C3_0BAD_5EED
    mine = normal_of(key, (200, 50), device)
    one, other = ((philox(key, np.arange(10000))[:2] >> 9) + 0.5) / 2**23
    theirs = np.sqrt(-2 * np.log(one)) * np.cos(2 * np.pi * other)
    np.testing.assert_allclose(mine.ravel(), theirs, rtol=1e-4, atol=2e-6)
    assert abs(theirs.mean()) < 0.03 and abs(theirs.std() - 1) < 0.03
    # the known answer for counter and key 0 of the authors' library
    assert philox(0, np.arange(1))[:, 0].tolist() == [
        0x6627E8D5,
        0xE169C58D,
        0xBC57AC4C,
        0x9B00DBD8,
    ]


def draw_fused(generator, split, noise):
    """As :func:`cwrnn_cli.tasks.timit.data.draw_epoch`, with the kernel's noise."""
    order = generator.permutation(len(split))
    seed = int(generator.integers(1 << 63))
    drawn = normal_of(seed, split.frames.shape, draw_fused.device)
    return order, split.frames + np.float32(noise) * drawn


def engine_of(kind, case, dtype, device="cpu", **options):
    """A FusedEngine, or a StepwiseEngine with the same noise, and its words."""
    model, units, features, periods, more, learning = case
    rng = np.random.default_rng(units)
    words = split_of(rng, WORDS, features, CLASSES)
    clock = Clock.of(units, periods) if periods else None
    own = (clock.periods, clock.sizes) if clock else ((), ())
    ensemble = Ensemble(
        shape_of(model, features, units, CLASSES, *own, **more), NETWORKS, dtype=dtype
    )
    generators = [np.random.default_rng((units, r)) for r in range(NETWORKS)]
    ensemble.draw(generators, 0.7 / units**0.5)
    return kind(ensemble.to(device), words, NOISE, generators, learning=learning, **options), words


def schedule(epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates and momenta of an epoch."""
    momenta = np.linspace(0.5, 0.9, WORDS) + 0.01 * epoch
    return 0.05 * (1.1 - momenta), momenta


def same(mine, theirs, tolerance: float) -> None:
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=tolerance, atol=tolerance)


def check(case, dtype, tolerance: float, device="cpu") -> None:
    """An AssertionError if two epochs are not autograd's."""
    engines.draw_epoch, draw_fused.device = draw_fused, device
    fused, words = engine_of(FusedEngine, case, dtype, device)
    judge, _ = engine_of(StepwiseEngine, case, dtype, device, backend="reference")
    active = np.array([0, 2])
    start = fused.weights()
    same(start, judge.weights(), 0)
    for epoch in range(2):
        losses = [e.train(active, *schedule(epoch)) for e in (fused, judge)]
        np.testing.assert_allclose(*losses, rtol=tolerance)
        longest = [e.gradient_lengths.max(axis=0) for e in (fused, judge)]
        np.testing.assert_allclose(*longest, rtol=tolerance)
    mine, theirs = fused.state(), judge.state()
    same(mine.weights, theirs.weights, tolerance)
    same(mine.velocity, theirs.velocity, tolerance)
    assert mine.generators == theirs.generators
    for name, weight in mine.weights.items():
        changed = (weight != start[name]).flatten(1).any(dim=1)
        assert changed.tolist() == [True, False, True], name
    logits = [engine.logits(active, words) for engine in (fused, judge)]
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-4)


def check_resume(case, device="cpu") -> None:
    """One that goes on from a state ends with the very numbers of one that was not stopped."""
    active = np.arange(NETWORKS)
    whole, _ = engine_of(FusedEngine, case, torch.float32, device)
    whole.train(active, *schedule(0))
    state = whole.state()
    whole.train(active, *schedule(1))
    resumed, _ = engine_of(FusedEngine, case, torch.float32, device)
    resumed.load(state)
    resumed.train(active, *schedule(1))
    same(resumed.state().weights, whole.state().weights, 0)
    same(resumed.state().velocity, whole.state().velocity, 0)
    assert resumed.state().generators == whole.state().generators


def check_divergence(case, device="cpu") -> None:
    """One network that diverges says so, and leaves the others alone."""
    alone, _ = engine_of(FusedEngine, case, torch.float32, device)
    beside, _ = engine_of(FusedEngine, case, torch.float32, device)
    alone.train(np.array([0]), *schedule(0))
    active = np.arange(NETWORKS)
    rates, momenta = schedule(0)
    losses = beside.train(active, rates[:, None] * np.array([1, np.inf, 1]), momenta)
    assert np.isfinite(losses).tolist() == [[True, False, True]]
    assert np.isfinite(beside.gradient_lengths).tolist() == [[True, False, True]]
    mine, theirs = alone.weights(), beside.weights()
    assert all(torch.equal(mine[name][0], theirs[name][0]) for name in mine)


if __name__ == "__main__":
    check_noise()
    for case in CASES:
        check(case, torch.float64, 1e-9)
    for case in (CASES[0], CASES[3]):
        check(case, torch.float32, 1e-4)
    check_resume(CASES[0])
    check_divergence(CASES[3])
    print("the engines agree", file=sys.stdout)
