"""The shim of shim.c: built where the soak runs, and told what to do."""

import ctypes
import mmap
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OFF, COUNT, KILL, TORN, FAIL, FAIL_ON, STOP = range(7)
VARIABLE = "CWRNN_SOAK"
_PATH = 4096


class Control(ctypes.Structure):
    """`struct control` of shim.c, where the fields are explained."""

    _fields_ = [
        ("action", ctypes.c_int),
        ("error", ctypes.c_int),
        ("at", ctypes.c_long),
        ("calls", ctypes.c_long),
        ("memory", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("memory_at", ctypes.c_long),
        ("allocations", ctypes.c_long),
        ("least", ctypes.c_long),
        ("fired", ctypes.c_char * 64),
        ("root", ctypes.c_char * _PATH),
        ("trace", ctypes.c_char * _PATH),
    ]


def compiler() -> str | None:
    """A C compiler, if there is one."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def build(folder: Path) -> Path:
    """Compile shim.c into a folder."""
    library, source = folder / "shim.so", Path(__file__).with_name("shim.c")
    words = [str(compiler()), "-shared", "-fPIC", "-O2", "-w", "-o", library, source, "-ldl"]
    subprocess.run(words, check=True)
    return library


def environment(folder: Path) -> dict[str, str]:
    """That of a process under the shim, whose control file is made in ``folder``."""
    (folder / "control").write_bytes(bytes(ctypes.sizeof(Control)))
    return os.environ | {"LD_PRELOAD": str(build(folder)), VARIABLE: str(folder / "control")}


def attach() -> Control | None:
    """The control of this process' shim; None: it has none."""
    if VARIABLE not in os.environ:
        return None
    with open(os.environ[VARIABLE], "r+b") as file:
        return Control.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Control)))


def detach() -> None:
    """Leave this process, which runs beside the cases, alone."""
    if VARIABLE in os.environ:
        ctypes.CDLL(None).cwrnn_soak_detach()


def end_with_parent() -> None:
    """This process is killed when the one that began it ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def armed(control: Control | None, root: Path, **fields: int) -> Iterator[None]:
    """Count, kill, stop or fail below ``root`` in the processes that are started meanwhile."""
    if control is None:
        assert not fields, "no shim"
        yield
        return
    control.calls = control.allocations = 0
    control.fired = b""
    control.root = os.fsencode(root)
    control.least = 1 << 16
    for name, value in fields.items():
        setattr(control, name, value)
    try:
        yield
    finally:
        control.action = control.memory = OFF
