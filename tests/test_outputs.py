"""Nothing of the user's is written over; see also the tests of the commands."""

import json
import os

import numpy as np
import pytest
import soundfile
from PIL import Image

from cwrnn_cli.outputs import PICTURE, SOUND, check_output
from cwrnn_cli.reporting.figures import curves
from cwrnn_cli.tasks.audio.sound import write_wav
from data_prep.errors import UserError
from tests.conftest import one_line_error


@pytest.fixture
def recording(tmp_path):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
    soundfile.write(tmp_path / "own.wav", wave, 44100)
    os.symlink("own.wav", tmp_path / "link.h5")
    os.link(tmp_path / "own.wav", tmp_path / "hard.h5")
    return tmp_path / "own.wav"


@pytest.mark.parametrize("out", ["own.wav", "link.h5", "hard.h5", "../{}/own.wav"])
def test_a_recording_is_not_written_over_under_any_name(cwrnn, recording, out):
    before = recording.read_bytes()
    out = out.format(recording.parent.name)
    words = ("prepare", "audio", "--src", recording, "--out", out)
    line = one_line_error(cwrnn(*words, expect=2))
    assert line.startswith(f"--out {out}: exists, and is not a prepared corpus; choose another")
    assert recording.read_bytes() == before
    line = one_line_error(cwrnn(*words, "--force", expect=2))
    assert line == f"{out}: --out is --src, which it would write over; choose another name"
    assert recording.read_bytes() == before


def test_what_a_command_wrote_it_writes_again(cwrnn, tmp_path):
    cwrnn("prepare", "audio", "--out", "a.h5")
    cwrnn("prepare", "audio", "--out", "a.h5", "--length", 100)
    write_wav(tmp_path / "a.wav", np.zeros(100), 44100)
    check_output(tmp_path / "a.wav", SOUND, "--out")
    curves(tmp_path / "a.png", {"a": [(1, 2.0), (2, 1.0)]}, "error", "caption")
    check_output(tmp_path / "a.png", PICTURE, "--plot")


def test_sounds_and_pictures_of_others_are_not(recording, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "cover.png")
    for path, kind in ((recording, SOUND), (tmp_path / "cover.png", PICTURE)):
        with pytest.raises(UserError, match="exists, and is not a .* of cwrnn's"):
            check_output(path, kind, "--out")


def test_nor_is_a_part_of_a_run_or_of_a_result(tmp_path):
    picture = tmp_path / "figure3.png"
    curves(picture, {"a": [(1, 2.0), (2, 1.0)]}, "error", "caption")
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"figure3.png": "1234"}}))
    with pytest.raises(UserError, match=r"figure3\.png: a part of the result in"):
        check_output(picture, PICTURE, "--plot")
    for name in ("checkpoint.pt", "metrics.jsonl"):
        with pytest.raises(UserError, match="a part of that run has this name"):
            check_output(tmp_path / name, PICTURE, "--plot")
    check_output(tmp_path / "other.png", PICTURE, "--plot")


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_folders_and_devices_are_not_written_over_at_all(cwrnn, tmp_path, force):
    (tmp_path / "folder").mkdir()
    for out, what in (("folder", "a folder"), (os.devnull, "a device")):
        line = one_line_error(cwrnn("prepare", "audio", "--out", out, *force, expect=2))
        assert line == f"--out {out}: is {what}; expected the name of a file to write"
    assert not os.path.isfile(os.devnull)
