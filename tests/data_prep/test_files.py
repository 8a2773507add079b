import hashlib

import pytest

from data_prep.errors import UserError
from data_prep.files import atomic_write, filled_folder, sha256_of, whole_folder, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    write_text(path, "new, ü")
    assert path.read_text(encoding="utf-8") == "new, ü"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    assert sha256_of(path, skip=3) == hashlib.sha256(path.read_bytes()[3:]).hexdigest()


def test_a_place_that_cannot_be_written_is_named_without_an_option(tmp_path):
    write_text(tmp_path / "file", "")
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="cannot be written .*; choose another place") as e:
            write_text(path, "x")
        assert e.value.place == str(path) and "--" not in e.value.reason


def test_a_folder_is_filled_and_kept_or_gone(tmp_path):
    def fill(folder):
        write_text(folder / "a", "x")

    def fail(folder):
        fill(folder)
        raise RuntimeError

    with filled_folder(None, fill) as folder:
        assert (folder / "a").read_text() == "x"
    assert not folder.exists()
    kept = tmp_path / "deep" / "kept"
    with pytest.raises(RuntimeError), filled_folder(kept, fail):
        pass
    assert not list(kept.parent.iterdir())
    with filled_folder(kept, fill) as folder:
        assert folder == kept
    assert (kept / "a").read_text() == "x"
    with pytest.raises(UserError, match="exists already") as e, filled_folder(kept, fill):
        pass
    assert e.value.place == str(kept) and "--" not in e.value.reason
    with pytest.raises(UserError, match="cannot be written"), filled_folder(kept / "a/b", fill):
        pass


def test_an_error_within_a_whole_folder_is_not_one_of_writing(tmp_path):
    kept = tmp_path / "kept"
    with pytest.raises(FileNotFoundError), whole_folder(kept) as new:
        write_text(new / "a", "x")
        (tmp_path / "none").read_text()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be written") as e, whole_folder(kept) as new:
        write_text(kept / "b", "x")  # somebody else was faster
    assert e.value.place == str(kept)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "b"]
