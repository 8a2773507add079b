import numba
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


@numba.njit
def copy_some(source, place, count, target, to):
    simd.store_some(target, to, count, simd.load_some(source, place, count))


@numba.njit
def mix(count, source, target):
    mixed = simd.choose_first(count, simd.load(source, 0), simd.load(source, 1))
    simd.store(target, 0, mixed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 5, 15, 16])
def test_some_lanes(dtype, count):
    source = np.arange(1, 1 + 3 * simd.LANES, dtype=dtype)
    target = np.full(3 * simd.LANES, -1, dtype)
    expected = target.copy()
    expected[7 : 7 + count] = source[3 : 3 + count]
    copy_some(source, 3, count, target, 7)
    assert target.tolist() == expected.tolist()
    mix(count, source, target)
    assert target[: simd.LANES].tolist() == [
        *source[:count], *source[simd.LANES + count : 2 * simd.LANES]
    ]  # fmt: skip
