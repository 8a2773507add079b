"""The cache of compiled code: Numba's, in a folder named after what was compiled.

Numba compares a function with its own file only; ours have others of these compiled in. So code is
kept in a folder whose name is a digest of all kernels, and of the versions: what was compiled from
anything else is never found there, whatever the date of a file. (Which processor it is for, Numba
notes itself.) Each file begins with a checksum of the rest, and one process writes at a time.
"""

import atexit
import hashlib
import os
import pickle
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
)

from ...console import quiet, warn

_KERNELS = Path(__file__).parents[1]
_PREFIX, _KEPT = "cwrnn-kernels-", 4  # folders of compiled code, and how many of them
_OURS = re.compile(_PREFIX + r"[0-9a-f]{16}")
_PATIENCE, _POLL = 10.0, 0.02  # seconds that another process may take to write, and of a look
_CHECKSUM = hashlib.sha256().digest_size
_place: list[Path] = []  # once it is chosen


def digest_of(sources: Path) -> str:
    """Of all Python files below a folder, their names and what is in them, and the versions."""
    found = hashlib.sha256(f"{sys.version} {numba.__version__}".encode())
    for path in sorted(sources.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"\0{path.relative_to(sources).as_posix()} {len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:16]


def _candidates() -> Iterator[Path]:
    """Where compiled code may be kept, the best place first."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen)
    yield _KERNELS / "__pycache__"
    with suppress(RuntimeError):  # there is no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cwrnn"


def folder() -> Path:
    """Where the code of these kernels is kept; a temporary place where no other can be written."""
    if not _place:
        _place.append(_choose(_PREFIX + digest_of(_KERNELS)))
    return _place[0]


def _choose(name: str) -> Path:
    for parent in _candidates():
        own = parent / name
        try:
            own.mkdir(parents=True, exist_ok=True)
            os.utime(own)  # used now
            tempfile.TemporaryFile(dir=own).close()
        except OSError:
            continue
        _clear(parent)
        return own
    made, maker = Path(tempfile.mkdtemp(prefix=_PREFIX)), os.getpid()
    os.environ["NUMBA_CACHE_DIR"] = str(made)  # for processes that this one starts

    def forget() -> None:
        if os.getpid() == maker:
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(forget)
    warn(
        "no place to keep compiled code: it is compiled anew each time; "
        "name a folder by the variable NUMBA_CACHE_DIR"
    )
    own = made / name
    own.mkdir()
    return own


def _clear(parent: Path) -> None:
    """Keep what was used last; what is not ours is left alone, for the place is the user's."""
    used: dict[Path, float] = {}
    for path in parent.glob(f"{_PREFIX}*/"):
        if _OURS.fullmatch(path.name):
            with suppress(OSError):
                used[path] = path.stat().st_mtime
    for path in sorted(used, key=used.__getitem__)[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


@cache
def _say_damaged(path: str) -> None:
    warn(f"{path}: damaged compiled code; compiled again")


@cache
def _say_full(reason: str) -> None:
    warn(f"{folder()}: compiled code cannot be kept ({reason})")


class _Locator(_CacheLocator):
    """Numba's way to ask where a function's code is."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file  # which Numba's warnings name
        self._line = function.__code__.co_firstlineno
        self._module = os.path.relpath(Path(file).resolve(), _KERNELS).replace(os.sep, "-")

    def get_cache_path(self) -> str:
        return str(folder())

    def get_source_stamp(self) -> str:
        return folder().name

    def get_disambiguator(self) -> str:
        return f"{self._module}-{self._line}"

    @classmethod
    def from_function(cls, function: Any, file: str) -> "_Locator":
        return cls(function, file)


class _Implementation(CompileResultCacheImpl):
    """Numba's, with one place for all."""

    def __init__(self, function: Any) -> None:
        self._locator_classes = [_Locator]
        super().__init__(function)


class _Files(IndexDataCacheFile):
    """Numba's two files, each with a checksum before it."""

    def _load_index(self) -> dict[Any, Any]:
        return self._whole(self._index_path) or {}

    def _save_index(self, overloads: dict[Any, Any]) -> None:
        self._save_whole(self._index_path, overloads)

    def _load_data(self, name: str) -> Any:
        return self._whole(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._save_whole(self._data_path(name), data)

    def _whole(self, path: str) -> Any:
        """What is in a file; None: nothing, or it is damaged."""
        try:
            content = Path(path).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[_CHECKSUM:]).digest() != content[:_CHECKSUM]:
            _say_damaged(path)
            return None
        return pickle.loads(content[_CHECKSUM:])

    def _save_whole(self, path: str, value: Any) -> None:
        content = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(content).digest() + content)


_gave_up: list[bool] = []  # once, for another process keeps the lock: nobody waits again
_compiling: list[Callable[[], None]] = []  # to be called when something is not kept


class KernelCache(FunctionCache):
    """Numba's cache of one function, of whose files every one is whole or not there."""

    _impl_class = _Implementation

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Code that is kept, or None: it has to be compiled."""
        found = super().load_overload(signature, target_context)
        if found is None:
            for begin in _compiling:
                begin()
        return found

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep code, if there is room; else it is compiled again the next time."""
        try:
            with _alone():
                super().save_overload(signature, data)
        except OSError as error:
            _say_full(str(error.strerror))


@contextmanager
def _alone() -> Iterator[None]:
    """Only one process writes at a time: two would give two functions the same number.

    Raises:
        OSError: another one keeps the lock for longer than writing takes, for it is stopped.
    """
    try:
        import fcntl  # noqa: PLC0415  (not on Windows)
    except ImportError:
        yield
        return
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / "lock").open("a") as file:
        until = time.monotonic() + (0 if _gave_up else _PATIENCE)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    _gave_up.append(True)
                    raise OSError(error.errno, "another process keeps its lock") from error
            time.sleep(_POLL)
        yield


def kept(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of Numba's whose functions' code is kept here."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = compiled(function)
        dispatcher._cache = KernelCache(dispatcher.py_func)
        return dispatcher

    return decorate


@contextmanager
def log_compilation(what: str) -> Iterator[None]:
    """Say on stderr that ``what`` is being compiled, if that takes longer than a second."""
    if quiet():
        yield
        return
    message = f"compiling {what} (once; it is kept for the next time) ..."
    timer = threading.Timer(1.0, lambda: print(message, file=sys.stderr, flush=True))
    timer.daemon = True

    def begin() -> None:
        if timer.ident is None:
            timer.start()

    _compiling.append(begin)
    try:
        yield
    finally:
        _compiling.remove(begin)
        timer.cancel()
