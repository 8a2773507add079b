import h5py
import numpy as np
import pytest

from data_prep import sealed as sealing
from data_prep import store
from data_prep.errors import UserError
from data_prep.files import sha256_of


def split(lengths=(3, 1, 4), features=2, seed=0, **more):
    generator = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return store.Split(
        frames=generator.normal(size=(offsets[-1], features)).astype(np.float32),
        offsets=offsets,
        names=[f"sequence {i} – ü" for i in range(len(lengths))],
        shift=np.zeros((1, features)),
        scale=np.ones((1, features)),
        **more,
    )


def corpus(**more):
    splits = {
        "train": split(labels=np.array([2, 0, 1])),
        "test": split((5, 2), seed=1, text=["Größe", ""]),
    }
    return store.Corpus(
        "timit", True, {"a": [1, 2.5, None], "source": {"name": "ß"}}, splits, **more
    )


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "corpus.h5"
    written = corpus()
    store.write(path, written)
    found = store.read(path, "timit")
    assert (found.corpus, found.standin) == ("timit", True)
    assert found.provenance == written.provenance and len(found.sha256) == 64
    assert list(found.splits) == ["train", "test"]
    for name, mine in found.splits.items():
        theirs = written.splits[name]
        assert len(mine) == len(theirs)
        for i in range(len(mine)):
            np.testing.assert_array_equal(mine[i], theirs[i])
        assert (mine.names, mine.text) == (theirs.names, theirs.text)
        np.testing.assert_array_equal(mine.shift, theirs.shift)
        assert mine.frames.dtype == np.float32
    assert found.splits["train"].labels.tolist() == [2, 0, 1]
    assert found.splits["test"].labels is None
    with pytest.raises(IndexError):
        found.splits["test"][2]


def test_the_layout_is_plain_hdf5(tmp_path):
    store.write(tmp_path / "c.h5", corpus())
    with h5py.File(tmp_path / "c.h5") as file:
        assert set(file.attrs) == {"schema", "corpus", "standin", "provenance"}
        assert file["train/frames"].shape == (8, 2) and file["train/frames"].dtype == np.float32
        assert file["train/offsets"][()].tolist() == [0, 3, 4, 8]
        assert file["test/text"].asstr()[0] == "Größe"


def test_the_same_corpus_gives_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        store.write(tmp_path / name, corpus())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_any_flipped_byte_and_any_truncation_is_noticed(tmp_path):
    path = tmp_path / "c.h5"
    store.write(path, corpus())
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 60)
    for place in [0, 70, 511, 512, len(whole) - 1, *places.tolist()]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(UserError, match="damaged|not a corpus"):
            store.read(path)
    for length in [0, 1, 100, 512, 600, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged|not a corpus"):
            store.read(path)


def test_foreign_files(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        store.read(tmp_path / "none.h5")
    with pytest.raises(UserError, match="cannot be read"):
        store.read(tmp_path)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    (tmp_path / "text.h5").write_text("hello")
    for name in ("foreign.h5", "text.h5"):
        with pytest.raises(UserError, match="not a corpus of cwrnn"):
            store.read(tmp_path / name)
    store.write(tmp_path / "c.h5", corpus())
    with pytest.raises(UserError, match="holds the corpus timit, not audio"):
        store.read(tmp_path / "c.h5", "audio")


def sealed(path, change):
    """Change a file with h5py and give it a right checksum, as a future version of us would."""
    with h5py.File(path, "r+") as file:
        change(file)
    header = sealing.header(store._MAGIC, sha256_of(path, skip=512))
    with path.open("rb+") as raw:
        raw.write(header)


def test_another_schema_and_broken_ones(tmp_path):
    path = tmp_path / "c.h5"
    for change, message in (
        (lambda f: f.attrs.__setitem__("schema", 2), "schema 2, this version reads schema 1"),
        (lambda f: f["train"].__delitem__("offsets"), "breaks the schema"),
        (lambda f: f["train/offsets"].__setitem__(1, 100), "offsets must rise"),
        (lambda f: f["train/frames"].__setitem__(0, np.nan), "not finite"),
    ):
        store.write(path, corpus())
        sealed(path, change)
        with pytest.raises(UserError, match=message):
            store.read(path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"train": split((3, 0))}, "offsets must rise"),
        ({"training": split()}, "expected one of train, valid, test"),
        ({"train": split(labels=np.array([1]))}, "1 labels for 3"),
        ({"train": split(text=["a"])}, "1 text for 3"),
    ],
)
def test_nothing_that_breaks_the_schema_is_written(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        store.write(tmp_path / "c.h5", store.Corpus("audio", False, {}, bad))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.h5"
    store.write(path, corpus())
    before = path.read_bytes()

    def fail(*arguments):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(sealing, "header", fail)
    with pytest.raises(RuntimeError, match="on fire"):
        store.write(path, corpus())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.h5"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        store.write(tmp_path / "file" / "c.h5", corpus())
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        store.write(tmp_path / "folder.h5", corpus())
