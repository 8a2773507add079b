"""Features of words against slow computations from their definitions."""

import numpy as np
import pytest

from cwrnn_cli.paper import TIMIT
from data_prep.errors import UserError
from data_prep.features import RATE, FeatureOptions, mfcc
from tests.data_prep.test_timit import tone


def test_pylstms_mfcc_is_what_it_says():
    wave = tone(0.1, 440) / 32768
    expected = []
    for begin in range(0, len(wave) - 399, 160):
        frame = [
            wave[begin + n] * (0.54 - 0.46 * np.cos(2 * np.pi * (n + 0.5) / 400))
            for n in range(400)
        ]
        frame = [frame[0], *(frame[n] - 0.97 * frame[n - 1] for n in range(1, 400))]
        bins = np.arange(1025)
        turns = np.exp(-2j * np.pi * np.outer(bins, np.arange(400)) / 2048)
        power = np.abs(turns @ np.array(frame)) ** 2
        step = np.log(1 + RATE / 2 / 700) / 41  # 40 triangles, each over two steps
        place = np.log(1 + bins * RATE / 2048 / 700) / step
        logs = [
            np.log(power @ np.maximum(0, 1 - np.abs(place - centre))) for centre in range(1, 41)
        ]
        cosines = [
            [np.cos(np.pi * k * (2 * band + 1) / 80) for band in range(40)] for k in range(13)
        ]
        scales = np.sqrt([1 / 40, *12 * [2 / 40]])
        expected.append(scales * (np.array(cosines) @ logs))
    options = FeatureOptions(features="pylstm")
    found = mfcc(wave, options)
    assert found.shape == (8, 13) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # silence has a floor, which 13 numbers per frame show in c0 alone
    silent = mfcc(np.zeros(400), options)
    assert np.isfinite(silent).all() and silent[0, 0] < -1000


def test_pylstms_mfcc_takes_the_other_options():
    wave = tone(0.5, 300) / 32768
    options = FeatureOptions(5, 20, 20, deltas=1, features="pylstm")
    assert mfcc(wave, options).shape == (25, 12)
    flat = mfcc(wave, FeatureOptions(preemphasis=0.0, features="pylstm"))
    assert np.abs(flat - mfcc(wave, FeatureOptions(features="pylstm"))).max() > 1
    with pytest.raises(UserError, match="--window-ms 200: expected at most 128 with"):
        FeatureOptions(window_ms=200, features="pylstm")
    with pytest.raises(UserError, match="--features htk: expected one of kaldi, pylstm"):
        FeatureOptions(features="htk")


def test_what_came_later_is_told_only_where_it_is_not_the_papers():
    plain = FeatureOptions().to_json()
    before = {"coefficients", "window_ms", "hop_ms", "preemphasis", "deltas"}
    assert set(plain) == before  # files stay what they were, and those of before are the same
    other = FeatureOptions(trim_db=25.0, features="pylstm")
    assert other.to_json() == plain | {"trim_db": 25.0, "features": "pylstm"}
    for options in (FeatureOptions(), other):
        assert FeatureOptions(**options.to_json()) == options
    # so that every one of them is a deviation by its name
    assert set(other.to_json()) == set(TIMIT.data_options)
