"""The IAM-OnDB converter, on corpora that the tests write: layouts, mismatches, hostile files."""

import hashlib
import io
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwrnn_cli.paper import IAMONDB, TIMIT
from data_prep import iamondb, iamondb_standin, store
from data_prep.errors import UserError
from data_prep.features import FeatureOptions
from data_prep.files import sha256_of
from data_prep.iamondb import PathOptions, frames_of
from data_prep.iamondb_files import LISTS, lag, read_strokes

FORMS = {"trainset.txt": "a01-000u", "testset_v.txt": "a01-001", "testset_t.txt": "b02-002z",
         "testset_f.txt": "c03-003x"}  # fmt: skip


def line_xml(strokes) -> str:
    points = [
        "<Stroke>"
        + "".join(f'<Point x="{x}" y="{y}" time="{t:.2f}"/>' for x, y, t in stroke)
        + "</Stroke>"
        for stroke in strokes
    ]
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?><WhiteboardCaptureSession>'
        f"<StrokeSet>{''.join(points)}</StrokeSet></WhiteboardCaptureSession>"
    )


def some_strokes(seed: int):
    rng = np.random.default_rng(seed)
    t, strokes = 100.0, []
    for size in rng.integers(1, 12, 4):
        points = rng.integers(500, 3000, (size, 2))
        strokes.append([(x, y, t + 0.01 * i) for i, (x, y) in enumerate(points)])
        t += 0.01 * size + 0.1
    return strokes


def write_corpus(root: Path) -> Path:
    for index, (name, form) in enumerate(FORMS.items()):
        folder = Path(form[:3]) / form[:7]
        for kind in ("lineStrokes", "ascii"):
            (root / kind / folder).mkdir(parents=True, exist_ok=True)
        text = "OCR:\n\nnot this\n\nCSR:\n\nab \n\na  b\n"
        (root / "ascii" / folder / f"{form}.txt").write_text(text)
        for number in (1, 2):
            path = root / "lineStrokes" / folder / f"{form}-{number:02d}.xml"
            path.write_text(line_xml(some_strokes(10 * index + number)))
        (root / name).write_text(f" {form}\n")
    return root


def prepared(src: Path, out: Path, **options):
    report = iamondb.prepare(out, src, **options)
    return report, store.read(out, "iamondb")


