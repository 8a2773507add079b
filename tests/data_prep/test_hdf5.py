"""HDF5 files made to read what they should not, to take all memory, or to end the process."""

import hashlib
import os
import zlib

import h5py
import numpy as np
import pytest

from data_prep import hdf5, store
from data_prep import sealed as sealing
from data_prep.errors import UserError
from tests import memory
from tests.data_prep.test_store import corpus, sealed


def refused(path, match):
    with pytest.raises(UserError, match=match) as found, hdf5.opened(path):
        pass
    assert found.value.place == str(path)


@pytest.fixture
def secret(tmp_path):
    """A file that a hostile one would like to be read."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(8.0)
    return path


def virtual(file, secret):
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", (8,))
    file.create_virtual_dataset("x", layout)


def unlimited(file, secret):
    layout = h5py.VirtualLayout((8,), "f4", maxshape=(None,))
    source = h5py.VirtualSource(str(secret), "x", (8,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("x", layout)


ELSEWHERE = {
    "external link": lambda f, s: f.__setitem__("x", h5py.ExternalLink(str(s), "x")),
    "soft link": lambda f, s: f.__setitem__("x", h5py.SoftLink("/y")),
    "external storage": lambda f, s: f.create_dataset("x", (8,), "f4", external=[(s, 0, 32)]),
    "virtual dataset": virtual,
    "virtual dataset without end": unlimited,
}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_nothing_outside_the_file_is_read(tmp_path, secret, how):
    for where in (secret, tmp_path / "pipe"):
        path = tmp_path / "hostile.h5"
        with h5py.File(path, "w") as file:
            ELSEWHERE[how](file, where)
        if where != secret:
            os.mkfifo(where)  # opening it would never return
        refused(path, "leads elsewhere|in other files")


OURS_HAVE_NOT = {
    "a named type": (lambda f: f.__setitem__("x", np.dtype("f8")), "neither a group nor"),
    "references": (lambda f: f.create_dataset("x", (2,), h5py.ref_dtype), "neither numbers"),
    "lists": (lambda f: f.create_dataset("x", (2,), h5py.vlen_dtype(int)), "neither numbers"),
    "records": (lambda f: f.create_dataset("x", (2,), [("a", "f4")]), "neither numbers"),
    "another filter": (lambda f: f.create_dataset("x", (9,), "f4", compression="lzf"), "packed in"),
    "a circle": (lambda f: f.create_group("g").__setitem__("h", f["g"]), "without end"),
    "an array as attribute": (lambda f: f.attrs.__setitem__("a", np.ones(9)), "attribute a: nei"),
    "deep": (lambda f: f.create_group("/".join("abcdefghi")), "without end"),
}


@pytest.mark.parametrize("what", OURS_HAVE_NOT)
def test_what_ours_do_not_have_is_refused(tmp_path, what):
    change, message = OURS_HAVE_NOT[what]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        change(file)
    refused(tmp_path / "x.h5", message)


def rows(file, rows):
    """Declared, and never written."""
    file.create_dataset("frames", (rows, 4), "f4")


def zeros(file, rows):
    """A small chunk of a large array: the others are zeros that nobody wrote."""
    options = {"chunks": (1 << 20, 4), "compression": "gzip"}
    file.create_dataset("frames", (rows, 4), "f4", **options)


def bomb(file, rows):
    """A chunk that becomes a thousand times what it says, over and over."""
    options = {"chunks": (1 << 8, 4), "compression": "gzip"}
    made = file.create_dataset("frames", (1 << 8, 4), "f4", **options)
    packer = zlib.compressobj(1)
    raw = b"".join(packer.compress(bytes(1 << 20)) for _ in range(600)) + packer.flush()
    made.id.write_direct_chunk((0, 0), raw)


def texts(file, count):
    """Every text is the same one, of a megabyte."""
    made = file.create_dataset("names", (2000,), h5py.string_dtype("utf-8"))
    made[0] = "x" * (1 << 20)
    place = made.id.get_offset()
    path = file.filename
    file.close()
    with open(path, "rb+") as raw:
        raw.seek(place)
        reference = raw.read(16)
        raw.seek(place)
        raw.write(reference * 2000)


@pytest.mark.parametrize("how", [rows, zeros, bomb, texts])
def test_what_a_file_declares_it_has_to_hold(tmp_path, how):
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        how(file, 600_000_000)
    assert path.stat().st_size < 5 << 20
    begin = "from data_prep.hdf5 import opened"
    message, taken = memory.refusal(begin, f"opened({str(path)!r}).__enter__()")
    assert "no file of cwrnn has that" in message or "declares" in message
    assert taken < 200


def test_a_corpus_is_looked_through_although_its_checksum_is_right(tmp_path, secret):
    path = tmp_path / "c.h5"
    store.write(path, corpus())

    def change(file):
        del file["train/frames"]
        file["train/frames"] = h5py.ExternalLink(str(secret), "x")

    sealed(path, change)
    with pytest.raises(UserError, match="/train/frames: a link that leads elsewhere"):
        store.read(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("labels", np.array([0.5, 1, 2]), "labels must be int64, not float64"),
        ("labels", np.array([-1, 1, 2]), "label -1"),
        ("frames", np.zeros((8, 3), np.float32), "frames of 2 and of 3 numbers|shift and scale"),
        ("frames", np.zeros((8, 2)), "frames must be float32"),
        ("offsets", np.array([0]), "no sequences"),
        ("offsets", np.zeros(0, np.int64), "no sequences"),
        ("offsets", np.float64(3), "offsets must be int64"),
        ("shift", np.full((1, 2), np.nan), "not finite"),
        ("names", 3, "breaks the schema"),
    ],
)
def test_arrays_that_are_no_corpus(tmp_path, name, values, message):
    path = tmp_path / "c.h5"
    store.write(path, corpus())

    def change(file):
        del file[f"train/{name}"]
        file[f"train/{name}"] = values

    sealed(path, change)
    with pytest.raises(UserError, match=message):
        store.read(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "one"),
        ("provenance", "[" * 100_000),
        ("provenance", "[1]"),
        ("provenance", '{"source": 3}'),
        ("provenance", '{"source": {"name": 3}}'),
        ("provenance", "no JSON"),
        ("provenance", 7),
    ],
)
def test_attributes_that_are_no_corpus(tmp_path, name, value):
    path = tmp_path / "c.h5"
    store.write(path, corpus())
    sealed(path, lambda file: file.attrs.__setitem__(name, value))
    with pytest.raises(UserError, match="breaks the schema"):
        store.read(path)


def test_pipes_devices_and_folders_end_in_a_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path, tmp_path / "n\0ull", tmp_path / "none"):
        with pytest.raises(UserError, match="cannot be read"):
            store.read(path)


def test_a_changed_byte_anywhere_reads_or_is_refused(tmp_path):
    """With a right checksum, so that HDF5 itself sees it."""
    path = tmp_path / "c.h5"
    store.write(path, corpus())
    whole = path.read_bytes()[512:]
    generator = np.random.default_rng(0)
    answers = set()
    for _ in range(300):
        changed = bytearray(whole)
        for place in generator.integers(0, len(whole), generator.integers(1, 4)):
            changed[place] ^= 1 << generator.integers(0, 8)
        digest = hashlib.sha256(changed).hexdigest()
        path.write_bytes(sealing.header(store._MAGIC, digest) + changed)
        try:
            store.read(path)
            answers.add("read")
        except UserError:
            answers.add("refused")
    assert answers == {"read", "refused"}


def test_a_heap_of_texts_is_looked_at_whatever_its_reserved_bytes(tmp_path):
    """HDF5 does not look at them, and never ends in a heap of another size."""
    path = tmp_path / "c.h5"
    store.write(path, corpus())
    whole = bytearray(path.read_bytes()[512:])
    at = whole.find(b"GCOL\1")
    whole[at + 7], whole[at + 8] = 0xFF, 0xFF  # reserved; the least byte of the size
    path.write_bytes(sealing.header(store._MAGIC, hashlib.sha256(whole).hexdigest()) + whole)
    with pytest.raises(UserError, match=r"damaged one \(.* of a heap\)"):
        store.read(path)
