import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from cwrnn_cli.training.checkpoints import Checkpoint, packed, unpacked
from cwrnn_cli.training.folder import RunFolder
from data_prep.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    weights = {"w": torch.arange(60.0).reshape(2, 30)}
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    return Checkpoint(3, weights, velocity, "[]", {"diverged_at": torch.tensor([-1, 2])})


def by_torch(values: object) -> bytes:
    file = io.BytesIO()
    torch.save(values, file)
    return file.getvalue()


def flipped(content: bytes, rng: np.random.Generator, count: int):
    """Copies with one bit of it the other way round."""
    for place in rng.integers(0, len(content), count):
        copy = bytearray(content)
        copy[place] ^= 1 << rng.integers(8)
        yield bytes(copy)


def test_it_comes_back_and_is_a_file_of_torch(checkpoint):
    content = packed(checkpoint)
    found = unpacked(content)
    assert (found.epoch, found.generators) == (3, "[]")
    assert torch.equal(found.weights["w"], checkpoint.weights["w"])
    assert torch.load(io.BytesIO(content), weights_only=True)["epoch"] == 3


def test_every_flipped_bit_and_every_cut_is_noticed(checkpoint):
    content, rng = packed(checkpoint), np.random.default_rng(0)
    for copy in flipped(content, rng, 400):
        with pytest.raises(ValueError, match="damaged"):
            unpacked(copy)
    end = len(content) - 110
    for bit in range(8 * 110):  # the digest, and what says that there is one
        copy = bytearray(content)
        copy[end + bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="damaged"):
            unpacked(bytes(copy))
    for size in (0, 1, 21, 22, len(content) // 2, *range(end, len(content))):
        with pytest.raises(ValueError, match="damaged"):
            unpacked(content[:size])


def test_those_of_former_versions_are_read_and_their_own_sums_believed(checkpoint):
    content = by_torch(vars(checkpoint))
    assert unpacked(content).epoch == 3
    weights = checkpoint.weights["w"].numpy().tobytes()
    place = content.index(weights)
    for byte in range(0, len(weights), 7):
        copy = bytearray(content)
        copy[place + byte] ^= 4
        with pytest.raises(ValueError, match="damaged"):
            unpacked(bytes(copy))


def test_the_published_weights_are_read_and_every_flipped_bit_of_theirs_noticed(tmp_path):
    run = ROOT / "results/iamondb/weights/srn-10000-s1"
    assert RunFolder(run).checkpoint().epoch > 0
    for name in ("config.json", "manifest.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    copy, content = RunFolder(tmp_path), (run / "checkpoint.pt").read_bytes()
    for damaged in flipped(content, np.random.default_rng(1), 50):
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            copy.checkpoint()


class Large:
    """Pickled, it asks for 10 GB."""

    def __reduce__(self):
        return bytearray, (10**10,)


@pytest.mark.parametrize("kind", ["pickle", "types", "expanded", "none", "sparse"])
def test_what_is_no_checkpoint_is_refused(checkpoint, kind):
    values = vars(checkpoint)
    found = {
        "pickle": lambda: pickle.dumps(values),
        "types": lambda: by_torch(values | {"epoch": "3"}),
        "expanded": lambda: by_torch(values | {"weights": {"w": torch.zeros(1).expand(10**12)}}),
        "none": lambda: by_torch({"epoch": 3}),
        "sparse": lambda: by_torch(values | {"extra": {"x": torch.zeros(3, 3).to_sparse()}}),
    }
    with pytest.raises(ValueError, match="no checkpoint"):
        unpacked(found[kind]())


HOSTILE = """
import resource, sys
from pathlib import Path
from cwrnn_cli.training.folder import RunFolder
from data_prep.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for place in sys.argv[1:]:
    try:
        RunFolder(Path(place)).checkpoint()
    except UserError as error:
        print(error.message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_two_deflated_gigabytes_a_hole_and_an_array_take_no_memory(tmp_path, checkpoint):
    names = ("deflated", "hole", "long", "vast")
    folders = deflated, hole, long, vast = [tmp_path / name for name in names]
    config = next(ROOT.glob("results/*/weights/*/config.json"))
    for folder in folders:
        folder.mkdir()
        shutil.copy(config, folder)
    content = by_torch(vars(checkpoint))
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(deflated / "checkpoint.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            with new.open(entry.filename, "w", force_zip64=True) as file:
                if entry.filename.endswith("data/0"):
                    for _ in range(2**7):
                        file.write(bytes(2**24))
                else:
                    file.write(old.read(entry))
    with (hole / "checkpoint.pt").open("wb") as file:
        file.truncate(2**32)
    (long / "checkpoint.pt").write_bytes(by_torch(vars(checkpoint) | {"extra": {"x": Large()}}))
    of_many = json.loads(config.read_text()) | {"runs": 10**6}  # whose checkpoint may be large
    (vast / "config.json").write_text(json.dumps(of_many))
    with (vast / "checkpoint.pt").open("wb") as file:
        file.truncate(2**33)
    words = [sys.executable, "-c", HOSTILE, *map(str, folders)]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    *lines, grown = said.splitlines()
    assert len(lines) == 4 and all("checkpoint.pt: " in line for line in lines)
    assert ["damaged" in line for line in lines] == [True, False, True, False]
    assert "4294967296 bytes; expected at most" in lines[1]
    assert "8589934592 bytes, of which 0 are there: the rest is a hole" in lines[3]
    assert int(grown) < 256  # MiB
