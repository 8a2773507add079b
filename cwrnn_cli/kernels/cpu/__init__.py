"""Kernels compiled for the CPU by Numba."""

from pathlib import Path


def drop_stale(folder: Path) -> None:
    """Forget compiled code that is older than any source of the folder.

    Numba compares a function with its own file only; ours have others of these compiled in.
    """
    newest = max(source.stat().st_mtime_ns for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest:
                index.unlink()
        except OSError:
            pass  # somebody else did, or may: then Numba keeps its cache elsewhere


drop_stale(Path(__file__).parent)
