import numpy as np
import pytest

from cwrnn_cli.tasks.audio.descriptions import (
    DESCRIPTIONS,
    autocorrelation,
    deviation,
    low_share,
    spectral_centroid,
    spectral_flatness,
)
from data_prep.audio import RATE

STEPS = 320


def tones(*frequencies: float) -> np.ndarray:
    """A sine each, (S, T)."""
    times = np.arange(STEPS) / RATE
    return np.sin(2 * np.pi * np.array(frequencies)[:, None] * times)


def noise(rows: int = 50) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, STEPS))


def test_a_tone_is_where_its_frequency_is():
    found = tones(500, 4000, 12000)
    np.testing.assert_allclose(spectral_centroid(found), [500, 4000, 12000], rtol=0.03)
    np.testing.assert_allclose(low_share(found), [1, 0, 0], atol=0.01)
    assert (spectral_flatness(found) < 0.01).all()
    expected = np.cos(2 * np.pi * np.array([500, 4000, 12000]) / RATE)
    np.testing.assert_allclose(autocorrelation(found), expected, atol=0.02)
    np.testing.assert_allclose(deviation(found), np.sqrt(0.5), rtol=0.03)


def test_noise_is_everywhere():
    found = noise()
    assert spectral_centroid(found).mean() == pytest.approx(RATE / 4, rel=0.03)
    assert spectral_flatness(found).mean() == pytest.approx(np.exp(-np.euler_gamma), rel=0.1)
    assert low_share(found).mean() == pytest.approx(1000 / (RATE / 2), rel=0.25)
    assert abs(autocorrelation(found).mean()) < 0.02


def test_two_tones_share_the_energy():
    found = tones(500, 8000)
    both = (found[0] + 2 * found[1])[None]  # energies 1 and 4
    assert low_share(both)[0] == pytest.approx(0.2, abs=0.02)
    assert spectral_centroid(both)[0] == pytest.approx(0.2 * 500 + 0.8 * 8000, rel=0.03)


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_mean_and_scale_matter_to_the_deviation_only(name):
    sound = np.concatenate([tones(700), noise(1)])
    of = DESCRIPTIONS[name].of
    np.testing.assert_allclose(of(sound + 0.5), of(sound), rtol=1e-9, atol=1e-12)
    scale = 0.1 if name == "deviation" else 1
    np.testing.assert_allclose(of(0.1 * sound), scale * of(sound), rtol=1e-9)
