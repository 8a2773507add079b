import os

from cwrnn_cli.kernels.numba.cache import drop_stale


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
