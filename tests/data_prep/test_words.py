"""The converter of recordings of single words, on folders that the tests write."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep import store, words
from data_prep.errors import UserError
from data_prep.features import RATE, FeatureOptions, mfcc, read_speech, read_word, trim
from data_prep.files import sha256_of
from data_prep.spoken import to_test
from data_prep.words import Choice
from tests.conftest import one_line_error
from tests.data_prep.test_timit import tone

SILENT = 3200  # samples before and behind each word


def spoken(word: int, speaker: int, take: int = 0) -> np.ndarray:
    """0.2 s between two silences, no two alike."""
    quiet = np.random.default_rng(100 * word + 10 * speaker + take).integers(-2, 3, SILENT)
    loud = tone(0.2, 150 + 100 * word + 10 * speaker + take)
    return np.concatenate([quiet, loud, quiet]).astype(np.int16)


def write_recordings(
    root: Path, names: str = "yes no zoom.in", speakers: int = 8, takes: int = 2
) -> Path:
    """WORD/SPEAKER_nohash_TAKE.wav, a dot in a name becoming a space."""
    for w, word in enumerate(names.split()):
        folder = root / word.replace(".", " ")
        folder.mkdir(parents=True)
        for s in range(speakers):
            for t in range(takes):
                soundfile.write(folder / f"S{s}_nohash_{t}.wav", spoken(w, s, t), RATE)
    return root


def prepared(src: Path, out: Path, **options):
    report = words.prepare(out, src, **options)
    return report, store.read(out, "timit")


def speakers_of(split: store.Split, word: str = "") -> set[str]:
    return {n.split("/")[-1].split("_")[0] for n in split.names if n.startswith(word)}


def test_the_papers_split_of_each_word(tmp_path):
    root = write_recordings(tmp_path / "commands")
    report, corpus = prepared(root, tmp_path / "a.h5", name="my words", origin="my desk")
    train, test = corpus.splits["train"], corpus.splits["test"]
    assert corpus.provenance["words"] == ["no", "yes", "zoom-in"]
    assert corpus.provenance["groups"] == [["no", "yes", "zoom-in"]]
    assert not corpus.standin and report.utterances == 48 and not report.problems
    source = corpus.provenance["source"]
    assert (source["name"], source["origin"], source["files"]) == ("my words", "my desk", 48)
    for word in corpus.provenance["words"]:
        assert len(speakers_of(train, word)) == report.train[word] == 5
        assert len(speakers_of(test, word)) == report.test[word] == 2
        assert not speakers_of(train, word) & speakers_of(test, word)
        assert report.occurrences[word] == 16 and report.speakers[word] == 8
    np.testing.assert_allclose(train.frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_array_equal(test.shift, train.shift)
    for i, name in enumerate(train.names):
        word, _, path = name.partition(": ")
        assert path.startswith(word.replace("-", " ") + "/S")
        mine = mfcc(read_speech(root / path)[0], FeatureOptions())
        np.testing.assert_allclose(train[i] * train.scale + train.shift, mine, atol=1e-3)
        assert corpus.provenance["words"][train.labels[i]] == word
    first = sha256_of(tmp_path / "a.h5")
    prepared(root, tmp_path / "a.h5", name="my words", origin="my desk")
    assert sha256_of(tmp_path / "a.h5") == first
    _, other = prepared(root, tmp_path / "b.h5", choice=Choice(seed=1))
    assert other.splits["train"].names != train.names
    assert other.provenance["source"]["name"] == "commands"


@pytest.mark.parametrize(
    ("there", "most", "train", "test"), [(8, None, 6, 2), (8, 3, 2, 1), (4, 7, 3, 1), (2, 7, 1, 1)]
)
def test_other_numbers_of_speakers(tmp_path, there, most, train, test):
    root = write_recordings(tmp_path / "a", "yes no", there, takes=1)
    report, _ = prepared(root, tmp_path / "a.h5", choice=Choice(speakers=most))
    assert report.train == {"no": train, "yes": train}
    assert report.test == {"no": test, "yes": test} and test == to_test(train + test)


@pytest.mark.parametrize(("takes", "each"), [(None, 3), (2, 2)])
def test_a_split_by_speakers(tmp_path, takes, each):
    root = write_recordings(tmp_path / "a", "yes no", 7, takes=3)
    choice = Choice("speaker", takes=takes)
    report, corpus = prepared(root, tmp_path / "a.h5", choice=choice)
    sides = [speakers_of(split) for split in corpus.splits.values()]
    assert [len(side) for side in sides] == [5, 2] and not sides[0] & sides[1]
    assert report.train == {"no": 5 * each, "yes": 5 * each}
    assert report.test == {"no": 2 * each, "yes": 2 * each}
    taken = {n[-5] for split in corpus.splits.values() for n in split.names}
    assert taken == {str(t) for t in range(each)}
    choice = Choice("speaker", test_speakers=6, seed=3)
    _, corpus = prepared(root, tmp_path / "a.h5", choice=choice)
    assert len(speakers_of(corpus.splits["test"])) == 6
    with pytest.raises(UserError, match="--test-speakers 7: expected 1 to 6, of 7"):
        prepared(root, tmp_path / "b.h5", choice=Choice("speaker", test_speakers=7))
    (said,) = speakers_of(corpus.splits["train"])
    for path in (root / "no").glob(f"{said}_*"):
        path.unlink()
    with pytest.raises(UserError, match="no: no speaker to train on says it"):
        prepared(root, tmp_path / "b.h5", choice=choice)
    assert not (tmp_path / "b.h5").exists()


def test_the_words_of_a_file_in_their_groups(tmp_path):
    root = write_recordings(tmp_path / "a")
    groups = [["zoom-in"], ["yes"]]
    report, corpus = prepared(root, tmp_path / "a.h5", groups=groups)
    assert corpus.provenance["groups"] == groups
    assert corpus.provenance["words"] == ["zoom-in", "yes"] == list(report.train)
    assert corpus.provenance["source"]["files"] == 32  # the third word is not read
    _, renamed = prepared(root, tmp_path / "b.h5", groups=[["zoom-in=bigger"], ["yes"]])
    assert renamed.provenance["words"] == ["bigger", "yes"]
    for split, other in zip(corpus.splits.values(), renamed.splits.values(), strict=True):
        np.testing.assert_array_equal(split.frames, other.frames)
        assert other.names == [name.replace("zoom-in:", "bigger:") for name in split.names]
    with pytest.raises(UserError, match="--words: ja is there twice"):
        prepared(root, tmp_path / "c.h5", groups=[["no=ja", "yes=ja"]])
    with pytest.raises(UserError, match="--words: a recorded word is there twice"):
        prepared(root, tmp_path / "c.h5", groups=[["yes=ja", "yes"]])
    with pytest.raises(UserError, match="no recordings of up, down; there are those of no, yes"):
        prepared(root, tmp_path / "c.h5", groups=[["up", "yes"], ["down"]])


def test_compounds_are_two_trimmed_recordings_of_one_speaker(tmp_path):
    root = write_recordings(tmp_path / "a", "a b c d e v w x y z", 2, takes=2)
    options = FeatureOptions(trim_db=30)
    choice = Choice("speaker", compound=True)
    report, corpus = prepared(root, tmp_path / "a.h5", choice=choice, options=options)
    groups = corpus.provenance["groups"]
    assert groups == [[f"{first}+{second}" for first in "abcde"] for second in "vwxyz"]
    assert set(report.train.values()) == set(report.test.values()) == {2}
    train = corpus.splits["train"]
    index = train.names.index(next(n for n in train.names if n.startswith("b+x: ")))
    first, second = train.names[index].removeprefix("b+x: ").split(" + ")
    assert first.removeprefix("b/") == second.removeprefix("x/")  # one speaker, one take
    parts = [trim(read_speech(root / name)[0], 30) for name in (first, second)]
    frames = train[index] * train.scale + train.shift
    np.testing.assert_allclose(frames, mfcc(np.concatenate(parts), options), atol=1e-3)
    train_names, test_names = (corpus.splits[split].names for split in ("train", "test"))
    parts = [
        {part for name in names for part in name.split(": ")[1].split(" + ")}
        for names in (train_names, test_names)
    ]
    assert parts[0] and parts[1] and not parts[0] & parts[1]
    with pytest.raises(UserError, match="--compound: a recording is part of several words"):
        prepared(root, tmp_path / "b.h5", choice=Choice(compound=True))
    _, corpus = prepared(
        root, tmp_path / "a.h5", choice=choice, options=options, groups=[["z"], ["a", "b"]]
    )
    assert corpus.provenance["words"] == ["z+a", "z+b"]
    with pytest.raises(UserError, match="--compound: 3 lines in --words; expected two"):
        prepared(root, tmp_path / "b.h5", choice=choice, groups=[["z"], ["a"], ["b"]])
    few = write_recordings(tmp_path / "few")
    with pytest.raises(UserError, match="3 words are there .*; expected at least 10, or two lines"):
        prepared(few, tmp_path / "b.h5", choice=choice)


def test_silence_is_cut_off():
    wave = spoken(1, 2) / 32768
    kept = trim(wave, 30)
    begin = next(i for i in range(len(wave)) if np.array_equal(wave[i : i + len(kept)], kept))
    # the margin of 20 ms, and what of a stretch of 25 ms was silent
    assert SILENT - 320 - 400 < begin <= SILENT - 320
    assert SILENT + 3200 + 320 <= begin + len(kept) < SILENT + 3200 + 320 + 400
    np.testing.assert_array_equal(trim(wave + 0.1, 30), kept + 0.1)  # an offset is no sound
    pause = np.concatenate([wave, wave])
    assert len(trim(pause, 30)) == len(kept) + len(wave)
    assert len(trim(wave, 120)) == len(wave)
    assert len(trim(np.zeros(9000), 30)) == 0
    assert len(trim(np.zeros(399), 30)) == 399
    with pytest.raises(UserError, match="--trim-db 0: expected more than 0"):
        FeatureOptions(trim_db=0)


def test_a_recording_is_trimmed_as_the_corpus_was(tmp_path):
    root = write_recordings(tmp_path / "a", "yes no", 3, 1)
    options = FeatureOptions(trim_db=30)
    report, corpus = prepared(root, tmp_path / "a.h5", options=options)
    assert corpus.provenance["features"]["trim_db"] == 30
    assert 0.5 < report.trimmed < 2 * SILENT / (2 * SILENT + 3200)
    train = corpus.splits["train"]
    path = root / train.names[0].partition(": ")[2]
    mine = read_word(path, FeatureOptions(**corpus.provenance["features"]))
    np.testing.assert_allclose(train[0] * train.scale + train.shift, mine, atol=1e-3)
    report, corpus = prepared(root, tmp_path / "a.h5")
    assert report.trimmed == 0 and "trim_db" not in corpus.provenance["features"]
    assert corpus.splits["train"].offsets[1] == 1 + (2 * SILENT + 3200 - 400) // 160


def test_names_by_a_pattern_and_another_rate(tmp_path):
    root = tmp_path / "a"
    for s in ("anna", "otto"):
        (root / s).mkdir(parents=True)
        for w in range(2):
            soundfile.write(root / s / f"{s}-{w}-7.wav", spoken(w, 0)[::2], RATE // 2)
    with pytest.raises(UserError, match="no path below matches --pattern .*anna/anna-0-7.wav"):
        prepared(root, tmp_path / "a.h5")
    report, corpus = prepared(root, tmp_path / "a.h5", pattern=words.EXAMPLE)
    assert corpus.provenance["words"] == ["0", "1"] and report.speakers == {"0": 2, "1": 2}
    assert corpus.provenance["parameters"]["pattern"] == words.EXAMPLE
    assert np.diff(corpus.splits["train"].offsets).tolist() == 2 * [58]
    for pattern, reason in (
        ("(", "no regular expression"),
        ("(?P<word>.*)", "expected named groups for word and speaker"),
    ):
        with pytest.raises(UserError, match=reason):
            prepared(root, tmp_path / "b.h5", pattern=pattern)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        prepared(tmp_path / "nowhere", tmp_path / "b.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="and there is no .aif, .aiff"):
        prepared(tmp_path / "empty", tmp_path / "b.h5")


def test_damage_is_named_and_passed_over(tmp_path):
    root = write_recordings(tmp_path / "a", "a b c d e v w x y z", 3, takes=1)
    (root / "a" / "S0_nohash_0.wav").write_bytes(b"no sound")
    soundfile.write(root / "b" / "S0_nohash_0.wav", np.zeros(8000), RATE)
    soundfile.write(root / "c" / "S0_nohash_0.wav", spoken(2, 0)[:300], RATE)
    soundfile.write(root / "stray.wav", spoken(2, 0), RATE)
    (root / "LICENSE").write_text("not a sound file, and nobody's problem")
    (root / "a" / "._S1_nohash_0.wav").write_bytes(b"what a Mac leaves")
    choice, options = Choice("speaker", compound=True), FeatureOptions(trim_db=30)
    report, corpus = prepared(root, tmp_path / "a.h5", choice=choice, options=options)
    found = [str(problem).removeprefix(f"{root}/") for problem in report.problems]
    assert found == [
        "a/S0_nohash_0.wav: not a sound file that libsndfile reads, or damaged",
        "b/S0_nohash_0.wav: 0 ms without the silence of 500 ms; expected at least 25 ms, one "
        "window",
        "c/S0_nohash_0.wav: 19 ms; expected at least 25 ms, one window",
        "stray.wav: does not match --pattern",
    ]
    assert corpus.provenance["passed_over"] == 4
    assert report.speakers["a+v"] == 2 and report.speakers["d+v"] == 3
    with pytest.raises(UserError, match=r"--strict: .*a/S0_nohash_0.wav"):
        prepared(root, tmp_path / "b.h5", choice=choice, options=options, strict=True)
    few = write_recordings(tmp_path / "few", "yes no", 1)
    with pytest.raises(UserError, match="fewer than 2 speakers: no 1, yes 1; --words"):
        prepared(few, tmp_path / "b.h5")
    with pytest.raises(UserError, match="1 speakers; a split by speakers needs 2"):
        prepared(few, tmp_path / "b.h5", choice=Choice("speaker"))
    assert not (tmp_path / "b.h5").exists()


def test_the_command_and_what_is_trained_on_it(cwrnn):
    write_recordings(Path("commands"), "yes no", 3, 1)

    def trained(*options: str) -> tuple[str, dict[str, object]]:
        text = cwrnn("prepare", "words", "--src", "commands", *options).stdout
        size = ("--params", 300, "--runs", 1, "--epochs", 2)
        cwrnn("train", "--task", "timit", "--data", "data/words.h5", "--model", "cw", *size)
        summary = json.loads(cwrnn("eval", "--json").stdout)
        assert summary["data"]["name"] == "commands" and summary["sequences"] == 2
        file = Path("commands/yes/S0_nohash_0.wav")
        found = json.loads(cwrnn("eval", "--file", file, "--json").stdout)
        assert set(found["words"]) == {"yes", "no"}
        return text, {d["name"]: (d["paper"], d["ours"]) for d in summary["deviations"]}

    text, deviations = trained()
    assert "data/words.h5: 4 words to train, 2 to test, of 6 recordings of commands; " in text
    assert "silence was 5" in text
    assert deviations["trim_db"] == (None, 30) and "features" not in deviations
    text, deviations = trained("--no-trim", "--features", "pylstm")
    assert "silence" not in text
    assert deviations["features"] == ("kaldi", "pylstm") and "trim_db" not in deviations


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "Missing option '--src'"),
        ("--src . --takes 2", "--takes 2: only with --split-by speaker"),
        ("--src . --test-speakers 2", "--test-speakers 2: only with --split-by speaker"),
        ("--src . --split-by speaker --speakers 3", "--speakers 3: only with --split-by word"),
        ("--src . --split-by speaker --takes 0", "--takes 0: expected at least 1"),
        ("--src . --speakers 1", "--speakers 1: expected 2 or more, or all"),
        ("--src . --speakers some", "--speakers some: expected 2 or more, or all"),
        ("--src . --no-trim --trim-db 30", "--no-trim, --trim-db: one of them"),
        ("--src . --trim-db nan", "--trim-db nan: expected more than 0"),
        ("--src . --seed -1", "--seed -1: expected at least 0"),
        ("--src . --words none.txt", "none.txt: expected a text file"),
    ],
)
def test_mistakes(cwrnn, options, reason):
    assert reason in one_line_error(cwrnn("prepare", "words", *options.split(), expect=2))
