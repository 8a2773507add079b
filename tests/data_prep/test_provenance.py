"""What a corpus' file says of where it came from, whichever converter wrote it."""

import hashlib

import pytest

from cwrnn_cli.tasks import TASKS
from data_prep import store
from data_prep.provenance import source_of

from . import test_iamondb, test_timit

ORIGIN = "the package sounds, 1.2"


def test_one_digest_over_all_files():
    # as `sha256sum` and `sort` would have it
    text = "b c 22\na/b 11\na 33\n"
    whole = "".join(sorted(text.splitlines(keepends=True))).encode()
    digests = {"b c": "22", "a": "33", "a/b": "11"}
    assert source_of("x", digests=digests) == {
        "name": "x",
        "sha256": hashlib.sha256(whole).hexdigest(),
        "files": 3,
    }
    assert source_of("x", "shop") == {"name": "x", "origin": "shop"}
    assert source_of("x", "") == source_of("x") == {"name": "x"}
    assert source_of("x", digests={"\udcff": "44"})["files"] == 1


@pytest.mark.parametrize("corpus", ["audio", "timit", "iamondb"])
def test_the_origin_is_what_the_user_says(cwrnn, tmp_path, corpus):
    words = ["prepare", corpus]
    if corpus == "timit":
        src = test_timit.write_corpus(tmp_path / "src")
        (tmp_path / "words.txt").write_text("making walking\nhighway\n")
        words += ["--src", src, "--words", tmp_path / "words.txt"]
    elif corpus == "iamondb":
        words += ["--src", test_iamondb.write_corpus(tmp_path / "src")]
    cwrnn(*words, "--out", "plain.h5")
    cwrnn(*words, "--origin", ORIGIN, "--out", "named.h5")
    plain, named = (store.read(name).provenance["source"] for name in ("plain.h5", "named.h5"))
    assert named == plain | {"origin": ORIGIN} and "origin" not in plain
    data = TASKS[corpus].load("named.h5")
    assert data.provenance["source"] == named and data.provenance["cwrnn"]
