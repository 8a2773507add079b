"""The TIMIT converter, on trees that the tests write: layouts, damage, choice of speakers."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep import spoken, store, timit, timit_standin
from data_prep.errors import UserError
from data_prep.features import RATE, FeatureOptions, mfcc, read_speech, read_word
from data_prep.files import sha256_of

GROUPS = (("making", "walking"), ("highway",))


def tone(seconds: float, pitch: float) -> np.ndarray:
    rng = np.random.default_rng(round(pitch))
    t = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * pitch * t) + 0.01 * rng.standard_normal(len(t))
    return np.rint(32767 * wave).astype(np.int16)


def write_corpus(
    root: Path,
    speakers: int = 8,
    lower: bool = False,
    suffix: str = ".WAV",
    form: str = "NIST",
) -> Path:
    """Every speaker says "walking highway making" with pauses, in TIMIT's layout."""

    def name(text: str) -> Path:
        return Path(text.lower() if lower else text)

    for s in range(speakers):
        half = "TEST" if s % 3 == 2 else "TRAIN"
        folder = root / name(f"{half}/DR{1 + s % 8}/MAA{chr(65 + s)}0")
        folder.mkdir(parents=True)
        stem = folder / name(f"SX{s}")
        soundfile.write(
            stem.parent / (stem.name + suffix), tone(1.0, 100 + 20 * s), RATE, format=form
        )
        lines = "0 1600 h#x\n1600 6000 walking\n6000 10000 highway\n10000 15000 making\n"
        (stem.parent / (stem.name + (".wrd" if lower else ".WRD"))).write_text(lines)
    return root


def prepared(src: Path, out: Path, **options):
    report = timit.prepare(out, src, GROUPS, **options)
    return report, store.read(out, "timit")


@pytest.mark.parametrize(
    ("level", "lower", "suffix", "form"),
    [
        ("", False, ".WAV", "NIST"),
        ("TIMIT", False, ".WAV", "NIST"),
        ("disc/timit", True, ".wav", "NIST"),
        ("", False, ".WAV.wav", "WAV"),
        ("", True, ".wav", "WAV"),
        ("", False, ".flac", "FLAC"),
    ],
)
def test_every_layout_gives_the_same_words(tmp_path, level, lower, suffix, form):
    write_corpus(tmp_path / "plain")
    _, expected = prepared(tmp_path / "plain", tmp_path / "plain.h5")
    write_corpus(tmp_path / "other" / level, lower=lower, suffix=suffix, form=form)
    report, found = prepared(tmp_path / "other", tmp_path / "other.h5")
    assert not report.problems and report.utterances == 8
    for name in ("train", "test"):
        assert found.splits[name].names == expected.splits[name].names
        np.testing.assert_array_equal(found.splits[name].frames, expected.splits[name].frames)


def test_sphere_is_preferred_to_its_copy(tmp_path):
    write_corpus(tmp_path / "a")
    path = next((tmp_path / "a").rglob("SX0.WAV"))
    (path.parent / "SX0.WAV.wav").write_bytes(b"not read")
    report, _ = prepared(tmp_path / "a", tmp_path / "a.h5")
    assert not report.problems


