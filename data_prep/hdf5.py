"""HDF5 files of others, looked through before anything in them is read.

HDF5 can say that an array lies in another file, behind a link, in a pipe, or that 10^9 zeros are
there which nobody wrote. Ours have none of that: groups, plain arrays and attributes, everything in
the file itself. What has more is refused.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o, h5z

from .errors import UserError, is_of_memory
from .reading import content_of

LARGEST = 1 << 33  # bytes of a file: ten times what the paper's corpora need
INFLATED = 1 << 28  # bytes of a file's compressed arrays and texts, all together: results have 2^22
_CACHE = 1 << 21  # bytes: twice what the library takes in one piece, to open a file or for texts
_OBJECTS = 1 << 17  # groups and arrays: a scan of thousands of cells has a tenth
_DEEPEST = 6  # groups inside each other: ours have 2
_AXES = 8
_ATTRIBUTES = 64  # of one object
_KINDS = "biuf"  # truth values, numbers; and texts
_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE}
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])  # to a text
_HEAP, _HEAP_HEADER = b"GCOL\1", 16  # signature and version; bytes of a header and of each part
# what h5py raises
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
    zlib.error,
)


def have_room() -> None:
    """Raises MemoryError where HDF5's library would crash, which does not see that it got none."""
    bytearray(_CACHE)


@contextmanager
def opened(path: Path, content: bytes | None = None, **options: Any) -> Iterator[h5py.File]:
    """Open a file for reading that holds plain arrays and nothing else; closed on leaving.

    It is read into memory first: what was looked at is what is read.

    Args:
        path: of the file.
        content: its bytes, if they have been read.
        options: of :class:`h5py.File`.

    Raises:
        UserError: there is no such file; it is damaged, or has links, arrays or filters that ours
            do not have, or declares more than it holds.
    """
    if content is None:
        content = content_of(path, LARGEST)
    file = None
    try:
        _check_heaps(content)
        have_room()
        file = h5py.File(io.BytesIO(content), "r", **options)
        _Look(path, content).at(file.id, "/", 0)
    except FAILURES as error:
        if file is not None:
            file.close()
        if is_of_memory(error):
            have_room()  # or it declares more than there is
        raise UserError(f"no HDF5 file, or a damaged one ({error})", place=path) from error
    except UserError:
        assert file is not None
        file.close()
        raise
    with file:
        yield file


