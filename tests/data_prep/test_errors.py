import pickle
import subprocess
import sys

import pytest

from data_prep.errors import UserError, shown


@pytest.mark.parametrize(
    ("place", "message"), [(None, "wrong: so"), ("a: b.wav", "a: b.wav: wrong: so")]
)
def test_place_and_reason_stay_apart(place, message):
    error = UserError("wrong: so", place=place)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert (one.message, one.place, one.reason) == (message, place, "wrong: so")
        assert str(one) == message and one.exit_code == 2


def test_nothing_in_a_line_is_obeyed_by_a_terminal():
    hostile = "a\x1b]0;owned\x07\nb\r\x9b31m \u202egpj.exe \u2066x\u2069 \udce9.wav \u2028c"
    for error in (UserError(hostile), UserError("wrong", place=hostile)):
        assert error.message.isprintable()
        error.message.encode("utf-8")
        assert "\\x1b]0;owned\\x07\\nb" in error.message and "\\udce9.wav" in error.message
        assert "\\u202egpj.exe" in error.message
    assert UserError("wrong", place=hostile).place == hostile


def test_what_is_harmless_stays_as_it_is():
    for text in ("Größe 日本語 “x” \\n", "C:\\new", ""):
        assert shown(text) == text
    assert shown(shown("a\nb")) == shown("a\nb") == "a\\nb"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux has them")
def test_a_librarys_other_words_for_full_memory_are_understood():
    program = """
import resource
from data_prep.errors import refused
error = ValueError("quantization error")
assert refused(error) is None
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size, size))
taken = []
try:
    while True:
        taken.append(bytearray(1 << 16))
except MemoryError:
    pass
line = refused(error).message
del taken
print(line)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.startswith("memory is full"), result.stderr
