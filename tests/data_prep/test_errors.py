import pickle

import pytest

from data_prep.errors import UserError


@pytest.mark.parametrize(
    ("place", "message"), [(None, "wrong: so"), ("a: b.wav", "a: b.wav: wrong: so")]
)
def test_place_and_reason_stay_apart(place, message):
    error = UserError("wrong: so", place=place)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert (one.message, one.place, one.reason) == (message, place, "wrong: so")
        assert str(one) == message and one.exit_code == 2
