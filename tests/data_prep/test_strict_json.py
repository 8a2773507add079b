import json
import math

import numpy as np
import pytest

from data_prep.strict_json import dumps


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64(np.nan)])
def test_what_is_not_finite_is_null(bad):
    value = {"a": [1.5, bad, {"b": (bad, 2)}], "c": "NaN", 3: None}
    text = dumps(value)
    assert "Infinity" not in text
    found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert found == {"a": [1.5, None, {"b": [None, 2]}], "c": "NaN", "3": None}


def test_finite_values_are_written_as_ever():
    value = {"b": [1e-300, 0.1, -0.0, 10**30, True], "a": {"é": "σ"}, "c": (1, 2)}
    assert dumps(value) == json.dumps(value)
    assert dumps(value, indent=1, sort_keys=True) == json.dumps(value, indent=1, sort_keys=True)
    assert dumps(value, ascii_only=False) == json.dumps(value, ensure_ascii=False)


def test_names_in_no_encoding_are_escaped():
    text = dumps({"run": "lat\udce9", "é": 1}, ascii_only=False)
    assert text.isascii() and json.loads(text) == {"run": "lat\udce9", "é": 1}
