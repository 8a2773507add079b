"""Tar archives of others, member by member, within bounds and to their very end.

Nothing is unpacked. An archive's own checksum stands behind its last byte, so what was read counts
only when :func:`members` has come to its end without an error.
"""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any

from .errors import UserError
from .reading import regular_file

LARGEST = 1 << 32  # bytes of all members: IAM-OnDB's lines have an eighth
_MEMBERS = 1 << 18  # IAM-OnDB has a twentieth
_HEADER = 1 << 16  # bytes of a member's header, with the long names and notes that may precede it
_NOTES = 64  # of an archive about all its members
_AT_ONCE = 1 << 16
_GZIP = b"\x1f\x8b"
_FAILURES = (
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
)


class _Hashed(RawIOBase):
    """A file that is read once, with the SHA-256 of what was read."""

    def __init__(self, file: FileIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        return count


class _Forward:
    """What tarfile reads from: it goes forward only, and gives no more than ``most`` at once."""

    def __init__(self, file: Any) -> None:
        self._file, self._at, self.most = file, 0, _HEADER

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.most:
            raise tarfile.ReadError(f"{size} bytes where at most {self.most} are expected")
        parts = []
        while size and (part := self._file.read(min(size, _AT_ONCE))):
            parts.append(part)
            size -= len(part)
            self._at += len(part)
            if self._at > LARGEST:
                raise tarfile.ReadError(f"more than {LARGEST} bytes inside")
        return b"".join(parts)

    def seek(self, place: int) -> None:
        if place < self._at:
            raise tarfile.ReadError("a member that begins before another ends")
        while self._at < place and self.read(min(place - self._at, self.most)):
            pass


def members(
    path: Path, wanted: Callable[[str], bool], most: int, digests: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Name and contents of an archive's files, as they follow each other.

    Args:
        path: of a .tar or .tar.gz.
        wanted: from a member's name to whether it is read; links and devices never are.
        most: bytes that a member which is read may have.
        digests: gets the archive's SHA-256, under its name, when all of it has been read.

    Raises:
        UserError: no such file, a damaged archive, or one with more or larger members than that.
    """
    with regular_file(path) as file:
        try:
            hashed = _Hashed(file)
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            stream = _Forward(gzip.GzipFile(fileobj=hashed) if packed else hashed)
            yield from _members(path, stream, wanted, most)
            stream.most = _AT_ONCE
            while stream.read(_AT_ONCE):
                pass
            while hashed.read(_AT_ONCE):
                pass
            digests[path.name] = hashed.digest.hexdigest()
        except _FAILURES as error:
            raise UserError(f"{path}: a damaged archive ({error}); download it again") from error


def _members(
    path: Path, stream: _Forward, wanted: Callable[[str], bool], most: int
) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
        for _ in range(_MEMBERS):
            member = archive.next()
            if member is None:
                return
            archive.members.clear()  # it would keep all of them
            if len(archive.pax_headers) > _NOTES:
                raise tarfile.ReadError(f"more than {_NOTES} notes about all members")
            if member.type not in tarfile.REGULAR_TYPES or not wanted(member.name):
                continue
            if member.type == tarfile.GNUTYPE_SPARSE or member.sparse is not None:
                raise tarfile.ReadError(f"{member.name}: a file with holes")
            if not 0 <= member.size <= most:
                raise UserError(
                    f"{path}:{member.name}: {member.size} bytes; expected at most {most}"
                )
            stream.most = max(most, _HEADER)
            stream.seek(member.offset_data)
            content = stream.read(member.size)
            stream.most = _HEADER
            if len(content) < member.size:
                raise tarfile.ReadError(f"{member.name}: cut short")
            yield member.name, content
        raise tarfile.ReadError(f"more than {_MEMBERS} members")