def test_what_is_read(tmp_path):
    root = write_corpus(tmp_path / "a")
    report, corpus = prepared(root, tmp_path / "a.h5")
    assert report.lines == {"train": 2, "valid": 4, "test": 2} and not report.problems
    assert report.characters == " ab" == corpus.provenance["characters"]
    assert not corpus.standin
    train = corpus.splits["train"]
    assert train.names == ["a01-000u-01", "a01-000u-02"]
    assert train.text == ["ab", "a b"]
    np.testing.assert_allclose(train.frames[:, :3].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.frames[:, :3].std(axis=0), 1, atol=1e-5)
    assert set(np.unique(train.frames[:, 3])) == {0.0, 1.0}
    assert corpus.splits["test"].shift.tolist() == train.shift.tolist()
    first = (tmp_path / "a.h5").read_bytes()
    prepared(root, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == first


def test_the_frames_by_hand():
    strokes = [[(10, 50, 5.0), (20, 40, 5.1), (30, 30, 5.2), (40, 20, 5.3), (50, 10, 5.4)],
               [(60, 60, 6.0)], [(70, 70, 7.0), (80, 80, 7.1)]]  # fmt: skip
    points = read_strokes(line_xml(strokes).encode())
    assert isinstance(points, np.ndarray) and points.shape == (8, 4)
    assert points[:, 3].tolist() == [0, 0, 0, 0, 1, 1, 0, 1]
    # every third point counted back from each stroke's last, which keeps its flag
    expected = [[10, 30, 0.1, 0], [40, 0, 0.4, 1], [50, 50, 1, 1], [70, 70, 2.1, 1]]
    np.testing.assert_allclose(frames_of(points, PathOptions()), expected)
    every = frames_of(points, PathOptions(every=1))
    assert len(every) == 8 and every[:, :2].min() == 0 and every[0, 2] == 0
    steps = frames_of(points, PathOptions(offsets=True))
    np.testing.assert_allclose(
        np.cumsum(steps[:, :3], axis=0), np.subtract(expected, expected[0])[:, :3]
    )
    sheared = points.copy()
    sheared[:, 0] += 0.5 * sheared[:, 1]
    upright, same = (frames_of(p, PathOptions(slant=True)) for p in (points, sheared))
    np.testing.assert_allclose(upright, same, atol=1e-9)


def archive(source: Path, target: Path) -> None:
    with tarfile.open(target, "w:gz") as file:
        file.add(source, source.name)


def test_archives_and_lists_elsewhere(tmp_path):
    plain = write_corpus(tmp_path / "plain")
    _, expected = prepared(plain, tmp_path / "plain.h5")
    packed = tmp_path / "packed" / "downloads"
    packed.mkdir(parents=True)
    for kind in ("lineStrokes", "ascii"):
        archive(plain / kind, packed / f"{kind}-all.tar.gz")
    lists = tmp_path / "lists"
    lists.mkdir()
    for name in LISTS:
        shutil.copy(plain / name, lists)
    with pytest.raises(UserError, match="no trainset.txt here or below.*--splits"):
        prepared(tmp_path / "packed", tmp_path / "packed.h5")
    _, found = prepared(tmp_path / "packed", tmp_path / "packed.h5", splits=lists)
    for name, split in expected.splits.items():
        assert found.splits[name].names == split.names and found.splits[name].text == split.text
        np.testing.assert_array_equal(found.splits[name].frames, split.frames)


def digest(root: Path, paths) -> str:
    """As a user would find it."""
    lines = [f"{p.relative_to(root).as_posix()} {sha256_of(p)}\n" for p in paths]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def test_the_digest_of_what_is_read(tmp_path):
    root = write_corpus(tmp_path / "plain")
    files = [p for p in root.rglob("*.*") if p.is_file()]
    _, corpus = prepared(root, tmp_path / "a.h5")
    expected = {"name": "IAM-OnDB", "sha256": digest(root, files), "files": 4 + 4 + 8}
    assert corpus.provenance["source"] == expected
    # neither where it lies nor what no list has changes it
    root = root.rename(tmp_path / "moved")
    (root / "lineStrokes" / "z09-999-01.xml").write_text("no XML")
    (root / "ascii" / "z09-999.txt").write_text("CSR:\n\na line\n")
    _, corpus = prepared(root, tmp_path / "a.h5")
    assert corpus.provenance["source"] == expected
    (root / LINE).write_text(line_xml(some_strokes(77)))
    _, corpus = prepared(root, tmp_path / "a.h5")
    assert corpus.provenance["source"]["sha256"] != expected["sha256"]
    # of archives, their own
    for kind in ("lineStrokes", "ascii"):
        archive(root / kind, root / f"{kind}-all.tar.gz")
        shutil.rmtree(root / kind)
    _, corpus = prepared(root, tmp_path / "a.h5")
    files = [p for p in root.rglob("*.*") if p.is_file()]
    assert corpus.provenance["source"] == expected | {"sha256": digest(root, files), "files": 6}


LINE = "lineStrokes/a01/a01-001/a01-001-01.xml"
TEXT = "ascii/a01/a01-001/a01-001.txt"
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cccc"><!ENTITY d "&b;&b;&b;">]>'
    "<WhiteboardCaptureSession>&d;</WhiteboardCaptureSession>"
)
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'


@pytest.mark.parametrize(
    ("file", "content", "reason", "lost"),
    [
        (LINE, line_xml([]), "no strokes", 1),
        (LINE, "<a><b></a>", "damaged XML", 1),
        (LINE, line_xml([[("x", 2, 3.0)]]), "a point without x, y and time", 1),
        (LINE, line_xml([[("nan", 2, 3.0)]]), "sensible numbers", 1),
        (LINE, BOMB, "a document type or entities", 1),
        (LINE, EXTERNAL, "a document type or entities", 1),
        (TEXT, "CSR:\n\nonly one\n", "line files 1 to 2 (2), 1 lines of transcript", 2),
        (TEXT, "CSR:\n\na\nb\nc\n", "line files 1 to 2 (2), 3 lines of transcript", 2),
        (TEXT, "CSR:\n\n", "an empty transcript", 2),
        (TEXT, "OCR:\n\na\nb\n", "0 sections CSR", 2),
        (TEXT, "CSR:\n\nto\n%%%%%%\n", "line 2: a placeholder in its text", 1),
        (TEXT, f"CSR:\n\nab\n{99 * 'a'}\n", "frames cannot be aligned with its text of 99", 1),
        (TEXT, None, "no transcript", 2),
        (LINE, None, "line files 2 to 2 (1), 2 lines", 1),
    ],
)  # fmt: skip
def test_what_does_not_match_is_left_out(tmp_path, file, content, reason, lost):
    root = write_corpus(tmp_path / "a")
    if content is None:
        (root / file).unlink()
    else:
        (root / file).write_text(content)
    report, corpus = prepared(root, tmp_path / "a.h5")
    assert any(reason in problem and "a01-001" in problem for problem in report.problems)
    assert (
        report.left_out["valid"]
        == lost
        == 4 - report.lines["valid"] - (content is None and file == LINE)
    )
    for name, text in zip(corpus.splits["valid"].names, corpus.splits["valid"].text, strict=True):
        number = int(name[-2:])
        assert text in {1: ("ab", "to"), 2: ("a b",)}[number]


