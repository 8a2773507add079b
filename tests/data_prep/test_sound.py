"""One reader, one resampler: formats, damage, and filters that are the ones they say they are."""

import math

import numpy as np
import pytest
import soundfile
from scipy import signal

from data_prep.errors import UserError
from data_prep.sound import (
    PLAIN,
    STEEP,
    UnreadableSound,
    open_sound,
    ratio,
    resample,
    write_sphere,
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "NIST", "AIFF"])
def test_any_stretch_of_any_format(tmp_path, form):
    written = noise(1000, 2)
    soundfile.write(tmp_path / "a", written, 8000, format=form, subtype="PCM_16")
    with open_sound(tmp_path / "a") as sound:
        assert (sound.rate, sound.channels, sound.frames) == (8000, 2, 1000)
        whole = sound.read()
        np.testing.assert_allclose(whole, written, atol=1e-4)
        np.testing.assert_array_equal(sound.read(300, 50), whole[300:350])
        np.testing.assert_array_equal(sound.read(count=50), whole[350:400])  # goes on
        np.testing.assert_array_equal(sound.read(980, 50), whole[980:])  # the file ends
        single = sound.read(0, dtype="float32")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, whole.astype(np.float32))


def test_sphere_files_are_timits(tmp_path):
    samples = noise(400)
    write_sphere(tmp_path / "a.WAV", samples, 16000)
    assert (tmp_path / "a.WAV").read_bytes().startswith(b"NIST_1A")
    with open_sound(tmp_path / "a.WAV") as sound:
        assert (sound.rate, sound.channels) == (16000, 1)
        np.testing.assert_allclose(sound.read()[:, 0], samples, atol=1e-4)


def test_what_cannot_be_read(tmp_path, monkeypatch):
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(UserError, match="no such file"), open_sound(path):
            pass
    for name in ("a.wav", "a.raw"):  # soundfile wants to be told what a .raw file holds
        (tmp_path / name).write_bytes(b"no sound")
        with pytest.raises(UnreadableSound, match="not a sound file") as e:
            with open_sound(tmp_path / name):
                pass
        assert e.value.place == str(tmp_path / name)
    soundfile.write(tmp_path / "a.flac", noise(44100), 44100)
    with open_sound(tmp_path / "a.flac") as sound:
        with pytest.raises(UnreadableSound, match="a.flac: damaged near sample 99999"):
            sound.read(99999, 10)
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UserError, match="pip install soundfile") as e:
        with open_sound(tmp_path / "a.flac"):
            pass
    assert e.value.place is None
    with pytest.raises(UserError, match="pip install soundfile"):
        write_sphere(tmp_path / "b.WAV", noise(10), 16000)


def test_ratio():
    assert ratio(48000, 44100) == (147, 160)
    assert ratio(22050, 44100) == (2, 1)
    assert ratio(16000, 16000) == (1, 1)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 48000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_plain_filter_is_scipys_own(rate, dtype):
    samples = noise(501).astype(dtype)
    found = resample(samples, rate, 16000)
    up, down = ratio(rate, 16000)
    assert found.dtype == dtype and len(found) == math.ceil(501 * 16000 / rate)
    np.testing.assert_array_equal(found, signal.resample_poly(samples, up, down))


@pytest.mark.parametrize(("rate", "wanted"), [(48000, 44100), (22050, 44100), (96000, 44100)])
def test_the_steep_filter_keeps_90_db(rate, wanted):
    count, lower = rate // 5, min(rate, wanted)
    time, later = np.arange(count) / rate, np.arange(count * wanted // rate) / wanted
    middle = slice(len(later) // 4, len(later) // 2)
    for pitch, kept in ((0.4 * lower, 1.0), (0.52 * lower, 0.0)):
        if pitch > rate / 2:
            continue
        found = resample(np.sin(2 * np.pi * pitch * time), rate, wanted, STEEP)[: len(later)]
        expected = kept * np.sin(2 * np.pi * pitch * later)
        assert np.abs(found - expected)[middle].max() < 10 ** (-90 / 20)


def test_at_the_same_rate_nothing_happens():
    samples = noise(10)
    for low_pass in (PLAIN, STEEP):
        assert resample(samples, 8000, 8000, low_pass) is samples
