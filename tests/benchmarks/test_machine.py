"""The clock that alternates."""

import pytest

from cwrnn_cli.benchmarks import machine


class Clock:
    """Time passes in calls only."""

    def __init__(self):
        self.now = 0.0

    def call(self, seconds):
        def wait():
            self.now += seconds

        return wait


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(machine.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 3), (9.5, 4), (24.5, 9), (1000, 12)], ids=str)
def test_rounds_are_the_least_and_more_while_there_is_time(clock, seconds, rounds):
    calls = {"a": clock.call(1.0), "b": clock.call(2.0)}
    found = machine.alternate(calls, 3, 12, seconds)
    assert found == {"a": [1.0] * rounds, "b": [2.0] * rounds}


def test_what_would_take_too_long_is_left_out(clock):
    calls = {"a": clock.call(1.0), "b": clock.call(2.0), "c": clock.call(4.0)}
    found = machine.alternate(calls, 5, 5, 0, longest=10)
    assert found == {"a": [1.0] * 5, "b": [2.0] * 5, "c": []}
    found = machine.alternate(calls, 5, 5, 0, longest=1, needed=["c"])
    assert found == {"a": [], "b": [], "c": [4.0] * 5}


def test_what_is_slow_only_the_first_time_stays_in(clock):
    seconds = iter([60.0, *[1.0] * 9])
    found = machine.alternate({"a": lambda: clock.call(next(seconds))()}, 5, 5, 0, longest=10)
    assert found == {"a": [1.0] * 5}
