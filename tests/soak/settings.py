"""The commands that are disturbed, all of them small, and what they leave when nobody does."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import soundfile
import torch

from cwrnn_cli.reporting.csv import CSV
from cwrnn_cli.reporting.page import TABLE
from cwrnn_cli.training.folder import CHECKPOINT, CONFIG, RunFolder
from cwrnn_cli.training.manifest import MANIFEST
from cwrnn_cli.training.units import TIMES, times_of
from data_prep import audio
from data_prep.features import RATE
from data_prep.locks import LOCK
from tests import corpora
from tests.data_prep import test_iamondb, test_timit

from .children import run

NETWORK = ["--model", "cw", "--params", "100", "--runs", "2"]
_BLOCKS = "compare --data {data}/audio.h5 --models cw --sizes 100 --runs 2 --epochs 1 --out grid"
_STUDY = "study.log"  # Optuna's journal, with times in it: its trials' numbers stand in trial.json
LEFT = "left over"  # a temporary file or folder
# how a trial came about: in its JSON, and so in the table and the digests of all
_HOW = {"seconds", "resumed"}


@dataclass(frozen=True)
class Setting:
    """A command and how it is taken up again.

    Attributes:
        name: of the setting.
        words: of the command; ``{data}`` is the folder of the prepared inputs.
        resumes: whether ``--resume`` takes it up; else the same command is given again.
        first: what has to be there before: a command that runs undisturbed.
        slow: seconds rather than a fraction of one; only a few cases of it are run.
    """

    name: str
    words: str
    resumes: bool = True
    first: str = ""
    slow: bool = False


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "train-audio",
            "train --data {data}/audio.h5 --model cw --params 100 --runs 2 --epochs 3 --out run",
        ),
        Setting(
            "train-timit",
            "train --task timit --data {data}/timit.h5 --model lstm --params 500 --runs 1 "
            "--epochs 2 --out run",
        ),
        Setting(
            "train-iamondb",
            "train --task iamondb --data {data}/iamondb.h5 --model cw --params 3000 --runs 1 "
            "--epochs 2 --out run",
        ),
        Setting(
            "compare",
            "compare --data {data}/audio.h5 --models srn,cw --sizes 100 --runs 2 --epochs 1 "
            "--out grid",
        ),
        Setting(
            "compare-jobs",
            "compare --task iamondb --data {data}/iamondb.h5 --models srn,cw --sizes 3000 "
            "--runs 1 --epochs 1 --jobs 2 --out grid",
            slow=True,
        ),
        Setting("shard", f"{_BLOCKS} --block 1 --shard 1/1", False),
        Setting("collect", f"{_BLOCKS} --collect", False, f"{_BLOCKS} --block 1 --shard 1/1"),
        Setting(
            "scan",
            "scan --data {data}/audio.h5 --models srn --sizes 100 --rates 1e-4,3e-4 --runs 1 "
            "--epochs 1 --out scan",
        ),
        Setting(
            "scan-vary",
            "scan --data {data}/audio.h5 --models srn --sizes 100 --rates 1e-4 --runs 1 "
            "--epochs 1 --vary weight-std=0.05,0.1 --out scan",
        ),
        Setting(
            "search",
            "search --data {data}/audio.h5 --model srn --params 100 --trials 2 --epochs 1 "
            "--out search",
        ),
        Setting("prepare-audio", "prepare audio --src {data}/sound.wav --out new.h5", False),
        Setting(
            "prepare-timit",
            "prepare timit --src {data}/TIMIT --words {data}/words.txt --allow-fewer --out new.h5",
            False,
        ),
        Setting("prepare-iamondb", "prepare iamondb --src {data}/IAM --out new.h5", False),
        Setting(
            "keep",
            "keep run --out kept",
            False,
            "train --data {data}/audio.h5 --model cw --params 100 --runs 2 --epochs 1 --out run",
        ),
        Setting(
            "eval",
            "eval run --out numbers",
            False,
            "train --data {data}/audio.h5 --model cw --params 100 --runs 2 --epochs 1 --out run",
        ),
    )
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Small corpora, prepared and as they are shipped."""
    sound = 0.5 * np.sin(np.arange(4000) * 0.05) * np.linspace(0.5, 1, 4000)
    soundfile.write(folder / "sound.wav", sound, 44100, subtype="PCM_16")
    audio.prepare(folder / "audio.h5", folder / "sound.wav", length=60)
    corpora.write_timit(folder / "timit.h5")
    corpora.write_iamondb(folder / "iamondb.h5")
    test_timit.write_corpus(folder / "TIMIT", speakers=3)
    (folder / "words.txt").write_text("making walking\nhighway\n", encoding="ascii")
    test_iamondb.write_corpus(folder / "IAM")
    soundfile.write(folder / "word.flac", test_timit.tone(0.3, 200), RATE)


