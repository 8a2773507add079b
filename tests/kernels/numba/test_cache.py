import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cwrnn_cli.kernels.numba import cache

ROOT = Path(__file__).parents[3]
CODE = """
import sys
import numpy as np
from cwrnn_cli.kernels.numba.products import clear
x = np.ones(64, sys.argv[1])
clear(x, 0, 1)
print(x.sum(), sum(clear.stats.cache_misses.values()))
"""


@pytest.fixture
def program(tmp_path):
    """A copy of the program, which nothing has been compiled from."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("cwrnn_cli", "data_prep"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    return tmp_path


def started(root, dtype="float32"):
    """A process that calls a kernel."""
    return subprocess.Popen(
        [sys.executable, "-c", CODE, dtype],
        env={k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def called(root, dtype="float32"):
    """What the kernel gave, how often it was compiled, and what was said."""
    process = started(root, dtype)
    said, talk = process.communicate()
    assert process.returncode == 0, talk
    total, misses = said.split()
    return float(total), int(misses), talk


def test_changed_code_is_compiled_anew_whatever_its_date(program):
    before, misses, _ = called(program)
    assert before < 64 and misses == 1
    source = program / "cwrnn_cli/kernels/numba/products.py"
    date, text = source.stat(), source.read_text()
    source.write_text(text.replace("zero = broadcast(array, 0.0)", "zero = broadcast(array, 2.0)"))
    os.utime(source, ns=(date.st_atime_ns, date.st_mtime_ns))
    shutil.rmtree(source.parent / "__pycache__", ignore_errors=True)  # Python's own
    after, misses, _ = called(program)
    assert (after - 64, misses) == (64 - before, 1)
    source.write_text(text)
    assert called(program)[:2] == (before, 0)


def test_damaged_files_are_compiled_again(program):
    right, _, _ = called(program)
    files = [*program.rglob("*.nbi"), *program.rglob("*.nbc")]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again, misses, talk = called(program)
    assert (again, misses) == (right, 1) and "damaged compiled code; compiled again" in talk
    for path in files:
        path.write_bytes(b"")
    assert called(program)[:2] == (right, 1)
    assert called(program) == (right, 0, "")


def test_two_processes_at_once_both_keep_theirs(program):
    both = [started(program, dtype) for dtype in ("float32", "float64")]
    assert [process.wait() for process in both] == [0, 0]
    assert called(program, "float32")[1] == called(program, "float64")[1] == 0


def test_names_and_contents_of_all_sources_count(tmp_path):
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "a.py").write_text("a")
    found = {cache.digest_of(tmp_path)}
    os.utime(tmp_path / "cell" / "a.py", (1, 1))
    assert cache.digest_of(tmp_path) in found
    for name, text in (("cell/a.py", "b"), ("b.py", ""), ("c.py", "")):
        (tmp_path / name).write_text(text)
        found.add(cache.digest_of(tmp_path))
    assert len(found) == 4


def test_without_a_place_it_is_kept_until_the_end_with_a_word(tmp_path, monkeypatch, capsys):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(cache, "_candidates", lambda: [file / "below", file])
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    place = cache._choose("x")
    assert place.is_dir() and os.environ["NUMBA_CACHE_DIR"] == str(place.parent)
    said = capsys.readouterr().err
    assert said.startswith("no place to keep compiled code") and said.count("\n") == 1
    shutil.rmtree(place.parent)


def test_what_was_not_used_for_longest_is_cleared(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_candidates", lambda: [tmp_path])
    ours = [f"cwrnn-kernels-{number:016x}" for number in range(7)]
    others = ["cwrnn-0123456789abcdef", "cwrnn-kernels-mine", "cwrnn-results", "other"]
    for number, name in enumerate([*others, *ours]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (number, number))
    assert cache._choose(ours[0]) == tmp_path / ours[0]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, ours[0], *ours[4:]}


def test_compiled_code_is_found_again(tmp_path):
    """Arguments that are named tuples do not keep Numba from its cache."""
    code = (
        "import torch; from cwrnn_cli.models import LSTM, ClockworkRNN\n"
        "from cwrnn_cli.kernels.clockwork import loops\n"
        "from cwrnn_cli.kernels.lstm import loops as l\n"
        "for cell in (ClockworkRNN(2, 4), LSTM(2, 4)):\n"
        "    for size in (1, 3):\n"
        "        cell.backend = 'compiled'; cell(torch.zeros(5, size, 2))[0].sum().backward()\n"
        "for f in (loops.forward, loops.backward, l.forward, l.backward):\n"
        "    print(len(f.signatures), sum(f.stats.cache_misses.values()))\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    lines = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        lines.append(run.stdout.splitlines())
    assert lines == [["1 1"] * 4, ["1 0"] * 4]


def test_a_stopped_process_that_writes_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_PATIENCE", 0.5)
    monkeypatch.setattr(cache, "_gave_up", [])
    with cache._alone():
        for _ in range(3):
            with pytest.raises(OSError, match="another process keeps its lock"), cache._alone():
                pass
            assert cache._gave_up  # and does not wait a second time
    with cache._alone():
        pass