BACK = [[(1, 2, 30.0), (2, 2, 30.2), (3, 2, 30.1)], [(4, 2, 0.0), (5, 2, 30.3)]]


def test_a_clock_that_runs_back_stands_still(tmp_path):
    points = read_strokes(line_xml(BACK).encode())
    assert isinstance(points, np.ndarray) and lag(points) == pytest.approx(30.2)
    frames = frames_of(points, PathOptions(every=1))
    np.testing.assert_allclose(frames[:, 2], [0, 0.2, 0.2, 0.2, 0.3])
    steps = frames_of(points, PathOptions(every=1, offsets=True))
    np.testing.assert_allclose(steps[:, 2], [0, 0.2, 0, 0, 0.1], atol=1e-12)
    assert points[:, 2].tolist() == [30.0, 30.2, 30.1, 0.0, 30.3]  # as they were


def test_lines_whose_clock_runs_back_are_kept(tmp_path):
    root = write_corpus(tmp_path / "a")
    (root / LINE).write_text(line_xml(BACK))
    report, corpus = prepared(root, tmp_path / "a.h5", options=PathOptions(every=1))
    assert report.lines == {"train": 2, "valid": 4, "test": 2} and not report.problems
    assert report.left_out == {"train": 0, "valid": 0, "test": 0}
    assert report.repaired == {
        "train": {},
        "valid": {"a01-001-01": pytest.approx(30.2)},
        "test": {},
    }
    assert corpus.provenance["repaired"] == {"train": 0, "valid": 1, "test": 0}
    valid = corpus.splits["valid"]
    time = (valid[0] * valid.scale + valid.shift)[:, 2]
    np.testing.assert_allclose(time, [0, 0.2, 0.2, 0.2, 0.3], atol=1e-6)

    report, strict = prepared(root, tmp_path / "b.h5", options=PathOptions(every=1), strict=True)
    assert report.problems == [f"{root / LINE}: its clock runs back by 30.20 s"]
    assert report.lines["valid"] == 3 and report.left_out["valid"] == 1
    assert strict.provenance["repaired"] == {"train": 0, "valid": 0, "test": 0}
    assert strict.splits["valid"].names == valid.names[1:]
    np.testing.assert_array_equal(strict.splits["valid"].frames, valid.frames[5:])

    (root / TEXT).write_text("CSR:\n\n%%%%%%\nto\n")  # left out after all: nothing is repaired
    report, corpus = prepared(root, tmp_path / "a.h5")
    assert not report.repaired["valid"] and corpus.provenance["repaired"]["valid"] == 0


def test_the_command_says_what_was_repaired(cwrnn, tmp_path):
    root = write_corpus(tmp_path / "a")
    (root / LINE).write_text(line_xml(BACK))
    command = ("prepare", "iamondb", "--src", root, "--out", "a.h5")
    listed = tmp_path / "a.passed-over.txt"
    sentence = "its clock runs back by 30.20 s"

    def row(result) -> list[str]:
        return next(line.split() for line in result.stdout.splitlines() if "valid" in line)

    result = cwrnn(*command)
    assert row(result) == ["valid", "4", "1", "0", "2956"]
    assert result.stderr == "1 repaired and kept, listed in a.passed-over.txt\n"
    assert listed.read_text() == f"line a01-001-01: {sentence}; kept, its time made monotone\n"
    result = cwrnn(*command, "--strict")
    assert row(result) == ["valid", "3", "0", "1", "2956"]
    assert "1 passed over in all" in result.stderr and "repaired" not in result.stderr
    assert listed.read_text() == f"{root / LINE}: {sentence}\n"
    (root / LINE).write_text(line_xml(some_strokes(77)))
    assert not cwrnn(*command).stderr and not listed.exists()


