"""HDF5 files behind 512 bytes with a checksum of the rest, made and read in memory.

HDF5's own library crashes on a full disk, and believes what it reads: so it sees neither the disk,
nor anything that is not as it was written.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from .errors import UserError, is_of_memory
from .files import write_bytes
from .hdf5 import FAILURES, LARGEST, have_room, opened
from .reading import content_of

USER_BLOCK = 512
_UNSEALED = b"\x89HDF\r\n\x1a\n"


def header(magic: str, sha256: str) -> bytes:
    """The first 512 bytes.

    Args:
        magic: what the file is.
        sha256: hex, of what follows.
    """
    return (magic + sha256 + "\n").encode().ljust(USER_BLOCK, b"\0")


@contextmanager
def sealed_hdf5(path: Path, magic: str, **options: Any) -> Iterator[h5py.File]:
    """Give an HDF5 file in memory to write; on success it is written to ``path``, whole.

    Args:
        path: of the file.
        magic: as of :func:`header`.
        options: of :class:`h5py.File`.

    Raises:
        UserError: it cannot be written.
    """
    # the driver "core" lays the bytes out as on the disk, so that they are those of before
    memory = {"driver": "core", "backing_store": False, "userblock_size": USER_BLOCK}
    have_room()
    with h5py.File(secrets.token_hex(8), "w", **memory, **options) as file:
        yield file
        file.flush()
        image: bytes = file.id.get_file_image()  # without the first 512
    write_bytes(path, header(magic, hashlib.sha256(image).hexdigest()) + image)


@contextmanager
def opened_hdf5(path: Path, magic: str, **options: Any) -> Iterator[h5py.File]:
    """Open an HDF5 file of ours to read, wholly checked.

    Files of former versions have no checksum: where there is none they are read as they are, on the
    word of the manifest beside them (`cwrnn verify`).

    Args:
        path: of the file.
        magic: as of :func:`header`.
        options: of :class:`h5py.File`.

    Raises:
        UserError: it cannot be read, is not as it was written, has what ours do not have, or what
            is asked of it is not there.
    """
    content = content_of(path, LARGEST, (magic.encode(), _UNSEALED))
    if not content.startswith(_UNSEALED):
        digest = hashlib.sha256(memoryview(content)[USER_BLOCK:]).hexdigest()
        if content[:USER_BLOCK] != header(magic, digest):
            raise UserError("damaged (its checksum is wrong), or not one of ours", path)
    with opened(path, content, **options) as file:
        try:
            yield file
        except FAILURES as error:
            if is_of_memory(error):
                have_room()  # or it declares more than there is
            raise UserError(f"breaks its schema ({error})", path) from error
