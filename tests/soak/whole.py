"""`cwrnn compare --all --quick` killed at random moments: the same tables as of one left alone?

``python -m tests.soak.whole [--kills N] [--seed S] [--place FOLDER]``, beside the soak: it takes as
long as the command itself, twice and more. The first one runs through, and is looked at while it
does; moments of its time are drawn, and a second one is killed where it has come as far. Where
that one ends sooner, since it did not do everything again, another is begun for the moments that
are left. The tests have a tiny one.
"""

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from cwrnn_cli.evidence.folders import check_folder

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "cwrnn_cli", "compare", "--all", "--quick", "--out", "out"]
SAME = ("tables.txt", "*/table.txt", "*/table.csv", "*/comparison.json")  # but for what is timed
TIMED = "operations"
_LOOK = 0.05  # seconds between two looks


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        size: bytes that there must be, in what only grows.
        more: seconds after that.
    """

    size: int
    more: float


def grown(out: Path) -> int:
    """How far a command has come: bytes of corpora, metrics, rows and tables in its folder."""
    total = 0
    for folder, _, names in os.walk(out):
        for name in names:
            if not name.startswith(".") and name.endswith((".h5", ".jsonl", ".csv", ".txt")):
                with suppress(FileNotFoundError):  # renamed meanwhile
                    total += (Path(folder) / name).stat().st_size
    return total


def started(command: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    """The command in a folder, with its talk in a file there, in a session of its own."""
    place.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with (place / "talk.txt").open("ab") as talk:
        return subprocess.Popen(
            command, cwd=place, env=environment, stdout=talk, stderr=talk, start_new_session=True
        )


def ran_through(command: Sequence[str], place: Path) -> list[tuple[float, int]]:
    """Run a command to its end; when its folder was how large, from its start on."""
    began, seen = time.monotonic(), []
    process = started(command, place)
    while process.poll() is None:
        seen.append((time.monotonic() - began, grown(place / "out")))
        time.sleep(_LOOK)
    assert process.returncode == 0, (place / "talk.txt").read_text()[-2000:]
    return seen


def moments(seen: Sequence[tuple[float, int]], kills: int, seed: int) -> list[Moment]:
    """Random moments of a command's time, in their order."""
    rng = random.Random(seed)
    last, _ = seen[-1]
    found = []
    for when in sorted(rng.uniform(0, last) for _ in range(kills)):
        size = max(size for then, size in seen if then <= max(when, seen[0][0]))
        since = next(then for then, found_size in seen if found_size >= size)
        found.append(Moment(size, max(when - since, 0.0)))
    return found


def killed(command: Sequence[str], place: Path, when: Moment) -> bool:
    """Begin a command, or go on with it, and kill it then; whether it had not ended before.

    Only its own process is killed: those that it has started end by themselves.
    """
    process, since = started(command, place), None
    while process.poll() is None:
        now = time.monotonic()
        if since is None and grown(place / "out") >= when.size:
            since = now
        if since is not None and now - since >= when.more:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(min(_LOOK, when.more) if since is not None else _LOOK)
    assert process.returncode == 0, (place / "talk.txt").read_text()[-2000:]
    return False


def rows_of(folder: Path) -> Mapping[str, np.ndarray]:
    """Everything in a part's results.h5."""
    found: dict[str, np.ndarray] = {}

    def note(name: str, value: object) -> None:
        if isinstance(value, h5py.Dataset):
            found[name] = value[()]

    with h5py.File(folder / "results.h5") as file:
        file.visititems(note)
    return found


def differences(straight: Path, other: Path) -> list[str]:
    """In what two folders of the command differ, where they may not."""
    wrong = []
    files = sorted(path for pattern in SAME for path in straight.glob(pattern))
    names = [path.relative_to(straight) for path in files if TIMED not in path.parts]
    assert len(names) > 1
    for name in names:
        there = (other / name).read_bytes() if (other / name).exists() else b""
        if there != (straight / name).read_bytes():
            wrong.append(f"{name} is another")
    for part in sorted({name.parent for name in names} - {Path()}):
        mine, theirs = rows_of(straight / part), rows_of(other / part)
        if mine.keys() != theirs.keys() or not mine:
            wrong.append(f"{part}/results.h5: {sorted(mine.keys() ^ theirs.keys())}")
        wrong += [
            f"{part}/results.h5: {name} is another"
            for name in mine.keys() & theirs.keys()
            if not np.array_equal(mine[name], theirs[name], equal_nan=mine[name].dtype.kind == "f")
        ]
        wrong += [str(found) for found in check_folder(other / part, str(part))]
    return wrong


def judge(command: Sequence[str], place: Path, kills: int, seed: int) -> list[str]:
    """What is wrong with a command that was killed so often, beside one that ran through.

    Args:
        command: of ``compare --all``, with ``--out out``.
        place: new folder for both.
        kills: how many.
        seed: of the moments.
    """
    seen = ran_through(command, place / "straight")
    print(f"ran through in {seen[-1][0]:.0f} s", flush=True)
    again, left = [*command, "--resume"], moments(seen, kills, seed)
    wrong, count, folders = [], 0, 0
    while left:
        folders += 1
        name = f"killed-{folders}"
        hits = _kill(again, place / name, left)
        left = left[max(hits, 1) :]  # one that comes too late in a new folder, too, is let go
        count += hits
        ran_through(again, place / name)
        wrong += [f"{name}: {d}" for d in differences(place / "straight/out", place / name / "out")]
    print(f"{count} kills in {folders} folders, each went on to its end", flush=True)
    return wrong


def _kill(command: Sequence[str], place: Path, left: Sequence[Moment]) -> int:
    """How often a command could be killed, one moment after the other, before it ended."""
    for number, when in enumerate(left):
        hit = killed(command, place, when)
        said = "killed" if hit else "had ended"
        print(f"{place.name}: {said} {when.more:.1f} s after {when.size} bytes", flush=True)
        if not hit:
            return number
    return len(left)


def main() -> None:
    """Read the options, run it, and end with status 1 where anything differs."""
    parser = argparse.ArgumentParser("whole", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    parser.add_argument("--place", type=Path, help="new folder; else a temporary one")
    options = parser.parse_args()
    place = (options.place or Path(tempfile.mkdtemp(prefix="cwrnn-whole-"))).resolve()
    print(f"{shlex.join(COMMAND)} in {place}, seed {options.seed}", flush=True)
    wrong = judge(COMMAND, place, options.kills, options.seed)
    print("\n".join(wrong or ["the same tables, rows and manifests as they should be"]))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