@dataclass
class Stage:
    """A setting in a folder of its own, and what it comes to.

    Attributes:
        setting: which.
        place: a folder; inputs in ``data``, the command runs in ``case``.
        expected: name -> digest of what it leaves undisturbed.
        arrays: name -> digest of what is in it, of its HDF5 files.
    """

    setting: Setting
    place: Path
    expected: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)

    @property
    def case(self) -> Path:
        """Where the command runs."""
        return self.place / "case"

    def words(self, more: str = "") -> list[str]:
        """The command's."""
        return self._filled(self.setting.words + more)

    def again(self) -> list[str]:
        """Of the command that takes it up again."""
        return self.words(" --resume" * self.setting.resumes)

    def _filled(self, text: str) -> list[str]:
        return [word.replace("{data}", str(self.place / "data")) for word in text.split()]

    def empty(self) -> None:
        """Before the command: nothing, or what ``first`` has left."""
        shutil.rmtree(self.case, ignore_errors=True)
        before = self.place / f"before-{self.setting.name}"
        if self.setting.first and not before.exists():
            before.mkdir()
            ended = run(self._filled(self.setting.first), before)
            assert ended.status == 0, ended.said
        if before.exists():
            shutil.copytree(before, self.case)
        else:
            self.case.mkdir()

    def learn(self, runner: Callable[[list[str], Path], Any] = run) -> None:
        """What the command leaves undisturbed, found twice."""
        for _ in range(2):
            self.empty()
            ended = runner(self.words(), self.case)
            assert ended.status == 0, f"{self.setting.name}: {ended.said}"
            before, self.expected = self.expected, state(self.case)
        assert before == self.expected, f"{self.setting.name}: {difference(before, self.expected)}"
        self.arrays = {n: _arrays(self.case / n) for n in self.expected if n.endswith(".h5")}

    def difference(self, left: bool = False, unpacked: bool = False) -> str:
        """In what its folder is not what it should be; "": in nothing.

        Args:
            left: whether something more may be there, which could not be taken away.
            unpacked: whether arrays may lie in HDF5 files as they are: so its library leaves them
                where there is no memory to pack them.
        """
        found = state(self.case)
        for name, arrays in self.arrays.items() if unpacked else ():
            path = self.case / name
            if path.exists() and _arrays(path) == arrays:
                found[name] = self.expected[name]
                if (path.parent / MANIFEST).exists():
                    manifest = path.parent.relative_to(self.case) / MANIFEST
                    files = {path.name: self.expected[name]}
                    found[manifest.as_posix()] = _manifest(self.case / manifest, files)
        if left:
            found = {name: value for name, value in found.items() if name in self.expected}
        return difference(self.expected, found)


def state(folder: Path) -> dict[str, str]:
    """Name -> digest of everything that must not depend on what happened on the way.

    Of a run the content of its checkpoint and not the file, of a manifest all but when and where
    and what it says of that file, of units' times their runs;
    what begins with a dot, or is kept beside a checkpoint, is by its name only.
    """
    found = {}
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here) / name
            key = path.relative_to(folder).as_posix()
            if name == LOCK and TIMES in names:
                pass  # of a unit that is done: whoever collects takes both away
            elif name.startswith(".") or not path.exists():
                found[key] = LEFT
            elif name == CHECKPOINT:
                found[key] = digest(_content(path.parent))
            elif name == MANIFEST:
                found[key] = _manifest(path)
            elif name == TIMES:  # and who trained them when
                units = [unit["first_run"] for unit in times_of(RunFolder(path.parent))]
                found[key] = digest(units)
            elif path.suffix == ".json":
                found[key] = digest(_timeless(json.loads(path.read_text(encoding="utf-8"))))
            elif name in (TABLE, CSV) and (path.parent / _STUDY).exists():
                pass
            elif path.suffix == ".pt":  # one that is kept beside it: whether, not which
                found[key] = "there"
            elif name != _STUDY:
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    for folder_ in folder.rglob(".*"):
        if folder_.is_dir():
            found[folder_.relative_to(folder).as_posix()] = LEFT
    return found


def _manifest(path: Path, files: dict[str, str] | None = None) -> str:
    """Digest of a manifest, with ``files`` in the place of what it says of them."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if files and manifest["files"]:
        manifest["files"] |= files
    dropped = {"sessions", "weights", *["files"] * (path.parent / _STUDY).exists()}
    return digest({k: manifest[k] for k in manifest if k not in dropped})


def _arrays(path: Path) -> str:
    """Digest of all arrays and attributes of an HDF5 file of ours."""
    found: dict[str, Any] = {}
    with h5py.File(io.BytesIO(path.read_bytes())) as file:

        def add(name: str, thing: Any) -> None:
            found[name] = {key: str(value) for key, value in thing.attrs.items()}
            if isinstance(thing, h5py.Dataset):
                found[f"{name} values"] = str(thing.dtype), thing[()].tobytes()

        add("/", file)
        file.visititems(add)
    return digest(found)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _HOW}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _content(run_folder: Path) -> Any:
    if (run_folder / CONFIG).exists():
        return vars(RunFolder(run_folder).checkpoint())
    return hashlib.sha256((run_folder / CHECKPOINT).read_bytes()).hexdigest()


def digest(value: Any) -> str:
    """Of nested dictionaries, sequences, tensors and plain values."""
    made = hashlib.sha256()

    def add(one: Any) -> None:
        if isinstance(one, dict):
            for key in sorted(one):
                add(key)
                add(one[key])
        elif isinstance(one, torch.Tensor):
            made.update(f"{one.dtype}{tuple(one.shape)}".encode())
            made.update(one.contiguous().numpy().tobytes())
        elif isinstance(one, (list, tuple)):
            made.update(str(len(one)).encode())
            for each in one:
                add(each)
        else:
            made.update(repr(one).encode() + b"\0")

    add(value)
    return made.hexdigest()


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
    """The first file in which two states differ, and how many more."""
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if not wrong:
        return ""
    if (name := wrong[0]) not in found:
        how = "missing"
    elif name in expected:
        how = "other"
    else:
        how = LEFT if found[name] == LEFT else "not to be expected"
    return f"{name} {how}" + f" and {len(wrong) - 1} more" * (len(wrong) > 1)
