"""What `cwrnn bench layer` leaves out, before it is measured."""

import pytest

from cwrnn_cli.benchmarks import layer


@pytest.mark.parametrize(
    ("width", "batch", "length", "seconds"),
    [
        (64, 32, 2048, 2048 * 0.01),  # as slow per step as at fewer steps
        (64, 1, 2048, 2048 * 0.001),  # not as slow as with more rows
        (128, 128, 320, 320 * 0.01),
        (40, 32, 320, 6 * 40 * 32 * 320 / 1e9),  # narrower: no less than at the peak
    ],
)
def test_the_least_that_a_call_takes(width, batch, length, seconds):
    entry = layer._Entry("SRN", "reference", None, float(width), lambda x, gradient: None)
    measured = {
        ("SRN (reference)", 64, 1): 0.001,
        ("SRN (reference)", 64, 32): 0.01,
        ("SRN (compiled)", 64, 1): 5.0,
    }
    point = layer._Point(width, batch, length, {}, ["srn"])
    assert layer._least_seconds(entry, point, 1.0, measured) == pytest.approx(seconds)
