"""Files of a few bytes that declare gigabytes: each reader says so in a line, within its memory."""

import os
import struct

import numpy as np
import pytest
import soundfile

from data_prep import iamondb_files, spoken, timit
from data_prep.errors import UserError
from data_prep.features import read_speech
from data_prep.sound import open_sound
from tests import memory


def wav(rate=16000, channels=1, size=0, frames=4):
    """A header, and a few samples."""
    data = struct.pack("<HHIIHH", 1, channels, rate, 0, 2 * channels, 16)
    content = bytes(2 * channels * frames)
    return b"".join(
        [b"RIFF", struct.pack("<I", 0xFFFFFFF0), b"WAVEfmt ", struct.pack("<I", 16), data]
        + [b"data", struct.pack("<I", size or len(content)), content]
    )


def sphere(frames):
    lines = ["NIST_1A", "   1024", f"sample_count -i {frames}", "sample_n_bytes -i 2"]
    lines += ["channel_count -i 1", "sample_byte_format -s2 01", "sample_rate -i 16000"]
    lines += ["sample_coding -s3 pcm", "end_head"]
    return "\n".join(lines).encode().ljust(1024) + bytes(64)


def flac(path, frames):
    """A right file whose header is changed to promise so many samples."""
    soundfile.write(path, np.zeros(100), 16000, format="FLAC", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", frames)
    return bytes(content)


HOSTILE = {
    "16 MHz": lambda path: wav(rate=16_000_001, frames=4000),
    "an odd rate": lambda path: wav(rate=767_999, frames=4000),
    "4 GiB": lambda path: wav(rate=48_000, size=0xFFFFFF00),
    "1000 channels": lambda path: wav(rate=48_000, channels=1000, size=0xFFFFFF00),
    "no channels": lambda path: wav(channels=0),
    "no rate": lambda path: wav(rate=0),
    "a sphere": lambda path: sphere(9_000_000),
    "a large sphere": lambda path: sphere(2**31 - 1),
    "a FLAC": lambda path: flac(path, 9_000_000),
    "a large FLAC": lambda path: flac(path, 2**32 - 1),
}


_BOTH = """
import soundfile, scipy.signal, torchaudio
from pathlib import Path
from data_prep import audio
from data_prep.errors import UserError
from data_prep.features import FeatureOptions, read_word

def both(path, out):
    calls = lambda: read_word(path, FeatureOptions()), lambda: audio.prepare(out, path)
    for call in calls:
        try:
            call()
        except UserError as error:
            assert str(path) in error.message and not out.exists()
        else:
            raise AssertionError(path)
"""


def test_a_sound_header_is_not_believed(tmp_path):
    paths = []
    for number, make in enumerate(HOSTILE.values()):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(make(path))
        paths.append(str(path))
    out = str(tmp_path / "out.h5")
    _, taken = memory.refusal(_BOTH, f"[both(Path(path), Path({out!r})) for path in {paths!r}]")
    assert taken < 300


def test_a_pipe_with_the_name_of_a_sound_or_a_list_does_not_block(tmp_path):
    path = tmp_path / "SA1.WRD"
    os.mkfifo(path)
    assert [p.reason for p in timit.read_words(path)[1]] == [
        "cannot be read (a pipe or a device); expected a file"
    ]
    for read in (read_speech, spoken.read_groups):
        with pytest.raises(UserError):
            read(path)
    with pytest.raises(UserError), open_sound(path):
        pass


def test_lists_that_are_too_long(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a b c " * 300_000)
    with pytest.raises(UserError, match="expected a text file"):
        spoken.read_groups(path)
    assert "expected at most" in timit.read_words(path)[1][0].reason
    path.write_text(" ".join(f"word{i}" for i in range(90_000)) + " word7")
    with pytest.raises(UserError, match="'word7' is there twice"):
        spoken.read_groups(path)


XML = {
    "many elements": "b'<a>' + b'<b c=\"\"/>' * 230_000 + b'</a>'",
    "deep": "b'<a>' * 290_000 + b'</a>' * 290_000",
    "many points": 'b\'<W><StrokeSet><Stroke>\' + b\'<Point x="1" y="2" time="3"/>\' * 60_000 '
    "+ b'</Stroke></StrokeSet></W>'",
    "attributes": "b'<a ' + b' '.join(b'a%d=\"\"' % i for i in range(150_000)) + b'/>'",
    "a long number": "b'<W><StrokeSet><Stroke><Point x=\"' + b'9' * 2_000_000 + "
    'b\'" y="2" time="3"/></Stroke></StrokeSet></W>\'',
}


@pytest.mark.parametrize("what", XML)
def test_the_largest_xml_there_may_be(what):
    begin = (
        "from data_prep.iamondb_files import read_strokes\nimport defusedxml.ElementTree\n"
        f"content = {XML[what]}"
    )
    message, taken = memory.refusal(begin, "print(type(read_strokes(content)))")
    assert message == "" and taken < 300
    assert len(eval(XML[what])) < iamondb_files.LARGEST * 2
