import numpy as np

from data_prep import standardise


def test_zero_mean_and_unit_variance():
    rng = np.random.default_rng(0)
    frames = (rng.normal(size=(500, 3)) * [1e-3, 1, 1e4] + [5, 0, -1e5]).astype(np.float32)
    frames[:, 1] = 7  # constant
    shift, scale = standardise.zero_mean_unit_variance(frames)
    assert shift.shape == scale.shape == (1, 3) and shift.dtype == scale.dtype == np.float64
    assert (shift[0, 1], scale[0, 1]) == (7, 1)
    found = standardise.apply(frames, shift, scale)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(axis=0, dtype=float), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0, dtype=float), [1, 0, 1], atol=1e-5)
    np.testing.assert_allclose(found * scale + shift, frames, rtol=1e-6)


def test_unit_range():
    sequences = np.random.default_rng(1).normal(3, 2, size=(4, 50))
    shift, scale = standardise.unit_range(sequences)
    assert shift.shape == scale.shape == (4, 1)
    found = standardise.apply(sequences, shift, scale)
    np.testing.assert_allclose(found.min(axis=1), -1, rtol=1e-6)
    np.testing.assert_allclose(found.max(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found * scale + shift, sequences, atol=1e-5)
    shift, scale = standardise.unit_range(np.full((1, 5), 2.0))
    assert (shift.item(), scale.item()) == (2, 0)
