"""What is fuzzed: each target a reader, good inputs for it, and what it may make of bad ones."""

import hashlib
import io
import json
import random
import shutil
import tarfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import torch

from cwrnn_cli.evidence.folders import check_folder, read_manifest
from cwrnn_cli.evidence.rerun import numbers_of
from cwrnn_cli.reporting.search import search_text
from cwrnn_cli.tasks import TASKS, task_of
from cwrnn_cli.training.config import TrainConfig
from cwrnn_cli.training.factorial import rows_of
from cwrnn_cli.training.folder import CHECKPOINT, CONFIG, METRICS, Checkpoint, RunFolder
from cwrnn_cli.training.manifest import MANIFEST
from cwrnn_cli.training.results import read_results
from cwrnn_cli.training.rows import Journal, read_rows
from cwrnn_cli.training.scan import ROWS, SCAN_ROWS, scores
from cwrnn_cli.training.search import TRIALS, judged
from cwrnn_cli.training.study import STUDY, opened
from data_prep import audio, spoken, store, timit
from data_prep.errors import UserError
from data_prep.features import RATE, read_speech
from data_prep.iamondb_files import LISTS, Source, find, line_files, read_strokes, read_texts
from tests.data_prep.test_timit import tone

from .mutate import mutated
from .settings import SETTINGS, Stage, digest