def _check_heaps(content: bytes) -> None:
    """Whether the places where HDF5 keeps texts are whole: in a damaged one it never ends.

    Raises:
        ValueError: one is not.
    """
    at = content.find(_HEAP)
    while at >= 0:
        begin = at + _HEAP_HEADER
        (size,) = struct.unpack_from("<Q", content, at + 8)
        end = at + size
        if not begin <= end <= len(content):
            raise ValueError(f"a heap of {size} bytes at {at}")
        while begin <= end - _HEAP_HEADER:  # less than a header is left over
            index, size = struct.unpack_from("<H6xQ", content, begin)
            # what is free counts its header, and what is not is padded to 8 bytes
            step = size if index == 0 else _HEAP_HEADER + -(-size // 8) * 8
            if step < _HEAP_HEADER or begin + step > end:
                raise ValueError(f"{size} bytes at {begin} of a heap")
            begin += step
        at = content.find(_HEAP, at + 1)


class _Look:
    """Through everything in a file; UserError for what ours do not have.

    Args:
        path: of the file.
        content: all of it.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content
        self.groups: set[Any] = set()
        self.objects = 0
        self.plain = 0  # bytes declared by what lies in the file as it is
        self.inflated = 0  # bytes declared by what does not

    def refuse(self, name: str, found: str) -> UserError:
        return UserError(f"{name}: {found}; no file of cwrnn has that", place=self.path)

    def at(self, thing: Any, name: str, depth: int) -> None:
        """A group or an array, and all that is in it."""
        self.objects += 1
        if self.objects > _OBJECTS:
            raise self.refuse(name, f"more than {_OBJECTS} groups and arrays")
        if isinstance(thing, h5d.DatasetID):
            self.array(thing, name)
        elif isinstance(thing, h5g.GroupID | h5py.h5f.FileID):
            group = h5g.open(thing, b"/") if depth == 0 else thing
            self.group(group, name, depth)
            thing = group
        else:
            raise self.refuse(name, "neither a group nor an array")
        self.attributes(thing, name)

    def group(self, group: Any, name: str, depth: int) -> None:
        info = h5o.get_info(group)
        if info.addr in self.groups or depth > _DEEPEST:
            raise self.refuse(name, "groups inside each other without end")
        self.groups.add(info.addr)
        for raw in group:
            inside = f"{name.rstrip('/')}/{raw.decode('utf-8', 'surrogateescape')}"
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise self.refuse(inside, "a link that leads elsewhere")
            self.at(h5o.open(group, raw), inside, depth + 1)

    def attributes(self, thing: Any, name: str) -> None:
        if h5a.get_num_attrs(thing) > _ATTRIBUTES:
            raise self.refuse(name, f"more than {_ATTRIBUTES} attributes")
        for index in range(h5a.get_num_attrs(thing)):
            attribute = h5a.open(thing, index=index)
            where = f"{name}, attribute {attribute.name.decode('utf-8', 'surrogateescape')}"
            if attribute.shape != () or not self.is_plain(attribute.dtype):
                raise self.refuse(where, "neither a number nor a text")
            size = attribute.dtype.itemsize
            if h5py.check_string_dtype(attribute.dtype) and attribute.dtype.kind == "O":
                value = np.empty((), attribute.dtype)
                attribute.read(value)
                size = len(value[()])
            self.count(where, size)

    def is_plain(self, dtype: np.dtype[Any]) -> bool:
        return dtype.kind in _KINDS or h5py.check_string_dtype(dtype) is not None

    def count(self, name: str, size: int) -> None:
        self.inflated += size
        if self.inflated > INFLATED:
            found = f"more than {INFLATED} bytes, as it declares, in a file of {len(self.content)}"
            raise self.refuse(name, found)

    def array(self, array: Any, name: str) -> None:
        plist = array.get_create_plist()
        layout = plist.get_layout()
        if plist.get_external_count() or layout not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
            raise self.refuse(name, "an array that lies in other files")
        if not self.is_plain(array.dtype) or array.rank > _AXES:
            raise self.refuse(name, "neither numbers nor texts")
        size = math.prod(array.shape) * array.dtype.itemsize
        if layout == h5d.CHUNKED:
            self.chunks(array, plist, name, size)
            return
        texts = array.dtype.kind == "O"
        stored = math.prod(array.shape) * _REFERENCE.itemsize if texts else size
        self.plain += stored
        begin = array.get_offset() if layout == h5d.CONTIGUOUS and stored else None
        inside = begin is None or 0 <= begin <= len(self.content) - stored
        if array.get_storage_size() != stored or self.plain > len(self.content) or not inside:
            found = f"declares {stored} bytes, {array.get_storage_size()} are there"
            raise self.refuse(name, found)
        if texts and stored:
            if begin is None:
                raise self.refuse(name, "texts in an array without a place")
            lengths = np.frombuffer(self.content, _REFERENCE, stored // _REFERENCE.itemsize, begin)
            self.count(name, int(lengths["length"].sum(dtype=np.uint64)))

    def chunks(self, array: Any, plist: Any, name: str, size: int) -> None:
        """Compressed or not: none of them may become larger than it says."""
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        one = math.prod(plist.get_chunk()) * array.dtype.itemsize
        if not set(filters) <= _FILTERS or len(filters) > len(_FILTERS) or array.dtype.kind == "O":
            raise self.refuse(name, "chunks that are packed in another way than ours")
        self.count(name, size + one)
        for index in range(array.get_num_chunks()):
            info = array.get_chunk_info(index)
            self.count(name, one)
            raw = self.content[info.byte_offset : info.byte_offset + info.size]
            deflated = h5z.FILTER_DEFLATE in filters and not info.filter_mask
            if deflated:
                stream = zlib.decompressobj()
                length, whole = len(stream.decompress(raw, one + 1)), stream.eof
            else:
                length, whole = len(raw), True
            if length != one or not whole or (info.filter_mask and not deflated and filters):
                raise self.refuse(name, f"a chunk that is not of {one} bytes, as it says")