def test_the_frames_are_the_features_of_the_cut(tmp_path):
    root = write_corpus(tmp_path / "a")
    _, corpus = prepared(root, tmp_path / "a.h5")
    train = corpus.splits["train"]
    for i, name in enumerate(train.names):
        word, _, place = name.partition(": ")
        begin, end = map(int, place.split()[1].split("-"))
        samples, rate = read_speech(root / f"{place.split()[0]}.WAV")
        assert rate == RATE
        mine = mfcc(samples[begin:end], FeatureOptions())
        assert mine.shape == (1 + (end - begin - 400) // 160, 13)
        np.testing.assert_allclose(train[i] * train.scale + train.shift, mine, atol=1e-3)
        assert corpus.provenance["words"][train.labels[i]] == word
    np.testing.assert_allclose(train.frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(train.frames.std(axis=0), 1, atol=1e-4)
    assert corpus.splits["test"].shift.tolist() == train.shift.tolist()


def test_the_digest_of_what_is_read(tmp_path):
    root = write_corpus(tmp_path / "a")
    other = root / "TRAIN" / "DR1" / "MZZZ0"
    other.mkdir()
    (other / "SX9.WAV").write_bytes(b"not read: none of the words is in it")
    (other / "SX9.WRD").write_text("0 1600 nothing\n")
    files = [p for p in root.rglob("*.*") if p.name != "SX9.WAV"]
    lines = sorted(f"{p.relative_to(root).as_posix()} {sha256_of(p)}\n" for p in files)
    expected = {
        "name": "TIMIT",
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "files": 8 + 9,
    }
    _, corpus = prepared(root, tmp_path / "a.h5")
    assert corpus.provenance["source"] == expected
    root.rename(tmp_path / "timit")
    _, corpus = prepared(tmp_path, tmp_path / "a.h5")
    assert corpus.provenance["source"] == expected


def test_kaldis_mfcc_is_what_it_says():
    # by hand, from Kaldi's definition: log energy first, then c1 ... c12 of 23 mel bands
    options = FeatureOptions()
    wave = tone(0.025, 440) / np.float32(32768)
    features = mfcc(wave, options)
    assert features.shape == (1, 13)
    frame = wave.astype(np.float64) * 32768
    frame -= frame.mean()
    energy = np.log(np.square(frame).sum())
    assert features[0, 0] == pytest.approx(energy, rel=1e-4)
    frame[1:] -= 0.97 * frame[:-1].copy()
    frame[0] -= 0.97 * frame[0]
    power = np.abs(np.fft.rfft(frame * np.hamming(400), 512)) ** 2
    mel = 1127 * np.log(1 + np.arange(257) * RATE / 512 / 700)
    edges = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 8000 / 700), 25)
    rise = (mel - edges[:-2, None]) / np.diff(edges)[0]
    bands = np.maximum(0, np.minimum(rise, 2 - rise))[:, :256] @ power[:256]
    k = np.arange(1, 13)[:, None]
    cosines = np.sqrt(2 / 23) * np.cos(np.pi / 23 * (np.arange(23) + 0.5) * k)
    lifter = 1 + 11 * np.sin(np.pi * np.arange(1, 13) / 22)
    np.testing.assert_allclose(features[0, 1:], lifter * (cosines @ np.log(bands)), atol=0.02)