_ROOT = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        good: inputs that it reads.
        read: called with a mutated one; it may return anything, or raise UserError.
        exact: whether it must return what it returns of the good input, or refuse.
        sealed: gives an input the checksum that hides a mutation.
    """

    good: Sequence[bytes]
    read: Callable[[bytes], Any]
    exact: bool = False
    sealed: Callable[[bytes], bytes] = bytes

    def fault(self, name: str, right: str) -> str:
        """What is wrong with what is made of case ``name``; "" if nothing.

        Args:
            name: of the case.
            right: digest of what is read of the good input, for ``exact``.
        """
        content = self.sealed(mutated(self.good, name))
        try:
            found = self.read(content)
        except UserError as error:
            return "" if error.message.isprintable() else "a message that a terminal would obey"
        except MemoryError:
            return "more than 1 GiB of memory"
        except Exception as error:
            files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
            place = next(name for name in reversed(files) if name.startswith(_ROOT))
            return f"{type(error).__name__} in {Path(place).name}: {str(error)[:80]}"
        if self.exact and content not in self.good and digest(found) != right:
            return "loaded altered"
        return ""


def targets(place: Path, stages: dict[str, Stage], runner: Callable[..., Any]) -> dict[str, Target]:
    """All of them, working in folders below ``place``."""
    data, fuzzed = place / "data", place / "fuzz"
    fuzzed.mkdir(exist_ok=True)
    names = ("train-audio", "train-timit", "compare", "scan-vary", "search")
    run, words, grid, scan, search = (_finished(stages[name], fuzzed, runner) for name in names)
    corpora = [(data / f"{name}.h5").read_bytes() for name in ("audio", "timit", "iamondb")]

    def placed(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
        path = fuzzed / name

        def reader(content: bytes) -> Any:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return read(path)

        return reader

    def metrics(content: bytes) -> None:
        (run / METRICS).write_bytes(content)
        RunFolder(run).cut_metrics(2)

    def rows(path: Path) -> None:
        """As a scan takes them up that is resumed when all is done."""
        journal = Journal(path)
        if all(journal.of(cell.name, config) for config, cell in cells):
            rows_of([(config, cell.settings) for config, cell in cells], scanned.factors, journal)

    def published(content: bytes) -> Any:
        """A mutation of any file of a result folder is noticed, unless it changes nothing."""
        files = sorted(p.name for p in grid.iterdir() if p.is_file())
        name = files[sum(content) % len(files)]
        path = grid / name
        good = path.read_bytes()
        bad = mutated([good], content.hex())
        try:
            path.write_bytes(bad)
            found = check_folder(grid, "grid")
        finally:
            path.write_bytes(good)
        # a manifest has times and machines, which nothing else says
        return bool(found) or bad == good or name in (MANIFEST, CONFIG)

    xml = next((data / "IAM").rglob("*.xml")).read_bytes()
    text = next((data / "IAM").rglob("ascii/**/*.txt")).read_bytes()
    form = next((data / "IAM").rglob("ascii/**/*.txt")).stem
    ink = fuzzed / "IAM"  # its own, for the other cases prepare the one in data meanwhile
    shutil.copytree(data / "IAM", ink, dirs_exist_ok=True)
    lists = ink / LISTS[0]
    trial = next((search / "trials").rglob("trial.json"))
    heading = json.loads((search / TRIALS).read_bytes())
    scanned, journal = read_rows(scan / SCAN_ROWS), (scan / "cells" / ROWS).read_bytes()
    lines = [json.loads(line) for line in journal.splitlines()]
    configs = {x["name"]: TrainConfig.from_json(x["config"] | {"data_path": ""}) for x in lines}
    cells = [(configs[cell.name], cell) for cell in scanned.cells]
    forms = {p.stem for p in (data / "IAM").rglob("ascii/**/*.txt")}
    sound = tone(0.1, 200)
    archives = [_archive(data / "IAM" / "lineStrokes", mode) for mode in ("w", "w:gz")]
    groups = (data / "words.txt").read_bytes()
    wrd = next((data / "TIMIT").rglob("*.WRD")).read_bytes()

    def texts(path: Path) -> None:
        read_texts(Source(path.parent, {}), [form])

    return {
        **_of_run(run, data / "audio.h5", ""),
        **_of_run(words, data / "timit.h5", "-timit"),
        "metrics": Target([(run / METRICS).read_bytes()], metrics),
        "manifest": Target([(run / MANIFEST).read_bytes()],
                           _standing_in(run / MANIFEST, lambda: read_manifest(run))),
        "results": Target([(grid / "results.h5").read_bytes()],
                          placed("results.h5", lambda p: _content(read_results(p))), exact=True),
        "scan-rows": Target([(scan / SCAN_ROWS).read_bytes()],
                            placed(SCAN_ROWS, lambda p: _content(read_rows(p))), exact=True),
        "results-sealed": Target([(grid / "results.h5").read_bytes()],
                                 placed("rows.h5", read_results), sealed=_sealed),
        "results-again": Target([(grid / "results.h5").read_bytes()],
                                _standing_in(grid / "results.h5", lambda: numbers_of(grid)),
                                sealed=_sealed),
        "scan-scores": Target([(scan / SCAN_ROWS).read_bytes()], placed("scores.h5", scores),
                              sealed=_sealed),
        "journal": Target([journal], placed("rows.jsonl", rows)),
        "trial": Target([trial.read_bytes()],
                        _standing_in(trial, lambda: search_text(judged(heading, search)))),
        "study": Target([(search / STUDY).read_bytes()], placed(STUDY, lambda p: opened(p.parent))),
        "published": Target([bytes([i]) * 8 for i in range(8)], published, exact=True),
        "corpus": Target(corpora[:1], placed("corpus.h5", lambda p: _content(store.read(p))),
                         exact=True),
        "corpus-sealed": Target(corpora, placed("sealed.h5", store.read), sealed=_sealed),
        **{f"corpus-{name}": Target([content], placed(f"{name}.h5", TASKS[name].load),
                                    sealed=_sealed)
           for name, content in zip(("audio", "timit", "iamondb"), corpora, strict=True)},
        "wav": Target(_sounds(sound, "WAV", "AIFF"), placed("a.wav", read_speech)),
        "flac": Target(_sounds(sound, "FLAC", "OGG"), placed("a.flac", read_speech)),
        "sphere": Target(_sounds(sound, "NIST"), placed("a.WAV", read_speech)),
        "piece": Target([(data / "sound.wav").read_bytes()],
                        placed("b.wav", lambda p: audio.prepare(fuzzed / "b.h5", p, length=60))),
        "wrd": Target([wrd], placed("a.WRD", timit.read_words)),
        "groups": Target([groups], placed("words.txt", spoken.read_groups)),
        "xml": Target([xml], read_strokes),
        "ascii": Target([text], placed(f"ascii/{form}.txt", texts)),
        "lists": Target([lists.read_bytes()],
                        _standing_in(lists, lambda: find(ink, None, {}))),
        "archive": Target(archives, placed(
            "lineStrokes-all.tar.gz", lambda p: list(line_files(Source(p, {}), forms)))),
    }  # fmt: skip


def _standing_in(path: Path, read: Callable[[], Any]) -> Callable[[bytes], Any]:
    """Reads a folder in which an input stands in the place of a file, which comes back then."""
    good = path.read_bytes()

    def reader(content: bytes) -> Any:
        try:
            path.write_bytes(content)
            return read()
        finally:
            path.write_bytes(good)

    return reader


def _of_run(run: Path, corpus: Path, suffix: str) -> dict[str, Target]:
    """What a trained run has: read, and evaluated as `cwrnn eval` does."""
    folder = RunFolder(run)
    config, checkpoint = ((run / name).read_bytes() for name in (CONFIG, CHECKPOINT))
    whole = folder.checkpoint()

    def evaluated() -> Any:
        return task_of(folder).evaluate_run(folder, corpus)

    def values(content: bytes) -> Any:
        try:
            folder.save(_wrong_values(whole, random.Random(content)))
            return evaluated()
        finally:
            for path in run.glob("*.pt"):
                path.unlink()
            (run / CHECKPOINT).write_bytes(checkpoint)

    return {
        f"config{suffix}": Target([config], _standing_in(run / CONFIG, folder.config)),
        f"config-evaluated{suffix}": Target([config], _standing_in(run / CONFIG, evaluated)),
        f"checkpoint{suffix}": Target(
            [checkpoint],
            _standing_in(run / CHECKPOINT, lambda: vars(folder.checkpoint())),
            exact=True,
        ),
        f"checkpoint-values{suffix}": Target([bytes(range(i, i + 8)) for i in range(8)], values),
    }


def right(target: Target) -> str:
    """Digest of what is read of the good input, for :meth:`Target.fault`."""
    return digest(target.read(target.good[0])) if target.exact else ""


def _finished(stage: Stage, place: Path, runner: Callable[..., Any]) -> Path:
    """What a setting's command leaves, in a folder of its own."""
    here = replace(stage, place=place)
    name = SETTINGS[stage.setting.name].words.split()[-1]
    here.empty()
    data, moved = str(stage.place / "data"), str(place / "data")
    ended = runner([word.replace(moved, data) for word in here.words()], here.case)
    assert ended.status == 0, ended.said
    kept = place / stage.setting.name
    here.case.rename(kept)
    return kept / name


