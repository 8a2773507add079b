"""Memory that is free. A leaf."""

import os
import sys
from contextlib import suppress
from pathlib import Path


def free_bytes() -> int:
    """Bytes that this process may still take: of the machine, its control group and its limits."""
    found = [sys.maxsize]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        words = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
        found.append(words["MemAvailable"] + words["SwapFree"])
    except (OSError, ValueError, LookupError):  # not Linux
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        place = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::/")[2].strip()
    except OSError:  # not Linux
        place = ""
    group = Path("/sys/fs/cgroup") / place
    for folder in (group, *group.parents[: len(Path(place).parts)]):
        with suppress(OSError, ValueError):  # no control group, or of another kind
            most = (folder / "memory.max").read_text(encoding="ascii").strip()
            if most.isdecimal():
                used = int((folder / "memory.current").read_text(encoding="ascii"))
                stat = (folder / "memory.stat").read_text(encoding="ascii").split()
                # what was read of files, and can be read again
                kept = [int(stat[stat.index(f"{how}active_file") + 1]) for how in ("in", "")]
                found.append(int(most) - used + sum(kept))
    try:
        import resource  # noqa: PLC0415  (not on Windows)

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            found.append(limit - pages * resource.getpagesize())
    except (ImportError, OSError, ValueError):
        pass
    return max(min(found), 0)
