"""Ink on a screen as a line of the corpus."""

import numpy as np
import pytest

from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.tasks.iamondb.canvas import Hand
from data_prep.iamondb_files import read_strokes

HAND = Hand(tall=400, height=600, interval=0.015, speed=1200, pause=2)


def test_ink_becomes_a_line_of_the_corpus():
    # two strokes, 20 and 10 pixels long, 30 pixels between the rules; a tap; a pause of a minute
    stroke = [[0, y, y / 80, y == 20] for y in range(0, 21, 5)]
    more = [[5 + x, 9, 60 + x / 80, x == 10] for x in range(0, 11, 2)]
    drawn = np.array([*stroke, *more, [9, 9, 62, 1]], np.float64)
    found, scale = HAND.line_of(drawn, 30)
    assert scale == 400 / 30
    ends = np.flatnonzero(found[:, 3])
    assert ends.tolist() == [15, 23, 24]  # 266.7 units at 1200 a second, every 0.015 s
    np.testing.assert_allclose(found[15], [0, 20 * scale, 20 * scale / 1200, 1])
    np.testing.assert_allclose(np.diff(found[:16], axis=0)[:, 1], 20 * scale / 15)
    pause = found[16, 2] - found[15, 2]
    assert pause == pytest.approx(2)  # a minute, cut
    assert found[24, 2] - found[23, 2] == pytest.approx(1.875 * 20 * scale / 1200 / 0.25)
    # where it would be above a median training line, or without rules: as high as that
    for rules in (10, None):
        assert np.ptp(HAND.line_of(drawn, rules)[0][:, 1]) == pytest.approx(600)
    # a pen that rests counts 0.1 s; a clock that stands still ticks; one that runs back waits
    rested = drawn.copy()
    rested[3:, 2] += 100
    late, _ = HAND.line_of(rested, 30)
    taken = 0.1 + 3 * 0.0625  # of 0.1 + 5 * 0.0625 in all, for 30 pixels
    end = np.flatnonzero(late[:, 3])[0]
    assert late[end, 2] == pytest.approx(30 * scale / 1200 * taken / (taken + 2 * 0.0625))
    still, _ = HAND.line_of(drawn * [1, 1, 0, 1], 30)
    assert (np.diff(still[still[:, 3] == 0, 2]) > 0).all()
    back, _ = HAND.line_of(np.array([[0, 0, 5, 0], [9, 0, 4, 0], [18, 0, 5.1, 1.0]]), 30)
    assert (np.diff(back[:, 2]) >= 0).all() and np.isfinite(back).all()


def test_what_training_lines_look_like_is_measured(corpus):
    """As it was drawn by the stand-in's writers: in the files' units and seconds."""
    hand = Hand.of(handwriting.load(corpus[0]))
    assert hand.interval == pytest.approx(1 / 75, rel=0.1)
    assert 0.5 * hand.height < hand.tall < hand.height and hand.pause > 0
    lines = [read_strokes(file.read_bytes()) for file in corpus[1]]
    speeds = []
    for line in lines:
        step = np.diff(line[:, :3], axis=0)[line[:-1, 3] == 0]
        speeds.append(np.hypot(step[:, 0], step[:, 1]).sum() / step[:, 2].sum())
    assert hand.speed == pytest.approx(np.median(speeds), rel=0.3)
