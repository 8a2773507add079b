import numpy as np
import pytest

from cwrnn_cli.kernels.numba import simd

POINTS = np.concatenate([np.linspace(-12, 12, 16 * 500), np.geomspace(1e-30, 80, 16 * 50)])
TRUTH = {
    simd.tanh: np.tanh,
    simd.sigmoid: lambda x: np.exp(-np.logaddexp(np.longdouble(0), -x)),
}


@pytest.mark.parametrize("function", list(TRUTH), ids=["tanh", "sigmoid"])
@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 1e-14)])
def test_relative_error(function, dtype, error):
    for x in (POINTS.astype(dtype), -POINTS.astype(dtype)):
        expected = TRUTH[function](x.astype(np.longdouble))
        found = simd.map_array(function, x)
        assert found.dtype == dtype
        assert np.max(np.abs((found - expected) / expected)) < error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_of_the_range(dtype):
    x = np.array([np.inf, -np.inf, 0.0, -0.0, 1000, -1000, np.nan] + [1.0] * 9, dtype)
    t, s = simd.map_array(simd.tanh, x), simd.map_array(simd.sigmoid, x)
    assert t[:6].tolist() == [1, -1, 0, 0, 1, -1] and np.signbit(t[3]) and np.isnan(t[6])
    assert s[[0, 2, 3, 4]].tolist() == [1, 0.5, 0.5, 1] and np.isnan(s[6])
    assert 0 < s[1] == s[5] < 1e-37
