import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep import audio, music, store
from data_prep.errors import UserError

RATE = 44100


def tones(seconds=0.5, rate=RATE, channels=1, frequencies=(440.0, 1234.5)):
    """(T, channels); channel c plays the tones louder by c."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * f * time) for f in frequencies) / (2.5 * len(frequencies))
    return wave[:, None] * (1 + np.arange(channels)) / channels


def stretches(path):
    split = store.read(path, "audio").splits["train"]
    return np.stack([split[i][:, 0] for i in range(len(split))]), split


def originals(path):
    frames, split = stretches(path)
    return frames * split.scale + split.shift


@pytest.mark.parametrize(
    ("format", "subtype", "error"),
    [
        ("wav", "PCM_16", 1e-4),
        ("wav", "FLOAT", 1e-6),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 1e-4),
        ("ogg", "VORBIS", 0.1),
        ("mp3", "MPEG_LAYER_III", 0.1),
    ],
)
def test_formats(tmp_path, format, subtype, error):
    source = tmp_path / f"tone.{format}"
    soundfile.write(source, tones(), RATE, subtype=subtype)
    audio.prepare(tmp_path / "a.h5", source, start=0.1)
    first = round(0.1 * RATE)
    np.testing.assert_allclose(
        originals(tmp_path / "a.h5").ravel(), tones()[first : first + 1600, 0], atol=error
    )


def test_scaling_is_exact_and_recorded(tmp_path):
    source = tmp_path / "tone.wav"
    soundfile.write(source, tones(), RATE)
    corpus = audio.prepare(tmp_path / "a.h5", source, start=0.01, sequences=3, length=100)
    frames, split = stretches(tmp_path / "a.h5")
    assert frames.shape == (3, 100)
    np.testing.assert_array_equal(frames.min(axis=1), -1)
    np.testing.assert_array_equal(frames.max(axis=1), 1)
    assert split.names[1] == "tone.wav, samples 541 to 641"
    assert not corpus.standin
    recorded = store.read(tmp_path / "a.h5").provenance
    assert recorded["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert recorded["parameters"]["start"] == 0.01 and recorded["cwrnn"]


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("start", [0.0, 0.123])
def test_resampling_keeps_time_and_level(tmp_path, rate, start):
    source = tmp_path / "tone.wav"
    soundfile.write(source, tones(rate=rate), rate, subtype="FLOAT")
    audio.prepare(tmp_path / "a.h5", source, start=start)
    first = round(start * RATE)
    expected = tones()[first : first + 1600, 0]
    found = originals(tmp_path / "a.h5").ravel()
    edge = 400 if start == 0 and rate != RATE else 0  # before the file there is silence
    np.testing.assert_allclose(found[edge:], expected[edge:], atol=1e-3)


def test_what_the_new_rate_cannot_hold_is_filtered_out(tmp_path):
    source = tmp_path / "both.wav"
    low, high = (tones(rate=96000, frequencies=(f,)) for f in (1000.0, 30000.0))
    soundfile.write(source, low + high, 96000, subtype="FLOAT")
    audio.prepare(tmp_path / "a.h5", source, start=0.1)
    first = round(0.1 * RATE)
    expected = tones(frequencies=(1000.0,))[first : first + 1600, 0]
    np.testing.assert_allclose(originals(tmp_path / "a.h5").ravel(), expected, atol=1e-4)


def test_channels(tmp_path):
    source = tmp_path / "stereo.wav"
    soundfile.write(source, tones(channels=2), RATE, subtype="FLOAT")
    for channel, level in ((None, 0.75), (1, 0.5), (2, 1.0)):
        audio.prepare(tmp_path / "a.h5", source, channel=channel)
        expected = level * tones()[:1600, 0]
        np.testing.assert_allclose(originals(tmp_path / "a.h5").ravel(), expected, atol=1e-6)
    with pytest.raises(UserError, match="--channel 3: it has 2"):
        audio.prepare(tmp_path / "b.h5", source, channel=3)
    with pytest.raises(UserError, match="the built-in piece has 1 channel"):
        audio.prepare(tmp_path / "b.h5", channel=2)


def test_built_in_piece_is_the_same_everywhere(tmp_path):
    piece = music.piece()
    assert piece.dtype == np.int16 and len(piece) == 4 * RATE and np.abs(piece).max() == 32000
    digest = hashlib.sha256(piece.tobytes()).hexdigest()
    assert digest == "d319339e07e1ddbf1f3df5146c8ae5af06bca43128664a7648d50f7116834d83"
    corpus = audio.prepare(tmp_path / "a.h5")
    assert corpus.standin and corpus.provenance["source"]["sha256"] == digest
    np.testing.assert_allclose(
        originals(tmp_path / "a.h5").ravel(), piece[:1600] / 32768, atol=1e-6
    )
    audio.prepare(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_built_in_corpus_is_still_the_one_of_the_published_results(tmp_path):
    """`cwrnn verify --rerun` makes it again, and wants the digest: whatever version this is."""
    results = Path(__file__).parents[2] / "results/audio/reproduce/manifest.json"
    published = json.loads(results.read_text(encoding="utf-8"))["data"]["sha256"]
    audio.prepare(tmp_path / "a.h5")
    assert store.read(tmp_path / "a.h5", "audio").sha256 == published


def test_its_sines_are_sines():
    cycles = np.linspace(-3, 3, 1001)
    np.testing.assert_allclose(music._sine(cycles), np.sin(2 * np.pi * cycles), atol=1e-12)


def quiet_then_tone(tmp_path, **options):
    source = tmp_path / "late.wav"
    wave = np.concatenate([np.full((RATE // 4, 1), 0.25), tones()])
    soundfile.write(source, wave, RATE)
    return source


def test_silence_is_refused_and_the_first_sound_named(tmp_path):
    source = quiet_then_tone(tmp_path)
    with pytest.raises(UserError, match=r"sequence 1 .*silent or constant.*--start (0\.2\d+)") as e:
        audio.prepare(tmp_path / "a.h5", source)
    assert not (tmp_path / "a.h5").exists()
    start = float(e.value.message.split("--start ")[1].split(" ")[0])
    audio.prepare(tmp_path / "a.h5", source, start=start)
    soundfile.write(source, np.zeros(RATE), RATE)
    with pytest.raises(UserError, match="choose another --start"):
        audio.prepare(tmp_path / "b.h5", source)


def test_files_that_will_not_do(tmp_path):
    source = tmp_path / "tone.wav"
    soundfile.write(source, tones(seconds=0.05), RATE)
    out = tmp_path / "a.h5"
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    broken = tmp_path / "broken.flac"
    soundfile.write(broken, np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    broken.write_bytes(broken.read_bytes()[:3000])
    numbers = tmp_path / "nan.wav"
    soundfile.write(numbers, np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    for arguments, message in (
        ({"src": tmp_path / "none.wav"}, "no such file"),
        ({"src": tmp_path}, "no such file"),
        ({"src": text}, "not a sound file"),
        ({"src": broken}, "truncated|damaged"),
        ({"src": numbers}, "not numbers"),
        ({"src": source, "start": 0.05}, "past the end; it lasts 0.050 s"),
        ({"src": source, "start": 0.03}, "too short; 1600 samples"),
        ({"src": source, "start": -1.0}, "--start -1"),
        ({"src": source, "start": float("nan")}, "--start nan"),
        ({"src": source, "sequences": 0}, "--sequences"),
        ({"src": source, "length": 1}, "--length"),
        ({"start": 5.0}, "built-in piece: --start 5.000 s is past the end"),
    ):
        with pytest.raises(UserError, match=message):
            audio.prepare(out, **arguments)
    assert not out.exists()


def test_without_soundfile_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UserError, match="pip install soundfile"):
        audio.prepare(tmp_path / "a.h5", tmp_path / "tone.wav")
    audio.prepare(tmp_path / "a.h5")
