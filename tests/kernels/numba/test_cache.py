import os
import subprocess
import sys
from pathlib import Path

from cwrnn_cli.kernels.numba.cache import drop_stale

ROOT = Path(__file__).parents[3]


def test_compiled_code_older_than_any_source_is_dropped(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for path, time in (("a.py", 10), ("b.py", 20)):
        (tmp_path / path).touch()
        os.utime(tmp_path / path, (time, time))
    for path, time in (("a.f-1.nbi", 15), ("a.g-2.nbi", 25), ("a.f-1.1.nbc", 15)):
        (cache / path).touch()
        os.utime(cache / path, (time, time))
    drop_stale(tmp_path)
    assert sorted(p.name for p in cache.iterdir()) == ["a.f-1.1.nbc", "a.g-2.nbi"]


def test_sources_and_caches_of_folders_below_count(tmp_path):
    """A loop of a cell has code of another folder compiled in."""
    for folder, source, index in (("cell", 10, 15), ("shared", 20, 25)):
        cache = tmp_path / folder / "__pycache__"
        cache.mkdir(parents=True)
        for path, time in ((cache.parent / "a.py", source), (cache / "a.f-1.nbi", index)):
            path.touch()
            os.utime(path, (time, time))
    drop_stale(tmp_path)
    assert [path.parts[-3] for path in tmp_path.rglob("*.nbi")] == ["shared"]


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
