"""When networks stop."""

import numpy as np
import pytest
import torch

from cwrnn_cli.training.stopping import AtTheEnd, EarlyStop, Measured


@pytest.mark.parametrize(("patience", "stopped"), [(2, [4, -1]), (None, [-1, -1])])
def test_patience_and_what_is_kept_of_the_best_epoch(patience, stopped):
    weights = {"w": torch.zeros(2, 1)}
    stop = EarlyStop(2, patience, weights, {"seen": np.zeros(2)})
    for epoch, error in enumerate(([3, 9], [1, 8], [1, 7], [2, 6]), 1):
        active = stop.active
        error = np.array(error, float)[active]
        now = {"w": torch.full((2, 1), float(epoch))}
        found = Measured(error, np.zeros(len(active), bool), {}, {"seen": 10 * error})
        stop.update(epoch, active, found, lambda now=now: now)
    assert stop.stopped_at.tolist() == stopped and stop.best_epoch.tolist() == [2, 4]
    assert stop.weights["w"].tolist() == [[2.0], [4.0]] and stop.at_best["seen"].tolist() == [
        10,
        60,
    ]


def test_weights_are_not_asked_for_where_nothing_is_better():
    stop = EarlyStop(1, 5, {"w": torch.zeros(1, 1)})
    nothing = Measured(np.array([np.nan]), np.array([True]), {})
    stop.update(1, np.array([0]), nothing, lambda: pytest.fail("asked for"))
    assert stop.diverged_at.tolist() == stop.stopped_at.tolist() == [1]


def test_excursions_are_counted():
    stop, nobody = AtTheEnd(2), lambda: pytest.fail("asked for")
    error, diverged = np.zeros(2), np.array([True, False])
    stop.update(1, stop.active, Measured(error, diverged, {}), nobody)
    many = Measured(error, ~diverged, {}, since=np.array([2, 4]), excursions=np.array([3, 1]))
    stop.update(5, stop.active, many, nobody)
    assert stop.diverged_at.tolist() == [1, 4] and stop.excursions.tolist() == [4, 1]
    again = AtTheEnd(2)
    again.restore(stop.state())
    assert again.excursions.tolist() == [4, 1]
    old = {"diverged_at": torch.tensor([1, 4])}  # earlier versions did not count
    again.restore(old)
    again.update(6, again.active, many, nobody)
    assert again.excursions.tolist() == [-1, -1]
