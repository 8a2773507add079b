"""`cwrnn verify`: every published number against the raw rows, and folders trained again."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest

from cwrnn_cli.benchmarks import machine
from cwrnn_cli.evidence.folders import check_folder, result_folders
from cwrnn_cli.evidence.pages import check_page, published_claims, rendered
from cwrnn_cli.training.manifest import digests, note
from data_prep.errors import UserError
from tests.conftest import cwrnn as fixture
from tests.conftest import one_line_error
from tests.sealed import edited

REPOSITORY = Path(__file__).parents[2]
GRID = ("compare", "--task", "audio", "--sizes", "100", "--models", "lstm,cw", "--runs", "3")


@pytest.fixture
def published(cwrnn, piece, tmp_path):
    """A results folder: a grid, a scan, and a page that quotes them."""
    out = tmp_path / "results"
    cwrnn(*GRID, "--epochs", "30", "--data", piece, "--out", out / "grid")
    rates = ("--sizes", "100", "--models", "cw", "--rates", "1e-4,1e-3", "--runs", "2")
    cwrnn("scan", *rates, "--epochs", "20", "--data", piece, "--out", out / "rates")
    (out / "pages").mkdir()
    (out / "pages" / "PAGE.md").write_text(
        '{% set g = grid("grid") %}\nCW-RNN {{ g.cw[100].metrics.nmse_paper|pm }}, LSTM\n'
        "{{ g.lstm[100].medians.survivors|interval }}, best "
        '{{ json("rates/scan.json").best["cw, ramp"]|g }}\n'
        "{% for c in claims() %}{{ c.place }}: {{ c.found }}, {{ c.verdict }}\n{% endfor %}"
    )
    (out / "claims.toml").write_text(
        "before = '{% set g = grid(\"grid\") %}'\n[[claim]]\nplace = 'Figure 3'\nsays = 'less'\n"
        "found = '{{ g.cw[100].diverged }} of {{ g.cw[100].networks }}'\ndata = 'noise'\nn = '15'\n"
        "verdict = 'open'\ncommand = 'none'\n"
    )
    cwrnn("verify", out, "--write")
    return out


@pytest.fixture(scope="module")
def grid(tmp_path_factory, piece):
    """A folder of `cwrnn compare`."""
    place = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        run = fixture.__wrapped__(place, patch)
        run(*GRID, "--epochs", "2", "--data", piece, "--out", "grid")
    return place / "grid"


def test_what_the_commands_wrote_is_verified(cwrnn, published):
    page = (published.parent / "PAGE.md").read_text().splitlines()
    assert page[0].startswith("<!-- Made by") and page[3] == "Figure 3: 0 of 15, open"
    assert "every number is that of its raw rows" in cwrnn("verify", published).stdout
    found = json.loads(cwrnn("verify", published, "--json").stdout)
    assert found == {"folders": 2, "pages": 1, "differences": []}


@pytest.mark.parametrize(
    "name",
    [
        *("PAGE.md", "results/grid/table.txt", "results/grid/table.csv"),
        *("results/rates/scan.txt", "results/rates/scan.json", "results/rates/table.csv"),
    ],
)
def test_a_changed_digit_is_named_by_file_and_line(cwrnn, published, name):
    path = published.parent / name
    lines = path.read_text().splitlines(keepends=True)
    at = len(lines) - 1 - next(i for i, line in enumerate(lines[::-1]) if re.search(r"\d", line))
    lines[at] = _changed(lines[at], random.Random(0))
    path.write_text("".join(lines))
    found = cwrnn("verify", published, expect=1).stdout.splitlines()
    assert len(found) == 2 and f"{name}:{at + 1}: found " in found[0]
    assert found[1].endswith("1 difference")


def test_a_changed_row_is_named_with_all_that_rests_on_it(cwrnn, published):
    with edited(published / "grid" / "results.h5") as file:
        file["cw/100/nmse_paper"][0] *= 3
    found = cwrnn("verify", published, expect=1).stdout
    for place in ("grid/results.h5 cw/100 metrics", "grid/table.txt:", "PAGE.md:2"):
        assert place in found


def test_a_missing_file_a_new_one_and_a_killed_command(cwrnn, published):
    (published / "grid" / "figure3.png").unlink()
    (published / "grid" / "notes.txt").write_text("mine")
    found = cwrnn("verify", published, expect=1).stdout
    assert "grid/figure3.png: found nothing, expected a file" in found
    assert "grid/notes.txt: found a file, expected none" in found
    manifest = json.loads((published / "rates" / "manifest.json").read_text())
    (published / "rates" / "manifest.json").write_text(json.dumps(manifest | {"files": None}))
    assert "still at work" in cwrnn("verify", published, expect=1).stdout


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{{ grid('grid').cw[999].diverged }}", "PAGE.md:2"),
        ("{{ 1 +", "PAGE.md:2"),
        ("{{ grid('nothing') }}", "results/nothing/results.h5: cannot be read"),
        ("{{ json('grid/nothing.json') }}", "results/grid/nothing.json: cannot be read"),
    ],
)
def test_a_template_that_asks_for_what_is_not_there(cwrnn, published, text, wrong):
    before = (published.parent / "PAGE.md").read_text()
    (published / "pages" / "PAGE.md").write_text("a line\n" + text + "\n")
    assert wrong in cwrnn("verify", published, expect=1).stdout
    assert wrong in one_line_error(cwrnn("verify", published, "--write", expect=2))
    assert (published.parent / "PAGE.md").read_text() == before


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("n = '15'\n", "", "claims.toml: claim 1: expected the fields place, says, found"),
        ("says = 'less'", "says = ''", "claim 1: says is empty"),
        ("'open'", "'surely'", "verdict 'surely'; expected holds, "),
    ],
)
def test_a_claim_has_every_field_and_a_verdict(cwrnn, published, old, new, wrong):
    path = published / "claims.toml"
    path.write_text(path.read_text().replace(old, new))
    assert wrong in cwrnn("verify", published, expect=1).stdout


REACHES = [
    ("rows.__globals__", "SecurityError: access to attribute '__globals__'"),
    ("''.__class__.__mro__[1].__subclasses__()", "SecurityError: access to attribute '__class__'"),
    ("'{0.__globals__}'.format(rows)", "SecurityError: access to attribute '__globals__'"),
    (
        "rows('grid', 'cw', 100).nmse_paper.tofile('written')",
        "SecurityError: access to attribute 'tofile'",
    ),
    ("rows('grid', 'cw', 100).nmse_paper.T.dump('written')", "attribute 'dump'"),
    ("cells.cw.layer", "SecurityError: access to attribute 'layer'"),
    ("text('../secret')", "results/../secret: lies outside results"),
    ("text('link')", "results/link: lies outside results"),
    ("manifest('..').command", "results/..: lies outside results"),
]


def test_a_template_of_a_stranger_reaches_nothing(cwrnn, tmp_path, grid):
    out = tmp_path / "results"
    shutil.copytree(grid, out / "grid")
    (tmp_path / "secret").write_text("mine")
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "pages").mkdir()
    names = ("place", "says", "data", "n", "verdict", "command")
    for text, wrong in reversed(REACHES):
        found = [f'found = "{{{{ {text} }}}}"', *(f"{name} = 'open'" for name in names)]
        (out / "claims.toml").write_text("\n".join(["[[claim]]", *found]))
        with pytest.raises(UserError, match=re.escape(wrong)):
            published_claims(out)
        (out / "pages" / "PAGE.md").write_text(f"{{{{ {text} }}}}")
        ((_, said),) = rendered(out)
        assert wrong in str(said)
    assert wrong in one_line_error(cwrnn("report", out, "--out", "page.html", expect=2))
    assert not (tmp_path / "written").exists() and not (tmp_path / "page.html").exists()


def test_the_same_command_again_agrees_bit_for_bit(cwrnn, published):
    found = json.loads(cwrnn("verify", published, "--rerun", "grid", "--json").stdout)
    assert found["agrees"] and [row["identical"] for row in found["rows"]] == [True, True]
    assert "grid: agrees" in cwrnn("verify", published, "--rerun", "grid").stdout


def test_other_rows_agree_within_the_manifests_tolerance_only(cwrnn, published):
    with edited(published / "grid" / "results.h5") as file:
        file["cw/100/nmse_paper"][0] *= 1 + 1e-6  # as another processor might
    found = json.loads(cwrnn("verify", published, "--rerun", "grid", "--json").stdout)
    assert [(row["identical"], row["agrees"]) for row in found["rows"]] == [
        (True,) * 2,
        (False, True),
    ]
    path = published / "grid" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tolerance"]["cw/100"] = [0.0, 100.0]
    path.write_text(json.dumps(manifest))
    assert "manifest.json tolerance: found" in cwrnn("verify", published, expect=1).stdout


def test_a_scan_again_agrees_bit_for_bit(cwrnn, published):
    found = json.loads(cwrnn("verify", published, "--rerun", "rates", "--json").stdout)
    assert found["agrees"] and len(found["rows"]) == 4  # two rates, two momenta
    assert all(row["identical"] and row["networks"] == 10 for row in found["rows"])


def test_a_benchmark_again_agrees_by_its_ratios(cwrnn, tmp_path, monkeypatch):
    """And where one of the two machines has no JAX, by the other rows."""
    monkeypatch.setattr(machine, "has_jax", lambda: False)
    words = ("bench", "layer", "--widths", "8", "--batches", "1", "--lengths", "8")
    words += ("--models", "srn", "--repeats", "1", "--seconds", "0")
    cwrnn(*words, "--out", "results/speed")
    path = tmp_path / "results" / "speed" / "bench.json"
    bench = json.loads(path.read_text())
    for row in bench["rows"]:
        row["ratio"] *= 100
    path.write_text(json.dumps(bench))
    done = cwrnn("verify", "results", "--rerun", "speed", expect=1)
    assert done.stdout.count("does not agree") > len(bench["rows"])
    assert "not compared" not in done.stderr  # of the first run nothing was left out


def test_a_run_is_not_run_again(cwrnn, piece):
    cwrnn(
        "train",
        "--model",
        "cw",
        "--params",
        100,
        "--runs",
        1,
        "--epochs",
        2,
        "--data",
        piece,
        "--out",
        "r/a",
    )
    assert "only what one" in one_line_error(cwrnn("verify", "r", "--rerun", "a", expect=2))


def test_other_medians_and_more_diverged_networks_do_not_agree(cwrnn, published):
    with edited(published / "grid" / "results.h5") as file:
        file["lstm/100/nmse_paper"][:] *= 2
        file["cw/100/diverged"][:9] = True
    text = cwrnn("verify", published, "--rerun", "grid", expect=1).stdout
    rows = {line.split()[0]: line for line in text.splitlines() if "/100 " in line}
    assert all(line.endswith("does not agree") for line in rows.values())
    assert "9/15" in rows["cw/100"] and "0/15" in rows["cw/100"]


def test_a_file_that_nothing_answers_for_is_found(cwrnn, published):
    (published / "rates" / "manifest.json").unlink()
    (published / "notes.md").write_text("a number: 7\n")
    (published / "pages" / "PAGE.md").rename(published / "pages" / "OTHER.md")
    found = cwrnn("verify", published, expect=1).stdout
    for place in ("results/rates/scan.txt", "results/notes.md", "PAGE.md: found a page without"):
        assert place in found


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grid/results.h5", b"\x89HDF"),
        ("grid/manifest.json", b'{"files": []}'),
        ("rates/scan.json", b"{"),
        ("rates/scan.h5", b""),
        ("grid/table.txt", b"\xff\xfe"),
        ("claims.toml", b"[claim"),
        ("claims.toml", b"claim = 3"),
    ],
)
def test_damaged_files_are_differences_and_hide_no_others(cwrnn, published, name, content):
    (published / name).write_bytes(content)
    (published / "grid" / "notes.txt").write_text("mine")
    found = cwrnn("verify", published, expect=1).stdout
    assert name.rsplit("/")[0].removesuffix(".toml") in found
    assert ("notes.txt" in found) == (name != "grid/manifest.json")


def test_mistakes_are_one_line(cwrnn, published, piece, spoken, tmp_path):
    for words, wrong in [
        (("verify", tmp_path / "nowhere"), "no result folders"),
        (("verify", published, "--data", piece), "--data: only with --rerun"),
        (("verify", published, "--write", "--rerun", "grid"), "--write: not with --rerun"),
        (("verify", published, "--rerun", "nothing"), "no such folder of"),
        (("verify", published, "--rerun", "grid", "--data", spoken), "holds the corpus timit"),
    ]:
        assert wrong in one_line_error(cwrnn(*words, expect=2))


# what this repository publishes


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of everything that is published, to be changed."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("results", "docs"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "README.md", root)
    return root


@pytest.fixture(scope="module")
def pages(tree):
    """Page -> what it should be."""
    return dict(rendered(tree / "results"))


def test_any_digit_changed_anywhere_is_found(tree, pages):
    """50 places, drawn anew in each file: 25 in pages, 25 in raw files and tables."""
    draw = random.Random(0)
    for target in draw.choices(sorted(pages), k=25):
        with _one_digit_changed(target, draw) as line:
            found = check_page(tree, target, pages[target])
            assert [d.place for d in found] == [f"{target.relative_to(tree)}:{line}"]
        assert not check_page(tree, target, pages[target])
    raw = [
        (folder, path)
        for folder in result_folders(tree / "results")
        for path in sorted(folder.iterdir())
        if path.suffix in {".txt", ".json", ".jsonl", ".h5", ".png"}
        and path.name != "manifest.json"
    ]
    for folder, path in draw.sample(raw, 25):
        with _one_digit_changed(path, draw):
            found = check_folder(folder, folder.name)
            assert any(d.file.startswith(f"{folder.name}/{path.name}") for d in found), path


@pytest.mark.parametrize(
    "name",
    [
        "iamondb/first/table3/table.txt",
        "iamondb/first/readings/table.txt",
        "iamondb/first/speed.txt",
        "bench/layer-amd.txt",
        "bench/ensemble.txt",
        "bench/precision.txt",
    ],
)
def test_tables_of_runs_and_of_benchmarks_are_made_anew(tree, name):
    path = tree / "results" / name
    with _one_digit_changed(path, random.Random(0)) as line:
        found = check_folder(path.parent, path.parent.name)
    assert [d.place for d in found] == [f"{path.parent.name}/{path.name}:{line}"]


@pytest.mark.parametrize(
    "name",
    ["iamondb/first/table3/cw-50000.jsonl", "iamondb/first/speed.json", "bench/precision.json"],
)
def test_rows_that_cannot_be_read_are_named(tree, name):
    path = tree / "results" / name
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    places = " ".join(map(str, check_folder(path.parent, "here")))
    path.write_bytes(before)
    assert f"here/{path.name}: found sha256" in places and "can be read" in places


def test_a_changed_table_is_found_though_the_manifest_knows_it(tree):
    """Tables are made again, not only compared with their digests."""
    draw = random.Random(1)
    tables = [
        (folder, folder / "table.txt")
        for folder in result_folders(tree / "results")
        if (folder / "table.txt").exists()
        and not (folder / "analysis.json").exists()  # of which the tables as CSV are made anew
    ]
    for folder, path in draw.sample(tables, 8):
        manifest = (folder / "manifest.json").read_bytes()
        with _one_digit_changed(path, draw) as line:
            note(folder, files=digests(folder))
            places = [d.place for d in check_folder(folder, folder.name)]
            assert f"{folder.name}/table.txt:{line}" in places
        (folder / "manifest.json").write_bytes(manifest)
        assert not check_folder(folder, folder.name)


class _one_digit_changed:
    """While it is entered, a digit of a file is another one; gives its line."""

    def __init__(self, path: Path, draw: random.Random) -> None:
        self.path, self.before = path, path.read_bytes()
        at = draw.choice([m.start() for m in re.finditer(rb"\d", self.before)])
        other = draw.choice([d for d in b"0123456789" if d != self.before[at]])
        self.line = self.before[:at].count(b"\n") + 1
        self.after = self.before[:at] + bytes([other]) + self.before[at + 1 :]

    def __enter__(self) -> int:
        self.path.write_bytes(self.after)
        return self.line

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.before)


def _changed(line: str, draw: random.Random) -> str:
    """One digit of a line is another one."""
    at = draw.choice([m.start() for m in re.finditer(r"\d", line)])
    return line[:at] + str((int(line[at]) + 1) % 10) + line[at + 1 :]
