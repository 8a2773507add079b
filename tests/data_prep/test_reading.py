"""Files of others: what is no plain file, too large or hardly more than a hole is not read."""

import os

import pytest

from data_prep import reading
from data_prep.errors import UserError
from data_prep.reading import content_of, json_of, lines_of, text_of
from data_prep.sealed import opened_hdf5

HOLE = 1 << 27
READERS = {
    "content": content_of,
    "text": text_of,
    "json": json_of,
    "lines": lambda path, most: list(lines_of(path, most)),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_refuses_what_is_no_plain_file_or_too_large(tmp_path, read):
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_bytes(bytes(17))
    for path, wrong in (
        (pipe, "cannot be read .a pipe or a device.; expected a file"),
        (tmp_path, "cannot be read .Is a directory.; expected a file"),
        (tmp_path / "none", "cannot be read .No such file"),
        (large, "17 bytes; expected at most 16"),
    ):
        with pytest.raises(UserError, match=wrong) as error:
            read(path, 16)
        assert error.value.place == str(path)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_few_bytes_that_are_a_large_hole_are_not_read(tmp_path, read):
    path = tmp_path / "hole"
    with path.open("wb") as file:
        file.write(b"{}\n")
        file.truncate(HOLE)
    with pytest.raises(UserError, match=f"{HOLE} bytes, of which [0-9]+ are there: the rest is a"):
        read(path, HOLE)


def test_what_memory_has_no_room_for_is_not_read(tmp_path, monkeypatch):
    """Nor is a file without a hole taken for one with it where its blocks are few: packed ones."""
    path = tmp_path / "hole"
    with path.open("wb") as file:
        file.truncate(HOLE)
    monkeypatch.setattr(reading, "_has_hole", lambda file, size: False)
    monkeypatch.setattr(reading, "free_bytes", lambda: 1 << 20)
    with pytest.raises(UserError, match=f"{HOLE} bytes, and 1048576 of memory are free"):
        content_of(path, HOLE)


def test_of_a_file_that_begins_otherwise_only_the_beginning_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one and all")
    assert content_of(path, 100, (b"two", b"one")) == b"one and all"
    assert content_of(path, 100, (b"other", b"two")) == b"one a"
    with pytest.raises(UserError, match="not one of ours"), opened_hdf5(path, "a test's: "):
        pass


def test_texts_and_json(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b'["\xc3\xbc",\r\n1]')
    assert text_of(path) == path.read_text(encoding="utf-8") == '["ü",\n1]'
    assert json_of(path) == ["ü", 1]
    path.write_bytes(b'"\xff"')
    assert text_of(path, errors="replace") == '"\ufffd"'
    with pytest.raises(UnicodeDecodeError):
        json_of(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="property name"):
        json_of(path)


def test_lines(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n\nhalf")
    assert list(lines_of(path, 100)) == [b"one\n", b"two\n", b"\n", b"half"]
    path.write_bytes(b"")
    assert list(lines_of(path, 100)) == []
    monkeypatch.setattr(reading, "_LONGEST", 4)
    path.write_bytes(b"one\ntwenty\n")
    lines = lines_of(path, 100)
    assert next(lines) == b"one\n"
    with pytest.raises(UserError, match="lines: a line of more than 4 bytes"):
        next(lines)
