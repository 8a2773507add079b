"""A command is run again where it was run first."""

import pytest
import torch

from cwrnn_cli.evidence.rerun import _device


@pytest.mark.parametrize(("configuration", "expected"), [
    ([{"device": "cpu"}, {"device": "cpu"}], ["--device", "cpu"]),
    ({"cells": [{"device": "cpu"}]}, ["--device", "cpu"]),
    ([{"device": "cpu"}, {"device": "cuda"}], []),  # as auto has chosen
    ([{"device": "mps"}], []),  # not here
    ({"widths": [16], "repeats": 2}, []),  # a benchmark
    ([{"task": "of old"}], []),
])  # fmt: skip
def test_on_the_device_that_all_was_trained_on(monkeypatch, configuration, expected):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert _device({"configuration": configuration}) == expected