def test_a_corpus_that_is_not_whole(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        prepared(tmp_path / "none", tmp_path / "a.h5")
    root = write_corpus(tmp_path / "a")
    (root / "testset_t.txt").write_text("a01-000u\n")
    with pytest.raises(UserError, match="form a01-000u is in trainset.txt already"):
        prepared(root, tmp_path / "a.h5")
    (root / "testset_t.txt").write_text("")
    (root / "testset_v.txt").write_text("")
    with pytest.raises(UserError, match="no usable line of the split valid"):
        prepared(root, tmp_path / "a.h5")
    shutil.rmtree(root / "ascii")
    with pytest.raises(UserError, match="neither a folder ascii nor ascii-all.tar.gz"):
        prepared(root, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_hostile_archives(tmp_path):
    root = write_corpus(tmp_path / "a")
    archive(root / "ascii", root / "ascii-all.tar.gz")
    shutil.rmtree(root / "ascii")
    victim = tmp_path / "outside.xml"
    shutil.rmtree(root / "lineStrokes")

    def member(file, name, content=b"", **attributes):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in attributes.items():
            setattr(info, key, value)
        file.addfile(info, io.BytesIO(content))

    good = line_xml(some_strokes(1)).encode()
    with tarfile.open(root / "lineStrokes-all.tar.gz", "w:gz") as file:
        for form in FORMS.values():
            for number in (1, 2):
                member(file, f"lineStrokes/{form}-{number:02d}.xml", good)
        member(file, "../../outside.xml", good)
        member(file, "/tmp/a01-000u-03.xml", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        member(file, "x/a01-000u-04.xml", type=tarfile.FIFOTYPE)
    before = sorted(p for p in tmp_path.rglob("*"))
    report, _ = prepared(root, tmp_path / "a.h5")
    assert report.lines["train"] == 2 and not victim.exists()
    assert sorted(p for p in tmp_path.rglob("*")) == sorted([*before, tmp_path / "a.h5"])
    content = (root / "lineStrokes-all.tar.gz").read_bytes()
    (root / "lineStrokes-all.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="a damaged archive"):
        prepared(root, tmp_path / "b.h5")
    with tarfile.open(root / "lineStrokes-all.tar.gz", "w:gz") as file:
        member(file, "a01-000u-01.xml", bytes(9 << 20))
    with pytest.raises(UserError, match="9437184 bytes; expected at most"):
        prepared(root, tmp_path / "b.h5")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore")),
        st.tuples(st.integers(0, 600), st.binary(max_size=30)).map(
            lambda cut: (lambda whole: whole[: cut[0]] + cut[1] + whole[cut[0] + len(cut[1]) :])(
                line_xml(some_strokes(1)).encode()
            )
        ),
    )
)
def test_no_bytes_break_the_reader(content):
    found = read_strokes(content)
    if isinstance(found, str):
        assert found and "\n" not in found
    else:
        frames = frames_of(found, PathOptions())
        assert np.isfinite(frames).all() and frames[-1, 3] == 1
        assert (np.diff(frames[:, 2]) >= 0).all() and lag(found) >= 0


def test_the_standin_is_an_iamondb(tmp_path, monkeypatch):
    pytest.importorskip("HersheyFonts", reason="the extra `standin` is not installed")
    forms = dict.fromkeys(LISTS, 2)
    monkeypatch.setattr(iamondb_standin, "FORMS", forms)
    with iamondb_standin.tree(tmp_path / "a") as root:
        report, corpus = prepared(root, tmp_path / "a.h5")
    assert report.lines == {"train": 12, "valid": 24, "test": 12} and not report.problems
    assert corpus.standin and corpus.provenance["source"]["name"] == "stand-in handwriting"
    lengths = np.diff(corpus.splits["train"].offsets)
    assert 40 < lengths.mean() < 500  # the corpus: 213
    with iamondb_standin.tree(None) as root:
        files = sorted(p for p in root.rglob("*.*") if not p.name.startswith("."))
        again = [p.read_bytes() for p in files]
        kept = tmp_path / "a"
        assert again == [(kept / p.relative_to(root)).read_bytes() for p in files]
    assert not root.exists()


def test_the_defaults_are_the_papers():
    assert asdict(PathOptions()) == IAMONDB.data_options
    assert asdict(FeatureOptions()) == TIMIT.data_options
