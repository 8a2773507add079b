"""Archives made to take all memory, to never end, or to be believed although they are damaged."""

import gzip
import io
import random
import re
import tarfile
import zlib

import pytest

from data_prep.archive import members
from data_prep.errors import UserError
from tests import memory

TARGET = "a01-000u-01.xml"


def read(path):
    return dict(members(path, lambda name: name == TARGET, 1 << 20, {}))


def archive(path, *names, content=b"<x/>", **about):
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as file:
        for name in names or (TARGET,):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in about.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(content))


def test_the_digest_is_of_all_bytes(tmp_path):
    import hashlib

    path, digests = tmp_path / "a.tar.gz", {}
    archive(path, "first", TARGET, "last")
    path.write_bytes(path.read_bytes())
    assert dict(members(path, lambda name: True, 99, digests)).keys() == {"first", TARGET, "last"}
    assert digests == {"a.tar.gz": hashlib.sha256(path.read_bytes()).hexdigest()}
    plain = tmp_path / "a.tar"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    assert read(plain) == {TARGET: b"<x/>"}


def test_any_flipped_bit_behind_the_header_is_noticed(tmp_path):
    path = tmp_path / "a.tar.gz"
    archive(path, TARGET, "other", content=random.Random(5).randbytes(3000))
    whole, good = path.read_bytes(), read(path)
    unheard = 0
    behind = 10 + len("a.tar") + 1  # what gzip says of time, system and name changes nothing
    for place in range(behind, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = read(path)
        except UserError as error:
            assert re.search("damaged archive|expected at most", error.message)
        else:  # a bit that only fills a byte up
            assert found == good
            unheard += 1
    assert unheard <= 2
    for length in (0, 1, 5, 20, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged archive"):
            read(path)


def deflated(*parts):
    """One gzip stream of blocks, each repeated so many times."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    out = [packer.compress(block) for block, times in parts for _ in range(times)]
    return b"".join([*out, packer.flush()])


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


MIB = bytes(1 << 20)
BOMBS = {
    "a note of 500 MiB": [(header("x", 500 << 20, tarfile.XHDTYPE), 1), (MIB, 500)],
    "a name of 500 MiB": [(header("x", 500 << 20, tarfile.GNUTYPE_LONGNAME), 1), (MIB, 500)],
    "a file of 500 MiB": [(header(TARGET, 500 << 20), 1), (MIB, 500)],
    "notes about notes": [(header("x", 0, tarfile.XHDTYPE), 5000)],
    "empty members": [(header("x", 0), 300_000)],
    "less than it says": [(header(TARGET, 1 << 19), 1), (b"x", 1)],
    "a size below 0": [(header(TARGET, 0)[:124] + b"\xff" * 12 + header(TARGET, 0)[136:], 1)],
    "no archive": [(b"hello", 1000)],
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_ends_in_a_line_and_takes_no_memory(tmp_path, what):
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(deflated(*BOMBS[what]))
    assert path.stat().st_size < 4 << 20
    begin = "from pathlib import Path\nfrom data_prep.archive import members"
    call = f"dict(members(Path({str(path)!r}), lambda name: name == {TARGET!r}, 1 << 20, {{}}))"
    message, taken = memory.refusal(begin, call)
    assert "damaged archive" in message or "expected at most" in message
    assert taken < 100


def test_links_devices_and_holes_are_not_read(tmp_path):
    path = tmp_path / "a.tar.gz"
    archive(path, content=b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    assert read(path) == {}
    archive(path, content=b"", type=tarfile.FIFOTYPE)
    assert read(path) == {}
    path.write_bytes(deflated((header(TARGET, 0, tarfile.GNUTYPE_SPARSE), 1), (bytes(1024), 1)))
    with pytest.raises(UserError, match="damaged archive"):
        read(path)


def test_a_hostile_name_is_escaped(tmp_path):
    path = tmp_path / "a.tar.gz"
    archive(path, "\x1b[31m\n", content=bytes(99))
    with pytest.raises(UserError) as found:
        list(members(path, lambda name: True, 10, {}))
    assert "\\x1b[31m\\n" in found.value.message and found.value.message.isprintable()
