"""Inputs from good ones by mutation, each from a seed and a number alone.

Not atheris: its coverage guides through Python's lines, while what must hold here are compiled
readers (HDF5, libsndfile, torch, expat). Hypothesis, which tests/data_prep uses, keeps examples
to shrink them: a tenth of the inputs in the same time.
"""

import random
import re
from collections.abc import Callable, Sequence

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
          2**40, 2**62, 2**63 - 1, 2**64 - 1)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"1e-320", b"4294967296", b"9" * 20,
            b"0.5", b"true", b"null", b"[]", b"{}", b'""', b"1" + b"0" * 400)  # fmt: skip
_TOKENS = (b"\0", b"\n", b'"', b"\\", b"\xff\xfe", b"\xc3(", b"\x1b[31m", b"../", b"/etc/passwd",
           b"<!DOCTYPE x>", b"&lt;", b"]]>", b"{", b"}", b"[[[[", b"NIST_1A\n   1024\n", b"CSR:",
           b"%s%n", b" " * 300)  # fmt: skip
Draw = random.Random


def mutated(good: Sequence[bytes], name: str) -> bytes:
    """One of the good inputs, changed at one to four places.

    Args:
        good: at least one, none of them empty.
        name: of the case; the same one gives the same bytes.
    """
    draw = Draw(name)
    content = bytearray(draw.choice(good))
    for _ in range(draw.choice((1, 1, 2, 4))):
        draw.choice(_MUTATIONS)(content, draw, good)
    return bytes(content)


def _at(content: bytearray, draw: Draw) -> int:
    within = len(content) if draw.random() < 0.7 else min(len(content), 600)  # headers come first
    return draw.randrange(within + 1)


def _span(content: bytearray, draw: Draw) -> slice:
    begin = _at(content, draw)
    return slice(begin, begin + draw.choice((1, 2, 4, 8, 16, 64, 512)))


def _flip(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    if content:
        content[min(_at(content, draw), len(content) - 1)] ^= 1 << draw.randrange(8)


def _cut(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    del content[_at(content, draw) :]


def _drop(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    del content[_span(content, draw)]


def _repeat(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    part = content[_span(content, draw)] * draw.choice((1, 2, 50))
    at = _at(content, draw)
    content[at:at] = part


def _swap(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    first, second = _span(content, draw), _span(content, draw)
    content[first], content[second] = content[second], content[first]


def _integer(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    size, at = draw.choice((1, 2, 4, 8)), _at(content, draw)
    value = (draw.choice(_EDGES) + draw.choice((-1, 0, 0, 1))) % 256**size
    content[at : at + size] = value.to_bytes(size, draw.choice(("little", "big")))


def _number(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    begin = _at(content, draw)
    if found := _NUMBER.search(content, begin, begin + 4096):
        content[found.start() : found.end()] = draw.choice(_NUMBERS)


def _token(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    at = _at(content, draw)
    content[at : at + draw.choice((0, 0, 1, 4))] = draw.choice(_TOKENS)


def _splice(content: bytearray, draw: Draw, good: Sequence[bytes]) -> None:
    other = bytearray(draw.choice(good))
    content[_at(content, draw) :] = other[_at(other, draw) :]


_MUTATIONS: tuple[Callable[[bytearray, Draw, Sequence[bytes]], None], ...] = (
    _flip, _flip, _cut, _drop, _repeat, _swap, _integer, _integer, _number, _number, _token, _splice
)  # fmt: skip