def _content(read: Any) -> Any:
    """Of dataclasses, dictionaries and arrays, as plain values with tensors."""
    if hasattr(read, "__dataclass_fields__"):
        names = read.__dataclass_fields__.keys() - {"sha256", "folder"}  # where from, not what
        return {name: _content(getattr(read, name)) for name in names}
    if isinstance(read, dict):
        return {str(key): _content(value) for key, value in read.items()}
    if hasattr(read, "tobytes"):
        return str(read.dtype), read.shape, hashlib.sha256(read.tobytes()).hexdigest()
    return read


def _sealed(content: bytes) -> bytes:
    """An HDF5 file of ours with the checksum of what it holds now; others as they are."""
    head, body = content[:512].rstrip(b"\0"), content[512:]
    begins = head[: head.rfind(b": ") + 2]
    if not begins.startswith(b"cwrnn "):
        return content
    return (begins + hashlib.sha256(body).hexdigest().encode() + b"\n").ljust(512, b"\0") + body


def _wrong_values(good: Checkpoint, draw: random.Random) -> Checkpoint:
    """A checkpoint that is whole, of another network than it says, or of none."""
    made = {name: dict(v) if isinstance(v, dict) else v for name, v in vars(good).items()}
    kind = draw.choice(("weights", "velocity", "extra"))
    names = list(made[kind])
    name = draw.choice(names) if names else "new"
    tensor = made[kind].get(name, torch.zeros(1))
    other = (
        tensor[:0], tensor[None], tensor.flatten(), tensor.double(), tensor.to(torch.int8),
        tensor * torch.nan, tensor * torch.inf, torch.zeros(()), tensor.to_sparse(),
        torch.zeros(1).expand(1 << 20), "text", None, 1e999,
    )  # fmt: skip
    how = draw.randrange(5)
    if how == 0:
        made[kind].pop(name, None)
    elif how == 1:
        made["epoch"] = draw.choice((-1, 2**62, 0.5, True, "3", None))
    elif how == 2:
        made["generators"] = draw.choice(("", "[]", "{}", "null", "[" * 9999, good.generators[:-9]))
    else:
        made[kind][name if how == 3 else draw.choice(("new", "", "\x1b[31m"))] = draw.choice(other)
    return Checkpoint(**made)


def _sounds(samples: Any, *kinds: str) -> list[bytes]:
    found = []
    for kind in kinds:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format=kind)
        found.append(file.getvalue())
    return found


def _archive(folder: Path, mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.add(folder, "lineStrokes")
    return file.getvalue()
