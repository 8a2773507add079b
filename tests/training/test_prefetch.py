"""What another thread makes ahead: all of it, in order, and nothing is left of the thread."""

import threading
from functools import partial

import numpy as np
import pytest
import torch

from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.tasks.iamondb import engines
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.prefetch import prefetched


def on_depth(depth: int, values, _):
    return prefetched(values, depth)


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_all_values_in_their_order():
    for depth in (0, 1, 2, 50):
        with prefetched(iter(range(20)), depth) as values:
            assert list(values) == list(range(20))
    with prefetched([], 2) as values:
        assert list(values) == []
    assert not alive()


def test_so_many_ahead_and_no_more():
    made, asked = [], threading.Semaphore(0)

    def make():
        for i in range(9):
            made.append(i)
            asked.release()
            yield i

    with prefetched(make(), 2) as values:
        for _ in range(3):  # two that wait, and one in its hand
            assert asked.acquire(timeout=10)
        assert not asked.acquire(timeout=0.3) and len(made) == 3
        assert next(values) == 0
        assert asked.acquire(timeout=10) and len(made) == 4
    assert not alive() and len(made) <= 5


def test_made_on_another_thread():
    def make():
        yield threading.current_thread()

    with prefetched(make(), 2) as values:
        assert next(values) is not threading.main_thread()


def test_an_error_comes_where_its_value_would_have():
    def make():
        yield 1
        raise ZeroDivisionError("in the middle")

    seen = []
    with pytest.raises(ZeroDivisionError, match="in the middle"), prefetched(make(), 2) as values:
        for value in values:
            seen.append(value)
    assert seen == [1] and not alive()


@pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError, ValueError])
def test_left_in_the_middle_it_ends(error):
    closed = []

    def make():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    generator = make()
    with pytest.raises(error), prefetched(generator, 2) as values:
        next(values)
        raise error
    assert not alive()
    generator.close()
    assert closed


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_is_bit_for_bit_that_without_it(lines, monkeypatch, reduction):
    data = handwriting.load(lines)
    config = configure(data, "lstm", 700, runs=2, batch=3, reduction=reduction)
    found = []
    for ahead in (2, 0):  # as for a GPU, and for the CPU
        monkeypatch.setattr(engines, "prefetched", partial(on_depth, ahead))
        engine = engines.CtcEngine(config, data)
        losses = engine.train(np.arange(2), np.full(7, 1e-3), np.full(7, 0.9, np.float32))
        found.append((losses, engine.gradient_lengths, engine.state()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    for name, weight in found[0][2].weights.items():
        assert torch.equal(found[1][2].weights[name], weight)


def test_an_error_of_a_batch_ends_the_epoch(lines, monkeypatch):
    data = handwriting.load(lines)
    engine = engines.CtcEngine(configure(data, "cw", 700, runs=1, batch=3), data)
    monkeypatch.setattr(engines, "prefetched", partial(on_depth, 2))

    def broken(*arguments):
        raise MemoryError("no room for a batch")

    monkeypatch.setattr(engines, "batch_of", broken)
    with pytest.raises(MemoryError, match="no room"):
        engine.train(np.arange(1), np.full(7, 1e-3), np.full(7, 0.9, np.float32))
    assert not alive()