def test_the_choice_of_speakers(tmp_path):
    root = write_corpus(tmp_path / "a", speakers=12)
    report, corpus = prepared(root, tmp_path / "a.h5")
    assert set(report.train.values()) == {5} and set(report.test.values()) == {2}
    assert set(report.speakers.values()) == {12}

    def speakers(split, word):
        return {n.split("/")[2] for n in corpus.splits[split].names if n.startswith(word)}

    for word in ("making", "walking", "highway"):
        assert len(speakers("train", word)) == 5 and len(speakers("test", word)) == 2
        assert not speakers("train", word) & speakers("test", word)
    first = (tmp_path / "a.h5").read_bytes()
    prepared(root, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == first
    _, other = prepared(root, tmp_path / "b.h5", seed=1)
    assert other.splits["train"].names != corpus.splits["train"].names


@pytest.mark.parametrize("form", ["WAV", "NIST"])
@pytest.mark.parametrize("level", ["", "corpora/timit"])
def test_nltks_sample(tmp_path, form, level):
    root = tmp_path / "nltk" / level
    for s in range(8):
        folder = root / f"dr{1 + s}-f{'abcdefgh'[s]}aa0"
        folder.mkdir(parents=True)
        soundfile.write(folder / "sa1.wav", tone(1.0, 100 + 20 * s), RATE, format=form)
        lines = "1600 6000 walking\n6000 10000 highway\n10000 15000 making\n"
        if s == 7:
            lines = "1600 6000 walking\n6000 9000 greasy\n"
        (folder / "sa1.wrd").write_text(lines)
        (folder / "sa1.phn").write_text("0 16000 h#\n")
    (root / "README.txt").write_text("no speaker")
    report, corpus = prepared(tmp_path / "nltk", tmp_path / "a.h5")
    assert not report.problems and report.utterances == 8
    assert report.speakers == {"making": 7, "walking": 8, "highway": 7}
    assert corpus.provenance["source"]["name"] == "TIMIT (NLTK's sample)" and not corpus.standin
    assert corpus.provenance["source"]["files"] == 16
    assert any(
        n == "highway: DR1-FAAA0/SA1 6000-10000" for s in corpus.splits.values() for n in s.names
    )
    with pytest.raises(UserError) as error:
        timit.prepare(tmp_path / "b.h5", tmp_path / "nltk", [["making", "biblical", "greasy"]])
    assert error.value.message == (
        "words with fewer than 7 speakers: biblical 0, greasy 1; NLTK's sample of TIMIT has not "
        "all of the paper's words; --allow-fewer takes what is there; --words FILE takes others, "
        "such as (by 7 speakers or more) highway, walking, making"
    )
    assert not (tmp_path / "b.h5").exists()


def test_speakers_are_those_behind_the_region(tmp_path):
    root = tmp_path / "nltk"
    for folder in ("dr1-faaa0", "dr2-faaa0", "dr2-fbbb0"):  # one speaker in two folders
        (root / folder).mkdir(parents=True)
        soundfile.write(root / folder / "sa1.wav", tone(1.0, 100), RATE)
        (root / folder / "sa1.wrd").write_text("1600 6000 walking\n6000 10000 making\n")
    report = timit.prepare(tmp_path / "a.h5", root, [["walking", "making"]], allow_fewer=True)
    assert report.speakers == {"walking": 2, "making": 2}


def test_too_few_speakers(tmp_path):
    root = write_corpus(tmp_path / "a", speakers=4)
    with pytest.raises(UserError, match="making 4, walking 4, highway 4; --allow-fewer"):
        prepared(root, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
    report, _ = prepared(root, tmp_path / "a.h5", allow_fewer=True)
    assert set(report.train.values()) == {3} and set(report.test.values()) == {1}


DAMAGE = {
    "noise for audio": ("WAV", b"\x00\x01 nothing like it" * 40, "not a sound file"),
    "an empty sound file": ("WAV", b"", "not a sound file"),
    "an empty word file": ("WRD", b"", "empty"),
    "no text": ("WRD", b"\xff\xfe\x00", "cannot be read as ASCII"),
    "a word too many": ("WRD", b"0 100 two words\n", "line 1: expected FIRST-SAMPLE"),
    "a word for a number": ("WRD", b"\n0 x making\n", "line 2: expected FIRST-SAMPLE"),
    "backwards": ("WRD", b"900 800 making\n", "line 1: ends at 800, begins at 900"),
    "past the end": ("WRD", b"900 99999 making\n", "ends at sample 99999, SX0.WAV has 16000"),
    "very short": ("WRD", b"900 950 making\n", "50 samples, a frame needs 400"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_passed_over(tmp_path, damage):
    suffix, content, reason = DAMAGE[damage]
    root = write_corpus(tmp_path / "a")
    broken = next(root.rglob(f"SX0.{suffix}"))
    broken.write_bytes(content)
    report, corpus = prepared(root, tmp_path / "a.h5")
    assert len(report.problems) == 1
    assert str(broken) in str(report.problems[0]) and reason in str(report.problems[0])
    assert not any("MAAA0" in n for split in corpus.splits.values() for n in split.names)
    assert corpus.provenance["passed_over"] == 1
    with pytest.raises(UserError, match="--strict: .*SX0"):
        prepared(root, tmp_path / "b.h5", strict=True)
    assert not (tmp_path / "b.h5").exists()


def test_a_truncated_sphere_file(tmp_path):
    root = write_corpus(tmp_path / "a")
    broken = next(root.rglob("SX0.WAV"))
    broken.write_bytes(broken.read_bytes()[:10000])
    report, _ = prepared(root, tmp_path / "a.h5")
    assert report.problems and all("SX0" in str(p) for p in report.problems)


def test_a_reason_keeps_its_colons_and_a_place_too(tmp_path):
    root = write_corpus(tmp_path / "disc: 1")
    broken = next(root.rglob("SX0.WAV"))
    soundfile.write(broken, np.full(16000, np.nan, np.float32), RATE, format="WAV", subtype="FLOAT")
    report, _ = prepared(root, tmp_path / "a.h5")
    expected = spoken.Problem(str(broken), "damaged; it holds samples that are not numbers")
    assert report.problems == [expected]


def test_a_missing_soundfile_is_no_fault_of_the_corpus(tmp_path, monkeypatch):
    root = write_corpus(tmp_path / "a")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UserError, match="pip install soundfile"):
        prepared(root, tmp_path / "a.h5")


def test_another_rate_and_missing_halves(tmp_path):
    root = write_corpus(tmp_path / "a")
    broken = next(root.rglob("SX0.WAV"))
    soundfile.write(broken, tone(1, 100)[:8000], 8000, format="NIST")
    next(root.rglob("SX1.WRD")).unlink()
    next(root.rglob("SX2.WAV")).unlink()
    with pytest.raises(UserError, match="walking 5"):
        prepared(root, tmp_path / "a.h5")
    report, _ = prepared(root, tmp_path / "a.h5", allow_fewer=True)
    reasons = " | ".join(map(str, report.problems))
    assert "8000 samples per second, expected 16000" in reasons
    assert "no .WRD beside it" in reasons and "no audio beside it" in reasons
    shutil.rmtree(root / "TEST")
    with pytest.raises(UserError, match="no folders TRAIN and TEST"):
        prepared(root, tmp_path / "a.h5")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.tuples(
                st.integers(-5, 10**13), st.integers(-5, 20000), st.sampled_from("a making".split())
            )
        ).map(lambda rows: "".join(f"{a} {b} {w}\n" for a, b, w in rows).encode()),
    ),
    cut=st.integers(0, 1500),
    noise=st.binary(max_size=50),
    at=st.integers(0, 1100),
)
def test_no_bytes_break_the_converter(tmp_path, words, cut, noise, at):
    root = tmp_path / "fuzz"
    shutil.rmtree(root, ignore_errors=True)
    write_corpus(root)
    next(root.rglob("SX0.WRD")).write_bytes(words)
    sound = next(root.rglob("SX1.WAV"))
    content = sound.read_bytes()
    sound.write_bytes((content[:at] + noise + content[at + len(noise) :])[: len(content) - cut])
    try:
        report, corpus = prepared(root, tmp_path / "fuzz.h5")
    except UserError as error:
        assert "\n" not in error.message
        return
    assert all(np.isfinite(split.frames).all() for split in corpus.splits.values())
    assert all("\n" not in str(problem) for problem in report.problems)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_sound(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_word(path, FeatureOptions())


def test_word_lists(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("Alpha beta\n\ngamma\n")
    assert spoken.read_groups(path) == [["alpha", "beta"], ["gamma"]]
    for text, reason in (("one", "at least two words"), ("a b a", "'a' is there twice")):
        path.write_text(text)
        with pytest.raises(UserError, match=reason):
            spoken.read_groups(path)
    with pytest.raises(UserError, match="expected a text file"):
        spoken.read_groups(tmp_path / "none.txt")


def test_feature_options(tmp_path):
    wave = tone(0.5, 300) / 32768
    assert mfcc(wave, FeatureOptions(deltas=2)).shape == (48, 39)
    assert mfcc(wave, FeatureOptions(coefficients=5, window_ms=20, hop_ms=20)).shape == (25, 6)
    plain, deltas = mfcc(wave, FeatureOptions()), mfcc(wave, FeatureOptions(deltas=1))
    np.testing.assert_array_equal(deltas[:, :13], plain)
    # HTK's and Kaldi's regression over two frames on each side
    expected = (plain[21] - plain[19] + 2 * (plain[22] - plain[18])) / 10
    np.testing.assert_allclose(deltas[20, 13:], expected, atol=1e-4)
    with pytest.raises(UserError, match="--hop-ms 30"):
        FeatureOptions(hop_ms=30)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    soundfile.write(tmp_path / "b.wav", wave[::2], RATE // 2)
    assert read_word(tmp_path / "b.wav", FeatureOptions()).shape == (48, 13)
    with pytest.raises(UserError, match="no such file"):
        read_word(tmp_path / "c.wav", FeatureOptions())


@pytest.fixture(scope="module")
def standin(tmp_path_factory) -> Path:
    pytest.importorskip("espeakng_loader", reason="the extra `standin` is not installed")
    folder = tmp_path_factory.mktemp("standin") / "tree"
    with timit_standin.tree(folder) as root:
        assert root == folder
    return folder


def test_the_standin_is_a_timit(standin, tmp_path):
    from cwrnn_cli.paper import WORD_GROUPS

    assert len(list(standin.rglob("*.WRD"))) == timit_standin.SENTENCES_IN_ALL
    sound = next(standin.rglob("*.WAV"))
    assert sound.read_bytes().startswith(b"NIST_1A")
    report = timit.prepare(tmp_path / "a.h5", standin, WORD_GROUPS, strict=True)
    assert min(report.speakers.values()) >= 14  # voices
    assert all(0.2 < frames / 100 < 1.2 for frames in report.frames.values())
    corpus = store.read(tmp_path / "a.h5")
    assert corpus.standin and corpus.provenance["source"]["name"] == "stand-in speech"
    assert [len(split) for split in corpus.splits.values()] == [125, 50]
    with pytest.raises(UserError, match="exists already"), timit_standin.tree(standin):
        pass


def test_the_same_seed_speaks_the_same(tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason="the extra `standin` is not installed")
    monkeypatch.setattr(timit_standin, "SPEAKERS", 2)
    monkeypatch.setattr(timit_standin, "TEST_SPEAKERS", 1)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        timit_standin.write_tree(tmp_path / name, seed)
    a, b, c = (
        {p.name: p.read_bytes() for p in sorted((tmp_path / n).rglob("SX*.*"))} for n in "abc"
    )
    assert a == b and a != c
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"TRAIN", "TEST", "STANDIN.TXT"}
