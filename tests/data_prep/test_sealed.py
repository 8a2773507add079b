import h5py
import numpy as np
import pytest

from data_prep.errors import UserError
from data_prep.sealed import USER_BLOCK, opened_hdf5, sealed_hdf5

MAGIC = "a test's; sha256 of the rest: "


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.h5"
    with sealed_hdf5(path, MAGIC) as file:
        file["x"] = np.arange(3)
    whole = path.read_bytes()
    assert len(whole) > USER_BLOCK
    with opened_hdf5(path, MAGIC) as file:
        assert file["x"][()].tolist() == [0, 1, 2]
    rng = np.random.default_rng(0)
    for place in [*range(USER_BLOCK), *rng.integers(0, len(whole), 300)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(UserError, match="damaged") as e, opened_hdf5(path, MAGIC):
            pass
        assert e.value.place == str(path)
    for size in (0, 1, USER_BLOCK, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="damaged"), opened_hdf5(path, MAGIC):
            pass


def test_the_bytes_are_those_that_hdf5_writes_to_the_disk(tmp_path):
    def fill(file):
        file.attrs["text"] = "x" * 3000
        group = file.create_group("g", track_order=True)
        group["frames"] = np.arange(1000, dtype=np.float32)
        group.create_dataset("packed", data=np.arange(5000), chunks=(5000,), compression="gzip")

    for options in ({}, {"libver": "latest"}, {"libver": "latest", "track_order": True}):
        with sealed_hdf5(tmp_path / "ours", MAGIC, **options) as file:
            fill(file)
        with h5py.File(tmp_path / "disk", "w", userblock_size=USER_BLOCK, **options) as file:
            fill(file)
        ours, disk = ((tmp_path / name).read_bytes() for name in ("ours", "disk"))
        assert ours[USER_BLOCK:] == disk[USER_BLOCK:] and ours.startswith(MAGIC.encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "ours"]


def test_a_file_of_a_former_version_is_read_as_it_is(tmp_path):
    with h5py.File(tmp_path / "a", "w") as file:
        file["x"] = 3
    with opened_hdf5(tmp_path / "a", MAGIC) as file:
        assert file["x"][()] == 3


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), sealed_hdf5(tmp_path / "a", MAGIC) as file:
        file["x"] = 3
        raise RuntimeError
    assert not list(tmp_path.iterdir())
