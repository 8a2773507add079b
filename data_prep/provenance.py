"""Where a corpus comes from, as its file tells: what it was read from, and where that is had."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import UserError
from .reading import regular_file


def source_of(
    name: str, origin: str | None = None, digests: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The provenance's ``source``, as JSON types.

    Args:
        name: of the corpus.
        origin: where the source is to be had, in the user's words; None: nobody said.
        digests: path -> SHA-256 of every source file that was read, the paths relative and with
            slashes; None: not known.

    Returns:
        ``name``; ``origin`` if it is given; with digests their number as ``files``, and as
        ``sha256`` that of the sorted lines ``path sha256``, each with a newline at its end.
    """
    source: dict[str, Any] = {"name": name}
    if digests is not None:
        lines = "".join(f"{line}\n" for line in sorted(map(" ".join, digests.items())))
        # a name that is no UTF-8 keeps its bytes
        whole = lines.encode("utf-8", "surrogateescape")
        source |= {"sha256": hashlib.sha256(whole).hexdigest(), "files": len(digests)}
    if origin:
        source["origin"] = origin
    return source


def note_digest(digests: dict[Path, str], path: Path) -> None:
    """Note a source file's SHA-256; not of one that cannot be read: its reader says why."""
    with suppress(UserError, OSError), regular_file(path) as file:
        digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
