"""checkpoint.pt: the state of a run, and whether a file is one, whole, as it was written.

A checkpoint is what ``torch.save`` writes, a ZIP archive, whose comment is the SHA-256 of all that
stands before it. Every bit counts: a file whose digest is not the one it bears is damaged. Those of
former versions have no comment; they are believed if the archive's own sums (CRC-32) are right and,
where `cwrnn keep` has noted their sha256 in manifest.json, that is theirs.
"""

import hashlib
import io
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from data_prep.errors import is_of_limits, is_of_memory

_MAGIC = b"cwrnn sha256 "
_COMMENT = len(_MAGIC) + 64 + 1  # and the end of the line
_PLAIN = re.compile(r"torch \w+Storage|torch\._utils _rebuild_tensor_v2|collections OrderedDict")
_END, _END_BYTES = b"PK\x05\x06", 22  # of a ZIP archive; its last two: how long the comment is


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after ``epoch`` epochs.

    Attributes:
        epoch: epochs done.
        weights: name -> (R, ...) tensor.
        velocity: momentum buffers, like the weights.
        generators: state of each network's random generator, as JSON.
        extra: what else the task needs, by name, such as ``diverged_at``: (R,) int64, the epoch in
            which a network diverged, or -1.
    """

    epoch: int
    weights: dict[str, torch.Tensor]
    velocity: dict[str, torch.Tensor]
    generators: str
    extra: dict[str, torch.Tensor]


def packed(checkpoint: Checkpoint) -> bytes:
    """The bytes of its file.

    Raises:
        MemoryError: there is none for them.
    """
    file = io.BytesIO()
    try:
        torch.save(vars(checkpoint), file)
    except RuntimeError as error:  # in torch's own words: nothing else can fail in memory
        raise MemoryError from error
    file.seek(-2, io.SEEK_END)
    file.write(struct.pack("<H", _COMMENT))
    comment = _comment(file.getbuffer())
    file.write(comment)
    return file.getvalue()


def _comment(before: memoryview) -> bytes:
    return _MAGIC + hashlib.sha256(before).hexdigest().encode() + b"\n"


def unpacked(content: bytes, noted: str | None = None) -> Checkpoint:
    """A checkpoint from the bytes of its file; it takes no more memory than they do.

    Args:
        content: of the file.
        noted: hex sha256 that a file without one of its own must have; None: none is known.

    Raises:
        ValueError: they are none, or not as they were written.
        MemoryError: there is none to read them, whatever they are.
        OSError: of a limit of this process, such as of open files.
        ImportError: torch cannot load what it needs.
    """
    try:
        if not _is_sealed(content):
            _check_former(content, noted)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("compressed")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ValueError("entries larger than the file")
            pickled = [archive.read(e) for e in entries if e.filename.endswith(".pkl")]
        if not all(map(_is_plain, pickled)):
            raise ValueError("more than tensors, texts and numbers")
        found = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        return _checked(found)
    except Exception as error:  # whatever a damaged pickle or archive makes torch raise
        if is_of_memory(error):
            raise MemoryError from error
        if is_of_limits(error):
            raise
        raise ValueError(f"no checkpoint, or damaged ({type(error).__name__}: {error})") from error


def _is_plain(pickled: bytes) -> bool:
    """Whether a pickle asks for nothing but tensors: torch also makes arrays as long as it says."""
    for code, argument, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL":
            if not _PLAIN.fullmatch(str(argument)):
                return False
        elif code.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"):
            return False
    return True


def _is_sealed(content: bytes) -> bool:
    """Whether the digest at the end is right; False: none is there, as before there were any."""
    if content[-_END_BYTES:].startswith(_END) and content.endswith(b"\0\0"):
        return False
    if content[-_COMMENT:] != _comment(memoryview(content)[:-_COMMENT]):
        raise ValueError("its digest is wrong")
    return True


def _check_former(content: bytes, noted: str | None) -> None:
    """Raises ValueError if a file without a digest is not as it was written, as far as is known."""
    if noted is not None and hashlib.sha256(content).hexdigest() != noted:
        raise ValueError("its digest is not that of its manifest")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed")
        if (wrong := archive.testzip()) is not None:
            raise ValueError(f"{wrong}: its CRC-32 is wrong")


def _checked(found: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint whose values are of the right types, and no larger than they seem."""
    checkpoint = Checkpoint(**found)
    if not (isinstance(checkpoint.epoch, int) and isinstance(checkpoint.generators, str)):
        raise ValueError("epoch or generators of another type")
    for tensors in (checkpoint.weights, checkpoint.velocity, checkpoint.extra):
        for name, tensor in tensors.items():
            if not isinstance(name, str) or type(tensor) is not torch.Tensor or tensor.is_sparse:
                raise ValueError(f"{name}: no tensor")
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise ValueError(f"{name}: larger than what is stored of it")
    return checkpoint
